"""How files are written (`data.format`), and the tables beside a log (`data.items`, `data.users`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from din_train.config.section import Section

Encoding = Literal["utf-8", "utf-16", "latin-1", "cp1252"]


def _refuse_nameless(path: Path) -> Path:
    if path.name in ("", ".."):
        raise ValueError("expected a path that ends in the name of a file or folder")
    return path


FilePath = Annotated[Path, Field(strict=False), AfterValidator(_refuse_nameless)]

# A column's name in the header, or its position from 1.
Column = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=1, lt=2**31)]


class FormatConfig(Section):
    """`data.format`: the dialect of text files; what is left out is told by the content of each file."""

    delimiter: Annotated[
        str | None, Field(min_length=1, max_length=4, description="what separates fields: ',', a tab, ';', '|', '::'")
    ] = None
    quote: Annotated[
        str | None, Field(max_length=1, description="what fields may stand in; '' for none, so that quotes are text")
    ] = None
    escape: Annotated[
        str | None,
        Field(
            max_length=1, description="what stands before a quote inside a quoted field; a doubled quote if left out"
        ),
    ] = None
    encoding: Annotated[Encoding | None, Field(description="of the text; UTF-8 unless a byte order mark says so")] = (
        None
    )
    header: Annotated[
        bool | None,
        Field(description="whether the first line names the columns; without one, columns are given by position"),
    ] = None

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """One sign has one meaning."""
        if self.quote and self.quote == self.delimiter:
            yield "quote", f"received {self.quote!r}, which is data.format.delimiter; name another sign"
        if self.escape is not None and self.escape in ("", self.delimiter):
            yield "escape", f"received {self.escape!r}; expected one sign that is no delimiter, such as a backslash"


class SideTableConfig(Section):
    """A table of items or users beside the log: `data.items: FILE`, or `{path: FILE, key: COLUMN, format: ...}`."""

    path: Annotated[FilePath, Field(description="the file")]
    key: Annotated[Column | None, Field(description="its column of ids; that of data.columns if left out")] = None
    format: Annotated[FormatConfig | None, Field(description="its dialect, as data.format; told by its content")] = None

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> Any:
        """A table without a key and a dialect of its own is written as its path, as it may be given."""
        values = handler(self)
        return values["path"] if self.key is None and self.format is None else values


def _take_path(value: object) -> object:
    return {"path": value} if isinstance(value, (str, Path)) else value


SideTable = Annotated[SideTableConfig, BeforeValidator(_take_path)]

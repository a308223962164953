"""How files are written (`data.format`), and the tables beside a log (`data.items`, `data.users`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from din_train.config.section import CROSS_FIELD, Section
from din_train.remote_path import describe_credentials, is_remote, is_url, make_input_path

Encoding = Literal["utf-8", "utf-16", "latin-1", "cp1252"]


def _refuse_nameless(path: Path) -> Path:
    if path.name in ("", ".."):
        raise ValueError("expected a path that ends in the name of a file or folder")
    return path


def _take_file(value: object, take_path: ValidatorFunctionWrapHandler) -> Path:
    if isinstance(value, str) and is_url(value):
        _refuse_credentials(value)
        return make_input_path(value)
    return cast("Path", value) if is_remote(value) else _refuse_nameless(take_path(value))


def _refuse_url(value: object) -> object:
    if is_url(value):
        _refuse_credentials(str(value))
        raise ValueError("expected a path on this machine: only input files may be URLs")
    return value


def _refuse_credentials(url: str) -> None:
    problem = describe_credentials(url)
    if problem is not None:  # the message has to hide it too
        raise PydanticCustomError(CROSS_FIELD, problem.replace("{", "{{").replace("}", "}}"))


def _write_path(path: Path, info: SerializationInfo) -> Any:
    return str(path) if info.mode_is_json() else path


# An input file: a path, or a URL that fsspec opens.
FilePath = Annotated[Path, Field(strict=False), WrapValidator(_take_file), PlainSerializer(_write_path)]
# Where something is written.
LocalPath = Annotated[Path, Field(strict=False), AfterValidator(_refuse_nameless), BeforeValidator(_refuse_url)]

# A column's name in the header, or its position from 1.
Column = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=1, lt=2**31)]


class FormatConfig(Section):
    """`data.format`: the dialect of text files; what is left out is told by the content of each file."""

    delimiter: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=4,
            description="what separates fields: ',', a tab, ';', '|', '::', or ' ' for one blank or more",
        ),
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
    return {"path": value} if isinstance(value, (str, Path)) or is_remote(value) else value


SideTable = Annotated[SideTableConfig, BeforeValidator(_take_path)]

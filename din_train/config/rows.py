"""Rows that hold their histories: `data.sequences` and `data.row_split`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from din_train.config.file_formats import Column
from din_train.config.section import Section


class SequenceConfig(Section):
    """`data.sequences.<name>`: a user's behaviours as a row holds them; the first sequence is the history.

    A column holds lists (Parquet, JSON), or text with a separator or in brackets. Several columns of one behaviour each
    are named by a pattern such as `hist_*` and are taken in the order of their numbers.
    """

    item: Annotated[Column, Field(description="the column of item ids, or a pattern such as 'hist_*'")]
    category: Annotated[Column | None, Field(description="the parallel column of the items' categories")] = None
    timestamp: Annotated[Column | None, Field(description="the parallel column of the behaviours' times")] = None
    fields: Annotated[
        dict[str, Column],
        Field(description="further parallel columns, by name: behaviour types, dwell times; see data.behaviour_fields"),
    ] = {}  # noqa: RUF012 - pydantic copies it
    separator: Annotated[
        str | None,
        Field(
            pattern=r"^[^A-Za-z0-9\[\]\"']{1,8}$",
            description="of text, in quotes: '|'; data.history_separator if left out",
        ),
    ] = None
    padding: Annotated[
        str | None, Field(min_length=1, description="the item id that fills empty places, such as '0': no behaviour")
    ] = None
    order: Annotated[
        Literal["oldest_first", "newest_first"], Field(description="in which order a row holds its behaviours")
    ] = "oldest_first"


class RowSplitConfig(Section):
    """`data.row_split`: rows of `data.train` that become validation or test rows, where these have no file."""

    by: Annotated[
        Literal["time", "user", "hash"],
        Field(description="time: the newest rows; user: all rows of some users; hash: some requests of all users"),
    ] = "user"
    validation: Annotated[float, Field(ge=0, lt=1, strict=False, description="share of validation rows or users")] = 0.1
    test: Annotated[float, Field(ge=0, lt=1, strict=False, description="share of test rows or users")] = 0.1
    seed: Annotated[int, Field(ge=0, lt=2**63, description="which users or requests")] = 1

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """Something must be left to train on."""
        if self.validation + self.test >= 1:
            yield (
                "test",
                f"received {self.test} beside a validation share of {self.validation}; nothing is left to train on",
            )

"""Texts that stand for no value (`data.null_values`), such as `NULL` and `nan`: an id that is one is no id."""

from collections.abc import Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

NullValues = Set[str]


def find_null_values(column: Any, nulls: NullValues) -> Any:
    """Where a string column holds one of the texts; False where it is null."""
    return pc.is_in(column, value_set=pa.array(sorted(nulls), pa.string()))


def drop_null_values(column: Any, nulls: NullValues) -> Any:
    """A string column with null for an empty text and for each of the texts."""
    nothing = pc.or_(pc.fill_null(pc.equal(column, ""), False), find_null_values(column, nulls))
    return pc.if_else(nothing, pa.scalar(None, pa.string()), column)

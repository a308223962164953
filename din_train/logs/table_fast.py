"""The quick way through delimited lines with nothing odd in them.

Whatever is not plainly good is left to `table_rows`, which also says what is wrong with it; where both can read
a block they give the same events.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from din_train.logs.delimited import split_columns
from din_train.logs.event_writer import EventColumns
from din_train.logs.null_values import drop_null_values, find_null_values
from din_train.logs.table_rows import Layout, WantedTypes
from din_train.logs.time_unit import TimeUnit

_PLAIN_TIMESTAMP = r"\A[0-9]{1,18}\z"  # 18 digits always fit int64


def parse_clean_block(block: bytes, layout: Layout, unit: TimeUnit) -> tuple[EventColumns, dict[str, int]] | None:
    """Parse whole lines at once.

    Returns:
        The events, and how many are left out by type; None where any line is blank or bad, or has its timestamp in an
        unusual form.
    """
    places = [layout.user, layout.item, layout.timestamp, *layout.texts.values()]
    places += [] if layout.label is None else [layout.label]
    places += [] if layout.types is None else [layout.types.place]
    fields = split_columns(block, layout.delimiter, layout.width, places)
    if fields is None:
        return None
    users, items, digits, *rest = fields
    types = None if layout.types is None else rest.pop()
    labels = None if layout.label is None else layout.label_rule.parse_column(rest.pop())
    if layout.label is not None and labels is None:
        return None
    good = (
        pc.all(pc.match_substring_regex(digits, _PLAIN_TIMESTAMP)),
        pc.all(pc.not_equal(users, "")),
        pc.all(pc.not_equal(items, "")),
        pc.all(pc.invert(find_null_values(users, layout.nulls))),
        pc.all(pc.invert(find_null_values(items, layout.nulls))),
    )
    if not all(each.as_py() for each in good):
        return None
    timestamps = digits.cast(pa.int64())
    if unit.find_other(timestamps.to_numpy()):
        return None
    texts = [drop_null_values(text, layout.nulls) for text in rest]
    events = [users, items, timestamps, *([] if labels is None else [labels]), *texts]
    return (events, {}) if layout.types is None else _take_wanted(events, types, layout.types)


def _take_wanted(events: list[Any], kinds: Any, types: WantedTypes) -> tuple[EventColumns, dict[str, int]] | None:
    counts = {each["values"]: each["counts"] for each in pc.value_counts(kinds).to_pylist()}
    if not counts.keys() <= set(types.known):
        return None
    wanted = pc.is_in(kinds, pa.array(types.wanted, pa.string()))
    left_out = {f"behaviour {kind}": count for kind, count in counts.items() if kind not in types.wanted}
    return [column.filter(wanted) for column in events], left_out

"""The quick way through delimited lines with nothing odd in them.

Whatever is not plainly good is left to `table_rows`, which also says what is wrong with it; where both can read
a block they give the same events.
"""

import csv
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from din_train.logs.event_writer import EventColumns
from din_train.logs.table_rows import Layout, WantedTypes
from din_train.logs.time_unit import TimeUnit

_PLAIN_TIMESTAMP = r"\A[0-9]{1,18}\z"  # 18 digits always fit int64


def parse_clean_block(block: bytes, layout: Layout, unit: TimeUnit) -> tuple[EventColumns, dict[str, int]] | None:
    """Parse whole lines at once.

    Returns:
        The events, and how many are left out by type; None where any line is blank or bad, or has its timestamp in an
        unusual form.
    """
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if not block or b"\r" in block or b"\0" in block or b"\n\n" in block or block.startswith(b"\n"):
        return None
    places = [layout.user, layout.item, layout.timestamp, *layout.texts.values()]
    places += [] if layout.label is None else [layout.label]
    places += [] if layout.types is None else [layout.types.place]
    split = _split_quoted if layout.delimiter == "," and b'"' in block else _split_plain
    try:
        fields = split(block, layout, places)
    except (UnicodeDecodeError, csv.Error, pa.ArrowInvalid):
        return None
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
    )
    if not all(each.as_py() for each in good):
        return None
    timestamps = digits.cast(pa.int64())
    if unit.find_other(timestamps.to_numpy()):
        return None
    null = pa.scalar(None, pa.string())
    texts = [pc.if_else(pc.equal(text, ""), null, text) for text in rest]
    events = [users, items, timestamps, *([] if labels is None else [labels]), *texts]
    return (events, {}) if layout.types is None else _take_wanted(events, types, layout.types)


def _take_wanted(events: list[Any], kinds: Any, types: WantedTypes) -> tuple[EventColumns, dict[str, int]] | None:
    counts = {each["values"]: each["counts"] for each in pc.value_counts(kinds).to_pylist()}
    if not counts.keys() <= set(types.known):
        return None
    wanted = pc.is_in(kinds, pa.array(types.wanted, pa.string()))
    left_out = {f"behaviour {kind}": count for kind, count in counts.items() if kind not in types.wanted}
    return [column.filter(wanted) for column in events], left_out


def _split_plain(block: bytes, layout: Layout, places: list[int]) -> list[Any] | None:
    """Columns of lines without quotes."""
    block.decode()  # pyarrow checks only the columns it is asked for
    delimiter = layout.delimiter
    if len(delimiter) > 1:
        if b"\t" in block:
            return None
        block, delimiter = block.replace(delimiter.encode(), b"\t"), "\t"
    names = [str(place) for place in range(layout.width)]
    needed = [names[place] for place in dict.fromkeys(places)]
    table = pyarrow.csv.read_csv(
        pa.BufferReader(block),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=needed, column_types=dict.fromkeys(needed, pa.string()), strings_can_be_null=False
        ),
    )
    return [table[names[place]].combine_chunks() for place in places]


def _split_quoted(block: bytes, layout: Layout, places: list[int]) -> list[Any] | None:
    """Columns of lines with quotes; None where a field goes on across lines or their number differs."""
    lines = block.decode().removesuffix("\n").split("\n")
    rows = list(csv.reader(lines, strict=True))
    if len(rows) != len(lines) or any(len(row) != layout.width for row in rows):
        return None
    return [pa.array([row[place] for row in rows], pa.string()) for place in places]

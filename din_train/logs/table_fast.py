"""The quick way through CSV and TSV lines with nothing odd in them.

Whatever is not plainly good is left to `table_rows`, which also says what is wrong with it; where both can read
a block they give the same events.
"""

import csv
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from din_train.logs.event_writer import EventColumns
from din_train.logs.table_rows import Layout

_PLAIN_TIMESTAMP = r"\A[0-9]{1,18}\z"  # 18 digits always fit int64


def parse_clean_block(block: bytes, layout: Layout) -> EventColumns | None:
    """Parse whole lines at once; without a category column all categories are null.

    Returns:
        None where any line is blank or bad, or has its timestamp in an unusual form.
    """
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if not block or b"\r" in block or b"\0" in block or b"\n\n" in block or block.startswith(b"\n"):
        return None
    places = [layout.user, layout.item, layout.timestamp]
    if layout.category is not None:
        places.append(layout.category)
    split = _split_quoted if layout.delimiter == "," and b'"' in block else _split_plain
    try:
        fields = split(block, layout, places)
    except (UnicodeDecodeError, csv.Error, pa.ArrowInvalid):
        return None
    if fields is None:
        return None
    users, items, digits, *categories = fields
    good = (
        pc.all(pc.match_substring_regex(digits, _PLAIN_TIMESTAMP)),
        pc.all(pc.not_equal(users, "")),
        pc.all(pc.not_equal(items, "")),
    )
    if not all(each.as_py() for each in good):
        return None
    null = pa.scalar(None, pa.string())
    category = pc.if_else(pc.equal(categories[0], ""), null, categories[0]) if categories else pa.nulls(len(users))
    return EventColumns(users, items, digits.cast(pa.int64()), category)


def _split_plain(block: bytes, layout: Layout, places: list[int]) -> list[Any]:
    """Columns of lines without quotes."""
    block.decode()  # pyarrow checks only the columns it is asked for
    names = [str(place) for place in range(layout.width)]
    needed = [names[place] for place in dict.fromkeys(places)]
    table = pyarrow.csv.read_csv(
        pa.BufferReader(block),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
        parse_options=pyarrow.csv.ParseOptions(delimiter=layout.delimiter, quote_char=False),
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

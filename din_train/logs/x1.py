"""The `x1` layout: ready-made samples, one a row, with their histories.

    label,user_id,item_id,cate_id,item_history,cate_history
    1,0,7,3,0^1^2,3^10^211

Histories are ids joined by `^`, oldest first. Every good row is kept, in order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.config import DataConfig
from din_train.logs.delimited import Header, parse_header, parse_lines, read_body, split_columns, split_row
from din_train.logs.log import FileReport, Progress
from din_train.logs.rejects import BadLine, Rejects

COLUMNS = ("label", "user_id", "item_id", "cate_id", "item_history", "cate_history")
SPLITS = ("train", "test")
_SCHEMA = pa.schema([*((name, pa.string()) for name in COLUMNS), ("split", pa.string()), ("ordinal", pa.int64())])

Columns = list[Any]


@dataclass(frozen=True)
class RawSamples:
    """Ready-made samples read into one normalised file.

    rows: Parquet, the columns of `COLUMNS` as strings (an empty category is null), split, and ordinal (0, 1, ... over
        both files, training first).
    rejected: JSON lines, as for a log.
    """

    rows: Path
    rejected: Path
    reports: tuple[FileReport, ...]


def read_x1(data: DataConfig, train: Path, test: Path, folder: Path, progress: Progress) -> RawSamples:
    """Read the training and the test file into files in `folder`.

    Raises:
        DataError: where a file cannot be read, lacks a column, has too many bad lines, or no row.
    """
    samples = RawSamples(folder / "rows.parquet", folder / "rejected.jsonl", (FileReport(train), FileReport(test)))
    ordinal = 0
    with samples.rejected.open("wb") as rejected, pq.ParquetWriter(samples.rows, _SCHEMA) as writer:
        for split, report in zip(SPLITS, samples.reports, strict=True):
            rejects = Rejects(rejected, report, data)
            for columns in _read_columns(rejects, progress):
                rows = len(columns[0])
                numbers = pa.array(np.arange(ordinal, ordinal + rows))
                table = pa.table([*columns, pa.repeat(split, rows), numbers], schema=_SCHEMA)
                writer.write_table(table)
                ordinal += rows
                report.kept += rows
            rejects.check_share()
            rejects.check_kept()
    return samples


def _read_columns(rejects: Rejects, progress: Progress) -> Iterator[Columns]:
    """Good rows as string columns in the order of `COLUMNS`, block after block."""
    path, report = rejects.report.path, rejects.report
    wanted = {f"column {name}": name for name in COLUMNS}
    for header, first, block in read_body(path, lambda line: (parse_header(line, wanted, path), True), progress):
        columns = _parse_clean(block, header)
        if columns is not None:
            report.lines += len(columns[0])
            yield columns
            continue
        rows = list(parse_lines(first, block, header[0], partial(_parse_row, header), rejects))
        if rows:
            yield _null_empty_categories([pa.array(column, pa.string()) for column in zip(*rows, strict=True)])


def _parse_row(header: Header, line: bytes) -> list[str]:
    delimiter, names, places = header
    fields = split_row(line, delimiter, len(names))
    row = [fields[place] for place in places.values()]
    label, user, item, _, item_history, cate_history = row
    if label not in ("0", "1"):
        raise BadLine("label not 0 or 1")
    if not user:
        raise BadLine("empty user_id")
    if not item:
        raise BadLine("empty item_id")
    if item_history and "" in item_history.split("^"):
        raise BadLine("empty id in item_history")
    if item_history.count("^") != cate_history.count("^") or bool(item_history) < bool(cate_history):
        raise BadLine("item_history and cate_history of different lengths")
    return row


def _parse_clean(block: bytes, header: Header) -> Columns | None:
    """The columns of a block in which every line is plainly good, else None."""
    delimiter, names, places = header
    columns = split_columns(block, delimiter, len(names), list(places.values()))
    if columns is None:
        return None
    label, user, item, _, item_history, cate_history = columns
    good = (
        pc.is_in(label, pa.array(["0", "1"])),
        pc.not_equal(user, ""),
        pc.not_equal(item, ""),
        pc.invert(pc.match_substring_regex(item_history, r"^\^|\^\^|\^$")),
        pc.equal(pc.count_substring(item_history, "^"), pc.count_substring(cate_history, "^")),
        pc.or_(pc.not_equal(item_history, ""), pc.equal(cate_history, "")),
    )
    return _null_empty_categories(columns) if all(pc.all(each).as_py() for each in good) else None


def _null_empty_categories(columns: Columns) -> Columns:
    columns[3] = pc.if_else(pc.equal(columns[3], ""), pa.scalar(None, pa.string()), columns[3])
    return columns

"""The `x1` layout: ready-made samples, one a row, with their histories.

    label,user_id,item_id,cate_id,item_history,cate_history
    1,0,7,3,0^1^2,3^10^211

Histories are ids joined by `^`, oldest first. Every good row is kept, in order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from din_train.config import DataConfig
from din_train.logs.lines import read_blocks, split_lines
from din_train.logs.log import FileReport, Progress
from din_train.logs.rejects import BadLine, Rejects
from din_train.logs.table_rows import cut_first_line, is_blank, parse_header, split_fields

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


def _read_columns(rejects: Rejects, progress: Progress) -> Any:
    """Good rows as string columns in the order of `COLUMNS`, block after block."""
    path, report = rejects.report.path, rejects.report
    header: tuple[str, list[str], dict[str, int]] | None = None
    for first, block in read_blocks(path, progress):
        if header is None:
            blank_lines, line, rest = cut_first_line(block)
            if not line:
                continue
            header = parse_header(line, {f"column {name}": name for name in COLUMNS}, path)
            first, block = first + blank_lines + 1, rest
        delimiter, names, places = header
        columns = _parse_clean(block, delimiter, len(names), list(places.values()))
        if columns is not None:
            report.lines += len(columns[0])
            yield columns
            continue
        rows = []
        for number, line in enumerate(split_lines(block), first):
            if is_blank(line, delimiter):
                continue
            report.lines += 1
            try:
                fields = split_fields(line, delimiter)
                if len(fields) != len(names):
                    raise BadLine("wrong number of fields")
                rows.append(_check_row([fields[place] for place in places.values()]))
            except BadLine as bad:
                rejects.add(number, bad.reason, line)
        if rows:
            yield _null_empty_categories([pa.array(column, pa.string()) for column in zip(*rows, strict=True)])


def _check_row(row: list[str]) -> list[str]:
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


def _parse_clean(block: bytes, delimiter: str, width: int, places: list[int]) -> Columns | None:
    """The columns of a block in which every line is plainly good, else None."""
    if not block or b"\r" in block or b"\0" in block or b'"' in block or b"\n\n" in block or block.startswith(b"\n"):
        return None
    names = [str(place) for place in range(width)]
    needed = [names[place] for place in places]
    try:
        block.decode()  # pyarrow checks only the columns it is asked for
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=needed, column_types=dict.fromkeys(needed, pa.string()), strings_can_be_null=False
            ),
        )
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return None
    columns = [table[name].combine_chunks() for name in needed]
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

"""Rows that are samples and hold their histories (`data.source: rows`, and its preset `x1`) -> normalised Parquet.

    x1: label,user_id,item_id,cate_id,item_history,cate_history
        1,0,7,3,0^1^2,3^10^211

Every good row is kept, in order. A row of `data.impressions` (`N1-0 N2-1`) is a request: one sample per item in it.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.column_roles import FILE_ORDER
from din_train.config.data import TIME_FIELDS
from din_train.config.file_formats import Column
from din_train.config.rows import SequenceConfig
from din_train.errors import DataError
from din_train.logs.equal_files import check_contents_differ
from din_train.logs.history_text import HistoryFormat
from din_train.logs.log import FileReport, Progress, RawLog, field_column
from din_train.logs.records import drop_null_values, find_null_values, parse_timestamp
from din_train.logs.rejects import BadLine, Rejects
from din_train.logs.row_files import Chunk, RowFile, open_row_file
from din_train.logs.sequences import Lists, Mask, Separators, SequenceReader, find_sequence_columns, is_list
from din_train.logs.side_table import read_side_table
from din_train.logs.table_parquet import _take_labels, take_text
from din_train.logs.time_unit import TimeUnit

ROW_SPLITS = ("train", "validation", "test")
_CHUNK_ROWS = 20_000
_NUMBER = r"^[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?$"


@dataclass(frozen=True)
class RowLayout:
    """Which columns of a file of samples are which, as in the config."""

    columns: ColumnsConfig
    sequences: Mapping[str, SequenceConfig]
    impressions: Column | None = None

    @property
    def is_labelled(self) -> bool:
        """Whether rows have labels, so that no negatives are drawn."""
        return self.impressions is not None or self.columns.is_labelled


def describe_rows(data: DataConfig) -> RowLayout:
    """What the config says of the columns; those of `x1` are known."""
    if data.source == "x1":
        columns = ColumnsConfig(user="user_id", item="item_id", category="cate_id", label="label")
        return RowLayout(columns, {"history": SequenceConfig(item="item_history", category="cate_history")})
    if data.columns is None or data.sequences is None:
        raise ValueError(f"{data.source}: no rows with histories")
    return RowLayout(data.columns, data.sequences, data.impressions)


@dataclass(frozen=True)
class RawSamples:
    """Ready-made samples read into normalised files.

    log: as of a log of impressions (`label` is always there; `timestamp` where rows have times). Its events are the
        samples, with these columns besides: split (one of `ROW_SPLITS`), item_code int32 (into `items`), history
        int64 (into `histories`) and, where rows have one, weight double.
    histories: Parquet, one row per line of the files: history int64 (0, 1, ...), user, timestamp (where rows have
        one), and for the sequence at place k lists `item k` and, where it has them, `category k` (int32 codes),
        `timestamp k` (int64) and `<field> k` (codes).
    items: raw item ids by code. values: of categories and fields of behaviours -> their texts by code.
    ticks: those of the sequences' times by place.
    """

    log: RawLog
    layout: RowLayout
    histories: Path
    items: Any
    values: Mapping[str, Any]
    ticks: Mapping[int, int | None]


@dataclass
class _Codes:
    """Texts -> codes by first appearance."""

    codes: dict[str, int] = field(default_factory=dict)

    def encode(self, texts: Any) -> Any:
        """Int32 codes; null stays null."""
        encoded = texts.dictionary_encode()
        values, codes = encoded.dictionary.to_pylist(), self.codes
        found = pa.array([codes.setdefault(value, len(codes)) for value in values], pa.int32())
        return found.take(encoded.indices)

    @property
    def texts(self) -> Any:
        """By code."""
        return pa.array(list(self.codes), pa.string())


class _Faults:
    """The first reason why each row of a chunk cannot be used."""

    def __init__(self, chunk: Chunk) -> None:
        self.reasons = np.full(chunk.table.num_rows, None, object)
        for row, reason in chunk.broken.items():
            self.reasons[row] = reason

    def add(self, reason: str, where: Mask) -> None:
        """Reject rows that have no reason yet."""
        if where.any():
            self.reasons[where & np.equal(self.reasons, None)] = reason

    @property
    def good(self) -> Mask:
        """[rows]"""
        found: Mask = np.equal(self.reasons, None)
        return found


def read_sample_files(
    data: DataConfig, files: Mapping[str, Sequence[Path]], folder: Path, progress: Progress
) -> RawSamples:
    """Read the samples into files in `folder`.

    Args:
        files: split -> its files.

    Raises:
        DataError: where a file cannot be read, lacks a column, has too many bad lines, or no row.
    """
    check_contents_differ([path for paths in files.values() for path in paths])
    with ExitStack() as stack:
        rejected = stack.enter_context((folder / "rejected.jsonl").open("wb"))
        reader = _Reader(data, folder, stack)
        reports = []
        for split, paths in files.items():
            for path in paths:
                reports.append(FileReport(path))
                reader.read_file(split, Rejects(rejected, reports[-1], data), progress)
        sides = {"item": data.items, "user": data.users}
        for key, side in sides.items():
            if side is not None:
                reports.append(FileReport(side.path))
                fields = data.item_fields if key == "item" else data.user_fields
                rejects = Rejects(rejected, reports[-1], data)
                table = read_side_table(reader.layout.columns, key, fields, rejects, progress)
                pq.write_table(table, folder / f"{key}s.parquet")
    log = RawLog(
        events=folder / "rows.parquet",
        items=folder / "items.parquet" if data.items else None,
        users=folder / "users.parquet" if data.users else None,
        rejected=folder / "rejected.jsonl",
        reports=tuple(reports),
        labelled=reader.layout.is_labelled,
        ticks=reader.unit.ticks,
    )
    return RawSamples(
        log=log,
        layout=reader.layout,
        histories=folder / "histories.parquet",
        items=reader.items.texts,
        values={name: codes.texts for name, codes in reader.values.items()},
        ticks={place: unit.ticks for place, unit in reader.units.items()},
    )


class _Reader:
    """Reads files one after the other into one normalised file of samples and one of histories."""

    def __init__(self, data: DataConfig, folder: Path, stack: ExitStack) -> None:
        self.layout = describe_rows(data)
        self.unit = TimeUnit(self.layout.columns.time_unit)
        self.items = _Codes()
        self.values: dict[str, _Codes] = {}
        self.units = {place: TimeUnit() for place in range(len(self.layout.sequences))}
        self._data = data
        self._nulls = frozenset(data.null_values)
        self._has_times = self.layout.columns.timestamp not in (None, FILE_ORDER)
        self._texts = self._name_texts()
        self._rows_written = self._histories_written = 0
        self._schemas = self._build_schemas()
        self._samples, self._histories = (
            stack.enter_context(pq.ParquetWriter(folder / name, schema, use_dictionary=dictionary))
            for name, schema, dictionary in zip(
                ("rows.parquet", "histories.parquet"), self._schemas, (["split", *self._texts], False), strict=True
            )
        )

    def _name_texts(self) -> dict[str, tuple[str, Column]]:
        """Column of the normalised file -> config key and column of the files: those that no other table has."""
        data, columns = self._data, self.layout.columns
        roles = {"category": None if data.items else columns.category, "request": columns.request}
        texts = {role: (f"data.columns.{role}", column) for role, column in roles.items() if column is not None}
        declared = {
            "item_fields": () if data.items else data.item_fields,
            "user_fields": () if data.users else data.user_fields,
            "context_fields": [name for name in data.context_fields if name not in TIME_FIELDS],
        }
        for key, names in declared.items():
            texts |= {field_column(name): (f"data.{key}.{name}", name) for name in names}
        return texts

    def _build_schemas(self) -> tuple[pa.Schema, pa.Schema]:
        time = [("timestamp", pa.int64())] if self._has_times else []
        samples = [
            *(("user", pa.string()), ("item", pa.string()), *time, ("label", pa.int8())),
            *((name, pa.string()) for name in self._texts),
            *([("weight", pa.float64())] if self.layout.columns.weight is not None else []),
            *(("split", pa.string()), ("item_code", pa.int32()), ("history", pa.int64()), ("ordinal", pa.int64())),
        ]
        histories = [("history", pa.int64()), ("user", pa.string()), *time]
        for place, sequence in enumerate(self.layout.sequences.values()):
            for role in self._name_roles(sequence):
                kind = pa.int64() if role == "timestamp" else pa.int32()
                histories.append((f"{role} {place}", pa.list_(kind)))
        return pa.schema(samples), pa.schema(histories)

    def _name_roles(self, sequence: SequenceConfig) -> dict[str, Column]:
        """What is kept of a sequence: role or field -> its column."""
        roles = {"item": sequence.item, "category": sequence.category, "timestamp": sequence.timestamp}
        fields = {name: column for name, column in sequence.fields.items() if name in self._data.behaviour_fields}
        return {role: column for role, column in (roles | fields).items() if column is not None}

    def read_file(self, split: str, rejects: Rejects, progress: Progress) -> None:
        """Append a file's good rows."""
        path, report = rejects.report.path, rejects.report
        file = open_row_file(path, self._data.format)
        roles = self._resolve_roles(file)
        sequences = [self._open_sequence(name, file) for name in self.layout.sequences]
        _check_types(file, sequences)
        separators = Separators(sequences[0].form.separator, str(sequences[0].config.item))
        wanted = [*roles.values(), *(name for each in sequences for names in each.columns.values() for name in names)]
        for chunk in file.read_chunks(_CHUNK_ROWS, progress, columns=list(dict.fromkeys(wanted))):
            before = report.lines
            rows, histories, faults = self._parse(chunk, roles, sequences)
            for row in np.flatnonzero(~faults.good).tolist():
                report.lines = before + row + 1
                rejects.add(int(chunk.lines[row]), str(faults.reasons[row]), chunk.show(row))
            report.lines = before + chunk.table.num_rows
            report.kept += self._write(split, rows, histories, faults.good, separators)
        if self.layout.impressions is not None:
            report.note("samples of its requests", self._rows_written)
        rejects.check_share()
        rejects.check_kept()
        separators.check(report, self._data.max_bad_share)

    def _resolve_roles(self, file: RowFile) -> dict[str, str]:
        """Role, or column of the normalised file -> the file's column.

        Raises:
            DataError: with one line for each that the file does not have.
        """
        columns = self.layout.columns
        given: dict[str, tuple[str, Column | None]] = {
            role: (f"data.columns.{role}", getattr(columns, role)) for role in ("label", "user", "item", "weight")
        }
        if self._has_times:
            given["timestamp"] = ("data.columns.timestamp", columns.timestamp)
        if self.layout.impressions is not None:
            given |= {"impressions": ("data.impressions", self.layout.impressions), "item": ("", None)}
        given |= self._texts
        names = {role: (key, column) for role, (key, column) in given.items() if column is not None}
        found = _resolve(file, {key: column for key, column in names.values()})
        return {role: found[key] for role, (key, _) in names.items()}

    def _open_sequence(self, name: str, file: RowFile) -> SequenceReader:
        sequence = self.layout.sequences[name]
        separator = sequence.separator or self._data.history_separator or "^"
        found = {}
        for role, column in self._name_roles(sequence).items():
            several = find_sequence_columns(column, file.schema.names) if isinstance(column, str) else [column]
            key = f"data.sequences.{name}.{role}"
            found[role] = [each if len(several) > 1 else file.resolve(each, key) for each in several]
        return SequenceReader(name, sequence, found, HistoryFormat(separator, self._nulls))

    def _parse(
        self, chunk: Chunk, roles: Mapping[str, str], sequences: Sequence[SequenceReader]
    ) -> tuple[dict[str, Any], list[dict[str, Lists]], _Faults]:
        """The rows' columns (of impressions, lists of items and labels), their sequences, and what is wrong."""
        faults = _Faults(chunk)
        columns = {role: chunk.table[name].combine_chunks() for role, name in roles.items()}
        texts = {}
        for role in columns.keys() - {"label", "timestamp", "weight"}:
            texts[role], no_text = take_text(columns[role])
            faults.add("invalid UTF-8", no_text)
            faults.add("NUL character", _mask(pc.match_substring(texts[role], "\0")))
        rows: dict[str, Any] = {role: drop_null_values(texts[role], self._nulls) for role in self._texts}
        if "label" in columns:
            rows["label"], of_labels = _take_labels(columns["label"], self._nulls)
            for reason, where in of_labels.items():
                faults.add(reason, where)
        for role in ("user", "item"):
            if role in texts:
                rows[role] = texts[role]
                no_id = pc.or_kleene(pc.is_null(texts[role]), find_null_values(texts[role], self._nulls))
                faults.add(f"no {roles[role]}", _mask(no_id))
                faults.add(f"empty {roles[role]}", _mask(pc.equal(texts[role], "")))
        if "timestamp" in columns:
            rows["timestamp"], of_times = _take_times(columns["timestamp"], self.unit)
            for reason, where in {**of_times, "no timestamp": _mask(pc.is_null(rows["timestamp"]))}.items():
                faults.add(reason, where)
        if "weight" in columns:
            rows["weight"], no_weight = _take_weights(columns["weight"])
            faults.add("weight not a number", no_weight)
        if "impressions" in texts:
            rows["impressions"], rows["labels"], no_labels = _take_impressions(texts["impressions"])
            faults.add("impressions not ITEM-0 or ITEM-1", no_labels)
        histories = []
        for place, sequence in enumerate(sequences):
            unit = self.units[place]
            lists, of_sequence = sequence.read(chunk.table, lambda values, unit=unit: _take_times(values, unit))
            for reason, where in of_sequence.items():
                faults.add(reason, where)
            histories.append(lists)
        return rows, histories, faults

    def _write(
        self,
        split: str,
        rows: Mapping[str, Any],
        histories: Sequence[Mapping[str, Lists]],
        good: Mask,
        separators: Separators,
    ) -> int:
        """Append the good rows; how many."""
        places = np.flatnonzero(good)
        numbers = np.arange(self._histories_written, self._histories_written + len(places))
        self._histories_written += len(places)
        columns = {"history": pa.array(numbers), **{name: rows[name].filter(pa.array(good)) for name in ("user",)}}
        columns |= {"timestamp": rows["timestamp"].filter(pa.array(good))} if self._has_times else {}
        for place, lists in enumerate(histories):
            for role, each in lists.items():
                kept = Lists(each.values.filter(pa.array(np.repeat(good, each.lengths))), each.lengths[good])
                if role == "item" and place == 0 and self.layout.impressions is None:
                    separators.look_at(rows["item"].filter(pa.array(good)), kept)
                values = kept.values if role == "timestamp" else self._codes_of(role).encode(kept.values)
                offsets = np.append(0, np.cumsum(kept.lengths)).astype(np.int32)
                columns[f"{role} {place}"] = pa.ListArray.from_arrays(pa.array(offsets), values)
        self._histories.write_table(pa.table(columns).select(self._schemas[1].names).cast(self._schemas[1]))
        self._write_samples(split, rows, places, numbers)
        return len(places)

    def _write_samples(self, split: str, rows: Mapping[str, Any], places: Any, numbers: Any) -> None:
        columns = dict(rows)
        if self.layout.impressions is not None:
            shown: Lists = columns.pop("impressions")
            counts, firsts = shown.lengths[places], shown.offsets[places]
            each = np.repeat(firsts - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
            of_requests = {"item": shown.values.take(pa.array(each)), "label": columns.pop("labels").take(pa.array(each))}
            places, numbers = np.repeat(places, counts), np.repeat(numbers, counts)
        else:
            of_requests = {}
        size = len(places)
        taken = {name: column.take(pa.array(places)) for name, column in columns.items()} | of_requests
        taken.setdefault("label", pa.array(np.ones(size, np.int8)))
        taken |= {
            "split": pa.repeat(split, size),
            "item_code": self.items.encode(taken["item"]),
            "history": pa.array(numbers),
            "ordinal": pa.array(np.arange(self._rows_written, self._rows_written + size)),
        }
        self._samples.write_table(pa.table(taken).select(self._schemas[0].names).cast(self._schemas[0]))
        self._rows_written += size

    def _codes_of(self, role: str) -> _Codes:
        return self.items if role == "item" else self.values.setdefault(role, _Codes())


def _resolve(file: RowFile, columns: Mapping[str, Column]) -> dict[str, str]:
    """Config key -> the file's column."""
    found, problems = {}, []
    for key, column in columns.items():
        try:
            found[key] = file.resolve(column, key)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return found


def _check_types(file: RowFile, sequences: Sequence[SequenceReader]) -> None:
    problems = []
    for sequence in sequences:
        for role, columns in sequence.columns.items():
            for name in columns:
                kind = file.schema.field(name).type
                value = kind.value_type if is_list(kind) else kind
                if pa.types.is_nested(value):
                    problems.append(
                        f"{file.path}: data.sequences.{sequence.name}.{role}: column '{name}' is of type {kind}, "
                        "expected lists of ids, or text; convert the column, or name another"
                    )
    if problems:
        raise DataError(problems)


def _take_impressions(texts: Any) -> tuple[Lists, Any, Mask]:
    """Items and int8 labels of `N1-0 N2-1`, and where a row has none or is not written so."""
    lists = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.fill_null(texts, "")))
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    shown = Lists(pc.list_flatten(lists), lengths)
    bad = ~_mask(pc.match_substring_regex(shown.values, r"^.+-[01]$"))
    labels = pc.equal(pc.utf8_slice_codeunits(shown.values, -1), "1").cast(pa.int8())
    items = pc.utf8_slice_codeunits(shown.values, 0, -2)
    return Lists(items, lengths), labels, shown.find_rows(bad)


def _take_times(column: Any, unit: TimeUnit) -> tuple[Any, dict[str, Mask]]:
    """Int64 times in the log's unit (null: none), and where one cannot be used, by reason."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    reasons: dict[str, Mask] = {}
    if pa.types.is_timestamp(column.type):
        unit.unit = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[column.type.unit]
        return column.cast(pa.int64()), reasons
    if not pa.types.is_integer(column.type):
        distinct = take_text(column)[0].dictionary_encode()
        parsed: list[int | None] = []
        found: list[str | None] = []
        for text in distinct.dictionary.to_pylist():
            try:
                parsed.append(parse_timestamp(text))
                found.append(None)
            except BadLine as bad:
                parsed.append(None)
                found.append(bad.reason)
        texts = pa.array(found, pa.string()).take(distinct.indices)
        reasons = {reason: _mask(pc.equal(texts, reason)) for reason in set(found) if reason is not None}
        column = pa.array(parsed, pa.int64()).take(distinct.indices)
    column = column.cast(pa.int64())
    reasons["negative timestamp"] = _mask(pc.less(column, 0))
    return column, reasons | unit.find_other(pc.fill_null(column, 0).to_numpy(zero_copy_only=False))


def _take_weights(column: Any) -> tuple[Any, Mask]:
    """Doubles, and where a value is no number of at least 0."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        texts = take_text(column)[0]
        is_number = pc.match_substring_regex(texts, _NUMBER)
        column = pc.if_else(pc.fill_null(is_number, False), texts, None)
    numbers = column.cast(pa.float64())
    good = _mask(pc.and_(pc.is_finite(numbers), pc.greater_equal(numbers, 0)))
    return numbers, ~good


def _mask(column: Any) -> Mask:
    """Nulls are False."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)

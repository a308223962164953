"""Rows that are samples and hold their histories (`data.source: rows`, and its preset `x1`) -> normalised Parquet.

    x1: label,user_id,item_id,cate_id,item_history,cate_history
        1,0,7,3,0^1^2,3^10^211

Every good row is kept, in order. A row of `data.impressions` (`N1-0 N2-1`) is a request: one sample per item in it.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.data import TIME_FIELDS
from din_train.config.file_formats import Column
from din_train.config.rows import SequenceConfig
from din_train.logs.bad_rows import BadRows
from din_train.logs.columns import check_roles_differ, check_types, note_doubtful_header, resolve_columns
from din_train.logs.equal_files import check_contents_differ
from din_train.logs.event_writer import list_numbers, measure_events
from din_train.logs.expressions import (
    Mask,
    Reasons,
    flatten,
    take_field,
    take_ids,
    take_list,
    take_text,
    take_weights,
    to_mask,
)
from din_train.logs.history_text import HistoryFormat
from din_train.logs.labels import LabelRule
from din_train.logs.log import FileReport, Progress, RawLog, field_column
from din_train.logs.rejects import Rejects
from din_train.logs.row_files import Chunk, RowFile, open_row_file
from din_train.logs.sequences import Lists, Separators, SequenceReader, find_sequence_columns
from din_train.logs.side_table import choose_side_fields, read_side_table
from din_train.logs.text_codes import TextCodes
from din_train.logs.times import TimeReader

ROW_SPLITS = ("train", "validation", "test")
_NORMALISED = ("rows.parquet", "histories.parquet")
_CHUNK_ROWS = 20_000  # fewer than of a log, since a row holds a history
# Role -> the kind that its column must be of; other columns are fields.
_KINDS = {"user": "id", "item": "id", "impressions": "id", "timestamp": "time", "label": "label", "weight": "weight"}
X1_COLUMNS = ("label", "user_id", "item_id", "cate_id", "item_history", "cate_history")


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
        int64 (into `histories`) and, where rows have one, weight float.
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
        layout = describe_rows(data)
        of_sides = choose_side_fields(data, layout.columns, next(iter(files.values()))[0])
        reader = _Reader(data, layout, of_sides, folder, stack)
        reports = []
        for split, paths in files.items():
            for path in paths:
                reports.append(FileReport(path))
                reader.read_file(split, Rejects(rejected, reports[-1], data), progress)
        sides = {"item": data.items, "user": data.users}
        for key, side in sides.items():
            if side is not None:
                reports.append(FileReport(side.path))
                rejects = Rejects(rejected, reports[-1], data)
                table = read_side_table(data, key, side, of_sides[key], rejects, progress)
                pq.write_table(table, folder / f"{key}s.parquet")
    log = RawLog(
        events=folder / "rows.parquet",
        items=folder / "items.parquet" if data.items else None,
        users=folder / "users.parquet" if data.users else None,
        rejected=folder / "rejected.jsonl",
        reports=tuple(reports),
        labelled=reader.layout.is_labelled,
        ticks=None if reader.times is None else reader.times.ticks,
        measures=measure_events(folder / "rows.parquet"),
    )
    return RawSamples(
        log=log,
        layout=reader.layout,
        histories=folder / "histories.parquet",
        items=reader.items.texts,
        values={name: codes.texts for name, codes in reader.values.items()},
        ticks={place: each.ticks for place, each in enumerate(reader.behaviour_times) if each is not None},
    )


class _Reader:
    """Reads files one after the other into one normalised file of samples and one of histories."""

    def __init__(
        self,
        data: DataConfig,
        layout: RowLayout,
        of_sides: Mapping[str, Sequence[str]],
        folder: Path,
        stack: ExitStack,
    ) -> None:
        self.layout = layout
        self._data, self._of_sides = data, of_sides
        self._nulls = frozenset(data.null_values)
        self._labels = LabelRule(self.layout.columns.label_at_least)
        columns, sequences = self.layout.columns, self.layout.sequences.values()
        self.items = TextCodes()
        self.values: dict[str, TextCodes] = {}
        self.times = None if columns.timestamp is None else TimeReader(columns, self._nulls)
        self.behaviour_times = [TimeReader(columns, self._nulls) if each.timestamp else None for each in sequences]
        self._texts = self._name_texts()
        separators = {field_column(name): each.separator for name, each in (data.list_fields or {}).items()}
        self._lists = {name: separator for name, separator in separators.items() if name in self._texts}
        self._rows_written = self._histories_written = 0
        self._schemas = self._build_schemas()
        dictionaries = (["split", *self._texts], False)
        self._samples, self._histories = (
            stack.enter_context(
                pq.ParquetWriter(folder / name, schema, use_dictionary=texts, write_statistics=list_numbers(schema))
            )
            for name, schema, texts in zip(_NORMALISED, self._schemas, dictionaries, strict=True)
        )

    def _name_texts(self) -> dict[str, tuple[str, Column]]:
        """Column of the normalised file -> config key and column of the files: those that no other table has."""
        data, columns, of_sides = self._data, self.layout.columns, self._of_sides
        roles = {
            "category": None if "category" in of_sides["item"] else columns.category,
            "request": columns.request,
        }
        texts = {role: (f"data.columns.{role}", column) for role, column in roles.items() if column is not None}
        declared = {
            "item_fields": [name for name in data.item_fields if name not in of_sides["item"]],
            "user_fields": [name for name in data.user_fields if name not in of_sides["user"]],
            "context_fields": [name for name in data.context_fields if name not in TIME_FIELDS],
        }
        for key, names in declared.items():
            texts |= {field_column(name): (f"data.{key}.{name}", name) for name in names}
        return texts

    def _build_schemas(self) -> tuple[pa.Schema, pa.Schema]:
        time = [] if self.times is None else [("timestamp", pa.int64())]
        samples = [
            *(("user", pa.string()), ("item", pa.string()), *time, ("label", pa.int8())),
            *((name, pa.list_(pa.string()) if name in self._lists else pa.string()) for name in self._texts),
            *([("weight", pa.float32())] if self.layout.columns.weight is not None else []),
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
        roles, sequences = self._resolve(file)
        columns = (self.layout.columns.user, self.layout.columns.item or self.layout.impressions)
        note_doubtful_header(report, [each for each in columns if each is not None], file, self._data.format)
        before = self._rows_written
        separators = Separators(sequences[0].form.separator, roles.get("item", "item"))
        wanted = [*roles.values(), *(name for each in sequences for names in each.columns.values() for name in names)]
        for chunk in file.read_chunks(_CHUNK_ROWS, progress, columns=list(dict.fromkeys(wanted))):
            rows, histories, bad = self._parse(chunk, roles, sequences)
            bad.reject(chunk, rejects)
            report.kept += self._write(split, rows, histories, bad.usable, separators)
        if self.layout.impressions is not None:
            report.note("samples of its requests", self._rows_written - before)
        rejects.check_share()
        rejects.check_kept()
        separators.check(report, self._data.max_bad_share)

    def _resolve(self, file: RowFile) -> tuple[dict[str, str], list[SequenceReader]]:
        """Role, or column of the normalised file -> the file's column; and readers of its sequences.

        Raises:
            DataError: with one line for each column that the file does not have, or whose type will not do.
        """
        columns, sequences = self.layout.columns, self.layout.sequences
        given: dict[str, tuple[str, Column | None]] = {
            role: (f"data.columns.{role}", getattr(columns, role))
            for role in ("label", "user", "item", "timestamp", "weight")
        }
        given |= {"impressions": ("data.impressions", self.layout.impressions), **self._texts}
        roles = {role: (key, column) for role, (key, column) in given.items() if column is not None}
        parallel = {name: self._name_roles(sequence) for name, sequence in sequences.items()}
        numbered = {
            f"data.sequences.{name}.{role}": find_sequence_columns(str(column), file.schema.names)
            for name, of_sequence in parallel.items()
            for role, column in of_sequence.items()
        }
        single = {
            key: column
            for name, of_sequence in parallel.items()
            for role, column in of_sequence.items()
            if len(numbered[key := f"data.sequences.{name}.{role}"]) == 1
        }
        found = resolve_columns(dict(roles.values()) | single, file)
        check_roles_differ({role: (key, found[key]) for role, (key, _) in roles.items()}, file.path)
        kinds = {key: (_KINDS.get(role, self._kind_of(role)), [found[key]]) for role, (key, _) in roles.items()}
        kinds |= {
            key: ("times" if key.endswith(".timestamp") else "list", [found[key]] if key in found else names)
            for key, names in numbered.items()
        }
        check_types(((key, kind, name) for key, (kind, names) in kinds.items() for name in names), file)
        readers = []
        for name, of_sequence in parallel.items():
            separator = sequences[name].separator or self._data.history_separator or "^"
            names_of = {role: kinds[f"data.sequences.{name}.{role}"][1] for role in of_sequence}
            readers.append(SequenceReader(name, sequences[name], names_of, HistoryFormat(separator, self._nulls)))
        return {role: found[key] for role, (key, _) in roles.items()}, readers

    def _kind_of(self, text: str) -> str:
        return "list" if text in self._lists else "field"

    def _parse(
        self, chunk: Chunk, roles: Mapping[str, str], sequences: Sequence[SequenceReader]
    ) -> tuple[dict[str, Any], list[dict[str, Lists]], BadRows]:
        """The rows' columns (of impressions, lists of items and labels), their sequences, and what is wrong."""
        bad = BadRows(chunk)
        columns = {role: flatten(chunk.table[name]) for role, name in roles.items()}
        rows: dict[str, Any] = {}
        if "label" in columns:
            rows["label"], of_labels = self._labels.read(bad.hide(columns["label"]), self._nulls)
            bad.add(of_labels)
        for role in ("user", "item"):
            if role in columns:
                rows[role], of_ids = take_ids(columns[role], roles[role], self._nulls)
                bad.add(of_ids)
        for role in self._texts:
            if role in self._lists:
                rows[role], of_texts = take_list(columns[role], self._lists[role], self._nulls)
            else:
                rows[role], of_texts = take_field(columns[role], self._nulls)
            bad.add(of_texts)
        if "weight" in columns:
            rows["weight"], of_weights = take_weights(columns["weight"], self._nulls)
            bad.add(of_weights)
        if "impressions" in columns:
            rows["impressions"], rows["labels"], of_impressions = _take_impressions(columns["impressions"])
            bad.add(of_impressions)
        if self.times is not None:
            times, of_times = self.times.read(columns["timestamp"], bad.usable)
            rows["timestamp"] = pa.array(times)
            bad.add(of_times)
        histories = []
        for place, sequence in enumerate(sequences):
            lists, of_sequence = sequence.read(chunk.table, self.behaviour_times[place])
            bad.add(of_sequence)
            histories.append(lists)
        return rows, histories, bad

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
        columns |= {} if self.times is None else {"timestamp": rows["timestamp"].filter(pa.array(good))}
        for place, lists in enumerate(histories):
            for role, each in lists.items():
                kept = each
                if not good.all():
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
            of_requests = {
                "item": shown.values.take(pa.array(each)),
                "label": columns.pop("labels").take(pa.array(each)),
            }
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

    def _codes_of(self, role: str) -> TextCodes:
        return self.items if role == "item" else self.values.setdefault(role, TextCodes())


def _take_impressions(column: Any) -> tuple[Lists, Any, Reasons]:
    """Items and int8 labels of `N1-0 N2-1`, and where a row has none or is not written so."""
    texts, broken = take_text(column)
    lists = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.fill_null(texts, "")))
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    shown = Lists(pc.list_flatten(lists), lengths)
    bad = ~to_mask(pc.match_substring_regex(shown.values, r"^.+-[01]$"))
    labels = pc.equal(pc.utf8_slice_codeunits(shown.values, -1), "1").cast(pa.int8())
    items = Lists(pc.utf8_slice_codeunits(shown.values, 0, -2), lengths)
    return items, labels, {"invalid UTF-8": broken, "impressions not ITEM-0 or ITEM-1": shown.find_rows(bad)}

"""Any log with one event a row, of one file or many: which column is which, and what is wrong with a row.

The formats that have a source of their own (MovieLens, Taobao, Amazon's ratings) are presets: a `TableSource` that says
their columns, units and types.
"""

import copy
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.column_roles import FILE_ORDER
from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.config.file_formats import Column, FormatConfig
from din_train.errors import ConfigError, DataError
from din_train.logs.bad_rows import CHUNK_ROWS, BadRows
from din_train.logs.columns import check_roles_differ, check_types, note_doubtful_header, resolve_columns
from din_train.logs.equal_files import check_contents_differ
from din_train.logs.event_types import EventTypes
from din_train.logs.event_writer import EventWriter, measure_events
from din_train.logs.expressions import (
    Mask,
    Reasons,
    flatten,
    take_field,
    take_ids,
    take_list,
    take_weights,
    to_mask,
)
from din_train.logs.labels import LabelRule
from din_train.logs.lines import Piece
from din_train.logs.log import Cluster, FileReport, Measures, Offset, Progress, RawLog, field_column
from din_train.logs.log_pieces import OpenFile, Part, State, read_on_cluster
from din_train.logs.rejects import Rejects
from din_train.logs.row_files import Chunk, RowFile, open_row_file
from din_train.logs.side_table import choose_side_fields, read_side_table
from din_train.logs.time_unit import guess_unit
from din_train.logs.times import TimeReader

# How the column of a role is read (see `expressions`); all others are fields.
_KINDS = {"user": "id", "item": "id", "timestamp": "time", "label": "label", "weight": "weight"}


@dataclass(frozen=True)
class TableSource:
    """What the columns of a log mean.

    format: of text; what it leaves out is told by each file.
    fields: column of the normalised events (`category`, `request`, a field) -> config key and column of the table.
    label_rule, types: how labels and types are read, if they are not as `data.columns` says.
    keys: role -> the config key that names its column, for messages.
    """

    columns: ColumnsConfig
    format: FormatConfig | None = None
    fields: Mapping[str, tuple[str, Column]] = field(default_factory=dict)
    label_rule: LabelRule | None = None
    types: EventTypes | None = None
    keys: Mapping[str, str] = field(default_factory=dict)

    def name_columns(self) -> dict[str, tuple[str, Column]]:
        """Role or column of the events -> config key and column of the table."""
        roles = ("user", "item", "timestamp", "label", "weight")
        wanted = {role: getattr(self.columns, role) for role in roles}
        wanted["events"] = None if self.columns.events is None else self.columns.events.column
        keys = {"events": "data.columns.events.column", **self.keys}
        named = {
            role: (keys.get(role, f"data.columns.{role}"), column)
            for role, column in wanted.items()
            if column is not None and (role, column) != ("timestamp", FILE_ORDER)
        }
        return {**named, **self.fields}


def read_table(
    data: DataConfig,
    columns: ColumnsConfig,
    paths: Sequence[Path],
    folder: Path,
    progress: Progress,
    cluster: Cluster | None = None,
) -> RawLog:
    """Read tables of events, in the order given, into files in `folder`, and those of item and user fields.

    Raises:
        DataError: if a file cannot be read, lacks a column or has too many bad lines, or there is no event.
        ConfigError: if the names of two fields are one to DuckDB.
    """
    of_sides = choose_side_fields(data, columns, paths[0])
    source = TableSource(columns, data.format, _name_fields(data, columns, of_sides))
    if cluster is None:
        of_events = [str(column) for name, (_, column) in source.fields.items() if name == field_column(str(column))]
        for names in (of_events, data.item_fields, data.user_fields):
            _check_more_than_case_differs(names)
    log = read_events(data, source, paths, folder, progress, cluster)
    with log.rejected.open("ab") as rejected:
        for key, side in (("item", data.items), ("user", data.users)):
            if side is None:
                continue
            report = FileReport(side.path)
            table = read_side_table(data, key, side, of_sides[key], Rejects(rejected, report, data), progress)
            path = folder / f"{key}s.parquet"
            pq.write_table(table, path)
            log = replace(log, items=path) if key == "item" else replace(log, users=path)
            log = replace(log, reports=(*log.reports, report))
    return log


def _name_fields(
    data: DataConfig, columns: ColumnsConfig, of_sides: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, Column]]:
    """Column of the events file -> config key and column of the table: those that no other table has."""
    fields: dict[str, tuple[str, Column]] = {}
    for role in ("category", "request"):
        column = getattr(columns, role)
        if column is not None and role not in of_sides["item"]:
            fields[role] = (f"data.columns.{role}", column)
    declared = {
        "item_fields": [name for name in data.item_fields if name not in of_sides["item"]],
        "user_fields": [name for name in data.user_fields if name not in of_sides["user"]],
        "context_fields": [name for name in data.context_fields if name not in TIME_FIELDS],
        "behaviour_fields": [name for name in data.behaviour_fields if name not in (*data.context_fields, TIME_GAP)],
    }
    for key, names in declared.items():
        fields |= {field_column(name): (f"data.{key}.{name}", name) for name in names}
    return fields


def _check_more_than_case_differs(names: Iterable[str]) -> None:
    """DuckDB takes columns of a table for one if their names differ only in small and large ASCII letters.

    Args:
        names: of fields in one table.

    Raises:
        ConfigError: if two of them are one to DuckDB.
    """
    seen: dict[bytes, str] = {}
    for name in names:
        other = seen.setdefault(name.encode().lower(), name)
        if other != name:
            raise ConfigError(
                f"data: the fields '{other}' and '{name}' differ only in small and large letters, so DuckDB takes them "
                "for one; rename one of the columns, or set data.engine to spark"
            )


def read_events(
    data: DataConfig,
    source: TableSource,
    paths: Sequence[Path],
    folder: Path,
    progress: Progress,
    cluster: Cluster | None = None,
) -> RawLog:
    """Read tables of events, in the order given, into `events.parquet` and `rejected.jsonl` in `folder`.

    Args:
        cluster: if given, its tasks read pieces of the files into Parquet files in its folder instead.

    Raises:
        DataError: if a file cannot be read, lacks a column or has too many bad lines, or there is no event.
    """
    check_contents_differ(paths)
    reader = EventReader(data, source)
    reports = tuple(FileReport(path) for path in paths)
    events_path, rejected_path = folder / "events.parquet", folder / "rejected.jsonl"
    offsets: tuple[Offset, ...] = ()
    with rejected_path.open("wb") as rejected:
        rejects = [Rejects(rejected, report, data) for report in reports]
        if cluster is None:
            with EventWriter(events_path, reader.schema) as events:
                for each in rejects:
                    for columns in reader.read(reader.open(each.report), each, progress):
                        events.add_columns(columns)
                    each.check_share()
            measures = measure_events(events_path)
        else:
            events_path = cluster.folder / "raw"
            offsets, measures = read_on_cluster(reader, rejects, events_path, cluster, progress)
        remarks = () if reader.types is None else reader.types.check(data.events)
        if not sum(report.kept for report in reports):
            rejects[0].check_kept()
    return RawLog(
        events=events_path,
        items=None,
        users=None,
        rejected=rejected_path,
        reports=reports,
        labelled=source.columns.is_labelled,
        ticks=reader.times.ticks,
        click_window=reader.click_window,
        remarks=remarks,
        measures=measures,
        offsets=offsets,
        in_file_order=source.columns.timestamp == FILE_ORDER,
    )


class EventReader:
    """Reads the files of one log; what one file tells (the form of times, of labels) holds for the next."""

    def __init__(self, data: DataConfig, source: TableSource) -> None:
        columns = source.columns
        self._data, self._source, self._columns = data, source, columns
        self._nulls = frozenset(data.null_values)
        self.times = TimeReader(columns, self._nulls)
        self._labels = source.label_rule or LabelRule(columns.label_at_least)
        self.types = source.types
        if self.types is None and columns.events is not None:
            self.types = EventTypes(columns.events)
        has_impressions = columns.events is not None and bool(columns.events.impression)
        self.click_window = columns.events.click_window if columns.events is not None and has_impressions else None
        self._lists = {
            field_column(name): each.separator
            for name, each in (data.list_fields or {}).items()
            if field_column(name) in source.fields
        }
        label = [] if not columns.is_labelled else [pa.field("click" if has_impressions else "label", pa.int8())]
        weight = [] if columns.weight is None else [pa.field("weight", pa.float32())]
        text, texts = pa.string(), pa.list_(pa.string())
        fields = [pa.field(name, texts if name in self._lists else text) for name in source.fields]
        self.schema = [*label, *weight, *fields]

    @property
    def state(self) -> State:
        return *self.times.state, self._labels.has_minus_one

    @state.setter
    def state(self, state: State) -> None:
        form, has_numbers, self._labels.has_minus_one = state
        self.times.state = form, has_numbers

    def open(self, report: FileReport) -> OpenFile:
        """Find the columns of a file."""
        file = open_row_file(report.path, self._source.format)
        names = self._resolve(file)
        given = [column for _, column in self._source.name_columns().values()]
        note_doubtful_header(report, given, file, self._source.format)
        return OpenFile(file, names)

    def read_beginning(self, file: OpenFile) -> State:
        """What the first rows of a file tell of the others; nothing else is remembered of them."""
        reader = copy.deepcopy(self)
        rejects = Rejects(io.BytesIO(), FileReport(file.rows.path), self._data, is_part=True)
        next(reader.read(file, rejects, lambda _bytes: None), None)
        return reader.state

    def start_part(self, part: Part) -> Rejects:
        """The lines of a part that cannot be used: none so far."""
        report = FileReport(part.file.rows.path)
        is_beginning = part.piece is None or part.piece.start == 0
        return Rejects(
            io.BytesIO(), report, self._data, most_texts=part.most_texts, is_part=True, is_beginning=is_beginning
        )

    def shift(self, measures: Measures, offset: Offset) -> Measures:
        """Those of a part in the whole log, in which times that are the order of rows go on."""
        if self._columns.timestamp != FILE_ORDER or not measures.rows:
            return measures
        least, most = measures.ranges["timestamp"]
        shifted = {**measures.ranges, "timestamp": (least + offset.rows, most + offset.rows)}
        return Measures(measures.rows, shifted)

    def read(
        self, file: OpenFile, rejects: Rejects, progress: Progress, piece: Piece | None = None
    ) -> Iterator[list[Any]]:
        """Yield the good rows of a file, a chunk at a time, as columns in the order of `schema`.

        Args:
            piece: of the file; if given, only its rows.
        """
        report, names = rejects.report, file.names
        for chunk in file.rows.read_chunks(CHUNK_ROWS, progress, list(dict.fromkeys(names.values())), piece):
            bad = BadRows(chunk)
            columns, wanted = self._type_rows(chunk, names, bad, report)
            if file.rows.has_header and file.rows.dialect is not None and "timestamp" not in names:
                bad.add({"the header again": _find_header(columns, names)})
            bad.reject(chunk, rejects)
            kept = wanted & bad.usable
            if not kept.all():
                columns = {name: column.filter(pa.array(kept)) for name, column in columns.items()}
            report.kept += int(kept.sum())
            if "category" in columns:
                report.note("no category", columns["category"].null_count)
            yield list(columns.values())

    def _resolve(self, file: RowFile) -> dict[str, str]:
        """Role or column of the events -> name of the file's column."""
        named = self._source.name_columns()
        timestamp = str(self._columns.timestamp)
        if timestamp.isdecimal() and 8 < len(timestamp) < 20 and guess_unit(int(timestamp)):
            raise DataError(
                f"{file.path}: data.columns.timestamp: '{timestamp}' is a time and no column's name, so its first "
                "line is an event and no header; put a header line first, or set data.format.header to false and give "
                "positions"
            )
        names = resolve_columns(dict(named.values()), file)
        kinds = {role: _KINDS.get(role, "list" if role in self._lists else "field") for role in named}
        check_types(((key, kinds[role], names[key]) for role, (key, _) in named.items()), file)
        check_roles_differ({role: (key, names[key]) for role, (key, _) in named.items()}, file.path)
        return {role: names[key] for role, (key, _) in named.items()}

    def _type_rows(
        self, chunk: Chunk, names: Mapping[str, str], bad: BadRows, report: FileReport
    ) -> tuple[dict[str, Any], Mask]:
        """The events of a chunk, [rows] some of them bad, and [rows] whether a row is of a type that is wanted."""
        table = {name: flatten(chunk.table[name]) for name in dict.fromkeys(names.values())}
        nulls, wanted = self._nulls, np.ones(chunk.table.num_rows, bool)
        user, of_user = take_ids(table[names["user"]], "user", nulls)
        item, of_item = take_ids(table[names["item"]], "item", nulls)
        bad.add(of_user)
        bad.add(of_item)
        more: dict[str, Any] = {}
        if "label" in names:
            more["label"], of_labels = self._labels.read(bad.hide(table[names["label"]]), nulls)
            bad.add(of_labels)
        if "weight" in names:
            more["weight"], of_weights = take_weights(table[names["weight"]], nulls)
            bad.add(of_weights)
        for name in self._source.fields:
            column = table[names[name]]
            if name in self._lists:
                more[name], of_field = take_list(column, self._lists[name], nulls)
            else:
                more[name], of_field = take_field(column, nulls)
            bad.add(of_field)
        if self.types is not None:
            types, of_types = take_field(table[names["events"]], frozenset())
            bad.add(of_types)
            click, wanted, unknown = self.types.read(types, bad.usable, report)
            bad.add({f"unknown {self.types.what} type": unknown})
            if self.click_window is not None:
                more = {"click": pa.array(click.astype(np.int8)), **more}
        if "timestamp" in names:
            times, of_times = self._read_times(table[names["timestamp"]], bad.usable & wanted, report.path)
            bad.add({reason: mask & wanted for reason, mask in of_times.items()})
        else:
            times = self.times.number_rows(len(wanted))
        return {"user": user, "item": item, "timestamp": pa.array(times), **more}, wanted

    def _read_times(self, column: Any, usable: Mask, path: Path) -> tuple[Any, Reasons]:
        try:
            return self.times.read(column, usable)
        except DataError as error:
            raise DataError([f"{path}: {problem}" for problem in error.problems]) from None


def _find_header(events: Mapping[str, Any], names: Mapping[str, str]) -> Mask:
    """[rows] whether a row of text is the header, as in the middle of files that were joined.

    In a log with times such a row is bad anyway.
    """
    return to_mask(pc.and_(pc.equal(events["user"], names["user"]), pc.equal(events["item"], names["item"])))

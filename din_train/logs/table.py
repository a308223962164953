"""Any log with one event a row: CSV, TSV (plain or .gz) or Parquet, told apart by content; one file or many."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.errors import DataError
from din_train.logs.delimited import parse_header
from din_train.logs.equal_files import check_contents_differ
from din_train.logs.event_writer import EventWriter
from din_train.logs.lines import read_magic
from din_train.logs.log import FileReport, Progress, RawLog, field_column
from din_train.logs.rejects import Rejects
from din_train.logs.side_table import read_side_table
from din_train.logs.table_parquet import read_parquet
from din_train.logs.table_text import Layout, read_text
from din_train.logs.time_unit import TimeUnit, guess_unit


def read_table(
    data: DataConfig, columns: ColumnsConfig, paths: Sequence[Path], folder: Path, progress: Progress
) -> RawLog:
    """Read tables of events, in the order given, into files in `folder`, and those of item and user fields.

    Raises:
        DataError: where a file cannot be read, lacks a column or has too many bad lines, or there is no event.
    """
    check_contents_differ(paths)
    texts = _name_texts(data, columns)
    reports = [FileReport(path) for path in paths]
    sides = {"item": data.items, "user": data.users}
    side_reports = {key: FileReport(side.path) for key, side in sides.items() if side is not None}
    unit = TimeUnit()
    log = RawLog(
        events=folder / "events.parquet",
        items=folder / "items.parquet" if data.items else None,
        users=folder / "users.parquet" if data.users else None,
        rejected=folder / "rejected.jsonl",
        reports=(*reports, *side_reports.values()),
        labelled=columns.label is not None,
        ticks=None,
    )
    with log.rejected.open("wb") as rejected:
        with EventWriter(log.events, labelled=log.labelled, texts=list(texts)) as events:
            rejects = [Rejects(rejected, report, data) for report in reports]
            for each in rejects:
                _read_file(columns, texts, each, events, unit, progress)
        if not sum(report.kept for report in reports):
            rejects[0].check_kept()
        for key, report in side_reports.items():
            fields = data.item_fields if key == "item" else data.user_fields
            table = read_side_table(columns, key, fields, Rejects(rejected, report, data), progress)
            pq.write_table(table, folder / f"{key}s.parquet")
    return replace(log, ticks=unit.ticks)


def _name_texts(data: DataConfig, columns: ColumnsConfig) -> dict[str, tuple[str, Any]]:
    """Column of the events file -> config key and column of the table: those that no other table has."""
    texts = {} if columns.category is None or data.items else {"category": ("data.columns.category", columns.category)}
    texts |= {} if columns.request is None else {"request": ("data.columns.request", columns.request)}
    declared = {
        "item_fields": () if data.items else data.item_fields,
        "user_fields": () if data.users else data.user_fields,
        "context_fields": [name for name in data.context_fields if name not in TIME_FIELDS],
        "behaviour_fields": [name for name in data.behaviour_fields if name not in (TIME_GAP, *data.context_fields)],
    }
    for key, names in declared.items():
        texts |= {field_column(name): (f"data.{key}", name) for name in names}
    return texts


def _read_file(
    columns: ColumnsConfig,
    texts: dict[str, tuple[str, str]],
    rejects: Rejects,
    events: EventWriter,
    unit: TimeUnit,
    progress: Progress,
) -> None:
    roles = {key: getattr(columns, key) for key in ("user", "item", "timestamp", "label")}
    wanted = {f"data.columns.{role}": name for role, name in roles.items() if name is not None}
    wanted |= {key if key.startswith("data.columns") else f"{key}.{name}": name for key, name in texts.values()}
    path = rejects.report.path

    def find_layout(line: bytes) -> tuple[Layout, bool]:
        named = str(columns.timestamp)
        if named.isdecimal() and len(named) < 20 and guess_unit(int(named)):
            raise DataError(
                f"{path}: data.columns.timestamp: '{columns.timestamp}' is a time and no column's name, so its first "
                "line is an event and no header; put a header line first"
            )
        delimiter, names, places = parse_header(line, wanted, path)
        layout = Layout(
            delimiter=delimiter,
            width=len(names),
            user=places["data.columns.user"],
            item=places["data.columns.item"],
            timestamp=places["data.columns.timestamp"],
            label=places.get("data.columns.label"),
            texts={text: names.index(name) for text, (_, name) in texts.items()},
            nulls=rejects.nulls,
        )
        return layout, True

    if read_magic(path).startswith(b"PAR1"):
        read_parquet(
            columns, {text: name for text, (_, name) in texts.items()}, wanted, rejects, events, unit, progress
        )
    else:
        read_text(find_layout, rejects, events, unit, progress)
    rejects.check_share()

"""What a raw log holds: read with the product's own reader, counted with Ibis on DuckDB."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow.parquet as pq
from ibis import Table, _

from din_train.config import DataConfig
from din_train.config.data import PRESAMPLED
from din_train.dataset.database import connect
from din_train.dataset.shard import QUANTILES
from din_train.inspect.recognise import recognise
from din_train.logs import ROW_SPLITS, FileReport, RawLog, RawSamples, find_files, input_files, read_log, read_samples
from din_train.logs.delta import is_delta_table, open_delta
from din_train.logs.lines import read_lines, read_magic
from din_train.logs.row_files import parquet_source
from din_train.logs.time_unit import TICKS

_BAD_LINES_SHOWN = 5
_NULL_WORDS = ("none", "null", "\\n", "nan", "na", "n/a", "nil", "undefined", "(null)")
_TEXT_SHOWN = 100
_CLICKS_NEEDED = 3


@dataclass(frozen=True)
class Contents:
    """What a log holds.

    rows: counts in words. bad_lines: the first ones. short_users: of a log of events, the share of users with fewer
    than the three clicks that the usual protocol needs.
    """

    rows: list[tuple[str, str]]
    bad_lines: list[str]
    reports: list[FileReport]
    short_users: float


def read_contents(data: DataConfig) -> Contents:
    """Read what the log of a config holds."""
    from din_train.terminal import reading_progress

    data = data.model_copy(update={"max_bad_share": 1.0, "unmatched": "allow"})
    size = sum(each.stat().st_size for each in input_files(data))
    with TemporaryDirectory(prefix="din-train-") as name, reading_progress(size) as progress:
        folder = Path(name)
        samples = read_samples(data, folder, progress) if data.source in PRESAMPLED else None
        log = read_log(data, folder, progress) if samples is None else samples.log
        reports = list(log.reports)
        beside = (data.path_of("items"), data.path_of("users"))
        logs = [report for report in reports if report.path not in beside]
        files = find_files(data)
        groups = [logs] if samples is None else [[each for each in logs if each.path in files[key]] for key in files]
        groups = [group for group in groups if group]
        rows = _count_by_file([*groups, *([report] for report in reports if report.path in beside)])
        short_users = 0.0
        with connect(data, folder) as connection:
            if samples is None:
                rows += _summarise_log(connection, log)
                short_users = _count_short_users(connection, log)
            else:
                rows += _summarise_samples(connection, samples)
        return Contents(rows, _list_bad_lines(log.rejected, with_names=len(reports) > 1), reports, short_users)


def _count_by_file(groups: Sequence[Sequence[FileReport]]) -> list[tuple[str, str]]:
    """Count what became of the lines; the files of one group are counted together."""
    rows = []
    for reports in groups:
        if len(groups) > 1:
            rows.append(("file", _name_files([report.path for report in reports])))
        rejected, skipped, notes = (
            sum((Counter(getattr(report, kind)) for report in reports), Counter[str]())
            for kind in ("rejected", "skipped", "notes")
        )
        rows += [
            ("lines", f"{sum(report.lines for report in reports):,}"),
            ("kept", f"{sum(report.kept for report in reports):,}"),
            ("rejected", _show_counts(rejected)),
            *([("skipped", _show_counts(skipped))] if skipped else []),
            *([("noted", _show_counts(notes))] if notes else []),
        ]
    return [*rows, ("", "")]


def _name_files(paths: Sequence[Path]) -> str:
    """The name of a file, or what folder several are in, and how many they are."""
    if len(paths) == 1:
        return paths[0].name
    folder = os.path.commonpath([path.parent for path in paths])
    return f"{len(paths):,} files in {Path(folder).name or folder}/"


def _show_counts(counts: Counter[str]) -> str:
    each = ", ".join(f"{what}: {count:,}" for what, count in counts.most_common())
    return f"{counts.total():,} ({each})" if len(counts) > 1 else each or "0"


def _summarise_log(connection: Any, log: RawLog) -> list[tuple[str, str]]:
    events = connection.read_parquet(log.events)
    wanted = {
        "users": _.user.nunique(),
        "items": _.item.nunique(),
        "first": _.timestamp.min(),
        "last": _.timestamp.max(),
    }
    if log.labelled:  # clicks may be rows of their own
        click = _.label if log.click_window is None else _.click
        wanted |= {"rows": _.count(), "clicks": click.cast("int64").sum()}
    totals = _take_row(events.aggregate(**wanted))
    rows = [("users", f"{totals['users']:,}"), ("items", f"{totals['items']:,}")]
    tables = [events] if log.items is None else [connection.read_parquet(log.items), events]
    described = next((each for each in tables if "category" in each.columns), None)
    if described is not None:
        rows.append(("categories", f"{_take_row(described.aggregate(n=_.category.nunique()))['n']:,}"))
    if log.labelled:
        clicks = totals["clicks"]
        impressions = totals["rows"] - (0 if log.click_window is None else clicks)
        rows += [("impressions", f"{impressions:,}"), ("clicks", f"{clicks:,} ({clicks / impressions:.1%})")]
    unit = next((name for name, ticks in TICKS.items() if ticks == log.ticks), None)
    for key in ("first", "last"):
        rows.append((f"{key} event", _show_time(totals[key], log.ticks)))
    rows.append(("time unit", unit or "none that is known; only the order of the timestamps matters"))
    later = 0 if log.ticks is None else _count(events.filter(_.timestamp > int(time.time()) * log.ticks))
    rows += [("after now", f"{later:,} events; check the times and their unit")] if later else []
    rows += _count_odd_events(events)
    per_user = events.group_by("user").aggregate(n=_.count())
    return [*rows, ("events a user", _show_quantiles(per_user, "n"))]


def _count_short_users(connection: Any, log: RawLog) -> float:
    """The share of users with fewer than three clicks."""
    events = connection.read_parquet(log.events)
    column = "click" if log.click_window is not None else "label" if log.labelled else None
    clicks = _.count() if column is None else _[column].cast("int64").sum()
    per_user = events.group_by("user").aggregate(n=clicks)
    return float(_take_row(per_user.aggregate(share=(_.n < _CLICKS_NEEDED).mean()))["share"])


def _count_odd_events(events: Table) -> list[tuple[str, str]]:
    """Count events that are there more than once, and ids that look like no id."""
    distinct = _count(events.select("user", "item", "timestamp").distinct())
    rows = [("equal events", f"{_count(events) - distinct:,} (user, item and time of another)")]
    for key in ("user", "item"):
        ids = events[key]
        words = events.filter(ids.lower().isin(_NULL_WORDS)).group_by(id=ids).aggregate(n=_.count())
        counts = {row["id"]: row["n"] for row in words.order_by(["id"]).to_pyarrow().to_pylist()}
        if counts:
            rows.append((f"{key} ids", f"that may stand for none: {_show_counts(Counter(counts))}"))
        quoted = _count(events.filter(ids.startswith('"') & ids.endswith('"')))
        if quoted:
            rows.append((f"{key} ids", f"in quotes, which are kept as a part of them: {quoted:,}"))
    return rows


def _count(table: Table) -> int:
    return int(table.count().to_pyarrow().as_py())


def _summarise_samples(connection: Any, samples: RawSamples) -> list[tuple[str, str]]:
    rows = connection.read_parquet(samples.log.events)
    counts = rows.group_by("split", "label").aggregate(n=_.count()).to_pyarrow().to_pylist()
    found = {(each["split"], each["label"]): each["n"] for each in counts}
    shown = [
        (f"{split} rows", f"{sum(labels):,}, {labels[1]:,} of them clicked ({labels[1] / sum(labels):.1%})")
        for split in ROW_SPLITS
        if sum(labels := [found.get((split, label), 0) for label in (0, 1)])
    ]
    totals = _take_row(rows.aggregate(users=_.user.nunique(), items=_.item.nunique()))
    shown += [(key, f"{count:,}") for key, count in totals.items()]
    histories = connection.read_parquet(samples.histories)
    lengths = histories.select("history", length=histories["item 0"].length().fill_null(0))
    return [*shown, ("history length", _show_quantiles(rows.join(lengths, "history"), "length"))]


def _take_row(table: Table) -> dict[str, Any]:
    row: dict[str, Any] = table.to_pyarrow().to_pylist()[0]
    return row


def _show_quantiles(table: Table, column: str) -> str:
    row = _take_row(table.aggregate(**{name: table[column].quantile(share) for name, share in QUANTILES.items()}))
    return ", ".join(f"{name} {value:,.1f}".removesuffix(".0") for name, value in row.items())


def _show_time(timestamp: int, ticks: int | None) -> str:
    """The day in UTC; the number itself if it is no time."""
    if ticks is None:
        return str(timestamp)
    try:
        return f"{datetime.fromtimestamp(timestamp // ticks, UTC):%Y-%m-%d} (UTC)"
    except (ValueError, OverflowError, OSError):
        return f"{timestamp}, beyond any date"


def _list_bad_lines(rejected: Path, *, with_names: bool) -> list[str]:
    with rejected.open("rb") as file:
        first = [orjson.loads(line) for _number, line in zip(range(_BAD_LINES_SHOWN), file, strict=False)]
    lines = [
        f"  {Path(bad['file']).name + ':' if with_names else 'line '}{bad['line']}: {bad['reason']}: "
        f"{bad['text'][:_TEXT_SHOWN]}"
        for bad in first
    ]
    return ["", "First bad lines:", *lines] if lines else []


def count_lines(path: Path) -> int:
    """Count the lines that are not blank, without a table's header, or the rows of Parquet."""
    if is_delta_table(path):
        with open_delta(path, None) as (_, _, rows):
            return rows
    if read_magic(path).startswith(b"PAR1"):
        return int(pq.read_metadata(parquet_source(path)).num_rows)
    lines = sum(1 for _number, line in read_lines(path, lambda _bytes: None) if line.strip())
    found = recognise(path)
    return lines - (
        found.has_header if found.rows is None else found.rows.dialect is not None and found.rows.has_header
    )

"""What a raw log holds: read with the product's own reader, counted with Ibis on DuckDB."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow.parquet as pq
from ibis import Table, _

from din_train.config import DataConfig
from din_train.dataset.database import connect
from din_train.dataset.store import QUANTILES
from din_train.inspect.recognise import ignore_progress, read_head, recognise
from din_train.logs import FileReport, Progress, RawLog, RawSamples, read_log
from din_train.logs.amazon_reviews import TIME_UNITS, Release, read_reviews
from din_train.logs.event_writer import EventWriter
from din_train.logs.lines import read_lines, read_magic
from din_train.logs.rejects import Rejects
from din_train.logs.samples import read_sample_files
from din_train.logs.time_unit import TICKS

_BAD_LINES_SHOWN = 5
_NULL_WORDS = ("none", "null", "\\n", "nan", "na", "n/a", "nil", "undefined", "(null)")
_TEXT_SHOWN = 100


def read_contents(
    data: DataConfig, path: Path, files: Sequence[Path], other_file: Path | None
) -> tuple[list[tuple[str, str]], list[str], list[FileReport]]:
    """Read what the log holds, its first bad lines, and the reports of its files."""
    from din_train.terminal import reading_progress

    data = data.model_copy(update={"max_bad_share": 1.0})
    size = sum(each.stat().st_size for each in (*files, *([other_file] if other_file else [])))
    with TemporaryDirectory(prefix="din-train-") as name, reading_progress(size) as progress:
        folder = Path(name)
        read = _read_files(data, path, other_file, folder, progress)
        log = read.log if isinstance(read, RawSamples) else read
        reports = [report for report in log.reports if report.path.parent != folder]
        with connect(data, folder) as connection:
            if isinstance(read, RawSamples):
                rows = _count_by_file([[report] for report in reports])
                rows += _summarise_samples(connection, read, reports)
            else:
                logs = reports if data.source == "table" else reports[:1]
                rows = _count_by_file([logs, *([report] for report in reports[len(logs) :])])
                rows += _summarise_log(connection, log)
        return rows, _list_bad_lines(log.rejected, with_names=len(reports) > 1), reports


def _read_files(
    data: DataConfig, path: Path, other_file: Path | None, folder: Path, progress: Progress
) -> RawLog | RawSamples:
    """With the product's own reader; another file that is needed and missing is made up in `folder`, or left out."""
    made_up = folder / "made-up.csv"
    if data.holds_histories:
        others = {} if other_file is None else {"test": [other_file]}
        return read_sample_files(data, {"train": [path], **others}, folder, progress)
    if other_file is None and data.source == "movielens":
        made_up.write_text("0,title,genre\n")
        data = data.model_copy(update={"items": made_up})
    if other_file is None and (data.source in TIME_UNITS):
        return _read_reviews_alone(data, path, data.source, folder, progress)
    return read_log(data, folder, progress)


def _read_reviews_alone(data: DataConfig, path: Path, release: Release, folder: Path, progress: Progress) -> RawLog:
    report, events_path, rejected_path = FileReport(path), folder / "events.parquet", folder / "rejected.jsonl"
    with rejected_path.open("wb") as rejected, EventWriter(events_path) as events:
        read_reviews(release, Rejects(rejected, report, data), events, progress)
    ticks = TICKS[TIME_UNITS[release]]
    return RawLog(events_path, None, None, rejected_path, (report,), labelled=False, ticks=ticks)


def _count_by_file(groups: Sequence[Sequence[FileReport]]) -> list[tuple[str, str]]:
    """Count what became of the lines; the files of one group are counted together."""
    rows = []
    for reports in groups:
        if len(groups) > 1:
            rows.append(("file", reports[0].path.name))
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
    if log.labelled:
        wanted |= {"impressions": _.count(), "clicks": _.label.cast("int64").sum()}
    totals = _take_row(events.aggregate(**wanted))
    rows = [("users", f"{totals['users']:,}"), ("items", f"{totals['items']:,}")]
    described = events if log.items is None else connection.read_parquet(log.items)
    if "category" in described.columns:
        rows.append(("categories", f"{_take_row(described.aggregate(n=_.category.nunique()))['n']:,}"))
    if log.labelled:
        clicks, impressions = totals["clicks"], totals["impressions"]
        rows += [("impressions", f"{impressions:,}"), ("clicks", f"{clicks:,} ({clicks / impressions:.1%})")]
    unit = next((name for name, ticks in TICKS.items() if ticks == log.ticks), None)
    for key in ("first", "last"):
        rows.append((f"{key} event", _show_time(totals[key], log.ticks)))
    days = all(_is_day_number(totals[key]) for key in ("first", "last")) and unit is None
    form = "days as numbers (YYYYMMDD), which no date can be compared with" if days else "none that is known"
    rows.append(("time unit", unit or f"{form}; only the order of the timestamps matters"))
    rows += _count_odd_events(events)
    per_user = events.group_by("user").aggregate(n=_.count())
    return [*rows, ("events a user", _show_quantiles(per_user, "n"))]


def _is_day_number(value: int) -> bool:
    try:
        return 1900 <= datetime.strptime(str(value), "%Y%m%d").replace(tzinfo=UTC).year <= 2100
    except ValueError:
        return False


def _count_odd_events(events: Table) -> list[tuple[str, str]]:
    """Count events that are there more than once, and ids that look like no id."""
    distinct = events.select("user", "item", "timestamp").distinct().count().to_pyarrow().as_py()
    rows = [("equal events", f"{events.count().to_pyarrow().as_py() - distinct:,} (user, item and time of another)")]
    for key in ("user", "item"):
        ids = events[key]
        words = events.filter(ids.lower().isin(_NULL_WORDS)).group_by(id=ids).aggregate(n=_.count())
        counts = {row["id"]: row["n"] for row in words.order_by(["id"]).to_pyarrow().to_pylist()}
        if counts:
            rows.append((f"{key} ids", f"that may stand for none: {_show_counts(Counter(counts))}"))
        quoted = events.filter(ids.startswith('"') & ids.endswith('"')).count().to_pyarrow().as_py()
        if quoted:
            rows.append((f"{key} ids", f"in quotes, which are kept as a part of them: {quoted:,}"))
    return rows


def _summarise_samples(connection: Any, raw: RawSamples, reports: Sequence[FileReport]) -> list[tuple[str, str]]:
    samples = connection.read_parquet(raw.log.events).mutate(place=(_.split == "test").cast("int64"))
    histories = connection.read_parquet(raw.histories)
    histories = histories.select(length=histories["item 0"].length())
    counts = (
        samples.group_by("place", "label").aggregate(n=_.count()).order_by("place", "label").to_pyarrow().to_pylist()
    )
    rows = [(f"label {each['label']}", f"{each['n']:,} in {reports[each['place']].path.name}") for each in counts]
    totals = _take_row(
        samples.aggregate(users=_.user.nunique(), items=_.item.nunique(), categories=_.category.nunique())
    )
    rows += [(key, f"{count:,}") for key, count in totals.items()]
    return [*rows, ("history length", _show_quantiles(histories, "length"))]


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
    if read_magic(path).startswith(b"PAR1"):
        return int(pq.read_metadata(path).num_rows)
    found = recognise(path)
    lines = sum(1 for _number, line in read_lines(path, ignore_progress) if line.strip())
    has_header = found.source == "table" or read_head(path)[0].startswith(b"movieId,")
    return lines - has_header

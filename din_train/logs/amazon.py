"""Amazon review logs, 2014, 2018 and 2023 releases: reviews as JSON lines or ratings as CSV, and metadata."""

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.file_formats import FormatConfig
from din_train.errors import DataError
from din_train.logs.amazon_metadata import find_first_item, read_metadata
from din_train.logs.amazon_reviews import KEYS, TIME_UNITS, Release, read_reviews
from din_train.logs.equal_files import check_contents_differ
from din_train.logs.event_writer import EventWriter, measure_events
from din_train.logs.lines import read_lines
from din_train.logs.log import FileReport, Progress, RawLog
from din_train.logs.rejects import Rejects
from din_train.logs.side_table import build_side_table
from din_train.logs.table import TableSource, read_events
from din_train.logs.time_unit import TICKS

# Of the files of ratings alone: columns of user, item and time by position; those of 2023 have a header.
_RATINGS = {"amazon-2014": (1, 2, 4), "amazon-2018": (2, 1, 4)}


def read_amazon(
    data: DataConfig, release: Release, reviews: Sequence[Path], folder: Path, progress: Progress
) -> RawLog:
    """Read the reviews or ratings, in the order given, then the metadata of their items if it is given, into files in
    `folder`.

    Raises:
        DataError: if a file cannot be read or has too many bad lines, some hold ratings alone and others reviews, or
            reviews and metadata share no item.
    """
    have_ratings = [is_ratings_file(path) for path in reviews]
    if len(set(have_ratings)) > 1:
        raise DataError(
            f"{reviews[have_ratings.index(not have_ratings[0])]}: holds {'reviews' if have_ratings[0] else 'ratings'}, "
            f"but {reviews[0]} {'ratings' if have_ratings[0] else 'reviews'}; give files of one kind in data.reviews"
        )
    if have_ratings[0]:
        log = read_events(data, describe_ratings(release), reviews, folder, progress)
        mentioned = set(pq.read_table(log.events, columns=["item"])["item"].unique().to_pylist())
    else:
        check_contents_differ(reviews)
        log = RawLog(
            events=folder / "events.parquet",
            items=None,
            users=None,
            rejected=folder / "rejected.jsonl",
            reports=tuple(map(FileReport, reviews)),
            labelled=False,
            ticks=TICKS[TIME_UNITS[release]],
        )
        with log.rejected.open("wb") as rejected, EventWriter(log.events) as events:
            rejects = [Rejects(rejected, report, data) for report in log.reports]
            mentioned = set[str]().union(*(read_reviews(release, each, events, progress) for each in rejects))
            if not mentioned:
                rejects[0].check_kept()
        log = replace(log, measures=measure_events(log.events))
    if data.items is None:
        return log
    metadata, report, path = data.items.path, FileReport(data.items.path), folder / "items.parquet"
    with log.rejected.open("ab") as rejected:
        items = read_items(data, release, mentioned, Rejects(rejected, report, data), progress)
    if not items.num_rows and data.unmatched == "refuse":
        raise DataError(
            f"{metadata}: no item of {data.reviews} is in its {report.lines:,} lines; the reviews have "
            f"{min(mentioned)!r}, the metadata has {find_first_item(release, metadata)!r}; do the two files belong "
            "together? check data.reviews and data.items, or set data.unmatched to allow"
        )
    pq.write_table(items, path)
    return replace(log, items=path, reports=(*log.reports, report))


def read_items(
    data: DataConfig, release: Release, mentioned: Container[str], rejects: Rejects, progress: Progress
) -> pa.Table:
    """The mentioned items of the metadata `rejects.report.path`: item, category, title and `data.item_fields`."""
    items = read_metadata(release, mentioned, rejects, progress, fields=data.item_fields)
    rows = {item.asin: (item.category, item.title, *item.fields) for item in items.values()}
    return build_side_table("item", rows, category=True, title=True, fields=data.item_fields)


def is_ratings_file(path: Path) -> bool:
    """Whether a file of reviews has ratings alone: lines of four or more fields between commas, and no JSON."""
    line = next((line for _, line in read_lines(path, lambda _: None) if line.strip()), b"").strip()
    return not line.startswith((b"{", b"[")) and line.count(b",") >= 3


def describe_ratings(release: Release) -> TableSource:
    """The columns of a file of ratings: user,item,rating,time in 2014, item,user,rating,time in 2018, neither with a
    header; `user_id,parent_asin,rating,timestamp` and more in 2023. Every rating is a click, as every review is.
    """
    unit = TIME_UNITS[release]
    if release == "amazon-2023":
        user_name, item_name, time_name = KEYS[release]
        columns = ColumnsConfig.model_validate(
            {"user": user_name, "item": item_name, "timestamp": time_name, "time_unit": unit}
        )
        return TableSource(columns, FormatConfig(delimiter=",", header=True), keys=_KEYS)
    user, item, time = _RATINGS[release]
    columns = ColumnsConfig.model_validate({"user": user, "item": item, "timestamp": time, "time_unit": unit})
    return TableSource(columns, FormatConfig(delimiter=",", header=False), keys=_KEYS)


_KEYS = {role: f"column {role}" for role in ("user", "item", "timestamp")}

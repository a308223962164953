"""Amazon review logs, 2014, 2018 and 2023 releases: a reviews file and a metadata file."""

from pathlib import Path

import pyarrow.parquet as pq

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs.amazon_metadata import find_first_item, read_metadata
from din_train.logs.amazon_reviews import TIME_UNITS, Release, read_reviews
from din_train.logs.event_writer import EventWriter
from din_train.logs.log import FileReport, Progress, RawLog
from din_train.logs.rejects import Rejects
from din_train.logs.side_table import build_side_table
from din_train.logs.time_unit import TICKS


def read_amazon(
    data: DataConfig, release: Release, reviews: Path, metadata: Path, folder: Path, progress: Progress
) -> RawLog:
    """Read the reviews, then the metadata of the items they mention, into files in `folder`.

    Raises:
        DataError: where a file cannot be read or has too many bad lines, or the two share no item.
    """
    log = RawLog(
        events=folder / "events.parquet",
        items=(items_path := folder / "items.parquet"),
        users=None,
        rejected=folder / "rejected.jsonl",
        reports=(FileReport(reviews), FileReport(metadata)),
        labelled=False,
        ticks=TICKS[TIME_UNITS[release]],
    )
    with log.rejected.open("wb") as rejected:
        of_reviews, of_metadata = (Rejects(rejected, report, data) for report in log.reports)
        with EventWriter(log.events) as events:
            mentioned = read_reviews(release, of_reviews, events, progress)
        items = read_metadata(release, mentioned, of_metadata, progress, fields=data.item_fields)
    if not items and data.unmatched == "refuse":
        raise DataError(
            f"{metadata}: no item of {reviews} is in its {log.reports[1].lines:,} lines; the reviews have "
            f"{min(mentioned)!r}, the metadata has {find_first_item(release, metadata)!r}; do the two files belong "
            "together? check data.reviews and data.items, or set data.unmatched to allow"
        )
    rows = {item.asin: (item.category, item.title, *item.fields) for item in items.values()}
    table = build_side_table("item", rows, category=True, title=True, fields=data.item_fields)
    pq.write_table(table, items_path)
    return log

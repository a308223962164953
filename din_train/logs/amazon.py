"""Amazon review logs, 2014 and 2018 releases: a reviews file and a metadata file."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs.amazon_metadata import Item, Release, read_metadata
from din_train.logs.amazon_reviews import read_reviews
from din_train.logs.event_writer import EventWriter
from din_train.logs.log import FileReport, Progress, RawLog
from din_train.logs.rejects import Rejects

ITEMS_SCHEMA = pa.schema([("item", pa.string()), ("category", pa.string()), ("title", pa.string())])


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
        rejected=folder / "rejected.jsonl",
        reports=(FileReport(reviews), FileReport(metadata)),
    )
    with log.rejected.open("wb") as rejected:
        of_reviews, of_metadata = (Rejects(rejected, report, data) for report in log.reports)
        with EventWriter(log.events, with_category=False) as events:
            mentioned = read_reviews(of_reviews, events, progress)
        items = read_metadata(release, mentioned, of_metadata, progress)
    if not items:
        raise DataError(
            f"{metadata}: no item of {reviews} is in its {log.reports[1].lines:,} lines; do the two files belong "
            "together? check data.reviews and data.items"
        )
    _write_items(items.values(), items_path)
    return log


def _write_items(items: Iterable[Item], path: Path) -> None:
    rows = [(item.asin, item.category, item.title) for item in items]
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    pq.write_table(pa.table(columns, schema=ITEMS_SCHEMA), path)

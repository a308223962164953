"""Labels of one class only: nothing to be learnt, and no metric is defined."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
from ibis import Table

from din_train.config import DataConfig
from din_train.errors import DataError


def check_labels(data: DataConfig, events: Path) -> None:
    """Look at the labels of a log's normalised events (int8 column `label` of a Parquet file).

    Raises:
        DataError: where all are 0, or all are 1.
    """
    metadata = pq.read_metadata(events)
    place = metadata.schema.names.index("label")
    found = [metadata.row_group(group).column(place).statistics for group in range(metadata.num_row_groups)]
    labels = {label for each in found for label in (each.min, each.max)}
    if len(labels) != 1:
        return
    (label,) = labels
    rows = f"{metadata.num_rows:,}"
    if data.source == "movielens":
        which, change = ("at least", "raise") if label else ("below", "lower")
        raise DataError(
            f"data.click_rating: {data.click_rating:g}: each of {rows} ratings is {which} that, so there is nothing to "
            f"tell apart; {change} it"
        )
    column = data.columns.label if data.columns is not None else "label"
    advice = (
        "take data.columns.label out, so that every row is a click and negatives are sampled, or name another column"
        if label
        else "name another column, or take data.columns.label out, so that every row is a click"
    )
    raise DataError(
        f"{data.events}: data.columns.label: each of {rows} rows has the label {label} in '{column}', so there is "
        f"nothing to tell apart; {advice}"
    )


def check_sample_labels(rows: Table, files: Mapping[str, Path]) -> None:
    """Look at the labels of ready-made samples: a table of `split` (a key of `files`) and `label`.

    Raises:
        DataError: where all rows of a file have one label.
    """
    labels = rows.group_by("split").agg(least=rows.label.min(), most=rows.label.max(), rows=rows.count())
    for each in sorted(labels.to_pyarrow().to_pylist(), key=lambda each: str(each["split"]), reverse=True):
        if each["least"] == each["most"]:
            raise DataError(
                f"data.{each['split']}: {files[each['split']]}: each of {each['rows']:,} rows has the label "
                f"{each['least']}, so there is nothing to tell apart; give a file with clicks (1) and others (0)"
            )

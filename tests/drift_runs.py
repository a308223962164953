"""A finished run without a training, whose model scores an item by its number: a click on an even one is likely."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from log_factory import make_config, write_table
from record_factory import METRICS

from din_train.checksums import begin_index
from din_train.config import Config, dump_config
from din_train.dataset.names import read_names
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.evaluation.evaluate import compute_metrics
from din_train.evaluation.scores import ScoredRows, write_scores
from din_train.run_directory import RunDirectory
from din_train.run_metrics import RunMetrics

HEADER = ["user", "item", "category", "brand", "time", "label"]
DAY = 86_400
FIRST_DAY = 1_600_000_000 // DAY * DAY  # 2020-09-13, a Sunday
KNOWN_DAYS, ALL_DAYS = 9, 12

Row = tuple[str, str, str, str, int, int]


def draw_rows(seed: int, days: Sequence[int], users: Sequence[int]) -> list[Row]:
    """Two rows a day of each user from 8 to 20 o'clock, of 24 items: of even ones 3 of 4 are clicked, of odd ones 1."""
    rng, rows = np.random.default_rng(seed), []
    for day in days:
        for user in users:
            for _ in range(2):
                item = int(rng.integers(24))
                time = FIRST_DAY + day * DAY + int(rng.integers(8 * 3600, 20 * 3600))
                label = int(rng.random() < (0.25 if item % 2 else 0.75))
                rows.append((f"u{user}", str(item + 100), f"c{item % 5}", f"b{item % 3}", time, label))
    return rows


def score_by_number(config: Config, data: PreparedData, split: Split) -> tuple[RunMetrics, ScoredRows]:
    """An even item is scored +1, an odd one -1, one without a number 0."""
    samples, items = data.samples(split, config.data.max_history_length), read_names(data).items.to_pylist()
    by_id = np.array([0 if each is None or not each.isdigit() else 1 - 2 * (int(each) % 2) for each in items])
    # Few rows are scored a little otherwise, so that there is more than one bin to each side.
    noise = (samples.events % 7).astype(np.float32) / 100
    rows = ScoredRows.of(samples, by_id[samples.target_item_ids].astype(np.float32) + noise)
    metrics = asdict(compute_metrics(rows, config.metrics))
    return replace(
        METRICS, **metrics, data_fingerprint=data.fingerprint, negatives=config.negatives.model_dump(mode="json")
    ), rows


def make_run(folder: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER, **changes: Any) -> Config:
    """`folder/run` on a log of these rows, which is prepared and scored."""
    write_table(folder / "log.tsv", header, rows)
    changes["data"] = {"max_history_length": 3, **changes.get("data", {})}
    config = make_config(folder, **{"metrics": {"resamples": 0}, **changes})
    prepare_data(config, force=False, progress=lambda _: None)
    run = RunDirectory(folder / "run")
    run.path.mkdir()
    begin_index(run.path, config=config.model_dump(mode="json", exclude_none=True, exclude={"preset"}))
    run.config_file.write_text(dump_config(config))
    metrics, scored = score_by_number(config, open_store(config.data.prepared), Split.TEST)
    write_scores(run.scores_file("test"), scored)
    run.write_metrics(metrics)
    return config

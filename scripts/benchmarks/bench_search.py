"""What long histories cost DIN, with `model.search` and without: CPU time of a training step and of a scored row.

    python scripts/benchmarks/bench_search.py --folder /tmp/bench --json figures.json

For each number of stored behaviours per user a log is generated and prepared. The same rows, of positives late in their
users' lists, are then trained on and scored in both ways, by turns. Without a search the history has all the user's
behaviours. The clock includes the building of batches, where the search is; CPU time is that of all threads, on which
other work on the machine has little effect. Figures decide nothing: the exit code is 0 whatever they are.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from work_folder import work_folder

KEEP, RECENT = 50, 50
USERS, ITEMS, CATEGORIES = 64, 20_000, 50
SIZES = (100, 1_000, 10_000)  # stored behaviours of a user

Figures = dict[str, Any]


def write_log(path: Path, behaviours: int) -> None:
    """Every user has this many behaviours before the last two events, which are held out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = USERS * (behaviours + 2)
    items = np.random.default_rng(1).integers(0, ITEMS, count)
    columns = {"user": np.repeat(np.arange(USERS), behaviours + 2), "item": items, "category": items % CATEGORIES}
    pq.write_table(pa.table({**columns, "time": np.tile(np.arange(behaviours + 2), USERS)}), path)


def measure(folder: Path, behaviours: int, *, batch_size: int, rounds: int) -> Figures:
    """Both ways on a log of so many behaviours per user: milliseconds of CPU time, and behaviours per row."""
    from din_train.config import load_config
    from din_train.dataset.prepare import prepare_data
    from din_train.dataset.store import open_store

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "log.parquet").exists():
        write_log(folder / "log.parquet", behaviours)
    columns = {name: name for name in ("user", "item", "category")} | {"timestamp": "time"}
    data = {"source": "table", "events": folder / "log.parquet", "columns": columns, "prepared": folder / "prepared"}
    data |= {"max_history_length": behaviours}
    sections = {"name": "bench", "preset": "din", "data": data, "training": {"batch_size": batch_size}}
    (folder / "config.yaml").write_text(json.dumps(sections, default=str), encoding="utf-8")  # JSON is YAML
    config = load_config(folder / "config.yaml", [])
    searching = load_config(folder / "config.yaml", [f"model.search={{by: category, keep: {KEEP}, recent: {RECENT}}}"])
    prepare_data(config, force=False, progress=lambda _: None)
    opened = open_store(config.data.prepared)
    ways = {name: _Way(each, opened) for name, each in (("search", searching), ("whole", config))}
    spent: dict[str, list[float]] = {f"{name}_{what}": [] for name in ways for what in ("step", "row")}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            seconds = {"step": _spend(way.train), "row": _spend(way.score) / batch_size}
            for what, each in seconds.items():
                spent[f"{name}_{what}"] += [1000 * each] if turn else []  # the first traces the model
    kept = {f"{name}_behaviours": way.count_behaviours() for name, way in ways.items()}
    return {"behaviours": behaviours, **kept, **{name: statistics.median(each) for name, each in spent.items()}}


class _Way:
    """A model, and the rows that it is trained on and scores: the newest training lists of each user, by turns."""

    def __init__(self, config: Any, data: Any) -> None:
        from din_train.batches import build_training_signature
        from din_train.dataset.category_search import SEARCHED, CategorySearch
        from din_train.dataset.protocols import Split
        from din_train.model.build import build_model
        from din_train.model.losses import build_loss
        from din_train.training.optimizers import build_optimizer

        self._data, self._search = data, CategorySearch.of(config.model.search, data)
        samples = data.samples(Split.TRAIN, config.data.max_history_length)
        newest = np.argsort(-samples.history_length, kind="stable")[: config.training.batch_size]
        self._samples = samples.take(np.sort(newest))
        self._longest = config.data.max_history_length
        self._model = build_model(config.model, data, seed=1)
        optimizer = build_optimizer(config.training.optimizer)
        self._model.compile(batch_size=config.training.batch_size, optimizer=optimizer, loss=build_loss("logloss"))
        self._model.optimizer.build(self._model.trainable_variables)
        import tensorflow as tf

        self._step = tf.function(
            lambda inputs, labels: self._model.train_step((inputs, labels)),
            input_signature=build_training_signature({}, (), [SEARCHED] if self._search else [], padded=False),
        )

    def train(self) -> None:
        """One step."""
        float(self._step(*self._build())["loss"])

    def score(self) -> None:
        """The batch's rows."""
        self._model.score(self._build()[0]).numpy()

    def count_behaviours(self) -> float:
        """Those that the model looks at, per row."""
        inputs, _ = self._build()
        lengths = inputs["history_length"][inputs["history_row"]]
        return float(np.mean(lengths + inputs.get("searched_length", 0)))

    def _build(self) -> Any:
        from din_train.batches import build_batch

        rows = np.arange(len(self._samples))
        return build_batch(self._data, self._samples, rows, self._longest, shared=True, search=self._search)


def _spend(work: Any) -> float:
    """Seconds of CPU time, of all threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


@click.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where logs and data sets stay.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write figures there.")
@click.option("--size", "sizes", multiple=True, type=click.IntRange(min=2), help="Behaviours per user; several times.")
@click.option("--batch-size", type=click.IntRange(min=2), default=64, show_default=True, help="Rows of a step.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def main(folder: Path | None, json_path: Path | None, sizes: tuple[int, ...], batch_size: int, rounds: int) -> None:
    """Measure training and scoring with long histories, with the search for the candidate's category and without."""
    from din_train.tensorflow_setup import start_tensorflow

    start_tensorflow("cpu")
    rows = []
    with work_folder(folder) as work:
        for size in sizes or SIZES:
            row = measure(work / f"search-{size}", size, batch_size=batch_size, rounds=rounds)
            for name in ("search", "whole"):
                click.echo(
                    f"{size:,} stored behaviours, {name}: {row[f'{name}_behaviours']:,.0f} of them per row, step "
                    f"{row[f'{name}_step']:,.1f} ms, scored row {row[f'{name}_row']:.3f} ms"
                )
            rows.append(row)
    if json_path is not None:
        json_path.write_text(json.dumps(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

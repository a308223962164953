"""Measure preparation and reading of batches on logs as large as the public ones.

    python scripts/benchmarks/bench_prepare.py electronics --folder /tmp/bench               Amazon Electronics, 2014
    python scripts/benchmarks/bench_prepare.py taobao --folder /tmp/bench --events 100000000 Taobao's UserBehavior.csv
    python scripts/benchmarks/bench_prepare.py taobao --folder /tmp/bench --events 3000000 --engine spark
    python scripts/benchmarks/bench_prepare.py read --folder /tmp/bench                      batches of that data set
    python scripts/benchmarks/bench_prepare.py rows --folder /tmp/bench --rows 10000000      rows with lists of 50
    python scripts/benchmarks/bench_prepare.py all --folder /tmp/bench --json figures.jsonl

Logs that the folder lacks are generated in the shape of the real ones. What is measured runs in a
process of its own: seconds are wall-clock, peak MB is its largest resident set, which holds the interpreter, the
libraries and whatever of the mapped files is in memory. 1 MB is a million bytes. Figures decide nothing: the exit
code is 0 whether or not the targets are reached.

With `--engine spark` the seconds hold the start and the end of a session on this machine, and peak MB is that of the
driver's Python, without the Java machine and the workers. Each engine writes a data set of its own; if both are there,
their fingerprints are compared.
"""

import ast
import gzip
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from child_process import MB, run_child
from feature_rows import DATA, write_feature_rows
from numpy.typing import NDArray
from work_folder import work_folder

Ints = NDArray[np.int64]
Figures = dict[str, Any]

MAKE_SAMPLE = Path(__file__).parents[1] / "data" / "make_sample.py"
PADDED_LENGTH = 100  # of the histories of the padded arrays that are not written

# UserBehavior.csv: 100,150,807 events.
TAOBAO_EVENTS = 100_150_807
TAOBAO_USERS, TAOBAO_ITEMS, TAOBAO_CATEGORIES = 987_994, 4_162_024, 9_439
TAOBAO_START, TAOBAO_SECONDS = 1_511_539_200, 9 * 86_400  # 2017-11-25 in China
BEHAVIOURS = {"pv": 0.895, "cart": 0.055, "fav": 0.029, "buy": 0.021}
ITEM_TAIL, ITEM_SHIFT = 0.9, 200  # popularity is (rank + shift) to the minus tail: the first item has 0.03 %
CATEGORY_TAIL, CATEGORY_SHIFT = 0.8, 20
USERS_AT_A_TIME = 5_000

# Free disk that a taobao run needs an event: the CSV, the normalised log, DuckDB's tables and spill, the store.
DISK_BYTES_AN_EVENT = 260
# And that a rows run needs per row of 50 behaviours: the Parquet file, the normalised rows, their lists, the store.
DISK_BYTES_PER_ROW = 2_700


# What runs in a process of its own.


def prepare_plainly(reviews: Path, metadata: Path) -> Figures:
    """The straightforward way: pandas, and one Python tuple per sample, as the authors' own script does it.

    Nothing is written. The reviews are `read_json(lines=True)`, metadata one `literal_eval` per line; of a user's list
    b1 .. bn every b2 .. bn is a positive, with one negative drawn again while it is in the list.
    """
    import pandas as pd

    events = pd.read_json(reviews, lines=True)[["reviewerID", "asin", "unixReviewTime"]]
    with gzip.open(metadata, "rt", encoding="utf-8") as file:
        rows = [(row["asin"], row["categories"][-1][-1]) for row in map(ast.literal_eval, file)]
    items = pd.DataFrame(rows, columns=["asin", "category"])
    events = events.merge(items, on="asin")
    for column in ("reviewerID", "asin", "category"):
        ids = {value: number for number, value in enumerate(sorted(events[column].unique()))}
        events[column] = events[column].map(ids)
    events = events.sort_values(["reviewerID", "unixReviewTime"])
    num_items = int(events["asin"].max()) + 1
    training, test = [], []
    for user, of_user in events.groupby("reviewerID"):
        chosen = of_user["asin"].tolist()
        for place in range(1, len(chosen)):
            negative = chosen[place]
            while negative in chosen:
                negative = random.randrange(num_items)
            history = chosen[:place]
            samples = training if place < len(chosen) - 1 else test
            samples.append((user, history, chosen[place], 1))
            samples.append((user, history, negative, 0))
    random.shuffle(training)
    return {"events": len(events), "samples": len(training) + len(test)}


def read_batches(prepared: Path, batch_size: int, max_history_length: int) -> Figures:
    """Open a data set, and build an epoch's batches with no model to take them."""
    from din_train.dataset.protocols import Split
    from din_train.dataset.store import open_store
    from din_train.tensorflow_setup import start_tensorflow
    from din_train.training.training_batches import TrainingBatches

    start_tensorflow("cpu")
    started = time.perf_counter()
    data = open_store(prepared)
    opened = time.perf_counter()
    batches = TrainingBatches(
        data,
        data.samples(Split.TRAIN, max_history_length),
        batch_size=batch_size,
        max_history_length=max_history_length,
        unknown_rate=0.001,
        seed=1,
    )
    next(iter(batches))
    first_batch = time.perf_counter()
    samples, iterated = _time_epoch(batches)
    through_dataset, in_dataset = _time_epoch(batches.to_dataset())
    if samples != through_dataset:
        raise RuntimeError(f"{samples} samples of the iterator, {through_dataset} of the dataset")
    return {
        "samples": samples,
        "batches": len(batches),
        "open_seconds": opened - started,
        "first_batch_seconds": first_batch - started,
        "epoch_seconds": iterated,
        "samples_per_second": samples / iterated,
        "dataset_epoch_seconds": in_dataset,
        "dataset_samples_per_second": samples / in_dataset,
    }


def _time_epoch(batches: Any) -> tuple[int, float]:
    started, samples = time.perf_counter(), 0
    for _inputs, labels in batches:
        samples += labels.shape[0]
    return samples, time.perf_counter() - started


def write_user_behavior(path: Path, events: int) -> Figures:
    """A UserBehavior.csv of nobody real, some users at a time: grouped by user, in the order of time."""
    import pyarrow as pa
    import pyarrow.csv

    draw = np.random.default_rng(1)
    share = events / TAOBAO_EVENTS
    users, items = max(1, round(share * TAOBAO_USERS)), max(2, round(share * TAOBAO_ITEMS))
    categories = min(items, max(20, round(share * TAOBAO_CATEGORIES)))
    lengths = np.maximum(1, np.floor(draw.lognormal(4.2, 0.9, users))).astype(np.int64)
    lengths = _scale_to(lengths, events)
    item_ids = draw.permutation(items) + 1  # by rank
    item_categories = _draw_ranks(draw, items, categories, CATEGORY_TAIL, CATEGORY_SHIFT) + 1  # by rank
    names, shares = list(BEHAVIOURS), np.cumsum(list(BEHAVIOURS.values()))
    schema = pa.schema(
        [
            *((name, pa.int64()) for name in ("user", "item", "category")),
            ("behaviour", pa.string()),
            ("time", pa.int64()),
        ]
    )
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    temporary = path.with_name(f".{path.name}.part")
    with pyarrow.csv.CSVWriter(temporary, schema, write_options=options) as writer:
        for first in range(0, users, USERS_AT_A_TIME):
            some = lengths[first : first + USERS_AT_A_TIME]
            user = np.repeat(np.arange(first + 1, first + 1 + len(some)), some)
            ranks = _draw_ranks(draw, len(user), items, ITEM_TAIL, ITEM_SHIFT)
            times = TAOBAO_START + draw.integers(0, TAOBAO_SECONDS, len(user))
            times = times[np.lexsort((times, user))]
            kinds = np.minimum(np.searchsorted(shares, draw.random(len(user))), len(names) - 1)
            behaviour = pa.DictionaryArray.from_arrays(kinds.astype(np.int8), names).cast(pa.string())
            columns = [user, item_ids[ranks], item_categories[ranks], behaviour, times]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))
    temporary.replace(path)
    return {"events": int(lengths.sum()), "users": users, "items": items}


def _scale_to(lengths: Ints, total: int) -> Ints:
    """Whole numbers of at least 1, in about the same proportion, that sum to `total`."""
    ends = np.round(np.cumsum(lengths) / lengths.sum() * (total - len(lengths))).astype(np.int64)
    return np.diff(ends, prepend=0) + 1


def _draw_ranks(draw: np.random.Generator, count: int, ranks: int, tail: float, shift: int) -> Ints:
    """[count] of 0 .. ranks - 1, with chances in proportion to (rank + shift) ** -tail."""
    low, high = shift ** (1 - tail), (ranks + shift) ** (1 - tail)
    drawn = (low + draw.random(count) * (high - low)) ** (1 / (1 - tail)) - shift
    return np.clip(drawn.astype(np.int64), 0, ranks - 1)


# The parts.


def measure_electronics(folder: Path, preset: str) -> Figures:
    """`din-train prepare` against `prepare_plainly`, on the same log."""
    logs, prepared = folder / preset, folder / f"prepared-{preset}"
    reviews, metadata = (logs / f"{kind}_{preset.capitalize()}.json.gz" for kind in ("reviews", "meta"))
    if not (reviews.exists() and metadata.exists()):
        say(f"generating {logs}")
        run_child([sys.executable, MAKE_SAMPLE, "--preset", preset, logs], folder)
    ours = prepare(
        {"source": "amazon-2014", "reviews": reviews, "items": metadata, "prepared": prepared, "protocol": "paper"},
        folder,
    )
    plain = run_child([sys.executable, __file__, "run", "plain", reviews, metadata], folder)
    counts = json.loads((prepared / "manifest.json").read_bytes())["counts"]
    padded = counts["samples"] * PADDED_LENGTH * 2 * 4  # item and category ids, int32
    figures = {
        "part": "electronics",
        "events": counts["events"],
        "samples": counts["samples"],
        "plain_samples": plain["samples"],
        "seconds": ours["seconds"],
        "peak_mb": ours["peak_mb"],
        "plain_seconds": plain["seconds"],
        "plain_peak_mb": plain["peak_mb"],
        "speed_ratio": plain["seconds"] / ours["seconds"],
        "peak_ratio": plain["peak_mb"] / ours["peak_mb"],
        "store_mb": measure_folder(prepared),
        "padded_mb": padded / MB,
    }
    say(f"{preset}: {figures['events']:,} events, {figures['samples']:,} samples")
    say(f"  din-train prepare       {ours['seconds']:.1f} s, peak {ours['peak_mb']:,.0f} MB")
    say(f"  pandas, a tuple a row   {plain['seconds']:.1f} s, peak {plain['peak_mb']:,.0f} MB")
    say(f"  store {figures['store_mb']:,.1f} MB; as padded arrays it would be {figures['padded_mb']:,.1f} MB")
    judge(figures, "peak below 1.5 GB", ours["peak_mb"] < 1_500)
    judge(figures, "at least 3 times as fast as pandas", figures["speed_ratio"] >= 3, f"{figures['speed_ratio']:.1f}")
    judge(figures, "a tenth of pandas' peak", figures["peak_ratio"] >= 10, f"1/{figures['peak_ratio']:.1f}")
    judge(figures, "store below 80 MB", figures["store_mb"] < 80)
    return figures


def measure_taobao(folder: Path, events: int, memory_limit: str, engine: str = "duckdb", master: str = "") -> Figures:
    """`din-train prepare` of a log of many events in bounded memory, or on Spark."""
    log, prepared = folder / f"taobao-{events}" / "UserBehavior.csv", folder / f"prepared-taobao-{events}"
    on_spark = prepared.with_name(f"{prepared.name}-spark")
    _write_once(log, events * DISK_BYTES_AN_EVENT, "write-taobao", events)
    data: dict[str, Any] = {"source": "taobao", "events": log, "behaviours": list(BEHAVIOURS), "protocol": "holdout"}
    if engine == "spark":
        data |= {"engine": "spark", "spark": {"master": master, "settings": {"spark.ui.enabled": False}}}
    ours, counts = _prepare_bounded(data, on_spark if engine == "spark" else prepared, memory_limit, folder)
    figures = {
        "part": "taobao",
        "engine": engine,
        "events": events,
        **{key: counts[key] for key in ("users", "items", "samples")},
        "log_mb": log.stat().st_size / MB,
        "memory_limit": memory_limit,
        "events_per_second": events / ours["seconds"],
        **ours,
    }
    say(f"taobao: {events:,} events, {counts['users']:,} users, {counts['items']:,} items")
    _say_prepared(figures, "events")
    if engine == "duckdb":
        judge(figures, "peak below 4 GB", ours["peak_mb"] < 4_000)
    if prepared.is_dir() and on_spark.is_dir():
        one, other = (json.loads((each / "manifest.json").read_bytes())["fingerprint"] for each in (prepared, on_spark))
        judge(figures, "both engines give the same rows", one == other)
    return figures


def measure_rows(folder: Path, rows: int, memory_limit: str) -> Figures:
    """`din-train prepare` of generated feature rows, each with its own list of 50 behaviours."""
    file, prepared = folder / f"rows-{rows}" / "train.parquet", folder / f"prepared-rows-{rows}"
    _write_once(file, rows * DISK_BYTES_PER_ROW, "write-rows", rows)
    ours, counts = _prepare_bounded({**DATA, "train": file}, prepared, memory_limit, folder)
    figures = {
        "part": "rows",
        "rows": rows,
        **{key: counts[key] for key in ("samples", "events")},
        "file_mb": file.stat().st_size / MB,
        "memory_limit": memory_limit,
        "rows_per_second": rows / ours["seconds"],
        **ours,
    }
    say(f"rows: {rows:,} rows, {counts['events']:,} stored behaviours")
    _say_prepared(figures, "rows")
    return figures


def _prepare_bounded(
    data: dict[str, Any], prepared: Path, memory_limit: str, folder: Path
) -> tuple[Figures, dict[str, int]]:
    """What it cost to prepare a data set, and its counts."""
    done = prepare({**data, "prepared": prepared, "memory_limit": memory_limit}, folder)
    counts = json.loads((prepared / "manifest.json").read_bytes())["counts"]
    return {**{key: done[key] for key in ("seconds", "peak_mb")}, "store_mb": measure_folder(prepared)}, counts


def _say_prepared(figures: Figures, unit: str) -> None:
    speed = f"{figures[f'{unit}_per_second']:,.0f} {unit}/s"
    say(f"  din-train prepare       {figures['seconds']:.1f} s ({speed})")
    say(
        f"  peak {figures['peak_mb']:,.0f} MB with data.memory_limit {figures['memory_limit']}; store "
        f"{figures['store_mb']:,.1f} MB"
    )


def _write_once(path: Path, needed: int, kind: str, size: int) -> None:
    """Generate a log in a process of its own, unless it is there.

    Raises:
        ClickException: if the disk has less free than `needed` bytes.
    """
    free = shutil.disk_usage(path.parents[1]).free
    say(f"free disk in {path.parents[1]}: {free / MB:,.0f} MB; about {needed / MB:,.0f} MB are needed")
    if path.exists():
        return
    if free < needed:
        raise click.ClickException(f"too little disk for {size:,}; generate fewer, or pass another --folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    say(f"generating {path}")
    made = run_child([sys.executable, __file__, "run", kind, path, size], path.parents[1])
    say(f"  {made['seconds']:.1f} s, {path.stat().st_size / MB:,.0f} MB, peak {made['peak_mb']:,.0f} MB")


def measure_reading(prepared: Path, batch_size: int, max_history_length: int) -> Figures:
    """How soon a prepared data set gives its first batch, and how many samples per second follow."""
    if not prepared.is_dir():
        raise click.ClickException(f"{prepared}: no prepared data set; run the part electronics first, or --prepared")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "run", "read", prepared, batch_size, max_history_length]
        result = run_child(command, Path(folder))
    figures = {"part": "read", "batch_size": batch_size, **result}
    for of_process in ("seconds", "cores_used", "load_before"):
        del figures[of_process]
    say(f"read {prepared}: {result['samples']:,} training samples, batches of {batch_size:,}")
    say(f"  first batch after {result['first_batch_seconds']:.2f} s (opened after {result['open_seconds']:.2f} s)")
    say(f"  an epoch's batches      {result['samples_per_second']:,.0f} samples/s")
    say(f"  as a tf.data.Dataset    {result['dataset_samples_per_second']:,.0f} samples/s")
    judge(figures, "first batch in less than 1 s", result["first_batch_seconds"] < 1)
    judge(figures, "more than 1,000,000 samples/s", result["samples_per_second"] > 1_000_000)
    return figures


def prepare(data: dict[str, Any], folder: Path) -> Figures:
    """`din-train prepare --force` with this `data` section and defaults for the rest."""
    config = folder / f"{Path(data['prepared']).name}.yaml"
    sections = {"name": "bench", "data": data, "model": {"name": "din"}, "training": {"epochs": 1}}
    text = json.dumps(sections, default=str)  # JSON is YAML
    config.write_text(text, encoding="utf-8")
    say(f"preparing {data['prepared']}")
    return run_child([sys.executable, "-m", "din_train", "prepare", "--force", "--config", config], folder)


def measure_folder(folder: Path) -> float:
    """MB of its files."""
    return sum(path.stat().st_size for path in folder.iterdir()) / MB


def say(line: str) -> None:
    """Print at once, also into a file."""
    click.echo(line)
    sys.stdout.flush()


def judge(figures: Figures, target: str, reached: bool, received: str = "") -> None:
    """Say whether a target is reached, and add it to the figures."""
    figures.setdefault("targets", {})[target] = bool(reached)
    say(f"  {'reached' if reached else 'not reached'}: {target}{f' ({received})' if received else ''}")


# The commands.


def report(parts: list[Figures], path: Path | None) -> None:
    """One JSON object per line, one for each part."""
    lines = [json.dumps({key: _shorten(value) for key, value in figures.items()}) for figures in parts]
    for line in lines:
        say(line)
    if path is not None:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _shorten(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


Command = Callable[..., None]
FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where logs and data sets go, and stay.  [default: a temporary folder]",
)
JSON = click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write figures there.")
PRESET = click.option(
    "--preset",
    type=click.Choice(["electronics", "sample"]),
    default="electronics",
    show_default=True,
    help="Of make_sample.py: the size of the Amazon log.",
)
EVENTS = click.option(
    "--events",
    type=click.IntRange(min=1_000),
    default=100_000_000,
    show_default=True,
    help="Of the Taobao log; users and items are in the real one's proportion to them.",
)
MEMORY = click.option(
    "--memory-limit", default="1500MB", show_default=True, help="`data.memory_limit` of the parts taobao and rows."
)
BATCH = click.option("--batch-size", type=click.IntRange(min=1), default=1024, show_default=True)
LENGTH = click.option("--max-history-length", type=click.IntRange(min=1), default=100, show_default=True)


@click.group()
def main() -> None:
    """Measure `din-train prepare` and the reading of batches."""


@main.command()
@FOLDER
@JSON
@PRESET
def electronics(folder: Path | None, json_path: Path | None, preset: str) -> None:
    """Prepare a log of the size of Amazon Electronics, and do the same the straightforward way with pandas."""
    with work_folder(folder) as work:
        report([measure_electronics(work, preset)], json_path)


@main.command()
@FOLDER
@JSON
@EVENTS
@MEMORY
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True)
@click.option("--master", default="local[*]", show_default=True, help="Of Spark.")
def taobao(
    folder: Path | None, json_path: Path | None, events: int, memory_limit: str, engine: str, master: str
) -> None:
    """Prepare a log of the size of Taobao's UserBehavior.csv in bounded memory, or on Spark."""
    with work_folder(folder) as work:
        report([measure_taobao(work, events, memory_limit, engine, master)], json_path)


@main.command()
@FOLDER
@JSON
@click.option("--rows", type=click.IntRange(min=1_000), default=1_000_000, show_default=True)
@MEMORY
def rows(folder: Path | None, json_path: Path | None, rows: int, memory_limit: str) -> None:
    """Prepare rows that are samples and hold lists of 50 behaviours, as a feature store writes them."""
    with work_folder(folder) as work:
        report([measure_rows(work, rows, memory_limit)], json_path)


@main.command()
@FOLDER
@JSON
@PRESET
@BATCH
@LENGTH
@click.option("--prepared", type=click.Path(path_type=Path, file_okay=False), help="Read this data set instead.")
def read(
    folder: Path | None,
    json_path: Path | None,
    preset: str,
    batch_size: int,
    max_history_length: int,
    prepared: Path | None,
) -> None:
    """Read batches of the data set that the part electronics left in --folder, or of --prepared."""
    if prepared is None and folder is None:
        raise click.UsageError("expected --folder (where the part electronics has run) or --prepared")
    path = prepared or Path(folder or ".") / f"prepared-{preset}"
    report([measure_reading(path.resolve(), batch_size, max_history_length)], json_path)


@main.command("all")
@FOLDER
@JSON
@PRESET
@EVENTS
@MEMORY
@BATCH
@LENGTH
def run_all(
    folder: Path | None,
    json_path: Path | None,
    preset: str,
    events: int,
    memory_limit: str,
    batch_size: int,
    max_history_length: int,
) -> None:
    """Run the parts electronics, read and taobao."""
    with work_folder(folder) as work:
        parts = [
            measure_electronics(work, preset),
            measure_reading(work / f"prepared-{preset}", batch_size, max_history_length),
            measure_taobao(work, events, memory_limit),
        ]
        report(parts, json_path)


@main.command("run", hidden=True)
@click.argument("what", type=click.Choice(["plain", "read", "write-taobao", "write-rows"]))
@click.argument("arguments", nargs=-1)
def run_here(what: str, arguments: tuple[str, ...]) -> None:
    """What is measured, in this process; prints its result as JSON."""
    match what, arguments:
        case "plain", (reviews, metadata):
            result = prepare_plainly(Path(reviews), Path(metadata))
        case "read", (prepared, batch_size, max_history_length):
            result = read_batches(Path(prepared), int(batch_size), int(max_history_length))
        case "write-taobao", (path, events):
            result = write_user_behavior(Path(path), int(events))
        case "write-rows", (path, size):
            result = write_feature_rows(Path(path), int(size))
        case _:
            raise click.UsageError(f"received {len(arguments)} arguments for {what}")
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()

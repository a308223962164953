"""Small data sets and runs to audit, under every protocol."""

from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from log_factory import Event, make_config, write_log, write_table
from record_factory import METRICS

from din_train.audit.audited_run import AuditedRun, Check, Status
from din_train.config import Config
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.tensorflow_setup import start_tensorflow

start_tensorflow("cpu")

USERS, EVENTS_A_USER, ITEMS = 150, 8, 60
SMALL = {
    "item_embedding_size": 4,
    "category_embedding_size": 4,
    "local_activation_unit": {"hidden_units": [8]},
    "mlp": {"hidden_units": [8]},
}


def make_events() -> list[Event]:
    """Users in turn, each with a few favourite items."""
    random = np.random.default_rng(5)
    favourites = random.integers(0, ITEMS, (USERS, 4))
    events = []
    for n in range(USERS * EVENTS_A_USER):
        user = n % USERS
        item = int(favourites[user, random.integers(4)]) if random.random() < 0.3 else int(random.integers(ITEMS))
        events.append((f"u{user}", f"i{item}", f"c{item % 5}", n))
    return events


def make_x1(folder: Path, *, histories_with_target: bool = False) -> dict[str, str]:
    """Ready-made rows of the same log: the last event is the test."""
    lists: dict[str, list[str]] = {}
    for user, item, _, _ in make_events():
        lists.setdefault(user, []).append(item)
    random = np.random.default_rng(6)
    rows: dict[str, list[tuple[Any, ...]]] = {"train": [], "test": []}
    for user, items in lists.items():
        for place in range(1, len(items)):
            history = items[: place + histories_with_target]
            others = sorted({f"i{n}" for n in range(ITEMS)} - set(items))
            for label, item in ((1, items[place]), (0, others[random.integers(len(others))])):
                cells = (label, user, item, "c", "^".join(history), "^".join("c" for _ in history))
                rows["test" if place == len(items) - 1 else "train"].append(cells)
    header = "label,user_id,item_id,cate_id,item_history,cate_history"
    for split, lines in rows.items():
        (folder / f"{split}.csv").write_text("\n".join([header, *(",".join(map(str, each)) for each in lines)]) + "\n")
    return {split: str(folder / f"{split}.csv") for split in rows}


def configure(folder: Path, kind: str, model: str, **changes: Any) -> Config:
    """A config on a log in `folder`; `kind` is a protocol, `impressions`, or `clicks as rows`."""
    write_log(folder / "log.tsv", make_events())
    data: dict[str, Any] = {"protocol": kind, "max_history_length": 5}
    if kind == "time":
        end = USERS * EVENTS_A_USER
        data["time_split"] = {"validation_from": end * 5 // 8, "test_from": end * 6 // 8}
    elif kind == "user":
        data["user_split"] = {"test": 0.3, "validation": 0.2}
    elif kind == "presampled":
        data = {**data, "source": "x1", "events": None, "columns": None, **make_x1(folder)}
    elif kind == "clicks as rows":
        random = np.random.default_rng(8)
        shown = [(user, item, category, 10 * time, "view") for user, item, category, time in make_events()]
        bought = [(*row[:3], row[3] + 5, "buy") for row in shown if random.random() < 0.5]
        rows = [(*row[:3], row[3] + 1_500_000_000, row[4]) for row in (*shown, *bought)]
        write_table(folder / "log.tsv", ["user", "item", "category", "time", "type"], rows)
        events = {"column": "type", "click": ["buy"], "impression": ["view"], "click_window": 60}
        columns = {"user": "user", "item": "item", "category": "category", "timestamp": "time", "events": events}
        data = {"max_history_length": 5, "columns": columns}
    elif kind == "impressions":
        random = np.random.default_rng(7)
        rows = [(*event, int(random.random() < 0.5)) for event in make_events()]
        write_table(folder / "log.tsv", ["user", "item", "category", "time", "label"], rows)
        columns = {"user": "user", "item": "item", "category": "category", "timestamp": "time", "label": "label"}
        data = {"max_history_length": 5, "columns": columns}
    settings: dict[str, Any] = {
        "data": data,
        "model": {"name": model, **({} if model == "lr" else SMALL)},
        "training": {"epochs": 2, "batch_size": 128, "optimizer": {"name": "adam", "learning_rate": 0.01}},
        "negatives": {"per_positive": 2, "evaluation_per_positive": 3},
    }
    for section, keys in changes.items():
        settings[section] = {**settings.get(section, {}), **keys}
    return make_config(folder, **settings)


def train(folder: Path, kind: str, model: str, **changes: Any) -> Path:
    """The run directory of a finished run."""
    from din_train.fit import fit

    folder.mkdir(exist_ok=True)
    with chdir(folder):
        fit(configure(folder, kind, model, **changes), run_dir=folder / "run")
    return folder / "run"


def open_subject(run: Path, most_rows: int = 10_000) -> AuditedRun:
    """As `din-train audit` opens it."""
    from din_train.audit.audit import build_audited_run
    from din_train.scoring import open_run

    return build_audited_run(open_run(run), most_rows=most_rows, seed=1)


def prepare(folder: Path, kind: str, model: str = "lr", **changes: Any) -> AuditedRun:
    """A data set as an audit opens it, without a model: most checks of rows need none."""
    config = configure(folder, kind, model, **changes)
    prepare_data(config, force=True, progress=lambda _: None)
    data = open_store(config.data.prepared)
    samples = data.samples(Split.TEST, config.data.max_history_length)
    nothing: Any = None
    return AuditedRun(
        config=config, data=data, model=nothing, metrics=METRICS, stored=None, scored_on_gpu=False, samples=samples,
        rows=np.arange(len(samples)), seed=1,
    )  # fmt: skip


def score(folder: Path, kind: str, model: str, **changes: Any) -> AuditedRun:
    """As an audit opens a run, with random weights: what is stored is what such a run would store."""
    from din_train.scoring import build_configured_model, score_split
    from din_train.training.checkpoint import Checkpoint

    run = prepare(folder, kind, model, **changes)
    built, random = build_configured_model(run.config, run.data), np.random.default_rng(1)
    for weight in built.trainable_weights:
        weight.assign(random.normal(0, 0.3, weight.shape))
    checkpoint = Checkpoint(epoch=1, data_fingerprint=run.data.fingerprint, sha256="")
    metrics, rows = score_split(built, run.config, run.data, Split.TEST, checkpoint)
    return replace(run, model=built, metrics=metrics, stored=rows)


def has_failed(check: Check) -> bool:
    """Whether a check that passes or fails has failed."""
    assert check.status in (Status.PASSED, Status.FAILED)
    return check.status is Status.FAILED


def find_failed(checks: list[Check]) -> dict[str, str]:
    """Name -> finding of the failed checks."""
    return {each.name: each.finding for each in checks if each.status is Status.FAILED}

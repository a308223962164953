"""On a log without signal every score is one half: the rows of a user tell nothing of one another."""

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_runs import SMALL, find_failed, open_subject
from log_factory import make_config, write_table
from noise_log import HEADER, make_noise

from din_train.audit.audit import run_checks
from din_train.audit.label_leaks import check_history_alone, compute_null_deviation
from din_train.audit.time_leaks import check_histories_end_before_targets
from din_train.config import Config
from din_train.dataset import protocols as split_module
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split, UserEvents
from din_train.dataset.store import open_store
from din_train.evaluation.metrics import compute_gauc, compute_gauc_by_history
from din_train.evaluation.scores import read_scores

PROTOCOLS = ("holdout", "paper", "time", "user")
LOGS: dict[str, dict[str, Any]] = {
    "one click, first": {"clicks": (1, 1), "place": "first", "times": "equal"},
    "one click, last": {"clicks": (1, 1), "place": "last", "times": "equal"},
    "none to two, anywhere": {"clicks": (0, 2), "place": "anywhere", "times": "equal"},
    "under one id": {"clicks": (0, 2), "place": "first", "times": "jittered"},
    "no ties": {"clicks": (0, 0), "place": "anywhere", "times": "apart"},
    "days": {"clicks": (0, 2), "place": "first", "times": "days"},
}


def configure(folder: Path, protocol: str, *, shuffle: int | None = None, **log: Any) -> Config:
    rows = make_noise(users=300, **log)
    if shuffle is not None:
        rows = [rows[place] for place in np.random.default_rng(shuffle).permutation(len(rows))]
    write_table(folder / "log.tsv", HEADER, rows)
    columns = {"user": "user", "item": "item", "timestamp": "time", "label": "label", "category": None}
    columns |= {"request": "request"} if log["times"] == "jittered" else {}
    data: dict[str, Any] = {"columns": columns, "protocol": protocol}
    if protocol == "time":
        cuts = [int(np.quantile([row[2] for row in rows], share)) for share in (0.5, 0.7)]
        data["time_split"] = dict(zip(("validation_from", "test_from"), cuts, strict=True))
    if protocol == "user":
        data["user_split"] = {"validation": 0.2, "test": 0.5}
    return make_config(
        folder,
        data=data,
        model={"name": "base", **SMALL},
        training={"epochs": 2, "batch_size": 128, "optimizer": {"name": "adam", "learning_rate": 0.02}},
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("log", LOGS)
def test_the_length_of_a_history_says_nothing(tmp_path: Path, log: str, protocol: str) -> None:
    config = configure(tmp_path, protocol, **LOGS[log])
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    samples = data.samples(Split.TEST, 1_000)
    assert len(samples) > 400
    scores = -samples.history_length.astype(np.float64)
    columns = [samples.user_ids, samples.history_ends] if protocol == "user" else [samples.user_ids]
    assert compute_gauc_by_history(columns, samples.labels, scores).value == 0.5


@pytest.mark.parametrize(("log", "protocol"), [
    ("one click, first", "holdout"), ("under one id", "time"), ("no ties", "paper"), ("none to two, anywhere", "user"),
])  # fmt: skip
def test_base_model_learns_nothing(tmp_path: Path, log: str, protocol: str) -> None:
    rows, metrics, _ = train(tmp_path, protocol, **LOGS[log])
    groups = rows.user_id if protocol != "user" else rows.user_id.astype(np.int64) << 40 | rows.history_end
    key = "gauc" if protocol != "user" else "gauc_by_history"
    assert getattr(metrics, key) == pytest.approx(compute_gauc(groups, rows.label, rows.logit).value, abs=1e-12)
    error = compute_null_deviation(groups, rows.label, rows.logit)
    assert error is not None
    assert error < 0.03
    assert abs(getattr(metrics, key) - 0.5) < 4 * error


def test_any_order_of_the_lines_gives_the_same_metrics(tmp_path: Path) -> None:
    """To the last bit: ids, samples, their order and so the weights are the same."""
    found = []
    for seed in (None, 1):
        folder = tmp_path / f"shuffled-{seed}"
        folder.mkdir()
        rows, metrics, _ = train(folder, "holdout", shuffle=seed, **LOGS["under one id"])
        found.append((rows.logit.tobytes(), metrics.gauc, metrics.logloss, metrics.rows_sha256))
    assert found[0] == found[1]


def train(folder: Path, protocol: str, **log: Any) -> Any:
    from din_train.fit import fit

    with chdir(folder):
        metrics = fit(configure(folder, protocol, **log), run_dir=folder / "run")[0]
    return read_scores(folder / "run/scores.test.parquet"), metrics, folder / "run"


def see_siblings(events: UserEvents, moments: Any) -> Any:
    """What a history was: every click above the row in the file, those of the row's own request too."""
    del moments
    clicked = np.cumsum(events.is_click) - events.is_click
    return clicked - clicked[events.first_events][events.user_rows]


def keep_own(patch: pytest.MonkeyPatch) -> None:
    """Each row of the test split has the history of its own moment."""
    patch.setattr(split_module, "_share_first_history", lambda _events, _splits, length: length)


PLANTED: dict[str, tuple[str, dict[str, Any], Callable[[pytest.MonkeyPatch], Any]]] = {
    "siblings": (
        "holding a click of their own request",
        {"clicks": (1, 1), "place": "first", "times": "equal"},
        lambda patch: (patch.setattr(UserEvents, "count_clicks_before", see_siblings), keep_own(patch)),
    ),
    "after the last click": (
        "ending elsewhere than the protocol says",
        {"clicks": (0, 0), "place": "anywhere", "times": "apart"},
        keep_own,
    ),
}


@pytest.mark.parametrize("leak", PLANTED)
def test_both_leaks_are_found_where_they_are_planted(
    tmp_path: Path, leak: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, log, plant = PLANTED[leak]
    with monkeypatch.context() as patch:
        plant(patch)
        rows, metrics, run = train(tmp_path, "holdout", **log)
    assert compute_gauc(rows.user_id, rows.label, -rows.history_length.astype(np.float64)).value > 0.6
    assert abs(metrics.gauc - 0.5) > 0.04
    subject = open_subject(run)
    assert check_histories_end_before_targets(subject).measured[what] > 0
    alone = check_history_alone(subject)
    assert alone.measured["length"]["gauc"] < 0.4
    failed = find_failed(run_checks(subject))
    assert {"future: histories", "leak: history alone"} <= failed.keys()

"""What the chief tells the other workers, and how they share the scoring. The exchange itself is made up here."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, prepare_events
from numpy.typing import NDArray

from din_train import signals
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.errors import DataError, RunError
from din_train.run_directory import RunDirectory
from din_train.scoring import build_configured_model, score_samples
from din_train.training import chief
from din_train.training.chief import cut_share, is_stopped, open_told_data, open_told_state, tell
from din_train.training.workers import Workers

EVENTS = [(f"u{n % 9}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(200)]


def make_workers(index: int, count: int = 2) -> Workers:
    return Workers(tuple(f"host{number}:1" for number in range(count)), index)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chief, "_SEEN_WITHIN", 0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_events(tmp_path_factory.mktemp("log"), EVENTS)[0]


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (2, [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9]]),
        (3, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]),
        (4, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]),
    ],
)
def test_a_share_is_whole_batches(count: int, shares: list[list[int]]) -> None:
    """Ten rows are two batches of four, and one of two."""
    cut = [cut_share(make_workers(index, count), 10, 4) for index in range(count)]
    assert [None if share is None else share.tolist() for share in cut] == shares
    assert cut_share(Workers(), 10, 4) is None


def test_shared_scores_are_those_of_one_worker_bit_for_bit(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path, model={"name": "base"}, training={"epochs": 1, "evaluation_batch_size": 7})
    model = build_configured_model(config, data)
    samples = data.samples(Split.TEST, 100)
    whole = score_samples(model, config, data, samples)
    assert np.ptp(whole) > 0
    parts: list[NDArray[Any]] = []
    monkeypatch.setattr(Workers, "gather", lambda _self, part: parts.append(part) or [part])  # type: ignore[func-returns-value]
    for index in range(2):
        score_samples(model, config, data, samples, make_workers(index))
    assert [len(part) % 7 for part in parts[:-1]] == [0]
    assert np.array_equal(np.concatenate(parts), whole)


def test_what_the_chief_finds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"auc": 0.1 + 0.2, "gauc": None, "users": 3}
    sent: list[bytes] = []

    def gather(_self: Workers, part: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        sent.append(part.tobytes())
        return [np.frombuffer(json.dumps(told).encode(), np.uint8), np.empty(0, np.uint8)]

    monkeypatch.setattr(Workers, "gather", gather)
    assert tell(make_workers(1), lambda: pytest.fail("only the chief looks")) == told
    assert tell(make_workers(0), lambda: told) == told
    assert sent == [b"", json.dumps(told).encode()]


def test_a_failed_exchange_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workers, "gather", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tell(make_workers(1), lambda: 1)


def test_a_signal_to_another_worker_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals._State, "received", None)
    monkeypatch.setattr(Workers, "agree", lambda _self, flag: flag)
    assert not is_stopped(make_workers(0, 3))
    monkeypatch.setattr(Workers, "agree", lambda *_: True)
    monkeypatch.setattr(Workers, "gather", lambda _self, own: [own, own, np.array([signal.SIGTERM])])
    assert is_stopped(make_workers(0, 3))
    assert signals.received_signal() is signal.SIGTERM
    assert signals.interrupted_exit_code() == 143


def test_the_data_set_is_the_one_that_was_told(data: PreparedData, tmp_path: Path) -> None:
    assert open_told_data(make_workers(1), data.folder, data.fingerprint, None).fingerprint == data.fingerprint
    for folder, fingerprint in ((data.folder, "another"), (tmp_path / "nowhere", data.fingerprint)):
        with pytest.raises(DataError, match=f"{folder}: worker 1 does not find the data set here that worker 0 has"):
            open_told_data(make_workers(1), folder, fingerprint, None)


def test_a_run_directory_that_is_not_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"{tmp_path}/run: worker 1 does not see here what worker 0 has written"):
        open_told_state(make_workers(1), RunDirectory(tmp_path / "run"), "the chief's", None)

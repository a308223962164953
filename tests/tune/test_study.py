"""Trials are counted once, run once, and go on after any end; what is pruned or failed does not win."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import search_factory
from optuna.trial import TrialState
from search_factory import RATE, list_starts, open_search

from din_train.errors import ConfigError, Interrupted
from din_train.sweep import CellProcess
from din_train.tune.space import Range, Space
from din_train.tune.study import Objective, Search


def run(search: Search, trials: int, workers: int = 1) -> None:
    search.run(trials, workers, "din-train tune ...", changed=lambda: None)


def list_states(search: Search) -> list[str]:
    return [each.state.name for each in search.trials]


def test_trials_run_without_their_test_split_and_the_best_complete_one_wins(tmp_path: Path) -> None:
    search = open_search(tmp_path)
    run(search, 4, workers=2)
    assert list_states(search) == ["COMPLETE"] * 4
    assert list_starts(tmp_path) == {f"trial-000{n}-seed1": ["--resume --no-test refit=False"] for n in range(4)}
    best = min(search.trials, key=lambda each: abs(each.params[RATE] - 0.01))
    assert search.best is not None
    assert (search.best.number, search.best.value) == (best.number, pytest.approx(0.9 - abs(best.params[RATE] - 0.01)))
    described = search.describe_trial(search.best)
    assert described["epoch"] == 4
    assert described["values"]["1"] == pytest.approx(best.value - 0.03)
    assert described["keys"]["training.batch_size"] in (128, 256)
    run(search, 4)
    assert len(search.trials) == 4


def test_a_bad_trial_is_pruned_by_sigterm_and_a_failed_one_says_why(tmp_path: Path) -> None:
    search = open_search(tmp_path, Space({RATE: ("0.01", "0.2", "0.9")}))
    for rate in ("0.01",) * 5 + ("0.2", "0.9"):
        search.study.enqueue_trial({RATE: rate})
    run(search, 7)
    assert list_states(search) == ["COMPLETE"] * 5 + ["PRUNED", "FAIL"]
    pruned, failed = search.trials[5:]
    assert sorted(pruned.intermediate_values) == [1, 2]
    assert failed.user_attrs["failure"] == "<b>training</b>: the loss is nan"
    assert search.describe_trial(pruned)["value"] is None


def test_a_pruned_trial_never_wins(tmp_path: Path) -> None:
    search = open_search(tmp_path)
    for value, state in ((0.6, TrialState.COMPLETE), (0.99, TrialState.PRUNED), (0.6, TrialState.COMPLETE)):
        trial = search.study.ask()
        trial.report(value, 1)
        search.study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    assert search.best is not None
    assert search.best.number == 0
    assert Objective("logloss").find_best({1: 0.5, 2: 0.3, 3: 0.3}) == (2, 0.3)
    assert Objective("gauc").find_best({1: 0.5, 2: 0.7, 3: 0.7}) == (2, 0.7)


def test_a_study_killed_outright_goes_on_with_its_trials(tmp_path: Path) -> None:
    """The search's process is killed; its trials, which go on without it, are waited for and then taken over."""
    code = (
        "import sys; from pathlib import Path; import fake_fit, search_factory; from din_train import sweep\n"
        "sweep.FIT = (sys.executable, fake_fit.__file__)\n"
        f"search_factory.open_search(Path({str(tmp_path)!r}), pause=0.4).run(3, 2, '', changed=lambda: None)"
    )
    path = os.pathsep.join(map(str, Path(__file__).parents[1:3]))
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}) as tuner:
        try:
            wait_for(lambda: len(list(tmp_path.glob("runs/*/history.jsonl"))) == 2)
        finally:
            tuner.kill()
    search = open_search(tmp_path, pause=0.4)
    assert list_states(search) == ["RUNNING"] * 2
    run(search, 3, workers=2)
    assert list_states(search) == ["COMPLETE"] * 3
    starts = list_starts(tmp_path)
    assert [len(starts[f"trial-000{n}-seed1"]) for n in range(3)] == [2, 2, 1]
    assert all(sorted(each.intermediate_values) == [1, 2, 3, 4] for each in search.trials)


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(15_000):  # five minutes, for a machine with much else to do
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError


def test_a_trial_killed_outright_has_failed(tmp_path: Path) -> None:
    search = open_search(tmp_path, pause=30)
    with ThreadPoolExecutor() as threads:
        done = threads.submit(run, search, 1)
        wait_for(lambda: list(tmp_path.glob("runs/*/starts")))
        [child] = [int(each.name) for each in Path("/proc").glob("[0-9]*") if is_fit_of(each, tmp_path)]
        os.kill(child, signal.SIGKILL)
        done.result()
    assert list_states(search) == ["FAIL"]
    assert search.trials[0].user_attrs["failure"] == "ended with exit code -9"


def is_fit_of(process: Path, out: Path) -> bool:
    try:
        command = (process / "cmdline").read_bytes().decode().split("\0")
    except OSError:
        return False
    return "--run-dir" in command and str(out) in command[command.index("--run-dir") + 1]


def test_a_search_that_is_stopped_stops_its_trials_and_goes_on_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = open_search(tmp_path, pause=0.2)

    def stop(process: CellProcess) -> bool:
        if (process.cell.run.path / "history.jsonl").exists():
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as patch:
        patch.setattr(CellProcess, "has_ended", stop)
        with pytest.raises(Interrupted, match=r"search stopped; go on with `din-train tune \.\.\.`"):
            run(search, 1)
    assert list_states(search) == ["RUNNING"]
    run(open_search(tmp_path), 1)
    assert list_states(search) == ["COMPLETE"]
    assert list(list_starts(tmp_path).values()) == [["--resume --no-test refit=False"] * 2]


def test_two_searches_of_one_study_share_its_trials(tmp_path: Path) -> None:
    searches = [open_search(tmp_path, pause=0.05) for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda search: run(search, 5, workers=2), searches))
    assert list_states(searches[0]) == ["COMPLETE"] * 5
    assert [len(each) for each in list_starts(tmp_path).values()] == [1] * 5
    rates = [each.params[RATE] for each in searches[0].trials]
    assert len(set(rates)) == 5


def test_a_search_draws_the_same_whether_it_was_stopped_or_not(tmp_path: Path) -> None:
    whole, halves = open_search(tmp_path / "whole"), open_search(tmp_path / "halves")
    run(whole, 3)
    run(halves, 1)
    halves = open_search(tmp_path / "halves")
    run(halves, 3)
    assert [each.params for each in whole.trials] == [each.params for each in halves.trials]


def test_values_that_do_not_go_together_fail_and_the_search_goes_on(tmp_path: Path) -> None:
    space = Space({"training.loss.name": ('"logloss"', '"softmax"'), "training.loss.positive_weight": ("1.0", "-1.0")})
    search = open_search(tmp_path, space)
    for weight in ("-1.0", "1.0"):
        search.study.enqueue_trial({"training.loss.name": '"logloss"', "training.loss.positive_weight": weight})
    run(search, 2)
    assert list_states(search) == ["FAIL", "COMPLETE"]
    assert "training.loss.positive_weight: received -1.0" in search.trials[0].user_attrs["failure"]


def test_a_study_is_not_mixed_with_another_space_or_config(tmp_path: Path) -> None:
    open_search(tmp_path, seen="first")
    with pytest.raises(ConfigError, match=r"a study begun with another space \(training.batch_size: "):
        open_search(tmp_path, Space({RATE: Range(low=0.001, high=0.1, log=True)}))
    with pytest.raises(ConfigError, match=r"another facts \(seen: first there, second here\)"):
        open_search(tmp_path, seen="second")


def test_a_study_has_the_configs_name_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_search(tmp_path).study.study_name == "found"
    monkeypatch.setattr(search_factory, "CONFIG", search_factory.CONFIG.replace("name: found", "name: other"))
    assert open_search(tmp_path).study.study_name == "found"


def test_no_trial_begins_after_a_winner_is_scored(tmp_path: Path) -> None:
    search = open_search(tmp_path)
    run(search, 1)
    scored = tmp_path / "runs" / "winner-0000-seed1"
    scored.mkdir()
    (scored / "metrics.json").write_text("{}")
    run(search, 1)
    with pytest.raises(ConfigError, match="winner-0000-seed1 is scored on the test split, so a search with 2 more"):
        run(search, 3)
    assert len(search.trials) == 1


def test_half_a_line_of_the_journal_is_left_behind(tmp_path: Path) -> None:
    run(open_search(tmp_path), 1)
    with (tmp_path / "study.journal").open("ab") as journal:
        journal.write(b'{"op_code":4,"wor')
    search = open_search(tmp_path)
    run(search, 2)
    assert list_states(search) == ["COMPLETE"] * 2

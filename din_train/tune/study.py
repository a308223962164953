"""The study: Optuna's journal of the trials, and the loop that keeps `--workers` of them running.

OUT/study.journal              Optuna's journal: what was asked, reported and told
OUT/runs/trial-<n>-seed<s>/    a trial's run directory, OUT/cells/ its config, log and cost (see `sweep.py`)

Several processes, also on several machines, may work on one study. A trial belongs to the process that holds the lock
on its config file, and to the `fit` that it started, which inherits the lock. So the kernel ends the ownership when
both are gone, however they ended, and whoever comes next goes on with the trial from its saved state.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
import orjson
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from din_train.config import Config
from din_train.errors import ConfigError, Interrupted
from din_train.files import hold
from din_train.signals import interrupted_exit_code
from din_train.sweep import POLL_SECONDS, Cell, CellProcess, build_cell, stop_cells
from din_train.terminal import say
from din_train.tune.space import Space

PROTECTED_EPOCHS = 2  # no trial is pruned before the end of this epoch
UNPRUNED_TRIALS = 5  # nor before so many trials have ended
_BEST_TRIALS = 5  # that importance is about, at least


@dataclass(frozen=True)
class Objective:
    """The validation metric that trials are compared by, at the epoch that it chooses."""

    metric: str

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "minimize" if self.metric == "logloss" else "maximize"

    def read_values(self, cell: Cell) -> dict[int, float]:
        """Epoch -> value, as far as the trial has come."""
        try:
            lines = cell.run.history_file.read_bytes().splitlines()  # which is replaced as a whole
        except FileNotFoundError:
            return {}
        return {record["epoch"]: record[f"validation_{self.metric}"] for record in map(orjson.loads, lines)}

    def find_best(self, values: Mapping[int, float]) -> tuple[int, float]:
        """The first epoch with the best value, whose weights `fit` keeps, and the value."""
        return (min if self.metric == "logloss" else max)(values.items(), key=lambda each: each[1])


class _JournalLock(JournalFileOpenLock):
    """A lock that ends with its process. Before the first writing, half a line that a full disk left is cut off."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._held: AbstractContextManager[int] | None = None

    def acquire(self) -> bool:
        self._held = hold(self._path, wait=lambda _: None)
        self._held.__enter__()
        with self._path.open("r+b") as journal:
            journal.seek(max(journal.seek(0, os.SEEK_END) - 1, 0))
            if journal.read() not in (b"", b"\n"):
                journal.seek(0)
                journal.truncate(journal.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        if self._held is not None:
            self._held.__exit__(None, None, None)


@dataclass
class _RunningTrial:
    trial: Trial
    process: CellProcess
    lock: ExitStack
    reported: set[int] = field(default_factory=set)
    is_pruned: bool = False


class Search:
    """A study and its trials.

    Args:
        out: the study's folder. configure: makes the config of a trial or of the winner from `key=value` texts.
        base: whose seed is also the sampler's. facts: what must be equal whenever the study goes on.
    """

    def __init__(
        self,
        out: Path,
        space: Space,
        objective: Objective,
        configure: Callable[[str, Sequence[str]], Config],
        *,
        base: Config,
        facts: Mapping[str, Mapping[str, Any]],
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.out = out
        self.objective = objective
        self._space = space
        self._configure = configure
        self._base = base
        self._seed = base.seed
        journal = out / "study.journal"
        with self._alone():
            journal.touch()
            self._storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal), _JournalLock(journal)))
            begun = optuna.get_all_study_names(self._storage)  # goes on under its name, also if the config has another
            self.study = optuna.create_study(
                study_name=begun[0] if begun else base.name,
                storage=self._storage,
                direction=objective.direction,
                pruner=optuna.pruners.MedianPruner(UNPRUNED_TRIALS, n_warmup_steps=PROTECTED_EPOCHS),
                load_if_exists=True,
            )
            before = self.study.user_attrs
            for name, now in facts.items():
                known = before.get(name, now)
                for key in {**known, **now}:
                    if known.get(key) != now.get(key):
                        raise ConfigError(
                            f"{out}: a study begun with another {name} ({key}: {known.get(key)} there, {now.get(key)} "
                            "here), so trials would not compare; give another name (--set name=..., --out)"
                        )
                if name not in before:
                    self.study.set_user_attr(name, now)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process asks for a trial meanwhile."""
        with hold(self.out / "study", wait=lambda _: None):
            yield

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @property
    def best(self) -> FrozenTrial | None:
        """The winner so far: of the trials that are complete, the first with the best value; pruned ones never win."""
        complete = [each for each in self.trials if each.state == TrialState.COMPLETE]
        sign = -1 if self.objective.direction == "minimize" else 1
        return max(complete, key=lambda each: sign * (each.value or 0.0), default=None)

    def compute_importance(self) -> dict[str, float]:
        """Of each key its share in which trials are the best tenth, or the best five, by PED-ANOVA; empty for few."""
        complete = [each for each in self.trials if each.state == TrialState.COMPLETE]
        if len(complete) < 2 * _BEST_TRIALS or len({each.value for each in complete}) == 1:
            return {}
        share = max(0.1, _BEST_TRIALS / len(complete))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        return optuna.importance.get_param_importances(self.study, evaluator=evaluator)

    def describe_trial(self, trial: FrozenTrial) -> dict[str, Any]:
        """Its part of `study.json`."""
        cell = Cell(self.out, ("trial", f"{trial.number:04d}"), self._seed, self._base)
        cost = cell.read_cost()
        return {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "epoch": trial.user_attrs.get("epoch"),
            "values": {str(epoch): value for epoch, value in sorted(trial.intermediate_values.items())},
            "keys": {key: orjson.loads(each) if isinstance(each, str) else each for key, each in trial.params.items()},
            "seconds": None if cost is None else cost.seconds,
            "run_directory": str(cell.run.path),
            "failure": trial.user_attrs.get("failure"),
        }

    def build_cell(self, kind: str, trial: FrozenTrial | Trial) -> Cell:
        """The run of a trial (kind `trial`), or of the winner.

        Raises:
            ConfigError: if its values do not go together.
        """
        config = self._configure(kind, [f"{key}={value}" for key, value in trial.params.items()])
        return build_cell(self.out, (kind, f"{trial.number:04d}"), config.seed, config)

    def run(self, trials: int, workers: int, how_to_go_on: str, *, changed: Callable[[], None]) -> None:
        """Run trials, so many at once, until the study has so many, and none of them is running.

        Args:
            changed: called at the beginning, and after trials have ended.

        Raises:
            ConfigError: if a winner is scored on the test split already, and there are trials to run.
            Interrupted: on Ctrl-C or SIGTERM; trials under way have saved their states, and go on with the study.
        """
        running: list[_RunningTrial] = []
        has_said = False
        changed()
        try:
            while True:
                while len(running) < workers and (begun := self._begin(trials, running)):
                    running += [begun]
                elsewhere = sum(each.state == TrialState.RUNNING for each in self.trials) - len(running)
                if not running and not elsewhere and self._count_begun() >= trials:
                    return
                if not running and elsewhere and not has_said:
                    say(f"{self.out}: waiting for {elsewhere} trials that other processes are running")
                    has_said = True
                ended = [each for each in running if self._follow(each)]
                running = [each for each in running if each not in ended]
                if ended:
                    changed()
                else:
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            raise Interrupted(f"search stopped; go on with `{how_to_go_on}`", interrupted_exit_code()) from None
        finally:
            stop_cells([each.process for each in running])
            for each in running:
                each.lock.close()

    def _begin(self, trials: int, running: Sequence[_RunningTrial]) -> _RunningTrial | None:
        """Go on with a trial that nobody runs, or ask for a new one; None if there is none to run."""
        with self._alone(), ExitStack() as lock:
            ours = {each.trial.number for each in running}
            left = [each.number for each in self.trials if each.state == TrialState.RUNNING and each.number not in ours]
            for number in left:
                try:
                    descriptor = lock.enter_context(hold(self._lock_file(number)))
                except ConfigError:  # it is at work
                    continue
                study_id = self._storage.get_study_id_from_name(self.study.study_name)
                trial = Trial(self.study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number))
                say(f"trial {number}: going on with it")
                break
            else:
                begun = self._count_begun()
                if begun >= trials:
                    return None
                self._check_unscored(trials - begun)
                trial = self.study.ask()
                descriptor = lock.enter_context(hold(self._lock_file(trial.number)))
            self._suggest(trial)
            return self._start(trial, descriptor, lock.pop_all())

    def _count_begun(self) -> int:
        """Without those that only wait: others may have put them into Optuna's queue."""
        return sum(each.state != TrialState.WAITING for each in self.trials)

    def _check_unscored(self, more: int) -> None:
        scored = sorted((self.out / "runs").glob("winner-*/metrics.json"))
        if scored:
            raise ConfigError(
                f"{self.out}: {scored[0].parent.name} is scored on the test split, so a search with {more} more trials "
                "would be one that has seen it; give it another name (--set name=..., --out)"
            )

    def _lock_file(self, number: int) -> Path:
        return self.out / "cells" / f"trial-{number:04d}"

    def _suggest(self, trial: Trial) -> None:
        """Values for all keys; a trial that has some keeps them.

        Each trial has a sampler of its own, so that no two processes draw the same, nor a study that goes on what it
        drew before.
        """
        self.study.sampler = optuna.samplers.TPESampler(seed=self._seed + trial.number, constant_liar=True)
        for key, values in self._space.keys.items():
            if isinstance(values, tuple):
                trial.suggest_categorical(key, values)
            elif values.is_whole:
                trial.suggest_int(key, int(values.low), int(values.high), step=int(values.step or 1), log=values.log)
            else:
                trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)

    def _start(self, trial: Trial, descriptor: int, lock: ExitStack) -> _RunningTrial | None:
        try:
            cell = self.build_cell("trial", trial)
        except ConfigError as error:
            self._fail(trial, error.problems[0])
            lock.close()
            return None
        cell.write_config()
        reported = set(self.trials[trial.number].intermediate_values)
        return _RunningTrial(trial, CellProcess(cell, descriptor, "--no-test"), lock, reported)

    def _follow(self, running: _RunningTrial) -> bool:
        """Report the epochs that have ended, and prune; whether the trial has ended."""
        trial, process = running.trial, running.process
        has_ended = process.has_ended()  # before the history is read for the last time
        values = self.objective.read_values(process.cell)
        new = [epoch for epoch in values if epoch not in running.reported]
        for epoch in new:
            trial.report(values[epoch], epoch)
            running.reported.add(epoch)
        if has_ended:
            self._tell(running, values)
            running.lock.close()
        elif new and not running.is_pruned and trial.should_prune():
            running.is_pruned = True
            process.send_signal(signal.SIGTERM)  # its state is saved, so that it can be resumed by hand
        return has_ended

    def _tell(self, running: _RunningTrial, values: Mapping[int, float]) -> None:
        trial, process = running.trial, running.process
        failure = process.describe_failure()
        if failure is None:
            epoch, value = self.objective.find_best(values)
            trial.set_user_attr("epoch", epoch)
            self.study.tell(trial, value)
            say(f"trial {trial.number}: {self.objective.metric} {value:.6f} at epoch {epoch}")
        elif running.is_pruned and process.exit_code == 128 + signal.SIGTERM:
            self.study.tell(trial, state=TrialState.PRUNED)
            say(f"trial {trial.number}: pruned after epoch {max(values)}")
        elif process.exit_code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            raise Interrupted(f"trial {trial.number} was stopped from outside: {failure}", process.exit_code)
        else:
            self._fail(trial, failure)

    def _fail(self, trial: Trial, failure: str) -> None:
        trial.set_user_attr("failure", failure)
        self.study.tell(trial, state=TrialState.FAIL)
        say(f"trial {trial.number}: failed: {failure}")

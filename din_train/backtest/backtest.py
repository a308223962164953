"""`din-train backtest`: for each day of a log, train up to it and score it once; cold, warm, and without a refresh.

OUT/runs/step<k>-<mode>-seed<s>/     a run directory of each training, whose test metrics are those of the day
OUT/stale/step<k>-seed<s>/           metrics and scores of step 0's model on a later day
OUT/cells/, OUT/prepared/            see `din_train.sweep` and `steps.py`
OUT/settings.json                    the config and the cuts, which stay when the backtest goes on
OUT/backtest.json, backtest.html     the results

A training is `din-train fit --no-test` in a process of its own. Then its weights score the day, and with the day's
metrics the run is finished. The same command, started again, skips what is finished and goes on.
"""

import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from din_train.backtest.results import DayRun, describe_day, sum_seconds, summarize_days
from din_train.backtest.steps import PreparedStep, Step, StepConfigs, parse_period, prepare_steps
from din_train.config import Config, list_values
from din_train.config.data import parse_moment
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.dataset.time_range import show_date
from din_train.earlier_scores import score_on
from din_train.errors import ConfigError, DinTrainError, RunError
from din_train.evaluation.display import format_metric
from din_train.evaluation.scores import write_scores
from din_train.files import make_folder, write_text
from din_train.printable import dump_printable_json
from din_train.run_directory import RunDirectory
from din_train.sweep import Cell, build_cell, find_disagreement, only_one_at_a_time, run_cell
from din_train.sweep_command import describe_command, list_seeds
from din_train.terminal import format_seconds, say, show_json, show_line, show_table

# Keys that may differ when a backtest goes on.
_FREE = ("name", "seed", "data.prepared", "tracking.")


@dataclass(frozen=True)
class Training:
    """A model that is trained when a step begins. start: the training whose weights it begins with."""

    cell: Cell
    mode: str
    step: PreparedStep
    start: Cell | None


def backtest(
    config_file: Path,
    overrides: Sequence[str],
    *,
    begin: str,
    every: str,
    of_warm: Sequence[str],
    num_steps: int,
    seeds: Sequence[int] | None,
    modes: Sequence[str],
    out: Path | None,
    plan_only: bool,
    as_json: bool,
) -> None:
    """Prepare, train and score every day, and show the days side by side.

    Args:
        begin: the first moment of the first day, as in a config. every: a period, such as `1d`. of_warm: overrides
            for warm models alone. modes: of cold, warm and stale, in this order. out: the folder of the backtest; None:
            runs/<name>.

    Raises:
        ConfigError: if the config does not suit, or the folder has another backtest.
        DataError: see `prepare_steps`.
        RunError: if a model could not be trained or scored, after all others.
    """
    period, first = parse_period(every), _parse_begin(begin)
    steps = [Step(number, first + number * period, first + (number + 1) * period) for number in range(num_steps)]
    configs = StepConfigs.of(config_file, overrides, of_warm, first, period, out)
    config, out = configs.build_training(steps[0], None), configs.out
    go_on = describe_command(
        "backtest",
        config_file,
        *(("--from", [begin]), ("--every", [every]), ("--steps", [num_steps]), ("--modes", [",".join(modes)])),
        *(("--seeds", list_seeds(seeds)), ("--set", overrides), ("--warm-set", of_warm), ("--out", [out])),
    )
    seeds = tuple(seeds) if seeds else (config.seed,)
    with only_one_at_a_time(out, "backtest") as lock:
        settings = {"--from": first, "--every": period, "warm": configs.of_warm, **_list_fixed(config)}
        _check_settings(out, settings)
        prepared, left_out = prepare_steps(configs, steps)
        trainings = plan_trainings(configs, prepared, seeds, modes)
        say(f"{len(trainings)} trainings, {sum(each.cell.run.is_finished for each in trainings)} of them done")
        if plan_only:
            return
        write_text(out / "settings.json", dump_printable_json(settings) + "\n")
        failures = _run_all(configs, trainings, lock, go_on)
        stale = _score_stale(configs, trainings, prepared[1:], seeds) if "stale" in modes else {}
        failures |= {name: line for name, line in stale.items() if line is not None}
        days = [
            describe_day(
                each, configs.day_folder(each.step), _find_runs(configs, each, trainings, seeds, modes), config.metrics
            )
            for each in prepared
        ]
        results = {
            "name": config.name,
            "modes": list(modes),
            "seeds": list(seeds),
            "from": show_date(first),
            "period_seconds": period,
            "days": days,
            "left_out": [
                {"step": number, "from": show_date(steps[number].begin), "reason": reason}
                for number, reason in left_out.items()
            ],
            "failures": failures,
            "summary": summarize_days(days, modes),
        }
        _show(results, out, as_json=as_json)
    if failures:
        raise RunError([f"{name}: {line}" for name, line in failures.items()])


def _parse_begin(text: str) -> int:
    moment = parse_moment(int(text) if text.isascii() and text.isdigit() else text)
    if not isinstance(moment, int) or not 0 <= moment < 2**40:
        raise ConfigError(f"--from: received '{text}', expected a date such as 2014-05-01 (UTC), or unix seconds")
    return moment


def _list_fixed(config: Config) -> dict[str, Any]:
    """The keys that stay when a backtest goes on."""
    return {key: value for key, value in list_values(config) if not key.startswith(_FREE)}


def _check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder with models of another config, or of other cuts."""
    try:
        before = orjson.loads((out / "settings.json").read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return
    here = orjson.loads(orjson.dumps(settings))
    for key in {**before, **here}:
        if before.get(key) != here.get(key):
            raise ConfigError(
                f"{out}: holds a backtest of another config ({key}: {before.get(key)} there, {here.get(key)} here); "
                "choose another folder (--out), or remove this one"
            )


def plan_trainings(
    configs: StepConfigs, prepared: Sequence[PreparedStep], seeds: Sequence[int], modes: Sequence[str]
) -> list[Training]:
    """What is to be trained, in order: of the first step the cold models, of each later one the modes that train."""
    trainings: list[Training] = []
    for each in prepared:
        trained = ["cold"] if each.before is None else [mode for mode in ("cold", "warm") if mode in modes]
        for seed in seeds:
            for mode in trained:
                start = None
                if mode == "warm":
                    start = [one for one in trainings if one.cell.seed == seed and _leads_to_warm(one)][-1].cell
                config = configs.build_training(
                    each.step,
                    each.before,
                    warm_start=None if start is None else start.run.path,
                    of_warm_chain=mode == "warm",
                )
                cell = build_cell(configs.out, (each.step.name, mode), seed, config)
                trainings.append(Training(cell, mode, each, start))
    return trainings


def _leads_to_warm(training: Training) -> bool:
    return training.mode == "warm" or training.step.before is None


def _run_all(configs: StepConfigs, trainings: Sequence[Training], lock: int, go_on: str) -> dict[str, str]:
    """Train and score what is not finished; name -> why it failed."""
    failures: dict[str, str] = {}
    begun = time.monotonic()
    left = [each for each in trainings if not each.cell.run.is_finished]
    for training in trainings:
        cell = training.cell
        stopped = f"backtest stopped in {cell.name}; go on with `{go_on}`"
        day = configs.day_folder(training.step.step)
        line = _train(training, lock, stopped) or _score(cell.run, cell.run, day, training.step.day.fingerprint)
        cell.record_failure(line)
        if line is not None:
            failures[cell.name] = line
            say(f"{cell.name}: failed: {line}")
        elif training in left:
            done = left.index(training) + 1
            about = (time.monotonic() - begun) / done * (len(left) - done)
            say(f"{cell.name}: GAUC {format_metric(cell.run.read_metrics().gauc)}; about {format_seconds(about)} left")
    return failures


def _train(training: Training, lock: int, stopped: str) -> str | None:
    """Train it unless it is finished; why it failed."""
    cell, start = training.cell, training.start
    if cell.run.is_finished:
        return find_disagreement(cell)
    if start is not None and (not start.run.is_finished or start.read_failure() is not None):
        return f"begins with the weights of {start.name}, which has failed"
    cell.write_config()
    line = run_cell(cell, lock, stopped, "--no-test")
    return None if line is None else f"{line} (see {cell.file('log')})"


def _score(model: RunDirectory, run: RunDirectory, day: Path, fingerprint: str) -> str | None:
    """Score the day unless that is done; why it failed.

    Args:
        model: the run with the weights. run: gets metrics and scores. fingerprint: of the day's data set.
    """
    try:
        if not run.is_finished:
            metrics, rows = score_on(model.path, open_store(day), Split.TEST)
            gc.collect()  # models refer to themselves
            make_folder(run.path)
            write_scores(run.scores_file("test"), rows)
            run.write_metrics(metrics)  # last: this file says that the run is finished
        elif run.read_metrics().data_fingerprint != fingerprint:
            return f"{run.path}: scored on other rows than the day has now (the log has changed); remove it to run anew"
    except DinTrainError as error:
        return error.problems[0]
    return None


def _score_stale(
    configs: StepConfigs, trainings: Sequence[Training], later: Sequence[PreparedStep], seeds: Sequence[int]
) -> Mapping[str, str | None]:
    """Score the first step's models on every later day; name -> why it failed, if it did."""
    failures: dict[str, str | None] = {}
    for seed in seeds:
        first = next(each.cell for each in trainings if each.cell.seed == seed)
        for each in later:
            run = _stale_run(configs, each.step, seed)
            if first.read_failure() is not None or not first.run.is_finished:
                failures[run.path.name] = f"scores with the weights of {first.name}, which has failed"
            else:
                day = configs.day_folder(each.step)
                failures[run.path.name] = _score(first.run, run, day, each.day.fingerprint)
    return failures


def _stale_run(configs: StepConfigs, step: Step, seed: int) -> RunDirectory:
    return RunDirectory(configs.out / "stale" / f"{step.name}-stale-seed{seed}")


def _find_runs(
    configs: StepConfigs, each: PreparedStep, trainings: Sequence[Training], seeds: Sequence[int], modes: Sequence[str]
) -> list[DayRun]:
    """The runs that have scored a day."""
    found = []
    for training in trainings:
        cell = training.cell
        if training.step.step != each.step or not cell.is_measured:
            continue
        seconds, cost = sum_seconds(cell.run, cell.run.read_metrics().best_epoch), cell.read_cost()
        process = None if cost is None else cost.seconds
        found.append(DayRun(training.mode, cell.seed, cell.run, cell.config.data.prepared, seconds, process))
    if "stale" in modes and each.before is not None:
        runs = [(seed, _stale_run(configs, each.step, seed)) for seed in seeds]
        data = trainings[0].cell.config.data.prepared
        found += [
            DayRun("stale", seed, run, data)
            for seed, run in runs
            if run.is_finished and run.read_metrics().data_fingerprint == each.day.fingerprint
        ]
    return found


def _show(results: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    from din_train.backtest.backtest_page import build_backtest_page, build_days_table, describe_summary

    write_text(out / "backtest.json", dump_printable_json(results) + "\n")
    write_text(out / "backtest.html", build_backtest_page(results))
    if as_json:
        show_json(results)
        return
    show_table(build_days_table(results))
    for line in describe_summary(results):
        show_line(line)
    say(f"the page: {out / 'backtest.html'}")

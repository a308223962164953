"""Which rows a step is trained and scored on, and that nothing of a day is in what its models are trained on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backtest.conftest import CONFIG, DAY, START, list_events, make_steps
from log_factory import write_log
from record_factory import MANIFEST

from din_train.backtest import steps
from din_train.backtest.steps import Step, StepConfigs, parse_period, prepare_steps
from din_train.config import Config
from din_train.dataset.manifest import Manifest
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.dataset.time_range import Moments
from din_train.errors import ConfigError, DataError, EmptySplitError

Write = Callable[..., Path]


def build(file: Path, *overrides: str, first: int = 4) -> StepConfigs:
    return StepConfigs.of(file, overrides, [], START + first * DAY, DAY, file.parent / "out")


@pytest.mark.parametrize(
    ("text", "seconds"), [("1d", 86_400), ("6h", 21_600), ("2w", 1_209_600), ("30m", 1800), ("5s", 5)]
)
def test_periods(text: str, seconds: int) -> None:
    assert parse_period(text) == seconds
    for wrong in ("0d", "1", "d", "1.5d", "1 day", "-1d"):
        with pytest.raises(ConfigError, match="expected a number and s, m, h, d or w, such as 1d"):
            parse_period(wrong)


def describe(config: Config) -> tuple[str, str | None, int, int, int]:
    """Its data set, the one whose ids are kept, and the days where validation, test and the end begin."""
    split, base = config.data.time_split, config.vocabulary.base
    assert split is not None
    assert config.filters.until is not None
    days = [(each - START) // DAY for each in (split.validation_from, split.test_from, config.filters.until)]
    return config.data.prepared.name, None if base is None else base.name, *days


def test_the_cuts_and_the_bases_of_every_step(write_config: Write) -> None:
    file = write_config()
    configs = build(file)
    first, second = prepare_steps(configs, make_steps(4, 2))[0]
    third = replace(second, step=make_steps(4, 3)[2], before=second)
    assert describe(configs.build_training(first.step, None)) == ("step0", None, 4, 4, 4)  # no validation split
    assert describe(configs.build_training(second.step, first)) == ("step1", "step0", 5, 5, 5)
    assert describe(configs.build_day(second.step)) == ("day1", "step1", 5, 5, 6)
    validated = build(file, "training.select_on=validation")
    assert describe(validated.build_training(second.step, first)) == ("step1", "step0", 4, 5, 5)

    since = build(file, "data.since_base=true")
    assert describe(since.build_training(second.step, first, of_warm_chain=True)) == ("warm-step1", "step0", 5, 5, 5)
    assert describe(since.build_training(third.step, second, of_warm_chain=True))[:2] == ("warm-step2", "warm-step1")
    assert describe(since.build_training(third.step, second))[:2] == ("step2", "step1")
    own = StepConfigs.of(file, ["training.warm_start.new_rows=mean"], ["training.epochs=1"], START, DAY, file.parent)
    cold = own.build_training(third.step, second)
    warm = own.build_training(third.step, second, warm_start=Path("runs/a"))
    assert (cold.training.epochs, cold.training.warm_start, warm.training.epochs) == (2, None, 1)
    assert warm.training.warm_start is not None
    assert (warm.training.warm_start.run, warm.training.warm_start.new_rows) == (Path("runs/a"), "mean")
    tracked = build(file, "tracking.mlflow=http://localhost:5000").build_training(first.step, None).tracking
    assert tracked is not None
    assert tracked.experiment == "past"
    for wrong in (
        "model.name=lr",
        "training.select_on=none",
        "training.warm_start.run=runs/b",
        "training.warm_start=null",
    ):
        with pytest.raises(ConfigError, match="expected a key of `training` that leaves the rows and the warm start"):
            StepConfigs.of(file, [], [wrong], START, DAY, file.parent)

    # rows by hand: 24 events a day, of which each user's first two have no history before them, but for the second
    assert [each.training.samples["train"] for each in (first, second)] == [2 * (24 * 4 - 12), 2 * (24 * 5 - 12)]
    assert [each.day.samples["test"] for each in (first, second)] == [24 * 4] * 2
    assert first.training.samples["test"] == first.training.samples["validation"] == 0
    test = open_store(configs.folder("day1")).samples(Split.TEST, 50)
    assert np.unique(test.history_length).tolist() == [10]  # what was there when the day began


def test_warm_models_are_trained_on_the_new_day_alone(write_config: Write) -> None:
    first, second = prepare_steps(build(write_config(), "data.since_base=true"), make_steps(4, 2))[0]
    assert first.warm_training == first.training
    assert second.warm_training.samples["train"] == 48
    assert second.training.samples["train"] == 2 * (24 * 5 - 12)


def test_nothing_of_the_day_is_in_what_its_models_are_trained_on(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_config()
    (step,), _ = prepare_steps(build(file, "negatives.exclude=all"), make_steps(4, 1))
    before = [event for day in range(4) for event in list_events(day)]
    others = [(f"v{user}", f"new{item}", "other", time) for user, item, _, time in list_events(4)]
    swapped = [(user, "i1", "c9", time + 7) for user, _, _, time in list_events(4)]
    write_log(tmp_path / "log.tsv", [*before, *swapped, *others])
    (other,), _ = prepare_steps(build(file, "negatives.exclude=all"), make_steps(4, 1))
    assert other.day.fingerprint != step.day.fingerprint
    assert other.training.fingerprint == step.training.fingerprint

    # planted: the training's log goes on through the day
    build_training = StepConfigs.build_training

    def leak(configs: StepConfigs, step: Step, *arguments: object, **options: object) -> Config:
        config = build_training(configs, step, *arguments, **options)  # type: ignore[arg-type]
        return config.model_copy(update={"filters": config.filters.model_copy(update={"until": step.end})})

    monkeypatch.setattr(StepConfigs, "build_training", leak)
    (leaky,), _ = prepare_steps(build(file, "negatives.exclude=all"), make_steps(4, 1))
    assert leaky.training.fingerprint != step.training.fingerprint


def test_a_day_without_rows_is_left_out(write_config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"no step has rows: data\.time_split\.test_from: .* from then on"):
        prepare_steps(build(write_config(), first=20), make_steps(20, 1))

    def prepare(config: Config) -> Manifest:
        if config.data.prepared.name == "day1":
            raise EmptySplitError("no row")
        return replace(MANIFEST, time=Moments(START, START + DAY, is_unix=True))

    monkeypatch.setattr(steps, "_prepare", prepare)
    prepared, left_out = prepare_steps(build(write_config()), make_steps(4, 3))
    assert [each.step.number for each in prepared] == [0, 2]
    assert prepared[1].before == prepared[0]
    assert left_out == {1: "no row"}


@pytest.mark.parametrize(
    ("overrides", "old", "new", "problem"),
    [
        (["data.protocol=user"], "", "", "--set data.protocol=user: the backtest sets this key itself"),
        (["data.time_split.test_from=5"], "", "", "the backtest sets this key itself"),
        ([], "metrics:", "filters: {{until: 2014-05-20}}\nmetrics:", "filters.until: the backtest sets it itself"),
        ([], "source: table", "source: rows", "a backtest needs a log of events"),
        (["data.since_base=true", "training.select_on=validation"], "", "", "nothing new is left to train on"),
    ],
)
def test_what_cannot_be_cut_day_by_day_is_refused(
    write_config: Write, overrides: list[str], old: str, new: str, problem: str
) -> None:
    file = write_config(range(1), CONFIG.replace(old, new, 1) if old else CONFIG)
    with pytest.raises(ConfigError) as caught:
        build(file, *overrides)
    assert problem in caught.value.problems[0]
    assert len(caught.value.problems) == 1


def test_a_first_day_before_the_log_and_a_log_without_dates(write_config: Write, tmp_path: Path) -> None:
    file = write_config()
    with pytest.raises(DataError, match=r"^--from 2014-05-14: .* leaves out every event: the log's times"):
        prepare_steps(build(file, first=0), make_steps(0, 1))
    counted = [(user, item, category, place) for place, (user, item, category, _) in enumerate(list_events(3))]
    write_log(tmp_path / "log.tsv", counted)
    with pytest.raises(DataError, match="times that are no unix times"):
        prepare_steps(build(file), make_steps(4, 1))
    configs = StepConfigs.of(file, [], [], 12, 6, tmp_path / "out")
    with pytest.raises(DataError, match="a backtest cuts the log by unix times, but its times go from 0 to 23"):
        prepare_steps(configs, [Step(0, 12, 18)])

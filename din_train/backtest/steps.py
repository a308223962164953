"""The steps of a backtest, each a day of the log (or whatever `--every` says), and their data sets.

    OUT/prepared/step<k>        what is known when day k begins: the log is cut there. Models are trained on it
    OUT/prepared/warm-step<k>   the same log with `data.since_base`, if the config has it: warm models are trained on it
    OUT/prepared/day<k>         the log up to the day's end, whose test split is the day. Models are scored on it

A model is trained on a data set that ends before the day that it is scored on. So no id, count, bucket, scale or
sampled negative can come from that day. Each data set keeps the ids of the one before (`vocabulary.base`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from din_train.config import Config, load_config
from din_train.config.data import PRESAMPLED
from din_train.config.load import read_yaml
from din_train.dataset.manifest import Manifest
from din_train.dataset.prepare import prepare_data
from din_train.dataset.time_range import show_date
from din_train.errors import ConfigError, DataError, EmptySplitError
from din_train.run_directory import RUNS
from din_train.sweep_command import choose_folder, join_experiment
from din_train.terminal import say

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

# Keys that the command sets itself.
_OWN = (
    *("data.prepared", "data.protocol", "data.time_split", "data.user_split"),
    *("filters.until", "vocabulary.base", "training.warm_start.run"),
)
_OF_WARM = "training.warm_start."
# Keys that decide which rows there are, or with which weights a warm model begins.
_NOT_OF_WARM = ("training.select_on", "training.calibration", "training.warm_start", "training.warm_start.run")


def parse_period(text: str) -> int:
    """`1d`, `6h`, `2w` -> seconds.

    Raises:
        ConfigError: if it is not of this form.
    """
    match = re.fullmatch(r"([1-9]\d{0,8})([smhdw])", text.strip())
    if match is None:
        raise ConfigError(f"--every: received '{text}', expected a number and s, m, h, d or w, such as 1d, 6h or 2w")
    return int(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True)
class Step:
    """Day `number`, from 0: the moments from `begin` to before `end`."""

    number: int
    begin: int
    end: int

    @property
    def name(self) -> str:
        return f"step{self.number}"


@dataclass(frozen=True)
class PreparedStep:
    """A step with the manifests of its data sets.

    before: the step whose ids are kept, and whose warm model is the warm start; None in the beginning.
    """

    step: Step
    before: "PreparedStep | None"
    training: Manifest
    warm_training: Manifest
    day: Manifest


@dataclass(frozen=True)
class StepConfigs:
    """What the configs of all steps are made from.

    overrides: without those of `training.warm_start`, which are `of_warm`. period: seconds of a step. out: the folder
    of the backtest. keeps_validation: whether a training keeps the period before the day for validation. since_base:
    whether warm models are trained on what is new alone.
    """

    file: Path
    overrides: tuple[str, ...]
    of_warm: tuple[str, ...]
    period: int
    out: Path
    keeps_validation: bool
    since_base: bool

    @classmethod
    def of(
        cls,
        file: Path,
        overrides: Sequence[str],
        of_warm: Sequence[str],
        begin: int,
        period: int,
        out: Path | None,
    ) -> "StepConfigs":
        """From a config file and its overrides; `out` is runs/<name> if it is left out.

        Args:
            of_warm: further overrides for warm models alone, of `training`: they are trained on the same data set.

        Raises:
            ConfigError: if this config cannot be trained day by day.
        """
        for each in overrides:
            key = each.partition("=")[0].strip()
            if key in _OWN or key.startswith("data.time_split."):
                raise ConfigError(f"--set {each}: the backtest sets this key itself; leave it out")
        data = read_yaml(file).get("data")
        source = data.get("source") if isinstance(data, dict) else None
        if source in PRESAMPLED:
            raise ConfigError(
                f"data.source: received '{source}', whose rows are samples already, so that no day can be cut out of "
                "them; a backtest needs a log of events"
            )
        others = tuple(each for each in overrides if not each.startswith(_OF_WARM))
        for each in of_warm:
            key = each.partition("=")[0].strip()
            if not key.startswith("training.") or key in _NOT_OF_WARM:
                raise ConfigError(
                    f"--warm-set {each}: expected a key of `training` that leaves the rows and the warm start as they "
                    "are, such as training.epochs=1; other keys hold for all models: give them with --set"
                )
        of_warm = (*(each for each in overrides if each.startswith(_OF_WARM)), *of_warm)
        cut = f"data.time_split={{validation_from: {begin}, test_from: {begin}}}"
        place = ["data.protocol=time", "data.user_split=null", cut, _base_key(RUNS)]  # whatever base since_base needs
        config = load_config(file, [*others, *place])
        # Wrong values of warm models are refused before any work.
        load_config(file, [*others, *place, f"training.warm_start.run={_quote(RUNS)}", *of_warm])
        others = tuple(join_experiment(config, others))
        for key, value in (
            ("filters.until", config.filters.until),
            ("training.warm_start", config.training.warm_start),
        ):
            if value is not None:
                raise ConfigError(f"{key}: the backtest sets it itself for each day; remove it from {file}")
        training = config.training
        keeps_validation = training.select_on == "validation" or training.calibration != "none"
        if keeps_validation and config.data.since_base:
            raise ConfigError(
                "data.since_base: the period before each day is kept for validation, so nothing new is left to train "
                "on; set training.select_on=none (and training.calibration=none) to train on it for fixed epochs"
            )
        out = choose_folder(out, config, "backtest")
        return cls(file, others, of_warm, period, out, keeps_validation, config.data.since_base)

    def folder(self, name: str) -> Path:
        return self.out / "prepared" / name

    def day_folder(self, step: Step) -> Path:
        """The data set that the day's models are scored on."""
        return self.folder(f"day{step.number}")

    def build_training(
        self, step: Step, before: PreparedStep | None, *, warm_start: Path | None = None, of_warm_chain: bool = False
    ) -> Config:
        """The config of a model that is trained when the step begins.

        Args:
            before: the step whose ids are kept. warm_start: the run that it begins with. of_warm_chain: whether the
                data set is the warm models' own, if they have one.
        """
        own = of_warm_chain and self.since_base and before is not None
        name = f"warm-{step.name}" if own else step.name
        base = None
        if before is not None:
            is_warm = own and before.before is not None
            base = self.folder(f"warm-{before.step.name}" if is_warm else before.step.name)
        begin = step.begin - self.period if self.keeps_validation else step.begin
        values = [f"data.since_base={str(own).lower()}", _base_key(base), f"filters.until={step.begin}"]
        if warm_start is not None:
            values += [f"training.warm_start.run={_quote(warm_start)}", *self.of_warm]
        return self._load(name, begin, step.begin, values)

    def build_day(self, step: Step) -> Config:
        """The config of `day_folder`."""
        values = ["data.since_base=false", "vocabulary.expire_after=null", f"filters.until={step.end}"]
        return self._load(
            self.day_folder(step).name, step.begin, step.begin, [*values, _base_key(self.folder(step.name))]
        )

    def _load(self, name: str, validation_from: int, test_from: int, values: Sequence[str]) -> Config:
        cuts = f"data.time_split={{validation_from: {validation_from}, test_from: {test_from}}}"
        place = ["data.protocol=time", "data.user_split=null", cuts, f"data.prepared={_quote(self.folder(name))}"]
        return load_config(self.file, [*self.overrides, *place, *values])


def prepare_steps(configs: StepConfigs, steps: Sequence[Step]) -> tuple[list[PreparedStep], dict[int, str]]:
    """Make the data sets of every step, in order.

    Returns:
        The steps that can be trained and scored, and step number -> why each other one is left out.

    Raises:
        DataError: if the log has no unix times, nothing before the first step, or no row for any step.
    """
    prepared: list[PreparedStep] = []
    left_out: dict[int, str] = {}
    for step in steps:
        before = prepared[-1] if prepared else None
        try:
            training = _prepare(configs.build_training(step, before))
            if training.time is None or not training.time.is_unix:
                raise DataError(
                    f"{configs.file}: a backtest cuts the log by unix times, but its times go "
                    f"{training.time or 'unsaid'}; write unix times into the log"
                )
            warm = training
            if configs.since_base and before is not None:
                warm = _prepare(configs.build_training(step, before, of_warm_chain=True))
            day = _prepare(configs.build_day(step))
        except EmptySplitError as error:
            left_out[step.number] = error.problems[0]
            say(f"{step.name}, {show_date(step.begin)}: left out: {error.problems[0]}")
            continue
        except DataError as error:
            if before is not None:
                raise
            raise DataError([f"--from {show_date(step.begin)}: {problem}" for problem in error.problems]) from None
        prepared.append(PreparedStep(step, before, training, warm, day))
        say(
            f"{step.name}, {show_date(step.begin)}: {training.samples['train']:,} training rows, "
            f"{day.samples['test']:,} rows of the day"
        )
    if not prepared:
        raise DataError([f"no step has rows: {line}" for line in list(left_out.values())[:1]])
    return prepared, left_out


def _prepare(config: Config) -> Manifest:
    return prepare_data(config, force=False, progress=lambda _: None, say=say).manifest


def _base_key(folder: Path | None) -> str:
    return f"vocabulary.base={'null' if folder is None else _quote(folder)}"


def _quote(path: Path) -> str:
    return orjson.dumps(str(path)).decode()

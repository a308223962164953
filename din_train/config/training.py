"""`training`: how the model is fitted and which epoch's weights are kept."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from din_train.config.file_formats import LocalPath
from din_train.config.section import Section

SelectOn = Literal["validation", "test", "none"]
Metric = Literal["gauc", "auc", "logloss"]
LossName = Literal["logloss", "softmax", "bpr"]
CalibrationMethod = Literal["none", "platt", "isotonic"]

# The keys of a schedule that say when the rate is cut; a schedule has one of them.
SCHEDULE_CUTS = ("epochs", "at", "steps")


def _name_switch(value: Any) -> Any:
    """YAML 1.1 reads `on` and `off` without quotes as booleans."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class ScheduleConfig(Section):
    """`training.optimizer.schedule`: how the learning rate falls."""

    name: Annotated[
        Literal["constant", "step", "plateau"],
        Field(description="step: after given epochs or steps; plateau: when the selection metric stops improving"),
    ] = "constant"
    epochs: Annotated[
        tuple[Annotated[float, Field(gt=0, strict=False)], ...],
        Field(strict=False, description="step only: the epochs after which the rate is multiplied, such as [3, 4.5]"),
    ] = ()
    at: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...],
        Field(strict=False, description="step only: the same as shares of training.epochs, such as [0.5]"),
    ] = ()
    steps: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(strict=False, description="step only: the same in optimiser steps, which depend on batch size and log"),
    ] = ()
    factor: Annotated[float, Field(gt=0, lt=1, description="the rate is multiplied by it")] = 0.1
    patience: Annotated[int, Field(ge=1, description="plateau only: epochs without improvement before a cut")] = 1

    @property
    def cuts(self) -> dict[str, tuple[float, ...]]:
        """The keys that say when the rate is cut, of those that are given."""
        return {key: getattr(self, key) for key in SCHEDULE_CUTS if getattr(self, key)}

    def find_steps(self, *, epochs: int, steps_per_epoch: int) -> list[int]:
        """The steps after which the rate is multiplied, in a training of so many epochs."""
        cuts = [*self.steps, *(each * steps_per_epoch for each in self.epochs)]
        cuts += [each * epochs * steps_per_epoch for each in self.at]
        return [max(1, round(cut)) for cut in cuts]

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """Only the step schedule has `epochs`, `at` or `steps`; it has one of them, and its numbers must rise."""
        if self.name == "step" and not self.cuts:
            yield "epochs", "missing, expected the epochs after which the rate is multiplied, such as [3]"
        if self.name == "step" and len(self.cuts) > 1:
            first, second = list(self.cuts)[:2]
            yield second, f"not used beside {first}; remove one of them"
        for key, cuts in self.cuts.items():
            if self.name != "step":
                yield key, f"not used by schedule '{self.name}'; remove it, or use name: step"
            if sorted(set(cuts)) != list(cuts):
                yield key, f"received {', '.join(f'{cut:g}' for cut in cuts)}, expected rising numbers"


class LossConfig(Section):
    """`training.loss`: what training minimises."""

    name: Annotated[
        LossName,
        Field(
            description="logloss of each row; or, within a positive and its negatives or a request, softmax: minus the "
            "log of the positive's share of exp(logit), bpr: minus log sigmoid of positive less negative"
        ),
    ] = "logloss"
    positive_weight: Annotated[
        float,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="logloss only: what a clicked row counts in training, beside its data.columns.weight; "
            "probabilities stay those of the rows as they are",
        ),
    ] = 1.0

    @property
    def is_of_lists(self) -> bool:
        """Whether rows of a list are compared, so that scores are no probabilities."""
        return self.name != "logloss"

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """Within a list, a weight of all positives is a factor of the whole loss."""
        if self.is_of_lists and self.positive_weight != 1:
            yield (
                "positive_weight",
                f"received {self.positive_weight:g}, which is not used by loss '{self.name}': it compares clicked rows "
                "with others, so that their weight changes nothing; remove it, or use logloss",
            )


class OptimizerConfig(Section):
    """`training.optimizer`: embedding tables get row-wise (lazy) updates, the rest ordinary ones."""

    name: Annotated[
        Literal["adam", "adamw", "adagrad", "sgd"],
        Field(description="adamw decays the weights outside embedding tables"),
    ] = "adam"
    learning_rate: Annotated[float, Field(gt=0, description="at the start; see schedule")] = 0.001
    weight_decay: Annotated[float, Field(ge=0, description="adamw only, per step, times the learning rate")] = 0.004
    clip_norm: Annotated[
        float | None, Field(gt=0, description="scale gradients down to this global norm; left out: no clipping")
    ] = None
    schedule: ScheduleConfig = ScheduleConfig()


class RegularizationConfig(Section):
    """`training.regularization`: L2 on embedding tables, as a gradient added to the batch's."""

    name: Annotated[
        Literal["none", "l2", "dense_l2", "mini_batch_aware"],
        Field(
            description="l2: the distinct rows of the batch; dense_l2: every row; mini_batch_aware: the rows of the "
            "batch, each divided by its id's occurrences (paper section 5.2)"
        ),
    ] = "none"
    strength: Annotated[float, Field(ge=0, description="lambda: strength * row (/ occurrences) is added")] = 0.01


class EarlyStoppingConfig(Section):
    """`training.early_stopping`: stop when the metric no longer improves; the best epoch's weights are kept."""

    metric: Annotated[Metric, Field(description="watched on `training.select_on`")] = "gauc"
    patience: Annotated[int, Field(ge=1, description="stop after this many epochs without improvement")] = 1


class WarmStartConfig(Section):
    """`training.warm_start`: begin with the weights of an earlier run, carried over by raw id."""

    run: Annotated[
        LocalPath,
        Field(description="run directory; set by `fit --warm-start`, as vocabulary.base is, to the run's data set"),
    ]
    optimizer: Annotated[
        Literal["keep", "reset"],
        Field(
            description="keep: go on with the earlier optimiser's moments and step count, and so with the place in the "
            "learning rate's schedule; reset: a new optimiser"
        ),
    ] = "keep"
    new_rows: Annotated[
        Literal["unknown", "mean", "random"],
        Field(
            description="what the row of a new id begins as: the unknown id's row, the mean of the carried rows (of an "
            "item: of its category), or random numbers as in a cold start"
        ),
    ] = "mean"


class TrainingConfig(Section):
    """`training`: epochs, batches, device, optimiser, selection."""

    epochs: Annotated[int, Field(ge=1, description="at most this many passes over the training samples")]
    batch_size: Annotated[int, Field(ge=1, description="training samples per step")] = 1024
    evaluation_batch_size: Annotated[int, Field(ge=1, description="samples per scoring step")] = 1024
    device: Annotated[Literal["auto", "cpu", "gpu"], Field(description="auto: a GPU if there is one")] = "auto"
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of the layers; weights and the loss stay float32")
    ] = "float32"
    jit_compile: Annotated[
        Literal["auto", "on", "off"],
        BeforeValidator(_name_switch),
        Field(description="XLA, with histories padded in blocks; auto: off"),
    ] = "auto"
    strategy: Annotated[
        Literal["none", "mirrored", "multi_worker"],
        Field(
            description="mirrored: one replica per GPU, each with a share of the batch; multi_worker: the same across "
            "the processes that TF_CONFIG names"
        ),
    ] = "none"
    worker_timeout: Annotated[
        int, Field(ge=1, le=86_400, description="multi_worker only: seconds to wait for the other workers at the start")
    ] = 300
    deterministic: Annotated[
        bool, Field(description="the same seed gives the same bits on the same machine; not with XLA")
    ] = False
    steps_per_execution: Annotated[int, Field(ge=1, le=10_000, description="steps in one call into TensorFlow")] = 8
    select_on: Annotated[
        SelectOn | None,
        Field(description="which split chooses the epoch; default: validation under holdout, none under paper"),
    ] = None
    refit: Annotated[
        bool, Field(description="train again on training and validation rows for the chosen number of epochs")
    ] = False
    leave_one_out: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of the training positives, with their drawn negatives, whose history is all the user's "
            "other training events, later ones too; scoring never",
        ),
    ] = 0.0
    checkpoint_steps: Annotated[
        int | None,
        Field(ge=1, description="save the whole state after this many steps each, and at each epoch's end"),
    ] = None
    keep_checkpoints: Annotated[int, Field(ge=1, description="how many of the newest states are kept")] = 2
    warm_start: Annotated[
        WarmStartConfig | None, Field(description="begin with the weights of an earlier run; left out: with new ones")
    ] = None
    loss: LossConfig = LossConfig()
    calibration: Annotated[
        CalibrationMethod | None,
        Field(
            description="turns scores into probabilities, fitted on the validation rows; default: none for logloss, "
            "platt for softmax and bpr if the protocol has validation rows"
        ),
    ] = None
    optimizer: OptimizerConfig = OptimizerConfig()
    regularization: RegularizationConfig = RegularizationConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """Options that exclude each other."""
        if self.deterministic and self.jit_compile == "on":
            yield (
                "jit_compile",
                "received 'on' with deterministic: true, but XLA promises no equal bits; turn one off",
            )
        if self.strategy != "none" and self.jit_compile == "on":
            yield "jit_compile", f"received 'on' with strategy: {self.strategy}, which runs without XLA; turn one off"
        if self.optimizer.schedule.name == "plateau" and self.select_on == "none":
            yield (
                "optimizer.schedule.name",
                "received 'plateau' with select_on 'none': there is no metric to watch; use step or constant",
            )
        if self.loss.is_of_lists and self.early_stopping.metric == "logloss":
            yield (
                "early_stopping.metric",
                f"received 'logloss', but scores of loss '{self.loss.name}' are no probabilities before they are "
                "calibrated, after the training; use gauc or auc",
            )

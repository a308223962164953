"""`training`: how the model is fitted and which epoch's weights are kept."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from din_train.config.section import Section

SelectOn = Literal["validation", "test", "none"]
Metric = Literal["gauc", "auc", "logloss"]


def _name_switch(value: Any) -> Any:
    """YAML 1.1 reads `on` and `off` without quotes as booleans."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class ScheduleConfig(Section):
    """`training.optimizer.schedule`: how the learning rate falls."""

    name: Annotated[
        Literal["constant", "step", "plateau"],
        Field(description="step: after given steps; plateau: when the selection metric stops improving"),
    ] = "constant"
    steps: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(strict=False, description="step only: the optimiser steps after which the rate is multiplied"),
    ] = ()
    factor: Annotated[float, Field(gt=0, lt=1, description="the rate is multiplied by it")] = 0.1
    patience: Annotated[int, Field(ge=1, description="plateau only: epochs without improvement before a cut")] = 1

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """Only the step schedule has `steps`, and they must rise."""
        if self.name == "step" and not self.steps:
            yield "steps", "missing, expected the steps after which the rate is multiplied, such as [336000]"
        if self.name != "step" and self.steps:
            yield "steps", f"not used by schedule '{self.name}'; remove it, or use name: step"
        if sorted(set(self.steps)) != list(self.steps):
            yield "steps", f"received {', '.join(map(str, self.steps))}, expected rising numbers"


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
        Field(description="XLA, with histories padded in blocks; auto: on a GPU"),
    ] = "auto"
    strategy: Annotated[
        Literal["none", "mirrored"], Field(description="mirrored: one replica per GPU, each with a share of the batch")
    ] = "none"
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
        if self.strategy == "mirrored" and self.jit_compile == "on":
            yield "jit_compile", "received 'on' with strategy: mirrored, which runs without XLA; turn one off"
        if self.optimizer.schedule.name == "plateau" and self.select_on == "none":
            yield (
                "optimizer.schedule.name",
                "received 'plateau' with select_on 'none': there is no metric to watch; use step or constant",
            )

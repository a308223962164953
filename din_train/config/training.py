"""`training`: how the model is fitted and which epoch's weights are kept."""

from typing import Annotated, Literal

from pydantic import Field

from din_train.config.section import Section

SelectOn = Literal["validation", "test", "none"]


class OptimizerConfig(Section):
    """`training.optimizer`: embedding tables get row-wise (lazy) updates, the rest ordinary ones."""

    name: Annotated[Literal["adam", "sgd"], Field(description="adam is lazy on embedding rows")] = "adam"
    learning_rate: Annotated[float, Field(gt=0, description="constant")] = 0.001


class EarlyStoppingConfig(Section):
    """`training.early_stopping`: stop when the metric no longer improves; the best epoch's weights are kept."""

    metric: Annotated[Literal["gauc", "auc", "logloss"], Field(description="watched on `training.select_on`")] = "gauc"
    patience: Annotated[int, Field(ge=1, description="stop after this many epochs without improvement")] = 1


class TrainingConfig(Section):
    """`training`: epochs, batches, device, optimiser, selection."""

    epochs: Annotated[int, Field(ge=1, description="at most this many passes over the training samples")]
    batch_size: Annotated[int, Field(ge=1, description="training samples a step")] = 1024
    evaluation_batch_size: Annotated[int, Field(ge=1, description="samples a scoring step")] = 4096
    device: Annotated[Literal["auto", "cpu", "gpu"], Field(description="auto: a GPU if there is one")] = "auto"
    steps_per_execution: Annotated[int, Field(ge=1, le=10_000, description="steps in one call into TensorFlow")] = 8
    select_on: Annotated[
        SelectOn | None,
        Field(description="which split chooses the epoch; default: validation under holdout, none under paper"),
    ] = None
    optimizer: OptimizerConfig = OptimizerConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()

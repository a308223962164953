"""The ways to train the same DIN: the textbook's, and ours flat and padded."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from din_train.config import ModelConfig, OptimizerConfig

RATES = {"sgd": 1.0, "adam": 0.001}  # the presets'


def compile_ours(config: ModelConfig, data: Any, optimizer: str, batch_size: int, *, padded: bool) -> Any:
    """The configured model, compiled as `fit` compiles it."""
    from din_train.model.build import build_model
    from din_train.model.losses import LogLoss
    from din_train.training.optimizers import build_optimizer

    model = build_model(config, data, seed=1, padded=padded)
    settings = OptimizerConfig(name=optimizer, learning_rate=RATES[optimizer])
    model.compile(
        batch_size=batch_size,
        optimizer=build_optimizer(settings, static_shapes=padded),
        loss=LogLoss(),
        jit_compile=padded,
    )
    return model


@dataclass(frozen=True)
class Form:
    """A way to train the same model."""

    name: str
    padded: bool = False
    textbook: bool = False

    def build_model(self, config: ModelConfig, data: Any, optimizer: str, batch_size: int) -> Any:
        """Compiled, with Keras's own optimiser and loss where it is the textbook's."""
        if not self.textbook:
            return compile_ours(config, data, optimizer, batch_size, padded=self.padded)
        import keras
        from textbook import TextbookDIN

        keras.utils.set_random_seed(1)
        model = TextbookDIN(
            num_items=len(data.item_category_ids),
            num_categories=data.num_categories + 2,
            item_category_ids=data.item_category_ids,
            size=config.item_embedding_size,
            unit=config.local_activation_unit.hidden_units,
            mlp=config.mlp.hidden_units,
        )
        one = np.ones(1, np.int32)
        model({"target_item_id": one, "history_item_ids": one[:, None], "history_length": one})
        model.compile(
            optimizer={"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[optimizer](RATES[optimizer]),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            jit_compile=False,
        )
        return model


FORMS = (Form("textbook", textbook=True), Form("flat"), Form("padded", padded=True))


def build_training_step(model: Any, *, padded: bool) -> Any:
    """Keras's own step as one function of (inputs, labels), for batches of every shape."""
    import tensorflow as tf

    from din_train.batches import build_training_signature

    model.optimizer.build(model.trainable_variables)
    return tf.function(
        lambda inputs, labels: model.train_step((inputs, labels)),
        input_signature=build_training_signature({}, padded=padded),
        jit_compile=padded,
    )

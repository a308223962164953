"""What every ranking model is: a batch, in one part or several -> a logit a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from din_train.batches import build_signature
from din_train.model.embedding import ItemEmbedding
from din_train.model.normalization import sum_over_replicas
from din_train.model.positions import Positions, flatten_history, pad_history

Inputs = Mapping[str, tf.Tensor]


@dataclass(frozen=True)
class Part:
    """Some rows of a batch, B_i of them.

    inputs: as in `din_train.batches`. history: [N_i] item ids of its positions.
    """

    inputs: Inputs
    history: tf.Tensor
    positions: Positions

    @property
    def num_rows(self) -> tf.Tensor:
        return tf.shape(self.inputs["target_item_id"])[0]


class RankingModel(keras.Model):
    """A model is a way from parts to logits: `compute_logits`.

    A batch may come in parts. Parts are worked on side by side: two cores do two halves of a batch faster than each
    operation of the whole one; and under XLA each part has padding of its own. Nothing a model computes depends on
    the cut: batch statistics are those of all parts together.

    `score` is `call` in inference mode, traced once for every batch shape: the one way to a score.

    Args:
        item_embedding: of candidate and history.
        context_fields: names of the context fields in a batch.
        padded: keep padding in its place in training, as XLA wants it; scoring never does.
    """

    def __init__(
        self,
        *,
        item_embedding: ItemEmbedding,
        context_fields: Sequence[str] = (),
        padded: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.item_embedding = item_embedding
        self.padded = padded
        signature = build_signature(context_fields)
        self.score = tf.function(lambda inputs: self(inputs, training=False), input_signature=[signature])

    def call(self, inputs: Inputs | Sequence[Inputs], training: bool = False) -> tf.Tensor:
        """A batch, or its parts in order -> logit [B]."""
        batches = [inputs] if isinstance(inputs, Mapping) else list(inputs)
        parts = [self._locate(each, padded=self.padded and training) for each in batches]
        logits = [tf.cast(each, tf.float32) for each in self.compute_logits(parts, training)]
        return logits[0] if len(logits) == 1 else tf.concat(logits, axis=0)

    def compute_logits(self, parts: Sequence[Part], training: bool) -> list[tf.Tensor]:
        """[B_i] logits of each part."""
        raise NotImplementedError

    def train_step(self, data: tuple[Inputs | Sequence[Inputs], tf.Tensor]) -> dict[str, tf.Tensor]:
        """Keras's own, with the loss's mean taken over the rows of all replicas: shares of a batch may differ by one.

        Keras takes the mean of the replicas' means.
        """
        inputs, labels, _ = keras.utils.unpack_x_y_sample_weight(data)  # there are no weights
        rows = tf.cast(tf.shape(labels)[0], tf.float32)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape() as tape:
            logits = self(inputs, training=True)
            loss = self.compute_loss(inputs, labels, logits)  # of this replica's rows, over the number of replicas
            of_batch = loss * (replicas * rows / sum_over_replicas(rows)) if replicas > 1 else loss
        self._loss_tracker.update_state(replicas * loss, sample_weight=rows)
        self.optimizer.apply_gradients(
            zip(tape.gradient(of_batch, self.trainable_weights), self.trainable_weights, strict=True)
        )
        metrics: dict[str, tf.Tensor] = self.compute_metrics(inputs, labels, logits)
        return metrics

    def _maybe_symbolic_build(self, iterator: object = None, data_batch: object = None) -> None:
        """Nothing: all is built. Keras would average the replicas' batches first, which have to be of one size."""

    def _locate(self, inputs: Inputs, *, padded: bool) -> Part:
        ids, length = inputs["history_item_ids"], inputs["history_length"]
        history, positions = pad_history(ids, length, self.compute_dtype) if padded else flatten_history(ids, length)
        return Part(inputs, history, positions)

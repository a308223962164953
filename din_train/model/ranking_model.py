"""What every ranking model is: a batch -> one logit per row, and how a step trains it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from din_train.batches import GROUP_ROWS, build_signature, compute_block_rows
from din_train.model.embedding import ItemEmbedding
from din_train.model.normalization import sum_over_replicas
from din_train.model.positions import Positions, flatten_history, pad_history

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class LocatedBatch:
    """B rows, and where their histories are.

    inputs: as in `din_train.batches`. history: [N] item ids of its positions.
    """

    inputs: Inputs
    history: tf.Tensor
    positions: Positions


class RankingModel(keras.Model):
    """A model is a way from a batch to logits: `compute_logits`.

    In training, batch statistics (Dice's and batch norm's) are those of a group: `GROUP_ROWS` consecutive rows of the
    global batch, the last group having what is left. Groups of data-parallel training are the same ones: where
    replicas share the rows of a group, its statistics are of all of them. So the groups depend on the batch alone,
    not on threads or replicas. Groups go forward and backward side by side in one graph, which keeps cores busier than
    the operations of a whole batch do; the gradient is that of the mean loss of all rows. The moving statistics are
    updated by one group after another.

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
        self._num_groups = 1
        signature = build_signature(context_fields)
        self.score = tf.function(lambda inputs: self(inputs, training=False), input_signature=[signature])

    def build(self, inputs_shape: object) -> None:
        """Nothing: the first batch builds each layer as it comes to it. Keras would trace the whole model before."""

    def call(self, inputs: Inputs, training: bool = False) -> tf.Tensor:
        """A batch, which is one group in training -> logit [B]."""
        ids, length = inputs["history_item_ids"], inputs["history_length"]
        if self.padded and training:
            blocks = ids if isinstance(ids, list | tuple) else [ids]
            located = LocatedBatch(inputs, *pad_history(blocks, length, self.compute_dtype))
        else:
            located = LocatedBatch(inputs, *flatten_history(ids, length))
        return tf.cast(self.compute_logits(located, training), tf.float32)

    def compute_logits(self, batch: LocatedBatch, training: bool) -> tf.Tensor:
        """[B]."""
        raise NotImplementedError

    def compile(self, *, batch_size: int = GROUP_ROWS, **kwargs: Any) -> None:
        """As Keras has it.

        Args:
            batch_size: the most rows of a training step, on all replicas together.
        """
        super().compile(**kwargs)
        self._num_groups = -(-batch_size // GROUP_ROWS)

    def train_step(self, data: tuple[Inputs, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Keras's own, group by group, with the loss's mean taken over the rows of all replicas.

        Keras takes the mean of the replicas' means, but shares of a batch may differ by one row.
        """
        inputs, labels, _ = keras.utils.unpack_x_y_sample_weight(data)  # there are no weights
        rows = tf.cast(tf.shape(labels)[0], tf.float32)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        all_rows, earlier_rows = _count_rows(rows) if replicas > 1 else (rows, 0)
        with tf.GradientTape() as tape:
            groups = self._cut_into_groups(inputs, earlier_rows)
            logits = tf.concat([self(group, training=True) for group in groups], axis=0)
            loss = self.compute_loss(inputs, labels, logits)  # of this replica's rows, over the number of replicas
            of_batch = loss * (replicas * rows / all_rows) if replicas > 1 else loss
        self._loss_tracker.update_state(replicas * loss, sample_weight=rows)
        self.optimizer.apply_gradients(
            zip(tape.gradient(of_batch, self.trainable_weights), self.trainable_weights, strict=True)
        )
        metrics: dict[str, tf.Tensor] = self.compute_metrics(inputs, labels, logits)
        return metrics

    def _cut_into_groups(self, inputs: Inputs, earlier_rows: int | tf.Tensor) -> Iterator[Inputs]:
        """This replica's rows of each group; for those of padded blocks, see `cut_into_blocks`."""
        columns = {name: each for name, each in inputs.items() if name != "history_item_ids"}
        ids = inputs["history_item_ids"]
        larger = max if isinstance(earlier_rows, int) else tf.maximum
        for group in range(self._num_groups):
            start, stop = (larger(each * GROUP_ROWS - earlier_rows, 0) for each in (group, group + 1))
            rows = slice(start, stop if group + 1 < self._num_groups else None)
            if isinstance(ids, list | tuple):
                sizes = compute_block_rows(GROUP_ROWS)
                cut = [each[group * size : (group + 1) * size] for each, size in zip(ids, sizes, strict=True)]
            else:
                cut = ids[rows]
            yield {**{name: each[rows] for name, each in columns.items()}, "history_item_ids": cut}

    def _maybe_symbolic_build(self, iterator: object = None, data_batch: object = None) -> None:
        """Nothing: all is built. Keras would average the replicas' batches first, which have to be of one size."""


def _count_rows(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How many rows all replicas have, and how many those before this one."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group
    counts = sum_over_replicas(tf.one_hot(replica, context.num_replicas_in_sync) * rows)  # one number per replica
    return tf.reduce_sum(counts), tf.cast(tf.reduce_sum(counts[:replica]), tf.int32)

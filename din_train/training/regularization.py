"""L2 regularisation of embedding tables, as a gradient (paper section 5.2, equations 4 to 8)."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.config import RegularizationConfig
from din_train.model.embedding import ItemEmbedding
from din_train.model.fields import FieldEmbedding
from din_train.model.ranking_model import RankingModel
from din_train.samples.store import PreparedData, Samples


class TableRegularizer:
    """Adds strength * w_j to the gradient of the rows j it acts on.

    `l2` acts on the rows of the batch, each once; `dense_l2` on every row, at the cost of a dense update;
    `mini_batch_aware` on the rows of the batch, each divided by n_j, its id's occurrences in all training samples:

        w_j <- w_j - lr [ mean over the batch of dL/dw_j + strength * alpha_mj / n_j * w_j ]

    with alpha_mj = 1 where id j is in the batch. The printed equation 8 sets the second term inside the sum over the
    batch; here it stands beside the mean, so that its weight does not depend on the batch size.

    Args:
        name: `l2`, `dense_l2` or `mini_batch_aware`.
        strength: lambda.
        occurrences: a table's path -> [rows] occurrences of each of its ids. Other weights are left alone.
    """

    def __init__(self, name: str, strength: float, occurrences: Mapping[str, NDArray[np.int64]]) -> None:
        self._name = name
        self._strength = strength
        factors = {
            path: strength / np.maximum(counts, 1) if name == "mini_batch_aware" else np.full(len(counts), strength)
            for path, counts in occurrences.items()
        }
        self._factors = {path: each.astype(np.float32) for path, each in factors.items()}

    def add_to(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, path: str
    ) -> tf.Tensor | tf.IndexedSlices:
        """The gradient with the regulariser's; the rows of one id must have been summed."""
        if path not in self._factors:
            return gradient
        if self._name == "dense_l2":
            return tf.convert_to_tensor(gradient) + self._strength * variable
        factors = tf.gather(tf.constant(self._factors[path]), gradient.indices)[:, None]  # [M, 1]
        values = gradient.values + factors * tf.gather(variable, gradient.indices)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)


def build_regularizer(
    config: RegularizationConfig, model: RankingModel, data: PreparedData, samples: Samples
) -> TableRegularizer | None:
    """The configured regulariser of all the model's tables; None without one."""
    if config.name == "none":
        return None
    return TableRegularizer(config.name, config.strength, count_table_rows(model, data, samples))


def count_table_rows(model: RankingModel, data: PreparedData, samples: Samples) -> dict[str, NDArray[np.int64]]:
    """Occurrences of every id of every embedding table in the training samples: n_j.

    An id occurs as often as it is looked up: an item twice in a history counts twice.
    """
    items = count_items(data, samples)
    users = np.bincount(samples.user_ids, minlength=len(data.user_starts))
    counts: dict[str, NDArray[np.int64]] = {}
    for layer in model._flatten_layers():
        if isinstance(layer, ItemEmbedding):
            counts[layer.items.path] = items
            counts[layer.categories.path] = _count_values(data.item_category_ids, items, layer.categories.shape[0])
        elif isinstance(layer, FieldEmbedding):
            for table, name in zip(layer.tables, layer.field_names, strict=True):
                if not layer.lookups:
                    counts[table.path] = np.bincount(samples.context[name], minlength=table.shape[0])
                elif name in data.user_fields:
                    counts[table.path] = _count_values(data.user_fields[name], users, table.shape[0])
                else:
                    counts[table.path] = _count_values(data.item_fields[name], items, table.shape[0])
    return counts


def count_items(data: PreparedData, samples: Samples) -> NDArray[np.int64]:
    """[items] how often each item id is a target or in a history of `samples`, each history being a slice of events."""
    num_items, num_events = len(data.item_category_ids), len(data.event_item_ids)
    opened = np.bincount(samples.history_start, minlength=num_events + 1)
    closed = np.bincount(samples.history_start + samples.history_length, minlength=num_events + 1)
    covered = np.cumsum(opened - closed)[:num_events]  # samples whose history holds the event
    in_histories = np.bincount(data.event_item_ids, weights=covered, minlength=num_items)
    return np.bincount(samples.target_item_ids, minlength=num_items) + in_histories.astype(np.int64)


def _count_values(values: NDArray[np.int32], counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Counts of keys -> counts of the keys' values."""
    return np.bincount(values, weights=counts[: len(values)], minlength=size).astype(np.int64)

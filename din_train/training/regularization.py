"""L2 regularisation of embedding tables, as a gradient (paper section 5.2, equations 4 to 8)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.batches import read_histories, read_searched
from din_train.config import RegularizationConfig
from din_train.config.data import TIME_GAP
from din_train.dataset.category_search import CategorySearch
from din_train.dataset.histories import count_visits
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import PAD_ID, UNKNOWN_ID
from din_train.model.embedding import FieldEmbedding, ItemEmbedding
from din_train.model.ranking_model import RankingModel

# Of samples whose time gaps are counted.
_ROWS_AT_ONCE = 100_000


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
        occurrences: path of a table -> [rows] how often each of its ids occurs. Other weights are left alone.
    """

    def __init__(self, name: str, strength: float, occurrences: Mapping[str, NDArray[np.int64]]) -> None:
        self._name = name
        self._strength = strength
        factors = {
            path: strength / np.maximum(counts, 1) if name == "mini_batch_aware" else np.full(len(counts), strength)
            for path, counts in occurrences.items()
        }
        self._factors = {path: each.astype(np.float32) for path, each in factors.items()}
        for each in self._factors.values():
            each[PAD_ID] = 0.0  # a padded batch names that row, with a gradient of zeros; it is in no batch

    def add_to(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, path: str
    ) -> tf.Tensor | tf.IndexedSlices:
        """The gradient plus the regulariser's. The rows of one id must have been summed before."""
        if path not in self._factors:
            return gradient
        if self._name == "dense_l2":
            return tf.convert_to_tensor(gradient) + self._strength * variable
        factors = tf.gather(tf.constant(self._factors[path]), gradient.indices)[:, None]  # [M, 1]
        values = gradient.values + factors * tf.gather(variable, gradient.indices)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)


def build_regularizer(
    config: RegularizationConfig,
    model: RankingModel,
    data: PreparedData,
    samples: Samples,
    *,
    unknown_rate: float,
    search: CategorySearch | None = None,
) -> TableRegularizer | None:
    """The configured regulariser of all the model's tables; None if none is configured.

    Args:
        samples: those to train on.
        unknown_rate: share of their item ids that training hides.
        search: of a model that has one.
    """
    if config.name == "none":
        return None
    counts = count_table_rows(model, data, samples, unknown_rate=unknown_rate, search=search)
    return TableRegularizer(config.name, config.strength, counts)


def count_table_rows(
    model: RankingModel,
    data: PreparedData,
    samples: Samples,
    *,
    unknown_rate: float = 0.0,
    search: CategorySearch | None = None,
) -> dict[str, NDArray[np.int64]]:
    """How often every id of every embedding table occurs in the training samples: n_j.

    An id occurs as often as it is looked up. An item that is twice in a history counts twice. In a table that only
    candidates use, an item counts only as a candidate. The unknown item's row counts as often as it is expected to be
    looked up for items whose ids are hidden, by `unknown_rate`; these keep their category and other fields.
    """
    num_items = len(data.item_category_ids)
    targets = np.bincount(samples.target_item_ids, minlength=num_items)
    visits = search.count_visits(samples) if search else count_visits(len(data.event_item_ids), samples)
    behaviours = _count_values(data.event_item_ids, visits, num_items)
    users = np.bincount(samples.user_ids, minlength=len(data.user_starts))
    linear, behaviour_embedding = getattr(model, "linear", None), getattr(model, "behaviour_embedding", None)
    counts: dict[str, NDArray[np.int64]] = {}
    for layer in _find_layers(model, ItemEmbedding):
        items = targets + behaviours
        if linear is not None:
            items = targets if layer is linear.candidate else behaviours if layer is linear.behaviours else items
        rows = _hide_ids(items, unknown_rate)
        counts[layer.items.path] = layer.sum_by_row(rows)
        counts[layer.categories.path] = _count_values(data.item_category_ids, items, layer.categories.shape[0])
        if layer.other_fields is not None:
            counts |= _count_field_rows(layer.other_fields, data.item_fields, items)
        counts |= {each.vectors.path: rows for each in layer.given_vectors if each.vectors.trainable}
    for layer in _find_layers(model, FieldEmbedding):
        if layer.tables[0].path in counts:
            continue  # an item's
        if layer.lookups:
            counts |= _count_field_rows(layer, data.user_fields, users)
        elif behaviour_embedding is not None and layer is behaviour_embedding:
            for table, name in zip(layer.tables, layer.field_names, strict=True):
                if name == TIME_GAP:
                    counts[table.path] = _count_time_gaps(data, samples, table.shape[0], search)
                else:
                    counts[table.path] = _count_values(data.event_fields[name], visits, table.shape[0])
        else:
            counts |= _count_field_rows(layer, samples.context, np.ones(len(samples), np.int64))
    return counts


def _count_time_gaps(
    data: PreparedData, samples: Samples, size: int, search: CategorySearch | None
) -> NDArray[np.int64]:
    """[size] how often each id of a time gap is in a sequence of `samples`."""
    counts = np.zeros(size, np.int64)
    recent = search.keep_recent(samples) if search else samples
    for start in range(0, len(samples), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(samples)))
        sequences = list(read_histories(data, recent, rows, [TIME_GAP]).values())
        sequences += [read_searched(search, samples, rows, [TIME_GAP])] if search else []
        for ids in sequences:
            counts += np.bincount(ids[TIME_GAP], minlength=size)
    return counts


def _hide_ids(counts: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
    """The expected counts of rows if each occurrence looks up the unknown item's with probability `rate`."""
    expected = (1.0 - rate) * counts
    expected[UNKNOWN_ID] += rate * counts.sum()
    rounded: NDArray[np.int64] = np.rint(expected).astype(np.int64)
    return rounded


def _find_layers(model: RankingModel, kind: type[Any]) -> list[Any]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


def _count_field_rows(
    layer: FieldEmbedding, values_by_key: Mapping[str, NDArray[Any]], keys: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """The counts of each field's table, from those of the keys (items, users or samples) that have the fields' ids.

    The two rows of a number are no rows of ids, and are left out.
    """
    return {
        table.path: _count_values(values_by_key[name], keys, table.shape[0])
        for table, name in zip(layer.tables, layer.field_names, strict=True)
        if values_by_key[name].dtype == np.int32
    }


def _count_values(values: NDArray[np.int32], counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How often each value occurs, if each key, of one value or [keys, V], occurs as often as `counts` says."""
    weights = np.repeat(counts[: len(values)], values[0].size if len(values) else 1)
    return np.bincount(values.ravel(), weights=weights, minlength=size).astype(np.int64)

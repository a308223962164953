"""Rows of tables that no training row looks up: at an epoch's end they get the mean of rows that were trained."""

from collections.abc import Mapping

import keras
import numpy as np
from numpy.typing import NDArray

from din_train.dataset.category_search import CategorySearch
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import PAD_ID, UNKNOWN_ID
from din_train.model.embedding import GivenVectors, ItemEmbedding
from din_train.model.ranking_model import RankingModel
from din_train.training.regularization import count_table_rows
from din_train.training.training_batches import TrainingBatches

Flags = NDArray[np.bool_]


class UnmovedRows:
    """Fills, before an epoch's weights are scored or saved, the rows that no epoch so far has looked up.

    They are those of ids that no training row has as candidate, sampled negative or behaviour. Without this they would
    be what the initializer drew, which is noise for the few rows of other splits that look them up. They are written
    into the tables, so that every reader of the weights finds the same, and a resumed training as well.

    Args:
        batches: gives the rows of every epoch.
        unknown_rate: share of item ids that training replaces by the unknown id; above 0 its row is looked up, too.
        compared_only: whether the rows of lists of one class are left out, from which a loss of lists learns nothing.
        carried: path of a table -> [rows] whether a row comes from an earlier training, in a warm start.
    """

    def __init__(
        self,
        data: PreparedData,
        batches: TrainingBatches,
        *,
        unknown_rate: float,
        compared_only: bool = False,
        carried: Mapping[str, Flags] | None = None,
    ) -> None:
        self._data, self._batches, self._unknown_rate = data, batches, unknown_rate
        self._compared_only = compared_only
        self._moved: dict[str, Flags] = dict(carried or {})  # in the epochs that were counted, or before
        self._counted = 0

    def fill(self, model: RankingModel, epoch: int) -> None:
        """After the steps of an epoch, from 0."""
        for each in range(self._counted, epoch + 1 if self._batches.changes else 1):
            samples = self._batches.draw(each)
            if self._compared_only:
                samples = samples.take(np.flatnonzero(samples.find_compared()))
            for path, moved in find_moved(
                model, self._data, samples, unknown_rate=self._unknown_rate, search=self._batches.search
            ).items():
                self._moved[path] = self._moved.get(path, moved) | moved
            self._counted = each + 1
        fill_unmoved(model, self._data, self._moved)


def find_moved(
    model: RankingModel,
    data: PreparedData,
    samples: Samples,
    *,
    unknown_rate: float,
    search: CategorySearch | None = None,
) -> dict[str, Flags]:
    """Path of a table -> [rows] whether training on the samples looks a row up; given vectors are no such table."""
    counts = count_table_rows(model, data, samples, search=search)
    moved = {path: each > 0 for path, each in counts.items()}
    for layer in model._flatten_layers():
        if isinstance(layer, ItemEmbedding):
            path = layer.items.path
            moved[path][UNKNOWN_ID] |= np.rint(unknown_rate * counts[path].sum()) > 0
        if isinstance(layer, GivenVectors):
            moved.pop(layer.vectors.path, None)
    bias = getattr(model, "item_bias", None)
    if bias is not None:
        targets = np.bincount(samples.target_item_ids, minlength=len(data.item_category_ids))
        moved[bias.path] = model.item_embedding.sum_by_row(targets) > 0
        moved[bias.path][UNKNOWN_ID] |= unknown_rate > 0
    return moved


def fill_unmoved(model: RankingModel, data: PreparedData, moved: Mapping[str, Flags]) -> None:
    """Give each row that was not moved the mean of the table's moved rows, of an item those of its category if any was.

    The row of padding stays as it is, and so do rows that no item has because it shares another one.
    """
    items = [layer for layer in model._flatten_layers() if isinstance(layer, ItemEmbedding)]
    of_items = {layer.items.path for layer in items}
    bias = getattr(model, "item_bias", None)
    if bias is not None:
        of_items.add(bias.path)
    for table in model.trainable_weights:
        is_moved = moved.get(table.path)
        if is_moved is None or not is_moved.any():
            continue
        unmoved = ~is_moved
        unmoved[PAD_ID] = False
        groups = np.zeros(len(is_moved), np.int64)
        if table.path in of_items:
            groups = _find_categories(items[0], data)
            unmoved &= groups >= 0
        if unmoved.any():
            rows = keras.ops.convert_to_numpy(table).copy()
            rows[unmoved] = compute_means(rows, is_moved, groups)[groups[unmoved]]
            table.assign(rows)


def _find_categories(items: ItemEmbedding, data: PreparedData) -> NDArray[np.int64]:
    """[rows] the category of each row of a table of items: of its first item; -1 if no item has the row."""
    categories = data.item_category_ids.astype(np.int64)
    if items.item_row_ids is None:
        return categories
    of_rows = np.full(items.num_rows, -1)
    of_rows[items.item_row_ids.numpy()[::-1]] = categories[::-1]
    return of_rows


def compute_means(rows: NDArray[np.float32], counted: Flags, groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """[groups, width] the mean of the counted rows of each group, 0, 1, ...; of all counted rows if a group has none.

    Rows without a group (-1) count for none.
    """
    counted = counted & (groups >= 0)
    order = np.flatnonzero(counted)[np.argsort(groups[counted], kind="stable")]
    present, starts = np.unique(groups[order], return_index=True)
    sums = np.add.reduceat(rows[order].astype(np.float64), starts)
    means = np.tile(rows[counted].mean(axis=0, dtype=np.float64), (int(groups.max()) + 1, 1))
    means[present] = sums / np.diff(np.append(starts, len(order)))[:, None]
    return means

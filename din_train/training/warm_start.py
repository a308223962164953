"""A warm start: the weights of yesterday's model, and its optimiser's state, in a model of today's data set.

Keras cannot load them: tables have grown, and their paths carry counters of the process. So weights go over by their
position in `model.weights`:

    a table with one row per id     row by row, by raw id or value; new ids see `training.warm_start.new_rows`
    a table of hashes or numbers    as it is; so is every other weight, moving statistics included
    what an item or a user has      stays as today's data set says (categories, other fields, given vectors)

and the moments of a table's rows go with the rows; those of new rows are as in a new optimiser. Before the first step,
the scores of rows without new ids are yesterday's, bit by bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from din_train.dataset.names import read_names
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import FIRST_REAL_ID, NO_CODE, UNKNOWN_ID, find_codes
from din_train.errors import RunError
from din_train.model.embedding import FieldEmbedding, GivenVectors, ItemEmbedding
from din_train.model.ranking_model import RankingModel
from din_train.training.unmoved_rows import compute_means

NewRows = Literal["unknown", "mean", "random"]
Ints = NDArray[np.int64]

# What a table has rows for, beside fields: items by the rows that they have or share, and items one by one.
ITEM_ROW, ITEM = "item", "item_id"

# Names of an optimiser's lists of slots, one per trainable weight.
_SLOTS = ("_momentums", "_velocities", "_accumulators")


@dataclass(frozen=True)
class EarlierOptimizer:
    """An optimiser's variables in their order: its step count, its rate if no schedule sets it, then its slots.

    rate: what the config said that the rate was in the beginning.
    """

    variables: Sequence[NDArray[Any]]
    rate: float


@dataclass(frozen=True)
class EarlierModel:
    """What a warm start takes over.

    name: of the run, for messages. weights: in the order of `model.weights`. sources: position of a table with one row
    per id -> for each of today's rows the row that it takes, or `NO_CODE` if it is new. fixed: positions of the weights
    that are as today's data set says. optimizer: None if it is reset.
    """

    name: str
    weights: Sequence[NDArray[Any]]
    sources: Mapping[int, Ints]
    fixed: frozenset[int]
    optimizer: EarlierOptimizer | None

    @classmethod
    def of(
        cls,
        name: str,
        earlier: RankingModel,
        model: RankingModel,
        ids: Mapping[str, Ints],
        optimizer: EarlierOptimizer | None,
    ) -> "EarlierModel":
        """From the earlier model with its weights, for a model of another data set.

        Args:
            ids: see `match_ids`.

        Raises:
            RunError: if the models do not have the same weights but for the number of rows.
        """
        places = _number_weights(model)
        sources: dict[int, Ints] = {}
        for there, here in zip(_list_tables(earlier), _list_tables(model), strict=False):
            if here.field in ids:
                sources[places[id(here.weight)]] = there.find_rows(ids[here.field])
        fixed = {places[id(each)] for each in _list_given(model)}
        values = [keras.ops.convert_to_numpy(weight) for weight in earlier.weights]
        found = cls(name, values, sources, frozenset(fixed), optimizer)
        found._check(model)
        return found

    def _check(self, model: RankingModel) -> None:
        """Refuse weights of other names, widths or numbers."""
        if len(self.weights) != len(model.weights):
            raise RunError(
                f"training.warm_start.run: {self.name} has {len(self.weights)} weights, this model "
                f"{len(model.weights)}; a warm start needs the same model: bring its keys back, or train without one"
            )
        for place, (weight, value) in enumerate(zip(model.weights, self.weights, strict=True)):
            by_row = place in self.sources
            here, there = tuple(weight.shape)[by_row:], value.shape[by_row:]
            if here != there and place not in self.fixed:
                raise RunError(
                    f"training.warm_start.run: {self.name} has weight {weight.name} of shape {list(value.shape)}, this "
                    f"model of {list(weight.shape)}; a warm start needs the same model: bring its keys back, or train "
                    "without one"
                )

    def carry_weights(self, model: RankingModel, data: PreparedData, new_rows: NewRows) -> None:
        """Give a new model the earlier weights.

        Args:
            data: says of which category a new item is.
            new_rows: what the rows of new ids begin as; vectors that are trained further begin as today's given ones.
        """
        places = _number_weights(model)
        of_items, given = (
            {places[id(each.weight)] for each in _list_tables(model) if each.field == field}
            for field in (ITEM_ROW, ITEM)
        )
        for place, (weight, value) in enumerate(zip(model.weights, self.weights, strict=True)):
            source = self.sources.get(place)
            if source is not None:
                rows = carry_rows(keras.ops.convert_to_numpy(weight), value, source)
                groups = data.item_category_ids if place in of_items else np.zeros(len(source), np.int32)
                begin = "random" if place in given else new_rows  # a new item has its given vector already
                fill_new_rows(rows, value[UNKNOWN_ID], source == NO_CODE, groups.astype(np.int64), begin)
                weight.assign(rows)
            elif place not in self.fixed:
                weight.assign(value)

    def carry_optimizer(self, model: keras.Model) -> None:
        """Give the built optimiser of a compiled model the earlier one's step count and slots.

        The rate is today's, cut as far as the earlier one was by a schedule that watches a metric.

        Raises:
            RunError: if the optimisers have other variables.
        """
        if self.optimizer is None:
            return
        optimizer, earlier = model.optimizer, self.optimizer
        places = _number_weights(model)
        slots = {
            id(slot): places[id(weight)]
            for name in _SLOTS
            for slot, weight in zip(getattr(optimizer, name, ()), model.trainable_variables, strict=False)
        }
        own = [each for each in optimizer.variables if id(each) in slots]
        first = len(earlier.variables) - len(own)
        if first not in (1, 2):
            raise RunError(
                f"training.warm_start.optimizer: {self.name} was trained with another optimiser; bring "
                "training.optimizer.name back, or set it to reset"
            )
        for slot, value in zip(own, earlier.variables[first:], strict=True):
            source = self.sources.get(slots[id(slot)])
            slot.assign(value if source is None else carry_rows(keras.ops.convert_to_numpy(slot), value, source))
        optimizer.iterations.assign(earlier.variables[0])
        if first == 2 and isinstance(optimizer._learning_rate, keras.Variable):
            cut = float(earlier.variables[1]) / float(np.float32(earlier.rate))  # 1 if no schedule has cut it
            optimizer.learning_rate = float(optimizer.learning_rate) * cut


def match_ids(earlier: PreparedData, data: PreparedData) -> dict[str, Ints]:
    """`ITEM_ROW`, `ITEM` and each field whose values are listed -> for each of its ids here, the id there.

    They are matched by raw id or value: `NO_CODE` of one that is new. Padding and unknown are what they were.
    """
    before, now = read_names(earlier), read_names(data)
    hashed = data.manifest.recipe.get("vocabulary.hash_buckets", {})
    listed = (name for name in data.num_values if name not in hashed)
    sources = {name: _match(before.values(name), now.values(name)) for name in listed}
    items = _match(before.items.to_pylist(), now.items.to_pylist())
    return {**sources, ITEM: items, **({} if ITEM_ROW in hashed else {ITEM_ROW: items})}


def _match(before: Sequence[str | None], now: Sequence[str | None]) -> Ints:
    there = pa.array(before[FIRST_REAL_ID:], pa.string())
    codes = find_codes([str(each) for each in now[FIRST_REAL_ID:]], there)
    rows = np.where(codes == NO_CODE, NO_CODE, codes + FIRST_REAL_ID)
    return np.concatenate([np.arange(FIRST_REAL_ID), rows])


@dataclass(frozen=True)
class _Table:
    """A table, the field whose ids it has rows for, and which row each item has if some share one."""

    weight: keras.Variable
    field: str
    row_ids: NDArray[Any] | None = None

    def find_rows(self, ids: Ints) -> Ints:
        """The rows of ids; `NO_CODE` stays."""
        return ids if self.row_ids is None else np.where(ids == NO_CODE, NO_CODE, self.row_ids[ids])


def _list_tables(model: RankingModel) -> Iterator[_Table]:
    for layer in model._flatten_layers():
        if isinstance(layer, ItemEmbedding):
            yield _Table(layer.items, ITEM_ROW, _read_row_ids(layer))
            yield _Table(layer.categories, "category")
        if isinstance(layer, FieldEmbedding):
            yield from map(_Table, layer.tables, layer.field_names)
        if isinstance(layer, GivenVectors) and layer.vectors.trainable:
            yield _Table(layer.vectors, ITEM)
    bias = getattr(model, "item_bias", None)
    if bias is not None:
        yield _Table(bias, ITEM_ROW, _read_row_ids(model.item_embedding))


def _list_given(model: RankingModel) -> Iterator[keras.Variable]:
    """The weights that say what an item or a user has."""
    for layer in model._flatten_layers():
        if isinstance(layer, ItemEmbedding):
            yield from (each for each in (layer.item_category_ids, layer.item_row_ids) if each is not None)
        if isinstance(layer, FieldEmbedding):
            yield from layer.lookups
        if isinstance(layer, GivenVectors) and not layer.vectors.trainable:
            yield layer.vectors


def _read_row_ids(items: ItemEmbedding) -> NDArray[Any] | None:
    return None if items.item_row_ids is None else items.item_row_ids.numpy().astype(np.int32)


def _number_weights(model: keras.Model) -> dict[int, int]:
    return {id(weight): place for place, weight in enumerate(model.weights)}


def carry_rows(rows: NDArray[Any], earlier: NDArray[Any], source: Ints) -> NDArray[Any]:
    """[n, ...] rows, those that have a source replaced by it: row i by `earlier[source[i]]`."""
    carried = source != NO_CODE
    new: NDArray[Any] = rows.copy()
    new[carried] = earlier[source[carried]]
    return new


def fill_new_rows(
    rows: NDArray[Any], unknown: NDArray[Any], is_new: NDArray[np.bool_], groups: Ints, new_rows: NewRows
) -> None:
    """Let the rows of new ids begin, in place.

    Args:
        rows: [n, ...] with the carried ones.
        unknown: the unknown id's row.
        groups: [n] of whose carried rows a new one gets the mean; of all if its group has none.
        new_rows: `random` leaves them as they are.
    """
    if not is_new.any() or new_rows == "random":
        return
    rows[is_new] = unknown
    counted = ~is_new
    counted[:FIRST_REAL_ID] = False
    if new_rows == "mean" and counted.any():
        rows[is_new] = compute_means(rows, counted, groups)[groups[is_new]]


def find_carried_rows(model: RankingModel, data: PreparedData) -> dict[str, NDArray[np.bool_]]:
    """Path of a table -> [rows] whether a warm start has carried a row over, so that it is no row of noise.

    A data set says how many ids of each field are its base's, which come first. Rows of hashes are all carried.
    """
    of_base: Mapping[str, int] = {} if data.manifest.base is None else data.manifest.base["ids"]
    hashed = data.manifest.recipe.get("vocabulary.hash_buckets", {})
    found = {}
    for table in _list_tables(model):
        if table.field != ITEM:
            size = int(table.weight.shape[0])
            is_listed = table.field in of_base and table.field not in hashed
            carried = FIRST_REAL_ID + of_base[table.field] if is_listed else size
            found[table.weight.path] = np.arange(size) < carried
    return found

"""What a model's variables and its optimiser's slots take, by table, from the model itself but without its values."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from din_train.config import Config
from din_train.dataset.store import PreparedData

if TYPE_CHECKING:
    import keras

# Field -> the config key of the width of its rows; other fields have `model.field_embedding_size`.
_WIDTHS = {"item": "model.item_embedding_size", "category": "model.category_embedding_size"}
_FIELD_WIDTH = "model.field_embedding_size"


@dataclass(frozen=True)
class TableSize:
    """A table of the model, one row per id.

    field: whose ids, and which layer has it if several do. slot_bytes: what the optimiser keeps beside it.
    rows_key, width_key: the config keys that change its size; None if there is none.
    """

    field: str
    rows: int
    width: int
    weight_bytes: int
    slot_bytes: int
    rows_key: str | None = None
    width_key: str | None = None

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.slot_bytes


@dataclass(frozen=True)
class ModelSize:
    """Bytes of everything that training keeps.

    dense_bytes: of the trained weights that are no tables. dense_slot_bytes: of their slots. fixed_bytes: of what is
    not trained: what each item and user has of each field, and moving averages.
    """

    tables: tuple[TableSize, ...]
    dense_bytes: int
    dense_slot_bytes: int
    fixed_bytes: int

    @property
    def weight_bytes(self) -> int:
        return sum(table.weight_bytes for table in self.tables) + self.dense_bytes + self.fixed_bytes

    @property
    def slot_bytes(self) -> int:
        return sum(table.slot_bytes for table in self.tables) + self.dense_slot_bytes

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.slot_bytes


def measure_model(config: Config, data: PreparedData, *, tables_only: bool = False) -> ModelSize:
    """The size of the configured model on this data set, of which only the lengths count.

    TensorFlow must have started; nothing of a table's size is allocated.

    Args:
        tables_only: leave out the weights that the first batch creates, which are small.
    """
    from din_train.model.build import build_model_without_values

    model = build_model_without_values(config.model, data, config.data, tables_only=tables_only)
    slots = _count_slots(config)
    tables = tuple(_describe(*each, slots) for each in _find_tables(model))
    in_tables = {id(variable) for _, variable, _, _ in _find_tables(model)}
    dense = sum(_bytes_of(each) for each in model.trainable_variables if id(each) not in in_tables)
    return ModelSize(
        tables=tuple(sorted(tables, key=lambda table: -table.bytes)),
        dense_bytes=dense,
        dense_slot_bytes=slots * dense,
        fixed_bytes=sum(map(_bytes_of, model.non_trainable_variables)),
    )


def _count_slots(config: Config) -> int:
    """How many numbers the optimiser keeps beside each weight: found by building it on one."""
    import keras

    from din_train.training.optimizers import build_optimizer

    optimizer = build_optimizer(config.training.optimizer)
    before = len(optimizer.variables)
    optimizer.build([keras.Variable([0.0])])
    return len(optimizer.variables) - before


def _find_tables(model: Any) -> Iterator[tuple[str, "keras.Variable", str | None, str | None]]:
    """(field, table, key of its rows, key of its width) of every trained table."""
    from din_train.model.embedding import FieldEmbedding, ItemEmbedding, find_tables

    found: dict[int, tuple[str, Any, str | None, str | None]] = {}
    for layer in model._flatten_layers():
        own = {}
        if isinstance(layer, ItemEmbedding):
            own = {"item": layer.items, "category": layer.categories}
        elif isinstance(layer, FieldEmbedding):
            own = dict(zip(layer.field_names, layer.tables, strict=True))
        for field, table in own.items():
            width_key = None if table.shape[1] == 1 else _WIDTHS.get(field, _FIELD_WIDTH)
            found[id(table)] = field, table, f"vocabulary.hash_buckets.{field}", width_key
    for table in {id(each): each for each in find_tables(model)}.values():
        rows_key = {"item_bias": "vocabulary.hash_buckets.item", "crosses": "model.cross_buckets"}.get(table.name)
        yield found.get(id(table), (str(table.name), table, rows_key, None))


def _describe(
    field: str, table: "keras.Variable", rows_key: str | None, width_key: str | None, slots: int
) -> TableSize:
    weight_bytes = _bytes_of(table)
    return TableSize(field, table.shape[0], table.shape[1], weight_bytes, slots * weight_bytes, rows_key, width_key)


def _bytes_of(variable: "keras.Variable") -> int:
    numbers: int = math.prod(variable.shape)
    return numbers * int(np.dtype(variable.dtype).itemsize)

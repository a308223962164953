"""Config and prepared data -> a built model."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.batches import name_histories
from din_train.config import DataConfig, ModelConfig
from din_train.dataset.category_search import SEARCHED
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.model.baselines import LR, PNN, BaseModel, DeepFM, LinearTerms, WideDeep
from din_train.model.bst import BST, TransformerBlock
from din_train.model.dien import DIEN
from din_train.model.din import DIN
from din_train.model.embedding import NUMBER_ROWS, FieldEmbedding, GivenVectors, ItemEmbedding
from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.mlp import Mlp
from din_train.model.position_embedding import PositionEmbedding
from din_train.model.ranking_model import RankingModel
from din_train.model.tin import TIN

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def build_model(
    config: ModelConfig,
    data: PreparedData,
    *,
    seed: int,
    precision: str = "float32",
    padded: bool = False,
    fields: DataConfig | None = None,
) -> RankingModel:
    """The configured model with its weights created, the same for the same seed.

    Args:
        config: which model, and its sizes.
        data: gives the table lengths, and each item's category and other fields.
        seed: of the initial weights and of dropout.
        precision: `float32` or `bfloat16`, of the layers' arithmetic.
        padded: see `RankingModel`.
        fields: says how fields of several values are pooled, and how given vectors are projected; None if there are
            none of these.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        model = _Builder(config, data, fields).build(padded=padded)
        model(_build_first_batch(config, data, model))
    finally:
        keras.config.set_dtype_policy("float32")
    return model


def build_model_without_values(
    config: ModelConfig, data: PreparedData, fields: DataConfig | None, *, tables_only: bool = False
) -> RankingModel:
    """The configured model with variables that have shapes and no values, whose tables take no memory.

    Args:
        fields: see `build_model`.
        tables_only: leave out the variables that the first batch creates, which are small and take a moment.
    """
    with keras.StatelessScope(initialize_variables=False):
        model = _Builder(config, data, fields).build(padded=False)
        if not tables_only:
            tf.function(model).get_concrete_function(_build_first_batch(config, data, model))
    return model


def _build_first_batch(config: ModelConfig, data: PreparedData, model: RankingModel) -> dict[str, tf.Tensor]:
    """One row, with which a model creates the weights that its first batch creates."""
    one = tf.constant([1], tf.int32)
    inputs = {"target_item_id": one, "user_id": one}
    for sequence in ("history", *model.sequences):
        inputs |= dict.fromkeys(name_histories(config.behaviour_fields, sequence), one[:, None])
        inputs[f"{sequence}_length"] = one
    return inputs | {
        name: tf.ones([1, width] if width else [1], tf.int32) for name, width in data.context_widths.items()
    }


def compute_item_rows(training_events: NDArray[np.int64], min_count: int) -> NDArray[np.int32]:
    """[num_items] the row of each item id: the unknown item's where it has fewer than `min_count` training events."""
    rows = np.arange(len(training_events), dtype=np.int32)
    rare = training_events < min_count
    rare[:FIRST_REAL_ID] = False
    rows[rare] = UNKNOWN_ID
    return rows


class _Builder:
    """Builds the layers of one model."""

    def __init__(self, config: ModelConfig, data: PreparedData, fields: DataConfig | None) -> None:
        self._config, self._data = config, data
        self._lists = {} if fields is None else fields.list_fields or {}
        self._vectors = {} if fields is None else fields.item_vectors or {}
        self._sequences = (*data.sequences, *((SEARCHED,) if config.search else ()))

    def build(self, *, padded: bool) -> RankingModel:
        """The model, without the weights that its first batch creates."""
        config = self._config
        if config.name == "lr":
            return LR(linear=self._build_linear(), padded=padded, name=config.name)
        shared = {
            "item_embedding": self._build_items(
                config.item_embedding_size,
                config.category_embedding_size,
                config.field_embedding_size,
                {name: given.units for name, given in self._vectors.items()},
            ),
            **self._build_user_and_context(config.field_embedding_size),
            "behaviour_embedding": self._build_fields(config.behaviour_fields, config.field_embedding_size, None),
            "mlp": Mlp(**config.mlp.model_dump()),
            "pooling": config.pooling,
            "user_candidate_product": config.user_candidate_product,
            "interest_normalization": config.interest.normalization,
            "interest_units": config.interest.units,
            "item_bias": config.item_bias,
            "sequences": self._sequences,
            "padded": padded,
            "name": config.name,
        }
        match config.name:
            case "base":
                return BaseModel(**shared)
            case "wide_deep":
                return WideDeep(linear=self._build_linear(), cross_buckets=config.cross_buckets, **shared)
            case "pnn":
                return PNN(**shared)
            case "deepfm":
                return DeepFM(linear=self._build_linear(), **shared)
            case "din":
                unit = config.local_activation_unit.model_dump()
                return DIN(
                    local_activation_unit=LocalActivationUnit(**unit),
                    sequence_units=[LocalActivationUnit(**unit) for _ in self._sequences],
                    **shared,
                )
            case "dien":
                return DIEN(auxiliary_weight=config.dien.auxiliary_weight, **shared)
            case "bst":
                bst = config.bst
                return BST(
                    position_embedding=PositionEmbedding(num_positions=config.num_positions),
                    blocks=[
                        TransformerBlock(num_heads=bst.num_heads, dropout=bst.dropout) for _ in range(bst.num_blocks)
                    ],
                    **shared,
                )
            case "tin":
                return TIN(position_embedding=PositionEmbedding(num_positions=config.num_positions), **shared)

    def _build_items(
        self, item_size: int, category_size: int, field_size: int, vector_units: Mapping[str, int]
    ) -> ItemEmbedding:
        data = self._data
        others = {name: values for name, values in data.item_fields.items() if name != "category"}
        return ItemEmbedding(
            num_items=len(data.item_category_ids),
            num_categories=data.num_categories + FIRST_REAL_ID,
            item_size=item_size,
            category_size=category_size,
            item_category_ids=data.item_category_ids,
            other_fields=self._build_fields(tuple(others), field_size, others),
            given_vectors=[
                GivenVectors(
                    shape=vectors.shape,
                    units=vector_units[name],
                    trained=self._vectors[name].trained,
                    vectors=vectors,
                )
                for name, vectors in data.item_vectors.items()
            ],
            **self._share_rows(),
        )

    def _share_rows(self) -> dict[str, Any]:
        """Which items share a row: those of one hash, and those with too few training events."""
        hashed, min_count = self._data.item_rows, self._config.min_item_count
        rows = compute_item_rows(self._data.most_training_events, min_count) if min_count else None
        if hashed is None:
            return {"item_row_ids": rows}
        rows = hashed if rows is None else np.where(rows == UNKNOWN_ID, np.int32(UNKNOWN_ID), hashed)
        return {"item_row_ids": rows, "num_rows": self._data.num_values["item"]}

    def _build_user_and_context(self, size: int) -> dict[str, Any]:
        data = self._data
        return {
            "profile_embedding": self._build_fields(tuple(data.user_fields), size, data.user_fields),
            "context_embedding": self._build_fields(data.context_fields, size, None),
        }

    def _build_linear(self) -> LinearTerms:
        fields, units = self._build_user_and_context(1), dict.fromkeys(self._vectors, 1)
        return LinearTerms(
            candidate=self._build_items(1, 1, 1, units),
            behaviours=self._build_items(1, 1, 1, units),
            profile=fields["profile_embedding"],
            context=fields["context_embedding"],
        )

    def _build_fields(
        self, names: Sequence[str], size: int, values_by_key: Mapping[str, NDArray[Any]] | None
    ) -> FieldEmbedding | None:
        if not names:
            return None
        widths = self._data.context_widths
        return FieldEmbedding(
            num_values={name: self._data.num_values.get(name, NUMBER_ROWS) for name in names},
            size=size,
            poolings={name: self._lists[name].pooling for name in names if name in self._lists},
            widths={name: width for name in names if (width := widths.get(name)) is not None},
            values_by_key=values_by_key,
        )

"""Config and prepared data -> a built model."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.config import ModelConfig
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.model.baselines import LR, PNN, BaseModel, DeepFM, LinearTerms, WideDeep
from din_train.model.din import DIN
from din_train.model.embedding import FieldEmbedding, ItemEmbedding
from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.mlp import Mlp
from din_train.model.ranking_model import RankingModel

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def build_model(
    config: ModelConfig, data: PreparedData, *, seed: int, precision: str = "float32", padded: bool = False
) -> RankingModel:
    """The configured model with its weights created, the same for the same seed.

    Args:
        config: which model, and its sizes.
        data: gives the table lengths and each item's category.
        seed: of the initial weights and of dropout.
        precision: `float32` or `bfloat16`, of the layers' arithmetic.
        padded: see `RankingModel`.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        model = _build(config, data, padded)
        one = tf.constant([1], tf.int32)
        inputs = {"target_item_id": one, "history_item_ids": one[:, None], "history_length": one, "user_id": one}
        model({**inputs, **dict.fromkeys(data.context_fields, one)})
    finally:
        keras.config.set_dtype_policy("float32")
    return model


def _build(config: ModelConfig, data: PreparedData, padded: bool) -> RankingModel:
    if config.name == "lr":
        return LR(linear=_build_linear(data, config.min_item_count), padded=padded, name=config.name)
    shared = {
        "item_embedding": _build_items(
            data,
            config.item_embedding_size,
            config.category_embedding_size,
            config.field_embedding_size,
            config.min_item_count,
        ),
        **_build_user_and_context(data, config.field_embedding_size),
        "mlp": Mlp(**config.mlp.model_dump()),
        "pooling": config.pooling,
        "user_candidate_product": config.user_candidate_product,
        "interest_normalization": config.interest.normalization,
        "interest_units": config.interest.units,
        "item_bias": config.item_bias,
        "padded": padded,
        "name": config.name,
    }
    match config.name:
        case "base":
            return BaseModel(**shared)
        case "wide_deep":
            return WideDeep(
                linear=_build_linear(data, config.min_item_count), cross_buckets=config.cross_buckets, **shared
            )
        case "pnn":
            return PNN(**shared)
        case "deepfm":
            return DeepFM(linear=_build_linear(data, config.min_item_count), **shared)
        case "din":
            unit = LocalActivationUnit(**config.local_activation_unit.model_dump())
            return DIN(local_activation_unit=unit, **shared)


def _build_items(
    data: PreparedData, item_size: int, category_size: int, field_size: int, min_count: int
) -> ItemEmbedding:
    others = [name for name in data.item_fields if name != "category"]
    return ItemEmbedding(
        num_items=len(data.item_category_ids),
        num_categories=data.num_categories + FIRST_REAL_ID,
        item_size=item_size,
        category_size=category_size,
        item_category_ids=data.item_category_ids,
        item_row_ids=compute_item_rows(data.training_events, min_count) if min_count else None,
        other_fields=_build_fields(data, others, field_size, data.item_fields),
    )


def compute_item_rows(training_events: NDArray[np.int64], min_count: int) -> NDArray[np.int32]:
    """[num_items] the row of each item id: the unknown item's where it has fewer than `min_count` training events."""
    rows = np.arange(len(training_events), dtype=np.int32)
    rare = training_events < min_count
    rare[:FIRST_REAL_ID] = False
    rows[rare] = UNKNOWN_ID
    return rows


def _build_user_and_context(data: PreparedData, size: int) -> dict[str, Any]:
    return {
        "profile_embedding": _build_fields(data, tuple(data.user_fields), size, data.user_fields),
        "context_embedding": _build_fields(data, data.context_fields, size, None),
    }


def _build_linear(data: PreparedData, min_count: int) -> LinearTerms:
    fields = _build_user_and_context(data, 1)
    return LinearTerms(
        candidate=_build_items(data, 1, 1, 1, min_count),
        behaviours=_build_items(data, 1, 1, 1, min_count),
        profile=fields["profile_embedding"],
        context=fields["context_embedding"],
    )


def _build_fields(
    data: PreparedData, names: Sequence[str], size: int, ids_by_key: Mapping[str, NDArray[np.int32]] | None
) -> FieldEmbedding | None:
    if not names:
        return None
    return FieldEmbedding(
        num_values={name: data.num_values[name] for name in names},
        size=size,
        ids_by_key=None if ids_by_key is None else {name: ids_by_key[name] for name in names},
    )

"""Config and prepared data -> a built model."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.config import ModelConfig
from din_train.model.base import BaseModel
from din_train.model.din import DIN
from din_train.model.embedding import ItemEmbedding
from din_train.model.fields import FieldEmbedding
from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.mlp import Mlp
from din_train.model.ranking_model import RankingModel
from din_train.samples.store import PreparedData
from din_train.samples.vocabulary import FIRST_REAL_ID


def build_model(config: ModelConfig, data: PreparedData, *, seed: int) -> RankingModel:
    """The configured model with its weights created, the same for the same seed.

    Args:
        config: which model, and its sizes.
        data: gives the table lengths and each item's category.
        seed: of the initial weights and of dropout.
    """
    keras.utils.set_random_seed(seed)
    shared = {
        "item_embedding": ItemEmbedding(
            num_items=len(data.item_category_ids),
            num_categories=data.num_categories + FIRST_REAL_ID,
            item_size=config.item_embedding_size,
            category_size=config.category_embedding_size,
            item_category_ids=data.item_category_ids,
            other_fields=_build_fields(
                config, data, [name for name in data.item_fields if name != "category"], data.item_fields
            ),
        ),
        "profile_embedding": _build_fields(config, data, tuple(data.user_fields), data.user_fields),
        "context_embedding": _build_fields(config, data, data.context_fields, None),
        "mlp": Mlp(hidden_units=config.mlp.hidden_units, activation=config.mlp.activation, dropout=config.mlp.dropout),
        "user_candidate_product": config.user_candidate_product,
        "name": config.name,
    }
    model: RankingModel
    if config.name == "base":
        model = BaseModel(pooling=config.pooling, **shared)
    else:
        unit = config.local_activation_unit
        model = DIN(
            local_activation_unit=LocalActivationUnit(
                hidden_units=unit.hidden_units,
                activation=unit.activation,
                normalization=unit.normalization,
                scale=unit.scale,
            ),
            **shared,
        )
    one = tf.constant([1], tf.int32)
    inputs = {"target_item_id": one, "history_item_ids": one[:, None], "history_length": one, "user_id": one}
    model({**inputs, **dict.fromkeys(data.context_fields, one)})
    return model


def _build_fields(
    config: ModelConfig, data: PreparedData, names: Sequence[str], ids_by_key: Mapping[str, NDArray[np.int32]] | None
) -> FieldEmbedding | None:
    if not names:
        return None
    return FieldEmbedding(
        num_values={name: data.num_values[name] for name in names},
        size=config.field_embedding_size,
        ids_by_key=None if ids_by_key is None else {name: ids_by_key[name] for name in names},
    )

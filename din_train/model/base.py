"""BaseModel: embedding, pooling, MLP (paper section 4.2, Fig. 2 left)."""

from typing import Any

import keras
import tensorflow as tf

from din_train.model.history import sum_by_row
from din_train.model.ranking_model import RankingModel


@keras.saving.register_keras_serializable(package="din_train")
class BaseModel(RankingModel):
    """user_interest = the behaviours' sum or mean, the same for every candidate (equations 1 and 2).

    Args:
        pooling: `sum` (the paper) or `mean`.
    """

    def __init__(self, *, pooling: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling

    def compute_user_interest(
        self, candidate: tf.Tensor, behaviours: tf.Tensor, rows: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[B, E], zero for an empty history."""
        del training
        num_rows = tf.shape(candidate)[0]
        total = sum_by_row(behaviours, rows, num_rows)
        if self.pooling == "sum":
            return total
        return tf.math.divide_no_nan(total, sum_by_row(tf.ones_like(behaviours[:, :1]), rows, num_rows))

"""BaseModel: embedding, pooling, MLP (paper section 4.2, Fig. 2 left, equations 1 and 2)."""

import keras

from din_train.model.deep_model import DeepModel


@keras.saving.register_keras_serializable(package="din_train")
class BaseModel(DeepModel):
    """user_interest = the behaviours' sum or mean, the same for every candidate."""

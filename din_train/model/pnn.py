"""Product-based neural network (Qu et al., 2016), a baseline of the paper's Table 3."""

import keras
import tensorflow as tf

from din_train.model.deep_model import DeepModel
from din_train.model.pairwise import compute_inner_products, stack_fields
from din_train.model.ranking_model import Part


@keras.saving.register_keras_serializable(package="din_train")
class PNN(DeepModel):
    """BaseModel whose MLP also sees the inner products of every two fields (IPNN), pooled behaviours being fields."""

    def build_groups(self, part: Part, interest: tf.Tensor, candidate: tf.Tensor) -> list[tf.Tensor]:
        """The MLP's input as a list of [B_i, width]."""
        groups = super().build_groups(part, interest, candidate)
        fields = [*self.embed_profile(part), interest, candidate, *self.embed_context(part)]
        return [*groups, compute_inner_products(stack_fields(fields, self.item_embedding.item_size))]

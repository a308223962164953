"""Logloss of a batch's logits (paper equation 3, where it is the objective)."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="din_train")
class LogLoss(keras.losses.Loss):
    """Mean over the batch of -y log p - (1 - y) log(1 - p), p = sigmoid(logit).

    Keras's BinaryCrossentropy takes the mean over the last axis, which of [B] logits is the batch: nothing is left for
    the reduction over replicas, and with two of them gradients are twice what they should be.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """[B] labels and logits -> [B]."""
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=y_true, logits=y_pred)

"""TensorFlow started once, as the commands start it."""

from din_train.tensorflow_setup import start_tensorflow

start_tensorflow("cpu")

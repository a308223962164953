"""The factorised unit, flat and in padded blocks, equals the textbook one: forward and gradients, for all presets."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scripts_factory import load_script

from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.positions import flatten_history, pad_history

textbook = load_script("textbook")

LENGTHS = {"mixed": [3, 0, 1, 5], "one": [1], "B=1": [4], "empty": [0, 0], "cap": [6, 6, 6]}
ALL = ["candidate", "history", "difference", "product"]
UNITS: dict[str, dict[str, Any]] = {
    "din": {"activation": "dice"},
    "paper-prelu": {"hidden_units": [36], "activation": "prelu", "inputs": ["candidate", "history", "product"]}
    | {"normalization": "none", "scale": False},
    "paper-dice": {"hidden_units": [36], "inputs": ["candidate", "history", "product"]}
    | {"normalization": "none", "scale": False},
    "official": {"activation": "sigmoid"},
    "blog-3": {"hidden_units": [36], "activation": "sigmoid_dice", "inputs": ["history", "product", "candidate"]}
    | {"normalization": "sigmoid", "batch_normalization": True},
    "blog-4": {"hidden_units": [36], "activation": "sigmoid_dice"}
    | {"inputs": ["history", "product", "candidate", "difference"], "normalization": "sigmoid"}
    | {"batch_normalization": True},
    "history-product": {"inputs": ["history", "product"], "activation": "relu"},
    "difference": {"inputs": ["difference"]},
}
WIDTH = 6


def make_unit(options: dict[str, Any], dtype: str, lengths: list[int]) -> LocalActivationUnit:
    """With weights and statistics that are not the initial ones."""
    defaults = {"inputs": ALL, "hidden_units": [5, 3], "activation": "dice", "normalization": "softmax", "scale": True}
    unit = LocalActivationUnit(**{**defaults, **options}, dtype=dtype)
    unit.build((None, WIDTH))
    random = np.random.default_rng(len(lengths))
    for weight in unit.weights:
        if "updates" not in weight.name:
            weight.assign(
                np.abs(random.normal(size=weight.shape))
                if "variance" in weight.name
                else random.normal(size=weight.shape)
            )
    return unit


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("options", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize(
    ("lengths", "dtype", "tolerance"),
    [*[(lengths, "float64", 1e-9) for lengths in LENGTHS.values()], (LENGTHS["mixed"], "float32", 2e-3)],
    ids=[*LENGTHS, "mixed-float32"],
)
def test_equals_the_textbook(
    options: dict[str, Any], lengths: list[int], training: bool, dtype: str, tolerance: float
) -> None:
    """Weighted sums of the history, and the gradients of inputs and weights; what padding holds does not matter."""
    unit = make_unit(options, dtype, lengths)
    random = np.random.default_rng(1)
    batch, longest = len(lengths), max(*lengths, 1)
    candidate = tf.constant(random.normal(size=(batch, WIDTH)), dtype)
    history = tf.constant(random.normal(size=(batch, longest, WIDTH)), dtype)
    length = tf.constant(lengths, tf.int32)
    target = random.normal(size=(batch, WIDTH))

    def compute_loss(interest: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.sin(interest) * target.astype(dtype))

    with tf.GradientTape() as tape:
        tape.watch([candidate, history])
        weights = textbook.compute_activation_weights(unit, candidate, history, length, training=training)
        expected = tf.einsum("bt,bte->be", weights, history)
        loss = compute_loss(expected)
    sources = [candidate, history, *[weight.value for weight in unit.trainable_weights]]
    expected_gradients = tape.gradient(loss, sources, unconnected_gradients="zero")

    for form in ("flat", "padded", "blocks"):
        with tf.GradientTape() as tape:
            tape.watch([candidate, history])
            interest = compute_interest(unit, candidate, history, length, training=training, form=form)
            loss = compute_loss(interest)
        gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
        assert interest.numpy() == pytest.approx(expected.numpy(), abs=tolerance), form
        for gradient, other in zip(gradients, expected_gradients, strict=True):
            one, other = tf.convert_to_tensor(gradient).numpy(), other.numpy()
            assert np.abs(one - other).max() <= tolerance * max(1, np.abs(other).max()), form
    if max(lengths) > 1:  # softmax over one position is 1 whatever the weights
        assert np.abs(expected_gradients[2]).max() > 1e-4


def compute_interest(
    unit: LocalActivationUnit, candidate: tf.Tensor, history: tf.Tensor, length: tf.Tensor, *, training: bool, form: str
) -> tf.Tensor:
    """[B, E] through the unit: padding left out, in place, and in place in two blocks, the first one of a row."""
    rows, longest = history.shape[:2]
    places = tf.reshape(tf.range(rows * longest), [rows, longest])
    if form == "flat":
        kept, positions = flatten_history(places, length)
    else:
        blocks = [places[:1, : max(int(length[0]), 1)], places[1:]] if form == "blocks" else [places]
        kept, positions = pad_history(blocks, length, history.dtype.name)
    behaviours = tf.gather(tf.reshape(history, [-1, WIDTH]), kept)
    return positions.sum(unit(candidate, behaviours, positions=positions, training=training)[:, None] * behaviours)


def test_large_scores_do_not_overflow() -> None:
    unit = LocalActivationUnit(inputs=ALL, hidden_units=[2], activation="relu", normalization="softmax", scale=False)
    _, positions = flatten_history(np.array([[1, 1]]), np.array([2], np.int32))
    weights = unit(tf.fill([1, 2], 1e18), tf.constant([[1e18, 1e18], [-1e18, 1e18]]), positions=positions)
    assert np.isfinite(weights.numpy()).all()


def test_dropout_is_of_training_only() -> None:
    unit = make_unit({"dropout": 0.5, "activation": "relu"}, "float32", [3])
    candidate, history, length = tf.ones([1, WIDTH]), tf.ones([1, 3, WIDTH]), tf.constant([3])
    scored = [compute_interest(unit, candidate, history, length, training=False, form="flat").numpy() for _ in "ab"]
    assert scored[0].tolist() == scored[1].tolist()
    unit = make_unit({"dropout": 0.5, "activation": "relu", "normalization": "none"}, "float32", [3])
    trained = [compute_interest(unit, candidate, history, length, training=True, form="flat").numpy() for _ in "ab"]
    assert trained[0].tolist() != trained[1].tolist()


@pytest.mark.parametrize("options", UNITS.values(), ids=UNITS)
def test_config_round_trip(options: dict[str, Any]) -> None:
    unit = make_unit(options, "float32", [1])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(unit))
    assert again.get_config() == unit.get_config()

"""The activation unit: user interest and gradients of both its forms against the textbook's in float64."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from comparison import Check, Say, Tensors, compare, compute_error
from numpy.typing import NDArray
from scope import Scope, load_preset
from synthetic_data import CAP, draw_lengths

from din_train.config import LocalActivationUnitConfig

TOLERANCES = {"float64": 1e-9, "float32": 1e-4}


@dataclass(frozen=True)
class Histories:
    """Embedded rows: candidate [B, E], history [B, T, E] with noise at its padding, lengths [B], target [B, E]."""

    candidate: NDArray[np.float64]
    history: NDArray[np.float64]
    lengths: NDArray[np.int32]
    target: NDArray[np.float64]


def check_units(scope: Scope, say: Say) -> Iterator[Check]:
    """Every preset's unit, on every kind of batch."""
    lengths = build_lengths()
    for preset in scope.presets:
        config = load_preset(preset)
        width = config.item_embedding_size + config.category_embedding_size
        for name in scope.lengths:
            say(f"checking the unit of {preset}, {name}")
            case = draw_histories(lengths[name], width)
            yield from check_unit(config.local_activation_unit, case, f"{preset}, {name}")


def build_lengths() -> dict[str, NDArray[np.int32]]:
    """History lengths of each kind of batch."""
    mixed = np.append(draw_lengths(np.random.default_rng(3), 46), [0, CAP])
    lengths = {"mixed": mixed, "B=1": [7], "T=1": [1] * 12, "all empty": [0] * 8, "all at the cap": [CAP] * 8}
    return {name: np.asarray(each, np.int32) for name, each in lengths.items()}


def draw_histories(lengths: NDArray[np.int32], width: int) -> Histories:
    """Values that float32 holds, so that one expectation does for both precisions."""
    random = np.random.default_rng(len(lengths))
    longest = max(int(lengths.max()), 1)

    def draw(*shape: int) -> NDArray[np.float64]:
        return random.normal(size=shape).astype(np.float32).astype(np.float64)

    return Histories(draw(len(lengths), width), draw(len(lengths), longest, width), lengths, draw(len(lengths), width))


def check_unit(config: LocalActivationUnitConfig, case: Histories, subject: str) -> Iterator[Check]:
    """Both forms in training, and the flat one, which scores, in inference."""
    for form, training in (("flat", False), ("flat", True), ("padded", True)):
        expected = compute_expected(config, case, training=training)
        name = f"{form}, {'training' if training else 'inference'}"
        for dtype, tolerance in TOLERANCES.items():
            options = {"padded": form == "padded", "training": training, "dtype": dtype}
            measure = partial(measure_unit, config, case, expected, options)
            yield compare("unit", subject, name, dtype, tolerance, measure)


def measure_unit(
    config: LocalActivationUnitConfig, case: Histories, expected: Tensors, options: dict[str, Any]
) -> float:
    """The largest error of one form."""
    return compute_error(compute_through_unit(config, case, **options), expected)


def compute_expected(config: LocalActivationUnitConfig, case: Histories, *, training: bool) -> Tensors:
    """User interest and gradients as the textbook has them, in float64."""
    import tensorflow as tf
    from textbook import compute_activation_weights

    unit = build_unit(config, case.candidate.shape[1], "float64")
    candidate, history = tf.constant(case.candidate), tf.constant(case.history)
    with tf.GradientTape() as tape:
        tape.watch([candidate, history])
        weights = compute_activation_weights(unit, candidate, history, case.lengths, training=training)  # [B, T]
        interest = tf.einsum("bt,bte->be", weights, history)
        loss = tf.reduce_sum(tf.sin(interest) * case.target)
    sources = [candidate, history, *(weight.value for weight in unit.trainable_weights)]
    gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
    return name_tensors([interest, *gradients])


def compute_through_unit(
    config: LocalActivationUnitConfig, case: Histories, *, padded: bool, training: bool, dtype: str
) -> Tensors:
    """The same through the product's unit: flat, or in padded blocks and under XLA."""
    import tensorflow as tf

    from din_train.training.training_batches import cut_into_blocks

    unit = build_unit(config, case.candidate.shape[1], dtype)
    shape = case.history.shape
    places = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape[:2])  # [B, T]
    inputs: Any = {"row": np.arange(shape[0]), "history_length": case.lengths, "history_item_ids": places}
    if padded:
        inputs, _ = cut_into_blocks((inputs, np.zeros(shape[0], np.float32)), CAP)
    rows = inputs["row"]
    step = tf.function(build_unit_step(unit, padded=padded, training=training), jit_compile=padded)
    interest, of_candidate, of_history, of_weights = step(
        tf.constant(case.candidate[rows], dtype),
        tf.constant(case.history, dtype),
        tf.nest.map_structure(tf.constant, inputs["history_item_ids"]),
        tf.constant(inputs["history_length"]),
        tf.constant(case.target[rows], dtype),
    )
    back = np.argsort(rows)
    return name_tensors([interest.numpy()[back], of_candidate.numpy()[back], of_history, *of_weights])


def build_unit_step(unit: Any, *, padded: bool, training: bool) -> Callable[..., Any]:
    """Candidates and the places of behaviours -> interests, and the gradients of candidates, history and weights."""
    import tensorflow as tf

    from din_train.model.positions import flatten_history, pad_history

    def step(candidate: Any, history: Any, places: Any, lengths: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([candidate, history])
            kept, positions = (
                pad_history(places, lengths, history.dtype.name) if padded else flatten_history(places, lengths)
            )
            behaviours = tf.gather(tf.reshape(history, [-1, history.shape[2]]), kept)  # [N, E]
            weights = unit(candidate, behaviours, positions=positions, training=training)  # [N]
            interest = positions.sum(weights[:, None] * behaviours)
            loss = tf.reduce_sum(tf.sin(interest) * target)
        sources = (candidate, history, [weight.value for weight in unit.trainable_weights])
        gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
        return interest, *tf.nest.map_structure(tf.convert_to_tensor, gradients)

    return step


def build_unit(config: LocalActivationUnitConfig, width: int, dtype: str) -> Any:
    """A unit whose weights and moving statistics are not the initial ones, the same in both precisions."""
    from din_train.model.local_activation_unit import LocalActivationUnit

    unit = LocalActivationUnit(**{**config.model_dump(), "dropout": 0.0}, dtype=dtype)
    unit.build((None, width))
    random = np.random.default_rng(5)
    for weight in unit.weights:
        if weight.name == "updates":
            continue
        values = random.normal(size=weight.shape) / (weight.shape[0] ** 0.5 if len(weight.shape) == 2 else 2)
        if weight.name in ("moving_variance", "gamma"):
            values = 0.5 + np.abs(values)
        weight.assign(values.astype(np.float32))
    return unit


def name_tensors(tensors: Sequence[Any]) -> Tensors:
    """Interest, then the gradients of candidate, history and weights, as arrays."""
    import tensorflow as tf

    names = ("interest", "candidate", "history", *(f"weight {place}" for place in range(len(tensors) - 3)))
    return {name: tf.convert_to_tensor(each).numpy() for name, each in zip(names, tensors, strict=True)}

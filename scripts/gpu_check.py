"""Check the product's kernels against the textbook's on this machine's GPU, and time training steps of DIN.

    python scripts/gpu_check.py                                  on the GPU that TensorFlow sees, some minutes
    python scripts/gpu_check.py --json gpu.json --steps 200      writes the figures too
    python scripts/gpu_check.py --device cpu --quick             the same code on the CPU, in half a minute

Checked, for the activation unit of every preset (dropout left out) and for histories of several kinds: user interest
and the gradients of all inputs and weights, of the two forms that the product has,

    flat      valid positions only, without XLA
    padded    blocks of like length under XLA

against `textbook.py` in float64. Then three training steps of the whole model, one form against the other. An error is
the largest difference over the largest absolute value expected (over 1, where that is less). TensorFloat-32 is off in
checks; timings have it as TensorFlow does by default.

Timed are steps on batches made beforehand, in Electronics' sizes and distribution of lengths, without a data set:
preparing batches is not in the figures. Memory is what TensorFlow's allocator held on the GPU. 1 MB is a million bytes.

Exit code: 0 if all checks pass or there is no GPU, 1 if one fails, 2 for a wrong option or a GPU that was asked for and
is not there. Timings decide nothing.
"""

import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from din_train.config import LocalActivationUnitConfig, ModelConfig, OptimizerConfig, load_config
from din_train.config.load import PRESETS
from din_train.config.yaml_text import parse_yaml
from din_train.errors import DinTrainError
from din_train.files import atomic_file, make_folder
from din_train.tensorflow_setup import start_tensorflow

CONFIG = Path(__file__).parents[1] / "configs" / "bench_electronics.yaml"
NO_GPU = "No GPU: TensorFlow sees none, so nothing was checked. Install din-train[gpu] and the GPU's driver."
MB = 1_000_000

# Electronics 5-core (2014): table lengths with the two reserved ids, and log-lengths of histories in two slopes.
NUM_ITEMS, NUM_CATEGORIES, CAP = 63_003, 803, 100
LENGTH_QUANTILES = {0.0: 4, 1.2816: 15, 2.3263: 58}  # standard normal -> length: median, 90 and 99 per cent

COUNTED_BATCHES = 1_000  # whose shapes are counted

TOLERANCES = {"float64": 1e-9, "float32": 1e-4}
MODEL_TOLERANCES = {"loss": 1e-5, "weights": 5e-3}
RATES = {"sgd": 1.0, "adam": 0.001}  # the presets'

WIDEST = "widest intermediate"

Figures = dict[str, Any]
Tensors = dict[str, NDArray[Any]]
Say = Callable[[str], object]


@dataclass(frozen=True)
class Scope:
    """How much is checked and timed.

    presets: their names. lengths: kinds of batch. optimizers: of three steps and of the timings.
    batch_size, longest_history: of the three steps. distinct_batches: that are timed in turn.
    cuts: of a padded batch's rows; None for the product's.
    """

    presets: tuple[str, ...]
    lengths: tuple[str, ...]
    optimizers: tuple[str, ...]
    batch_size: int
    longest_history: int
    distinct_batches: int
    cuts: tuple[float, ...] | None = None

    def choose_parts(self, batch_size: int, *, padded: bool) -> Any:
        """As the product cuts a batch, but for its padded blocks where `cuts` says otherwise."""
        from din_train.batches import Parts, choose_parts

        return choose_parts(batch_size, padded=padded) if self.cuts is None or not padded else Parts(self.cuts, True)


FULL = Scope(
    presets=tuple(sorted(path.stem for path in PRESETS.glob("*.yaml"))),
    lengths=("mixed", "B=1", "T=1", "all empty", "all at the cap"),
    optimizers=("sgd", "adam"),
    batch_size=1024,
    longest_history=CAP,
    distinct_batches=8,
)
# Few XLA programs, and small ones: a batch's longest history is one bucket.
QUICK = Scope(
    presets=("din-blog-3",),
    lengths=("mixed",),
    optimizers=("adam",),
    batch_size=32,
    longest_history=8,
    distinct_batches=1,
    cuts=(0.5,),
)


@dataclass(frozen=True)
class Check:
    """One comparison. `max_error` is None where there is no number, `problem` says why where TensorFlow did."""

    what: str
    subject: str
    form: str
    dtype: str
    max_error: float | None
    tolerance: float
    passed: bool
    problem: str | None = None


def compare(what: str, subject: str, form: str, dtype: str, tolerance: float, measure: Callable[[], float]) -> Check:
    """Run `measure`, which gives the largest error; what TensorFlow refuses to run is a failed check."""
    import tensorflow as tf

    try:
        error = measure()
    except tf.errors.OpError as refused:
        return Check(what, subject, form, dtype, None, tolerance, False, first_line(refused))
    finite = float(error) if np.isfinite(error) else None
    return Check(what, subject, form, dtype, finite, tolerance, bool(error <= tolerance))


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:300]


def compute_error(values: Tensors, expected: Tensors, *, floor: float = 1.0) -> float:
    """The largest difference, each tensor's over its largest absolute value or `floor`; NaN if there is one."""
    errors = [0.0]
    for name, other in expected.items():
        difference = np.abs(values[name].astype(np.float64) - other).max(initial=0)
        errors.append(difference / max(floor, np.abs(other).max(initial=0)))
    return float(np.max(errors))


@contextmanager
def full_float32() -> Iterator[None]:
    """Without TensorFloat-32, which keeps 10 bits of a factor."""
    from tensorflow import config

    before = config.experimental.tensor_float_32_execution_enabled()
    config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.experimental.enable_tensor_float_32_execution(before)


# The activation unit.


@dataclass(frozen=True)
class Histories:
    """Embedded rows: candidate [B, E], history [B, T, E] with noise at its padding, lengths [B], target [B, E]."""

    candidate: NDArray[np.float64]
    history: NDArray[np.float64]
    lengths: NDArray[np.int32]
    target: NDArray[np.float64]


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


def build_unit(config: LocalActivationUnitConfig, width: int, dtype: str) -> Any:
    """A unit whose weights and moving statistics are not the initial ones, the same in both precisions."""
    from din_train.model.local_activation_unit import LocalActivationUnit

    unit = LocalActivationUnit(**{**config.model_dump(), "dropout": 0.0}, dtype=dtype)
    unit.build([(None, width)])
    random = np.random.default_rng(5)
    for weight in unit.weights:
        if weight.name == "updates":
            continue
        values = random.normal(size=weight.shape) / (weight.shape[0] ** 0.5 if len(weight.shape) == 2 else 2)
        if weight.name in ("moving_variance", "gamma"):
            values = 0.5 + np.abs(values)
        weight.assign(values.astype(np.float32))
    return unit


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


def name_tensors(tensors: Sequence[Any]) -> Tensors:
    """Interest, then the gradients of candidate, history and weights, as arrays."""
    import tensorflow as tf

    names = ("interest", "candidate", "history", *(f"weight {place}" for place in range(len(tensors) - 3)))
    return {name: tf.convert_to_tensor(each).numpy() for name, each in zip(names, tensors, strict=True)}


def compute_through_unit(
    config: LocalActivationUnitConfig, case: Histories, parts: Any, *, training: bool, dtype: str
) -> Tensors:
    """The same through the product's unit: whole and flat, or cut into `parts`, padded and under XLA."""
    import tensorflow as tf

    from din_train.batches import round_up_to_bucket

    padded = parts is not None
    unit = build_unit(config, case.candidate.shape[1], dtype)
    longest, rows = case.history.shape[1], np.arange(len(case.lengths))
    blocks = parts.cut(rows, case.lengths) if padded else [rows]
    widths = [min(round_up_to_bucket(int(case.lengths[each].max(initial=0)), CAP), longest) for each in blocks]
    arguments = (
        [tf.constant(case.candidate[each], dtype) for each in blocks],
        [tf.constant(case.history[each, :width], dtype) for each, width in zip(blocks, widths, strict=True)],
        [tf.constant(case.lengths[each]) for each in blocks],
        [tf.constant(case.target[each], dtype) for each in blocks],
    )
    step = tf.function(build_unit_step(unit, padded=padded, training=training), jit_compile=padded)
    interests, of_candidates, of_histories, of_weights = step(*arguments)
    back = np.argsort(np.concatenate(blocks))
    wide = [np.pad(each.numpy(), [(0, 0), (0, longest - each.shape[1]), (0, 0)]) for each in of_histories]
    whole = [np.concatenate(each)[back] for each in (interests, of_candidates, wide)]
    return name_tensors([*whole, *of_weights])


def build_unit_step(unit: Any, *, padded: bool, training: bool) -> Callable[..., Any]:
    """Blocks -> their interests, and the gradients of candidates, histories and weights."""
    import tensorflow as tf

    from din_train.model.positions import flatten_history, pad_history

    def locate(history: Any, lengths: Any) -> tuple[Any, Any]:
        """[B_i, T_i, E] -> [N_i, E] and their positions."""
        shape = history.shape
        places = tf.reshape(tf.range(shape[0] * shape[1]), shape[:2])  # [B_i, T_i]
        kept, positions = (
            pad_history(places, lengths, history.dtype.name) if padded else flatten_history(places, lengths)
        )
        return tf.gather(tf.reshape(history, [-1, shape[2]]), kept), positions

    def step(candidates: Any, histories: Any, lengths: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([candidates, histories])
            located = [locate(*each) for each in zip(histories, lengths, strict=True)]
            behaviours, positions = zip(*located, strict=True)
            weights = unit(candidates, behaviours, positions=positions, training=training)  # [N_i] each
            interests = [
                place.sum(weight[:, None] * behaviour)
                for place, weight, behaviour in zip(positions, weights, behaviours, strict=True)
            ]
            loss = tf.add_n([tf.reduce_sum(tf.sin(a) * b) for a, b in zip(interests, targets, strict=True)])
        sources = (candidates, histories, [weight.value for weight in unit.trainable_weights])
        gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
        return interests, *tf.nest.map_structure(tf.convert_to_tensor, gradients)

    return step


def check_units(scope: Scope, say: Say) -> Iterator[Check]:
    """Every preset's unit, on every kind of batch."""
    lengths = build_lengths()
    for preset in scope.presets:
        config = load_preset(preset)
        width = config.item_embedding_size + config.category_embedding_size
        for name in scope.lengths:
            say(f"checking the unit of {preset}, {name}")
            parts = scope.choose_parts(len(lengths[name]), padded=True)
            case = draw_histories(lengths[name], width)
            yield from check_unit(config.local_activation_unit, case, parts, f"{preset}, {name}")


def load_preset(name: str) -> ModelConfig:
    """The model of a preset, its other keys as the config has them."""
    text = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")
    return ModelConfig.model_validate(parse_yaml(text)["model"])


def check_unit(config: LocalActivationUnitConfig, case: Histories, parts: Any, subject: str) -> Iterator[Check]:
    """Both forms in training, and the flat one, which scores, in inference."""
    for form, training in (("flat", False), ("flat", True), ("padded", True)):
        expected = compute_expected(config, case, training=training)
        name = f"{form}, {'training' if training else 'inference'}"
        for dtype, tolerance in TOLERANCES.items():
            options = {"parts": parts if form == "padded" else None, "training": training, "dtype": dtype}
            measure = partial(measure_unit, config, case, expected, options)
            yield compare("unit", subject, name, dtype, tolerance, measure)


def measure_unit(
    config: LocalActivationUnitConfig, case: Histories, expected: Tensors, options: dict[str, Any]
) -> float:
    """The largest error of one form."""
    return compute_error(compute_through_unit(config, case, **options), expected)


# The whole model.


def draw_lengths(random: np.random.Generator, size: int) -> NDArray[np.int32]:
    """History lengths as Electronics has them, 1 to the cap."""
    scores, lengths = np.array([*LENGTH_QUANTILES]), np.log([*LENGTH_QUANTILES.values()])
    slopes = np.diff(lengths) / np.diff(scores)
    drawn = random.normal(size=size)
    logs = lengths[0] + slopes[0] * drawn + (slopes[1] - slopes[0]) * np.maximum(drawn - scores[1], 0)
    return np.clip(np.rint(np.exp(logs)), 1, CAP).astype(np.int32)


def build_data(num_items: int, num_categories: int, num_samples: int) -> Any:
    """A prepared data set in memory: few items are popular, half the samples are clicks, histories may overlap."""
    from din_train.samples.split import Split
    from din_train.samples.store import PreparedData

    random = np.random.default_rng(7)

    def draw_items(size: int) -> NDArray[np.int32]:
        return (2 + (num_items - 2) * random.random(size) ** 2).astype(np.int32)

    num_events = 20 * num_samples + CAP
    columns = {
        "user_id": np.full(num_samples, 2, np.int32),
        "target_item_id": draw_items(num_samples),
        "history_start": random.integers(0, num_events - CAP, num_samples),
        "history_length": draw_lengths(random, num_samples),
        "label": random.integers(0, 2, num_samples).astype(np.int8),
    }
    categories = random.integers(2, num_categories, num_items).astype(np.int32)
    categories[:2] = [0, 1]
    return PreparedData(
        folder=Path(),
        manifest={"fields": {"context": []}, "fingerprint": "synthetic"},
        event_item_ids=draw_items(num_events),
        item_fields={"category": categories},
        user_fields={},
        num_values={"category": num_categories},
        training_events=np.ones(num_items, np.int64),
        user_starts=np.zeros(3, np.int64),
        _samples={Split.TRAIN: columns},
    )


def build_batches(data: Any, batch_size: int, parts: Any, longest_history: int = CAP) -> Any:
    """The product's training batches, with no id replaced: which one is depends on the parts."""
    from din_train.batches import TrainingBatches
    from din_train.samples.split import Split

    return TrainingBatches(
        data,
        data.samples(Split.TRAIN, longest_history),
        batch_size=batch_size,
        max_history_length=longest_history,
        unknown_rate=0.0,
        seed=1,
        parts=parts,
    )


def compile_ours(config: ModelConfig, data: Any, optimizer: str, *, padded: bool) -> Any:
    """The configured model, compiled as `fit` compiles it."""
    from din_train.model.build import build_model
    from din_train.training.loss import LogLoss
    from din_train.training.sparse_optimizers import build_optimizer

    model = build_model(config, data, seed=1, padded=padded)
    settings = OptimizerConfig(name=optimizer, learning_rate=RATES[optimizer])
    model.compile(
        optimizer=build_optimizer(settings, static_shapes=padded), loss=LogLoss(), metrics=[], jit_compile=padded
    )
    return model


def train_three_steps(scope: Scope, data: Any, optimizer: str, *, padded: bool) -> tuple[Tensors, Tensors]:
    """Loss of `fit` on three batches, and by how much each weight and moving statistic moved.

    Tables start 30 times as wide as usual, so that activation weights differ from the first step on. The unit's last
    bias is left out: softmax takes no notice of it, so its gradient is rounding, which Adam makes large.
    """
    model = compile_ours(load_preset("din"), data, optimizer, padded=padded)
    for table in (model.item_embedding.items, model.item_embedding.categories):
        table.assign(30 * table.numpy())
    before = [weight.numpy() for weight in model.weights]
    parts = scope.choose_parts(scope.batch_size, padded=padded)
    dataset = build_batches(data, scope.batch_size, parts, scope.longest_history).to_dataset().take(3)
    history = model.fit(dataset, shuffle=False, verbose=0).history
    moved = {
        f"{'' if weight.trainable else 'not '}trained {place}": weight.numpy() - start
        for place, (weight, start) in enumerate(zip(model.weights, before, strict=True))
        if weight is not model.local_activation_unit.dense[-1].bias
    }
    return {"loss": np.array(history["loss"])}, moved


def check_model(scope: Scope, say: Say) -> Iterator[Check]:
    """Three steps of DIN as the preset `din` has it, flat against padded."""
    data = build_data(2_000, 50, 3 * scope.batch_size)
    names = {"sgd": "LazySGD", "adam": "LazyAdam"}
    for optimizer in scope.optimizers:
        say(f"checking three steps with {names[optimizer]}")
        train = cache(partial(train_three_steps, scope, data, optimizer))
        for what, tolerance in MODEL_TOLERANCES.items():
            measure = partial(measure_model, what, train)
            yield compare(
                f"{what} after three steps", names[optimizer], "padded against flat", "float32", tolerance, measure
            )


def measure_model(what: str, train: Callable[..., tuple[Tensors, Tensors]]) -> float:
    """The loss's error, or that of the weights' moves, over a tensor's largest or 1 % of the largest of all trained."""
    (loss, moved), (padded_loss, padded_moved) = train(padded=False), train(padded=True)
    if what == "loss":
        return compute_error(padded_loss, loss)
    largest = max(np.abs(move).max() for name, move in moved.items() if name.startswith("trained"))
    return compute_error(padded_moved, moved, floor=0.01 * float(largest))


# Steps in Electronics' sizes.


@dataclass(frozen=True)
class Form:
    """A way to train the same model."""

    name: str
    padded: bool = False
    textbook: bool = False

    def choose_parts(self, scope: Scope, batch_size: int) -> Any:
        """The textbook's batches stay whole."""
        from din_train.batches import Parts

        return Parts() if self.textbook else scope.choose_parts(batch_size, padded=self.padded)

    def build_model(self, config: ModelConfig, data: Any, optimizer: str) -> Any:
        """Compiled, with Keras's own optimiser and loss where it is the textbook's."""
        if not self.textbook:
            return compile_ours(config, data, optimizer, padded=self.padded)
        import keras
        from textbook import TextbookDIN

        keras.utils.set_random_seed(1)
        model = TextbookDIN(
            num_items=len(data.item_category_ids),
            num_categories=data.num_categories + 2,
            item_category_ids=data.item_category_ids,
            size=config.item_embedding_size,
            unit=config.local_activation_unit.hidden_units,
            mlp=config.mlp.hidden_units,
        )
        one = np.ones(1, np.int32)
        model({"target_item_id": one, "history_item_ids": one[:, None], "history_length": one})
        model.compile(
            optimizer={"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[optimizer](RATES[optimizer]),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            jit_compile=False,
        )
        return model


FORMS = (Form("textbook", textbook=True), Form("flat"), Form("padded", padded=True))


def build_training_step(model: Any, num_parts: int, *, jit_compile: bool) -> Any:
    """Keras's own step as one function of (inputs, labels), for batches of every shape."""
    import tensorflow as tf

    from din_train.batches import build_signature

    model.optimizer.build(model.trainable_variables)
    inputs = build_signature(())
    signature = (inputs if num_parts == 1 else (inputs,) * num_parts, tf.TensorSpec([None], tf.float32))
    return tf.function(
        lambda inputs, labels: model.train_step((inputs, labels)), input_signature=signature, jit_compile=jit_compile
    )


def find_widest(step: Any) -> int:
    """Columns of the widest tensor with a line a row or a position: weights and their gradients do not count."""
    widths = [0]
    for operation in step.get_concrete_function().graph.get_operations():
        for output in operation.outputs:
            shape = output.shape.as_list() if output.shape.rank is not None else []
            if output.dtype.is_floating and None in shape and shape[-1] is not None and len(shape) > 1:
                widths.append(shape[-1])
    return max(widths)


def check_widths(config: ModelConfig, scope: Scope) -> Iterator[Check]:
    """Nothing of ours is as wide as the four inputs of the unit side by side, as the textbook's is."""
    data = build_data(100, 10, 1)
    limit = 4 * (config.item_embedding_size + config.category_embedding_size)
    for form in FORMS:
        model = form.build_model(config, data, "adam")
        num_parts = len(form.choose_parts(scope, 1024).cuts) + 1
        widest = find_widest(build_training_step(model, num_parts, jit_compile=form.padded))
        passed = widest >= limit if form.textbook else widest < limit
        subject = f"{widest} columns; {'at least' if form.textbook else 'under'} {limit} expected"
        yield Check(WIDEST, subject, form.name, "float32", None, 0, passed)


def count_shapes(batch_size: int, parts: Any) -> int:
    """Distinct shape tuples, each an XLA program, among many batches of random lengths."""
    from din_train.batches import round_up_to_bucket

    random, rows = np.random.default_rng(11), np.arange(batch_size)
    shapes = set()
    for _ in range(COUNTED_BATCHES):
        lengths = draw_lengths(random, batch_size)
        longest = (int(lengths[each].max(initial=0)) for each in parts.cut(rows, lengths))
        shapes.add(tuple(round_up_to_bucket(each, CAP) for each in longest))
    return len(shapes)


def time_steps(
    scope: Scope, form: Form, config: ModelConfig, data: Any, optimizer: str, batch_size: int, steps: int
) -> Figures:
    """Samples/s of `steps` steps after each distinct batch was seen once, and what the first ones cost."""
    import tensorflow as tf

    parts = form.choose_parts(scope, batch_size)
    source = islice(build_batches(data, batch_size, parts), min(scope.distinct_batches, steps))
    batches = [tf.nest.map_structure(tf.constant, batch) for batch in source]
    shapes = {tuple(tuple(each.shape) for each in tf.nest.flatten(inputs)) for inputs, _ in batches}
    model = form.build_model(config, data, optimizer)
    step = build_training_step(model, len(parts.cuts) + 1, jit_compile=form.padded)
    warm_up = [measure_seconds(step, [batch]) for batch in batches]
    gpu = bool(tf.config.get_visible_devices("GPU"))
    if gpu:
        tf.config.experimental.reset_memory_stats("GPU:0")
    seconds = measure_seconds(step, [batches[place % len(batches)] for place in range(steps)])
    figures: Figures = {
        "samples_per_second": steps * batch_size / seconds,
        "first_step_seconds": warm_up[0],
        "warm_up_seconds": sum(warm_up),
        "xla_programs": len(shapes) if form.padded else 0,
        "xla_programs_in_1000_batches": count_shapes(batch_size, parts) if form.padded else 0,
    }
    if gpu:
        memory = tf.config.experimental.get_memory_info("GPU:0")
        figures |= {"peak_mb": memory["peak"] / MB, "step_mb": (memory["peak"] - memory["current"]) / MB}
    return figures


def measure_seconds(step: Any, batches: Sequence[Any]) -> float:
    """Wall-clock time of a step on each batch, the device's work included."""
    import tensorflow as tf

    started = time.perf_counter()
    for inputs, labels in batches:
        step(inputs, labels)
    tf.test.experimental.sync_devices()
    return time.perf_counter() - started


def run_benchmark(
    scope: Scope, config: ModelConfig, batch_sizes: Sequence[int], steps: int, say: Say
) -> Iterator[Figures]:
    """A row for every batch size, optimiser and form; the textbook, which others are compared with, goes first."""
    import keras
    import tensorflow as tf

    for batch_size in batch_sizes:
        data = build_data(NUM_ITEMS, NUM_CATEGORIES, batch_size * scope.distinct_batches)
        for optimizer in scope.optimizers:
            textbook: Figures = {}
            for form in FORMS:
                say(f"timing {form.name}, {optimizer}, batches of {batch_size}")
                row: Figures = {"form": form.name, "optimizer": optimizer, "batch_size": batch_size}
                try:
                    row |= time_steps(scope, form, config, data, optimizer, batch_size, steps)
                except tf.errors.OpError as refused:  # out of memory, say
                    row["problem"] = first_line(refused)
                textbook = textbook or row
                yield row | compute_ratios(row, textbook)
                keras.backend.clear_session()
                gc.collect()


def compute_ratios(row: Figures, textbook: Figures) -> Figures:
    """Speed and memory over the textbook's, where both were measured."""
    return {
        f"{name}_ratio": row[name] / textbook[name]
        for name in ("samples_per_second", "peak_mb", "step_mb")
        if row.get(name) and textbook.get(name)
    }


# What is shown and written.


def describe_machine(*, gpu: bool) -> Figures:
    """The device, and the versions that decide what runs on it."""
    import keras
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    name = platform.processor() or platform.machine()
    if gpu:
        device = tf.config.list_physical_devices("GPU")[0]
        name = tf.config.experimental.get_device_details(device).get("device_name", device.name)
    return {
        "device": name,
        "device_type": "gpu" if gpu else "cpu",
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "cuda": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
        "tensor_float_32": {"checks": False, "timings": tf.config.experimental.tensor_float_32_execution_enabled()},
    }


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """The worst of each kind; every failed one by itself."""
    table = Table(title="Equality")
    for title in ("check", "dtype", "checks", "max error", "tolerance", ""):
        table.add_column(title, justify="left" if title in ("check", "dtype", "") else "right", no_wrap=True)
    compared = [check for check in checks if check.what != WIDEST]
    for kind in dict.fromkeys(map(name_kind, compared)):
        group = [check for check in compared if name_kind(check) == kind]
        errors = [check.max_error for check in group]
        error = "none" if None in errors else f"{max(each for each in errors if each is not None):.1e}"
        verdict = "passed" if all(check.passed for check in group) else "[red]failed[/red]"
        table.add_row(*kind, str(len(group)), error, f"{group[0].tolerance:.0e}", verdict)
    console.print(table)
    for check in checks:
        if check.what == WIDEST:
            console.print(f"{check.what}, {check.form}: {check.subject}", style="" if check.passed else "red")
        elif not check.passed:
            reason = check.problem or f"error {check.max_error}, tolerance {check.tolerance}"
            console.print(f"failed: {check.what}, {check.form}, {check.dtype}, {check.subject}: {reason}", style="red")


def name_kind(check: Check) -> tuple[str, str]:
    """Check and dtype, as a line of the table has them; presets and kinds of batch are one line."""
    return f"{check.what}, {check.form if check.what == 'unit' else check.subject}", check.dtype


def show_benchmarks(console: Console, rows: Sequence[Figures]) -> None:
    """A line a row, in the order measured."""
    columns = {
        "batch_size": ("batch", "{:,}"),
        "optimizer": ("by", "{}"),
        "form": ("form", "{}"),
        "samples_per_second": ("samples/s", "{:,.0f}"),
        "samples_per_second_ratio": ("ratio", "{:.1f}"),
        "first_step_seconds": ("first\nstep, s", "{:.1f}"),
        "xla_programs": ("XLA\nprograms", "{}"),
        "xla_programs_in_1000_batches": ("in 1,000\nbatches", "{}"),
    }
    if any("peak_mb" in row for row in rows):
        columns |= {
            "peak_mb": ("peak\nMB", "{:,.0f}"),
            "peak_mb_ratio": ("ratio", "{:.2f}"),
            "step_mb_ratio": ("of the\nstep", "{:.2f}"),
        }
    table = Table(title="Training steps of DIN in Electronics' sizes; ratios are to the textbook")
    for key, (title, _) in columns.items():
        table.add_column(title, justify="left" if key in ("optimizer", "form") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(form.format(row[key]) if key in row else "-" for key, (_, form) in columns.items()))
    console.print(table)
    for row in rows:
        if "problem" in row:
            console.print(f"{row['form']}, {row['optimizer']}, {row['batch_size']}: {row['problem']}", style="yellow")


def parse_batch_sizes(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    """`1024,8192` as numbers of at least 1."""
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise click.BadParameter(f"received '{text}', expected numbers of samples such as 1024,8192")
    return [int(size) for size in sizes]


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
@click.option("--device", type=click.Choice(["auto", "gpu", "cpu"]), default="auto", help="gpu: having none is exit 2.")
@click.option("--batch-size", "batch_sizes", default="1024,8192", callback=parse_batch_sizes, help="Samples a step.")
@click.option("--steps", type=click.IntRange(min=0), default=50, help="Steps that are timed; 0: checks only.")
@click.option("--quick", is_flag=True, help="One preset, one kind of batch, two blocks and Adam only.")
def main(json_path: Path | None, device: str, batch_sizes: list[int], steps: int, quick: bool) -> None:
    """Check, time, show, write."""
    start_tensorflow("cpu" if device == "cpu" else "auto")
    import tensorflow as tf

    gpu = device != "cpu" and bool(tf.config.list_physical_devices("GPU"))
    if device != "cpu" and not gpu:
        click.echo(NO_GPU)
        sys.exit(2 if device == "gpu" else 0)
    if json_path is not None:
        make_folder(json_path.parent)
    scope, config = QUICK if quick else FULL, load_config(CONFIG).model
    progress, console = Console(stderr=True), Console()
    if not console.is_terminal:
        console.width = 110
    report = describe_machine(gpu=gpu)
    with progress.status("starting") as status, full_float32():
        checks = [*check_units(scope, status.update), *check_model(scope, status.update), *check_widths(config, scope)]
    console.print(f"{report['device']}, TensorFlow {report['tensorflow']}, CUDA {report['cuda']}")
    show_checks(console, checks)
    rows: list[Figures] = []
    if steps:
        with progress.status("starting") as status:
            rows += run_benchmark(scope, config, batch_sizes, steps, status.update)
        show_benchmarks(console, rows)
    passed = all(check.passed for check in checks)
    report |= {"quick": quick, "steps": steps, "passed": passed}
    report |= {"checks": [asdict(check) for check in checks], "benchmarks": rows}
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print("All checks passed." if passed else "Some checks failed.")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    try:
        main()
    except DinTrainError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)

"""Training steps of each form in Electronics' sizes: samples per second, cost of the first step, memory."""

import gc
import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from comparison import Say, first_line
from forms import FORMS, Form, build_training_step
from scope import Scope
from synthetic_data import CAP, NUM_CATEGORIES, NUM_ITEMS, build_batches, build_data, draw_lengths

from din_train.config import ModelConfig

MB = 1_000_000
COUNTED_BATCHES = 1_000  # whose shapes are counted
Figures = dict[str, Any]


def run_benchmark(
    scope: Scope, config: ModelConfig, batch_sizes: Sequence[int], steps: int, say: Say
) -> Iterator[Figures]:
    """A row for every batch size, optimiser and form; the textbook is first, since the others are compared with it."""
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


def time_steps(
    scope: Scope, form: Form, config: ModelConfig, data: Any, optimizer: str, batch_size: int, steps: int
) -> Figures:
    """Samples/s of `steps` steps after each distinct batch was seen once, and what the first ones cost."""
    import tensorflow as tf

    source = islice(build_batches(data, batch_size, padded=form.padded), min(scope.distinct_batches, steps))
    batches = [tf.nest.map_structure(tf.constant, batch) for batch in source]
    shapes = {tuple(tuple(each.shape) for each in tf.nest.flatten(inputs)) for inputs, _ in batches}
    model = form.build_model(config, data, optimizer, batch_size)
    step = build_training_step(model, padded=form.padded)
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
        "xla_programs_in_1000_batches": count_shapes(batch_size) if form.padded else 0,
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


@cache
def count_shapes(batch_size: int) -> int:
    """Distinct shape tuples, each an XLA program, among many padded batches of random lengths."""
    from din_train.training.training_batches import cut_into_blocks

    random, shapes = np.random.default_rng(11), set()
    labels, ids = np.zeros(batch_size, np.float32), np.zeros((batch_size, CAP), np.int32)
    for _ in range(COUNTED_BATCHES):
        inputs = {"history_length": draw_lengths(random, batch_size), "history_item_ids": ids}
        cut, _ = cut_into_blocks((inputs, labels), CAP)
        shapes.add(tuple(each.shape for each in cut["history_item_ids"]))
    return len(shapes)


def compute_ratios(row: Figures, textbook: Figures) -> Figures:
    """Speed and memory over the textbook's, where both were measured."""
    return {
        f"{name}_ratio": row[name] / textbook[name]
        for name in ("samples_per_second", "peak_mb", "step_mb")
        if row.get(name) and textbook.get(name)
    }

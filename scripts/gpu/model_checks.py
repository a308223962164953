"""The whole model: three training steps of one form against the other's, and how wide its tensors are."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from comparison import Check, Say, Tensors, compare, compute_error
from forms import FORMS, build_training_step, compile_ours
from scope import Scope, load_preset
from synthetic_data import build_batches, build_data

from din_train.config import ModelConfig

MODEL_TOLERANCES = {"loss": 1e-5, "weights": 5e-3}
WIDEST = "widest intermediate"


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


def train_three_steps(scope: Scope, data: Any, optimizer: str, *, padded: bool) -> tuple[Tensors, Tensors]:
    """Loss of `fit` on three batches, and by how much each weight and moving statistic moved.

    Tables start 30 times as wide as usual, so that activation weights differ from the first step on. The unit's last
    bias is left out: softmax takes no notice of it, so its gradient is rounding, which Adam makes large.
    """
    model = compile_ours(load_preset("din"), data, optimizer, scope.batch_size, padded=padded)
    for table in (model.item_embedding.items, model.item_embedding.categories):
        table.assign(30 * table.numpy())
    before = [weight.numpy() for weight in model.weights]
    batches = build_batches(data, scope.batch_size, padded=padded, longest_history=scope.longest_history)
    dataset = batches.to_dataset().take(3)
    history = model.fit(dataset, shuffle=False, verbose=0).history
    moved = {
        f"{'' if weight.trainable else 'not '}trained {place}": weight.numpy() - start
        for place, (weight, start) in enumerate(zip(model.weights, before, strict=True))
        if weight is not model.local_activation_unit.dense[-1].bias
    }
    return {"loss": np.array(history["loss"])}, moved


def check_widths(config: ModelConfig) -> Iterator[Check]:
    """Nothing of ours is as wide as the four inputs of the unit side by side, as the textbook's is."""
    data = build_data(100, 10, 1)
    limit = 4 * (config.item_embedding_size + config.category_embedding_size)
    for form in FORMS:
        model = form.build_model(config, data, "adam", 1024)
        widest = find_widest(build_training_step(model, padded=form.padded))
        passed = widest >= limit if form.textbook else widest < limit
        subject = f"{widest} columns; {'at least' if form.textbook else 'under'} {limit} expected"
        yield Check(WIDEST, subject, form.name, "float32", None, 0, passed)


def find_widest(step: Any) -> int:
    """Columns of the widest tensor with one line per row or position; weights and their gradients do not count."""
    widths, graphs = [0], [step.get_concrete_function().graph]
    for graph in graphs:  # that of the step, and those of its loops, which join the list
        for operation in graph.get_operations():
            if operation.type in ("While", "StatelessWhile"):
                graphs.append(graph._get_function(operation.get_attr("body").name).graph)
            for output in operation.outputs:
                shape = output.shape.as_list() if output.shape.rank is not None else []
                if output.dtype.is_floating and None in shape and shape[-1] is not None and len(shape) > 1:
                    widths.append(shape[-1])
    return max(widths)

"""A training step's groups of 512 rows against a plain NumPy reference: loss, gradients and moving statistics."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from din_train.batches import build_training_signature
from din_train.config import OptimizerConfig
from din_train.model.dice import Dice
from din_train.model.embedding import ItemEmbedding
from din_train.model.losses import LogLoss
from din_train.model.ranking_model import LocatedBatch, RankingModel
from din_train.training.optimizers import build_optimizer
from din_train.training.training_batches import cut_into_blocks

NUM_ITEMS, CAP = 40, 8
CATEGORIES = np.append([0, 1], 1 + np.arange(NUM_ITEMS - 2) % 2)
# Rows of a batch, and the groups that they are if each list is one row.
GROUPS = {300: [slice(0, 300)], 512: [slice(0, 512)], 700: [slice(0, 512), slice(512, 700)]}


class TwoDices(RankingModel):
    """logit = sum over units of Dice(candidate + sum of Dice(behaviours)), each candidate counting its own."""

    def __init__(self, **kwargs: Any) -> None:
        sizes = {"num_items": NUM_ITEMS, "num_categories": 3, "item_size": 2, "category_size": 1}
        super().__init__(item_embedding=ItemEmbedding(**sizes, item_category_ids=CATEGORIES), **kwargs)
        self.of_positions, self.of_rows = Dice(), Dice()

    def compute_logits(self, batch: LocatedBatch, training: bool) -> tf.Tensor:
        pairs, vectors = batch.history.pairs, self.item_embedding(batch.history.item_ids)
        behaviours = self.of_positions(batch.history.to_pairs(vectors), weights=pairs.weights, training=training)
        rows = self.item_embedding(batch.inputs["target_item_id"]) + pairs.sum(behaviours)
        return tf.reduce_sum(self.of_rows(rows, training=training), axis=1)


def make_model(batch_size: int, *, padded: bool) -> TwoDices:
    model = TwoDices(padded=padded)
    one = tf.constant([1])
    model({"target_item_id": one, "history_item_ids": one[:, None], "history_length": one, "user_id": one})
    random = np.random.default_rng(5)
    model.item_embedding.items.assign(random.normal(size=(NUM_ITEMS, 2)))
    model.item_embedding.categories.assign(random.normal(size=(3, 1)))
    model.of_positions.alpha.assign([0.5, -0.25, 0.1])
    model.of_rows.alpha.assign([0.1, 0.75, -0.5])
    optimizer = build_optimizer(OptimizerConfig(name="sgd", learning_rate=1.0), static_shapes=padded)
    model.compile(batch_size=batch_size, optimizer=optimizer, loss=LogLoss(), jit_compile=padded)
    model.optimizer.build(model.trainable_variables)
    return model


def make_batch(rows: int, longest: int = 1) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The first 512 rows have other items than the rest, so that statistics of groups are not those of all.

    Args:
        longest: lists have 1 to so many rows.
    """
    random = np.random.default_rng(rows)
    history_row = np.repeat(np.arange(rows), random.integers(1, longest + 1, rows))[:rows]
    lists = history_row[-1] + 1
    length = random.integers(0, CAP + 1, lists).astype(np.int32)
    first = np.where(np.arange(rows) < 512, 2, NUM_ITEMS // 2)  # of NUM_ITEMS / 2 items
    of_lists = first[np.searchsorted(history_row, np.arange(lists))]
    ids = of_lists[:, None] + random.integers(0, NUM_ITEMS // 2, (lists, CAP))
    ids *= np.arange(CAP) < length[:, None]
    target = (first + random.integers(0, NUM_ITEMS // 2, rows)).astype(np.int32)
    inputs = {"target_item_id": target, "history_item_ids": ids.astype(np.int32), "history_length": length}
    inputs |= {"user_id": target, "history_row": history_row.astype(np.int32)}
    return inputs, random.integers(0, 2, rows).astype(np.float32)


def find_groups(history_row: np.ndarray, most: int) -> list[slice]:
    """Whole lists: a group goes on until a list begins at a multiple of 512, or after it; the last takes the rest."""
    ends = [0]
    for group in range(1, most):
        ends += [row for row in range(512 * group, len(history_row)) if history_row[row] != history_row[row - 1]][:1]
    return list(map(slice, ends, [*ends[1:], len(history_row)]))


def dice(s: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-(s - s.mean(axis=0)) / np.sqrt(s.var(axis=0) + 1e-8)))
    return p * s + (1 - p) * alpha * s


def compute_reference(
    parameters: list[np.ndarray], inputs: dict[str, np.ndarray], labels: np.ndarray, groups: list[slice]
) -> float:
    """The mean loss of all rows."""
    items, categories, of_positions, of_rows = parameters
    vectors = np.concatenate([items, categories[CATEGORIES]], axis=1)  # [items, E]
    losses = []
    for rows in groups:
        lists = inputs["history_row"][rows]
        valid = np.arange(CAP) < inputs["history_length"][lists][:, None]
        behaviours = vectors[inputs["history_item_ids"][lists][valid]]  # [P, E]
        spread = np.zeros((*valid.shape, 3))
        spread[valid] = dice(behaviours, of_positions)
        interest = vectors[inputs["target_item_id"][rows]] + spread.sum(axis=1)
        logits = dice(interest, of_rows).sum(axis=1)
        losses.append(np.logaddexp(0, logits) - labels[rows] * logits)
    return float(np.concatenate(losses).mean())


@pytest.mark.parametrize(
    ("rows", "longest", "batch_size", "form"),
    [
        (512, 1, 512, "flat"),
        (700, 1, 700, "flat"),
        (300, 4, 512, "flat"),
        (700, 5, 700, "flat"),
        (700, 5, 1536, "flat"),  # the last of an epoch: its third group has no row
        (1100, 5, 1024, "flat"),  # lists that are larger than on average: two groups all the same
        (300, 4, 300, "padded"),
        (700, 1, 700, "padded"),
        (700, 5, 1536, "padded"),
    ],
)
def test_a_step_equals_the_reference(rows: int, longest: int, batch_size: int, form: str) -> None:
    """Flat as Keras runs it, padded in blocks and under XLA."""
    model = make_model(batch_size, padded=form == "padded")
    inputs, labels = make_batch(rows, longest)
    groups = GROUPS[rows] if form == "padded" else find_groups(inputs["history_row"], -(-batch_size // 512))
    assert len(groups) == (1 if rows <= 512 else 2)
    weights = [model.item_embedding.items, model.item_embedding.categories]
    weights += [model.of_positions.alpha, model.of_rows.alpha]
    before = [weight.numpy().astype(np.float64) for weight in weights]
    loss = compute_reference(before, inputs, labels, groups)

    batch: Any = cut_into_blocks((inputs, labels), CAP) if form == "padded" else (inputs, labels)
    step = tf.function(
        lambda inputs, labels: model.train_step((inputs, labels)),
        input_signature=build_training_signature({}, padded=form == "padded"),
        jit_compile=form == "padded",
    )
    metrics = step(*tf.nest.map_structure(tf.constant, batch))

    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)
    for place, weight in enumerate(weights):
        gradient = before[place] - weight.numpy()
        for index in [*np.ndindex(*gradient.shape)][-12:]:  # by central differences
            ends = []
            for change in (1e-5, -1e-5):
                moved = [each.copy() for each in before]
                moved[place][index] += change
                ends.append(compute_reference(moved, inputs, labels, groups))
            expected = (ends[0] - ends[1]) / 2e-5
            assert gradient[index] == pytest.approx(expected, abs=1e-5)
    for layer in (model.of_positions, model.of_rows):  # until they are measured
        assert (layer.updates.numpy(), np.ptp(layer.moving_mean), np.ptp(layer.moving_variance)) == (0, 0, 0)


def test_groups_are_not_the_whole_batch() -> None:
    """What the reference above would miss if both statistics were the same."""
    inputs, labels = make_batch(700)
    model = make_model(700, padded=False)
    parameters = [model.item_embedding.items.numpy(), model.item_embedding.categories.numpy()]
    parameters += [model.of_positions.alpha.numpy(), model.of_rows.alpha.numpy()]
    one, two = (compute_reference(parameters, inputs, labels, each) for each in ([slice(0, 700)], GROUPS[700]))
    assert abs(one - two) > 1e-3 * two

"""Losses by hand: terms of rows and of lists, weights, lists of one class, and sums that add up over cuts."""

import math
from itertools import product

import numpy as np
import pytest
import tensorflow as tf

from din_train.config import LossName
from din_train.model.embedding import ItemEmbedding
from din_train.model.losses import BprLoss, LogLoss, RankingLoss, SoftmaxLoss, build_loss
from din_train.model.ranking_model import LocatedBatch, RankingModel
from din_train.training.training_batches import cut_into_blocks

# Three lists: one positive and two negatives; two positives and a negative; negatives alone.
LABELS = np.array([1, 0, 0, 0, 1, 1, 0, 0], np.float32)
LOGITS = np.array([2.0, 1.0, -1.0, 0.5, 0.0, 3.0, 9.0, -4.0], np.float32)
LISTS = np.array([4, 4, 4, 5, 5, 5, 6, 6], np.int32)
WEIGHTS = np.array([2.0, 7.0, 7.0, 7.0, 3.0, 0.5, 7.0, 7.0], np.float32)


def compute(loss: RankingLoss, rows: slice | np.ndarray = slice(None), weights: np.ndarray | None = None) -> float:
    chosen = None if weights is None else weights[rows]
    return float(loss.sum_terms(*map(tf.constant, (LABELS[rows], LOGITS[rows], LISTS[rows])), chosen))


def count(loss: RankingLoss, rows: slice | np.ndarray = slice(None)) -> float:
    return float(loss.count_terms(tf.constant(LABELS[rows]), tf.constant(LISTS[rows])))


def softmax_term(positive: float, *negatives: float) -> float:
    shares = [math.exp(positive), *map(math.exp, negatives)]
    return -math.log(shares[0] / sum(shares))


def bpr_term(positive: float, *negatives: float) -> float:
    return sum(-math.log(1 / (1 + math.exp(each - positive))) for each in negatives) / len(negatives)


def test_log_loss_is_a_sum_over_rows() -> None:
    of_rows = [math.log1p(math.exp(-s)) if y else math.log1p(math.exp(s)) for y, s in zip(LABELS, LOGITS, strict=True)]
    assert compute(LogLoss()) == pytest.approx(sum(of_rows), rel=1e-6)
    assert count(LogLoss()) == 8
    assert compute(LogLoss(), weights=WEIGHTS) == pytest.approx(sum(WEIGHTS * of_rows), rel=1e-6)


def test_clicked_rows_weigh_five_times_as_much_and_the_least_loss_is_at_the_share_of_clicks() -> None:
    """One click of weight 3 and rows of weight 2, 4 and 3 without one: a share of 1/4, so a logit of log(1/3).

    There q = 5 p / (5 p + 1 - p) = 5/8, and the loss is 15 log(8/5) + 9 log(8/3).
    """
    labels, weights = tf.constant([1.0, 0.0, 0.0, 0.0]), tf.constant([3.0, 2.0, 4.0, 3.0])
    logit = tf.constant(math.log(1 / 3))
    with tf.GradientTape() as tape:
        tape.watch(logit)
        loss = build_loss("logloss", 5.0).sum_terms(labels, tf.fill([4], logit), tf.range(4), weights)
    assert float(loss) == pytest.approx(15 * math.log(8 / 5) + 9 * math.log(8 / 3), rel=1e-6)
    assert float(tape.gradient(loss, logit)) == pytest.approx(0.0, abs=1e-5)
    others = [
        float(build_loss("logloss", 5.0).sum_terms(labels, tf.fill([4], logit + each), tf.range(4), weights))
        for each in (-0.1, 0.1)
    ]
    assert min(others) > float(loss) + 0.01


@pytest.mark.parametrize(("loss", "term"), [(SoftmaxLoss(), softmax_term), (BprLoss(), bpr_term)])
def test_a_loss_of_lists_is_a_sum_over_lists_of_both_classes(loss: RankingLoss, term: object) -> None:
    """A positive never stands against another one, and counts by its own weight."""
    assert callable(term)
    first, second, third = term(2.0, 1.0, -1.0), term(0.0, 0.5), term(3.0, 0.5)
    assert compute(loss) == pytest.approx(first + (second + third) / 2, rel=1e-5)
    assert count(loss) == 2
    expected = 2.0 * first + (3.0 * second + 0.5 * third) / 2
    assert compute(loss, weights=WEIGHTS) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ahead", [150.0, -150.0])
def test_softmax_of_logits_far_apart_has_finite_gradients(ahead: float) -> None:
    """exp(-150) is 0 in float32, and so would be the sum over the negatives if it began at the positive."""
    logits = tf.constant([ahead, 0.0, 0.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = SoftmaxLoss().sum_terms(tf.constant([1.0, 0.0, 0.0]), logits, tf.constant([0, 0, 0]))
    assert float(loss) == pytest.approx(max(0.0, math.log(2) - ahead), rel=1e-6)
    expected = [0.0, 0.0, 0.0] if ahead > 0 else [-1.0, 0.5, 0.5]
    assert tape.gradient(loss, logits).numpy().tolist() == pytest.approx(expected)


def test_numbers_of_softmax_and_bpr_by_hand() -> None:
    """log(1 + e^-1 + e^-3), and the mean of log(1 + e^-1) and log(1 + e^-3)."""
    assert compute(SoftmaxLoss(), slice(0, 3)) == pytest.approx(0.349012, abs=1e-6)
    assert compute(BprLoss(), slice(0, 3)) == pytest.approx((0.313262 + 0.048587) / 2, abs=1e-6)


@pytest.mark.parametrize("name", ["logloss", "softmax", "bpr"])
def test_sums_of_groups_of_whole_lists_add_up_in_any_order(name: LossName) -> None:
    loss = build_loss(name)
    whole = compute(loss, weights=WEIGHTS), count(loss)
    parts = [slice(0, 3), slice(3, 6), slice(6, 8)]
    cut = sum(compute(loss, part, WEIGHTS) for part in parts), sum(count(loss, part) for part in parts)
    assert cut == pytest.approx(whole, rel=1e-5)
    mixed = np.array([7, 3, 0, 5, 1, 6, 4, 2])  # padded batches are sorted by the length of histories
    assert (compute(loss, mixed, WEIGHTS), count(loss, mixed)) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", ["logloss", "softmax", "bpr"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_are_those_of_central_differences(name: LossName, jit_compile: bool) -> None:
    """Lists of one class have none, and nothing is lost where logits are far apart."""
    loss = build_loss(name)
    logits = np.array([2.0, 1.0, -1.0, 0.5, 0.0, 3.0, 300.0, -300.0], np.float64)

    @tf.function(jit_compile=jit_compile)
    def step(scores: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            total = loss.sum_terms(tf.constant(LABELS), scores, tf.constant(LISTS), tf.constant(WEIGHTS))
        return total, tape.gradient(total, scores)

    gradient = step(tf.constant(logits, tf.float32))[1].numpy()
    assert np.isfinite(gradient).all()
    if name != "logloss":
        assert gradient[6:].tolist() == [0.0, 0.0]
    for place, sign in product(range(6), [1]):
        moved = [logits + np.eye(8)[place] * step_size * sign for step_size in (1e-2, -1e-2)]
        above, below = (float(step(tf.constant(each, tf.float32))[0]) for each in moved)
        # the negative at 300 is the larger part of log loss, whose digits are then few
        assert gradient[place] == pytest.approx((above - below) / 2e-2, abs=2e-2 if name == "logloss" else 2e-3)


def test_bpr_of_a_large_batch_keeps_no_square_of_its_rows() -> None:
    """8,192 rows of lists of four: in two numbers per row, not in 8,192 for each of them."""
    random, rows = np.random.default_rng(3), 8192
    labels, logits = np.tile([1, 0, 0, 0], rows // 4).astype(np.float32), random.normal(size=rows).astype(np.float32)
    lists = np.repeat(random.permutation(rows // 4), 4).astype(np.int32)

    @tf.function(jit_compile=True)
    def step(scores: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            total = BprLoss().sum_terms(tf.constant(labels), scores, tf.constant(lists))
        return total, tape.gradient(total, scores)

    total, gradient = step(tf.constant(logits))
    ahead = logits.reshape(-1, 4)[:, :1].astype(np.float64) - logits.reshape(-1, 4)[:, 1:]  # [lists, 3]
    assert float(total) == pytest.approx(np.log1p(np.exp(-ahead)).sum() / 3, rel=1e-5)
    of_negatives = 1 / (1 + np.exp(ahead)) / 3
    expected = np.concatenate([-of_negatives.sum(axis=1, keepdims=True), of_negatives], axis=1)
    assert gradient.numpy() == pytest.approx(expected.ravel(), abs=1e-6)
    assert f"{rows},{rows}" not in step.experimental_get_compiler_ir(tf.constant(logits))(stage="hlo")


def test_no_row_and_no_list_of_both_classes_sum_to_zero() -> None:
    for loss in (SoftmaxLoss(), BprLoss()):
        assert (compute(loss, slice(6, 8)), count(loss, slice(6, 8))) == (0.0, 0.0)
        assert (compute(loss, slice(0, 0)), count(loss, slice(0, 0))) == (0.0, 0.0)


class ItemScores(RankingModel):
    """A candidate's score is the sum of its row, whatever the history."""

    def compute_logits(self, batch: LocatedBatch, training: bool) -> tf.Tensor:
        del training
        return tf.reduce_sum(self.item_embedding(batch.inputs["target_item_id"]), axis=1)


def make_lists() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """300 lists of 1 to 4 rows, more than a group has; a list begins in the first group and ends after its 512 rows."""
    random = np.random.default_rng(2)
    lists = np.repeat(np.arange(300), 1 + np.arange(300) % 4)  # [750]
    assert lists[511] == lists[512]
    length = random.integers(1, 4, 300).astype(np.int32)
    inputs = {
        "target_item_id": random.integers(2, 40, len(lists)).astype(np.int32),
        "user_id": np.full(len(lists), 2, np.int32),
        "history_row": lists.astype(np.int32),
        "history_item_ids": (2 * (np.arange(4) < length[:, None])).astype(np.int32),
        "history_length": length,
    }
    return inputs, random.integers(0, 2, len(lists)).astype(np.float32), random.random(len(lists)).astype(np.float32)


@pytest.mark.parametrize("name", ["softmax", "bpr"])
def test_a_steps_loss_is_the_mean_of_whole_lists_whatever_the_form(name: LossName) -> None:
    """In a loop over groups, group by group, and padded, where rows are sorted and have a history each."""
    inputs, labels, weights = make_lists()
    lists = inputs["history_row"]
    own = {name: each[lists] for name, each in inputs.items() if name in ("history_item_ids", "history_length")}
    padded = cut_into_blocks(({**inputs, **own}, labels, weights), 4)
    results = []
    for way, batch in (("loop", (inputs, labels, weights)), ("unroll", (inputs, labels, weights)), ("unroll", padded)):
        sizes = {"num_items": 40, "num_categories": 3, "item_size": 2, "category_size": 1}
        embedding = ItemEmbedding(**sizes, item_category_ids=np.ones(40, np.int32))
        model = ItemScores(item_embedding=embedding, padded=batch is padded)
        one = tf.constant([1])
        model({"target_item_id": one, "history_item_ids": one[:, None], "history_length": one, "user_id": one})
        embedding.items.assign(np.random.default_rng(7).normal(size=(40, 2)))
        loss = build_loss(name)
        model.compile(batch_size=len(labels), loss=loss)
        given = tf.nest.map_structure(tf.constant, batch)
        terms = loss.count_terms(given[1], given[0]["history_row"])
        rows = [tf.constant(float(len(labels)))] if way == "loop" else []
        mean, gradients = (model._loop_over_groups if rows else model._unroll_groups)(*given, terms, *rows)
        table = next(each for each, of in zip(gradients, model.trainable_weights, strict=True) if of is embedding.items)
        results.append((float(mean), tf.convert_to_tensor(table).numpy()))
    logits = embedding(tf.constant(inputs["target_item_id"])).numpy().sum(axis=1)
    term = softmax_term if name == "softmax" else bpr_term
    terms = []
    for each in np.unique(lists):
        rows = lists == each
        negatives = logits[rows & (labels == 0)]
        of_positives = [
            weight * term(logit, *negatives)
            for logit, weight in zip(logits[rows & (labels == 1)], weights[rows & (labels == 1)], strict=True)
            if len(negatives)
        ]
        terms += [np.mean(of_positives)] if of_positives else []
    for mean, gradient in results:
        assert mean == pytest.approx(np.mean(terms), rel=1e-5)
        assert gradient == pytest.approx(results[0][1], abs=1e-6)

"""What training minimises: log loss of each row, or a ranking loss within each list.

A list is a positive with its sampled negatives, or the rows of one request; `history_row` of a batch says which list a
row is of (see `din_train.batches`). Every loss is a mean of terms, and a term never looks beyond its own row or list.
So the sum of terms and their number add up over the groups, replicas and steps that rows are cut into, as long as lists
are whole, and the mean does not depend on the cut.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import tensorflow as tf

from din_train.config import LossName


class RankingLoss(ABC):
    """A sum of terms. Shapes: M rows; `lists` are numbers without a gap, of any first number and in any order."""

    @abstractmethod
    def count_terms(self, labels: tf.Tensor, lists: tf.Tensor) -> tf.Tensor:
        """[M] labels of 0 and 1, [M] lists -> how many terms there are, float32 []."""

    @abstractmethod
    def sum_terms(
        self, labels: tf.Tensor, logits: tf.Tensor, lists: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """[M] labels, logits, lists and sample weights -> the sum of all terms, float32 []."""


class LogLoss(RankingLoss):
    """A row's term is w * (-y log p - (1 - y) log(1 - p)), p = sigmoid(logit): the paper's objective, equation 3.

    With a weight c of positives it is w * (-c y log q - (1 - y) log(1 - q)), q = sigmoid(logit + log c). Among rows of
    which a share p is clicked, its minimum is where q = c p / (c p + 1 - p), so the logit is log(p / (1 - p)) as
    without the weight: scores need no correction, wherever they are read. This is the logit adjustment of Menon et al.,
    Long-tail Learning via Logit Adjustment, ICLR 2021, in a loss with weights.

    Args:
        positive_weight: c.
    """

    def __init__(self, positive_weight: float = 1.0) -> None:
        self._positive_weight = positive_weight

    def count_terms(self, labels: tf.Tensor, lists: tf.Tensor) -> tf.Tensor:
        del lists
        return tf.cast(tf.shape(labels)[0], tf.float32)

    def sum_terms(
        self, labels: tf.Tensor, logits: tf.Tensor, lists: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        del lists
        if self._positive_weight == 1:
            terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        else:
            shifted = logits + math.log(self._positive_weight)
            terms = tf.nn.weighted_cross_entropy_with_logits(labels, shifted, self._positive_weight)
        return tf.reduce_sum(terms if weights is None else weights * terms)


class _ListLoss(RankingLoss):
    """A list with positives and negatives is a term; lists of one class have none."""

    def count_terms(self, labels: tf.Tensor, lists: tf.Tensor) -> tf.Tensor:
        positives, negatives = _count_classes(labels, lists)
        return tf.reduce_sum(tf.cast((positives > 0) & (negatives > 0), tf.float32))


class SoftmaxLoss(_ListLoss):
    """Softmax cross entropy: minus the log of a positive's share of exp(logit) among itself and the list's negatives.

        term = 1 / P * sum_p w_p * log(1 + sum_n exp(s_n - s_p))

    over the P positives p and the negatives n of a list. With one positive it is the usual form (Bruch et al., An
    Analysis of the Softmax Cross Entropy Loss for Learning-to-Rank with Binary Relevance, ICTIR 2019, equation 5). With
    several, each stands against the negatives alone: in ListNet's form, which divides by the sum over all rows, one
    positive would push down the others.
    """

    def sum_terms(
        self, labels: tf.Tensor, logits: tf.Tensor, lists: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        rows, size = lists - tf.reduce_min(lists), tf.size(lists)
        positives, negatives = _count_classes(labels, lists)
        # of the negatives alone: far behind a positive all exponents are 0, and the gradient of their log is no number
        of_negatives = tf.stop_gradient(tf.where(labels > 0, logits.dtype.min, logits))
        largest = tf.gather(tf.math.unsorted_segment_max(of_negatives, rows, size), rows)  # [M]
        exponents = tf.exp(tf.where(labels > 0, 0.0, logits - largest))
        sums = tf.math.unsorted_segment_sum((1.0 - labels) * exponents, rows, size)
        has_negatives = tf.gather(negatives, rows) > 0
        of_negatives = largest + tf.math.log(tf.where(has_negatives, tf.gather(sums, rows), 1.0))  # log of the sum
        terms = tf.where(has_negatives, tf.nn.softplus(of_negatives - logits), 0.0)
        shares = labels / tf.maximum(tf.gather(positives, rows), 1.0)
        return tf.reduce_sum(terms * (shares if weights is None else weights * shares))


class BprLoss(_ListLoss):
    """Bayesian personalised ranking: the mean over pairs of a positive p and a negative n of a list.

        term = 1 / (P * N) * sum_p w_p * sum_n -log sigmoid(s_p - s_n)

    Source: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009, section 4.

    With the rows of a list side by side, a pair is a row and the d-th one after it, for a d below the longest list's
    length. One d after another keeps M numbers, where a matrix of all pairs would have M * M.
    """

    def sum_terms(
        self, labels: tf.Tensor, logits: tf.Tensor, lists: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        positives, negatives = _count_classes(labels, lists)
        pairs = tf.gather(positives * negatives, lists - tf.reduce_min(lists))
        shares = labels / tf.maximum(pairs, 1.0)
        shares = shares if weights is None else weights * shares
        longest = tf.cast(tf.reduce_max(tf.concat([[0.0], positives + negatives], axis=0)), tf.int32)
        return _sum_over_pairs(labels, shares, lists, logits, longest)


def _sum_over_pairs(
    labels: tf.Tensor, shares: tf.Tensor, lists: tf.Tensor, logits: tf.Tensor, longest: tf.Tensor
) -> tf.Tensor:
    """Sum over pairs of a positive and a negative of a list: the positive's share * -log sigmoid(ahead).

    Args:
        labels, shares, lists, logits: [M]; shares of negatives are 0.
        longest: rows of the longest list.
    """
    places, size, order = tf.range(tf.size(labels)), tf.size(labels), tf.argsort(lists, stable=True)
    labels, shares, lists = (tf.gather(each, order) for each in (labels, shares, lists))

    @tf.custom_gradient  # a tape would keep every round's numbers
    def add_up(logits: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        logits = tf.gather(logits, order)

        def add_round(distance: tf.Tensor, total: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
            def after(values: tf.Tensor) -> tf.Tensor:
                return tf.roll(values, -distance, 0)

            is_pair = (places + distance < size) & (lists == after(lists))
            sign = tf.where(is_pair, labels - after(labels), 0.0)  # 0 of equal labels
            share = tf.abs(sign) * (shares + after(shares))
            ahead = sign * (logits - after(logits))
            slope = -share * tf.sigmoid(-ahead) * sign
            total += tf.reduce_sum(share * tf.nn.softplus(-ahead))
            return distance + 1, total, gradient + slope - tf.roll(slope, distance, 0)

        first = (1, tf.zeros([], logits.dtype), tf.zeros_like(logits))
        _, total, gradient = tf.while_loop(lambda distance, *_: distance < longest, add_round, first)
        return total, lambda upstream: upstream * tf.gather(gradient, tf.argsort(order))

    total: tf.Tensor = add_up(logits)
    return total


def _count_classes(labels: tf.Tensor, lists: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """[M] how many positives, and how many negatives, each list has; as many places as rows, the last ones empty."""
    rows, size = lists - tf.reduce_min(lists), tf.size(lists)
    positives = tf.math.unsorted_segment_sum(labels, rows, size)
    return positives, tf.math.unsorted_segment_sum(tf.ones_like(labels), rows, size) - positives


def build_loss(name: LossName, positive_weight: float = 1.0) -> RankingLoss:
    """The configured loss."""
    if name == "logloss":
        return LogLoss(positive_weight)
    return SoftmaxLoss() if name == "softmax" else BprLoss()

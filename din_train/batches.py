"""Prepared data set -> batches of padded histories with their lengths.

A batch (B rows, T positions):

    target_item_id    [B]     int32
    history_item_ids  [B, T]  int32, oldest first, padded with 0 on the right
    history_length    [B]     int32
    user_id           [B]     int32
    <context field>   [B]     int32, one a field of `data.context_fields`
    label             [B]     float32 (apart, as Keras wants it)

T is the longest history of the batch, rounded up to a bucket so that shapes are few, capped by
`max_history_length`, which keeps the newest.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.samples.resample import redraw_training_negatives
from din_train.samples.store import PreparedData, Samples
from din_train.samples.vocabulary import PAD_ID, UNKNOWN_ID

Batch = tuple[dict[str, NDArray[np.int32]], NDArray[np.float32]]


def build_signature(context_fields: Sequence[str]) -> dict[str, tf.TensorSpec]:
    """The inputs of a batch: what `score` takes."""
    return {
        "target_item_id": tf.TensorSpec([None], tf.int32),
        "history_item_ids": tf.TensorSpec([None, None], tf.int32),
        "history_length": tf.TensorSpec([None], tf.int32),
        "user_id": tf.TensorSpec([None], tf.int32),
        **{name: tf.TensorSpec([None], tf.int32) for name in context_fields},
    }


# Batches built before they are asked for.
_AHEAD = 4


def round_up_to_bucket(longest: int, max_history_length: int) -> int:
    """The smallest of 8, 16, 32, ... and `max_history_length` that holds `longest`."""
    bucket = 8
    while bucket < longest:
        bucket *= 2
    return min(bucket, max_history_length)


def build_batch(data: PreparedData, samples: Samples, rows: NDArray[np.int64], max_history_length: int) -> Batch:
    """The batch of the given rows of `samples`, in their order."""
    length = samples.history_length[rows]  # [B]
    width = round_up_to_bucket(int(length.max(initial=0)), max_history_length)
    before = np.cumsum(length, dtype=np.int64) - length  # [B] valid positions in earlier rows
    positions = np.arange(int(length.sum()))  # [N]
    events = np.repeat(samples.history_start[rows] - before, length) + positions  # [N]
    places = np.repeat(np.arange(len(rows)) * width - before, length) + positions  # [N]
    history = np.full(len(rows) * width, PAD_ID, np.int32)
    history[places] = data.event_item_ids[events]
    inputs = {
        "target_item_id": samples.target_item_ids[rows],
        "history_item_ids": history.reshape(len(rows), width),  # [B, T]
        "history_length": length,
        "user_id": samples.user_ids[rows],
        **{name: ids[rows] for name, ids in samples.context.items()},
    }
    return inputs, samples.labels[rows].astype(np.float32)


class EvaluationBatches:
    """A split in stored order: scores come back aligned with its samples."""

    def __init__(self, data: PreparedData, samples: Samples, *, batch_size: int, max_history_length: int) -> None:
        self._data = data
        self._samples = samples
        self._batch_size = batch_size
        self._max_history_length = max_history_length

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self._samples), self._batch_size):
            rows = np.arange(start, min(start + self._batch_size, len(self._samples)))
            yield build_batch(self._data, self._samples, rows, self._max_history_length)

    def __len__(self) -> int:
        return math.ceil(len(self._samples) / self._batch_size)


class TrainingBatches:
    """The training split, shuffled anew every epoch; batches are built while earlier ones train.

    Order and replaced ids are functions of (seed, epoch) alone; so are the negatives, where they are drawn anew.

    Args:
        resampled: the negatives' config where every epoch has negatives of its own; None keeps the stored ones.
        unknown_rate: share of target and history ids replaced by the unknown id, so that its row is trained.
    """

    def __init__(
        self,
        data: PreparedData,
        samples: Samples,
        *,
        batch_size: int,
        max_history_length: int,
        unknown_rate: float,
        seed: int,
        resampled: NegativesConfig | None = None,
    ) -> None:
        self._data = data
        self._samples = samples
        self._resampled = resampled
        self._batch_size = batch_size
        self._max_history_length = max_history_length
        self._unknown_rate = unknown_rate
        self._seed = seed
        self.epoch = 0
        self.first_step = 0
        self.wait_seconds = 0.0

    def start_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Set the epoch (from 0) that the next pass is, and its first step; forget the last one's waiting time."""
        self.epoch = epoch
        self.first_step = first_step
        self.wait_seconds = 0.0
        if self._resampled is not None:
            targets = redraw_training_negatives(self._data, self._resampled, epoch)
            others = self._samples.target_item_ids[len(targets) :]  # rows of other splits, after the training split's
            self._samples = replace(self._samples, target_item_ids=np.concatenate([targets, others]))

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._samples))
        steps = iter(range(self.first_step, len(self)))
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as builder:
            ahead: deque[Future[Batch]] = deque()
            while True:
                for step in islice(steps, _AHEAD - len(ahead)):
                    ahead.append(builder.submit(self._build, order, epoch, step))
                if not ahead:
                    return
                asked = time.perf_counter()
                batch = ahead.popleft().result()
                self.wait_seconds += time.perf_counter() - asked
                yield batch

    def __len__(self) -> int:
        return math.ceil(len(self._samples) / self._batch_size)

    @property
    def num_samples(self) -> int:
        return len(self._samples)

    def to_dataset(self, first_step: int = 0) -> tf.data.Dataset:
        """As a `tf.data.Dataset` for Keras; not prefetched, so that `wait_seconds` is what training waited.

        Args:
            first_step: of every pass over it, as `start_epoch` sets it: a data set has one length.
        """
        return _to_dataset(self.__iter__, len(self) - first_step, self._data.context_fields)

    def _build(self, order: NDArray[np.int64], epoch: int, step: int) -> Batch:
        rows = order[step * self._batch_size : (step + 1) * self._batch_size]
        inputs, labels = build_batch(self._data, self._samples, rows, self._max_history_length)
        random = np.random.default_rng([self._seed, epoch, step])
        for key in ("target_item_id", "history_item_ids"):
            _replace_by_unknown(inputs[key], self._unknown_rate, random)
        return inputs, labels


def _replace_by_unknown(item_ids: NDArray[np.int32], rate: float, random: np.random.Generator) -> None:
    """In place: each id but padding becomes `UNKNOWN_ID` with probability `rate` (places drawn with replacement)."""
    places = random.integers(0, item_ids.size, random.binomial(item_ids.size, rate))
    flat = item_ids.reshape(-1)
    flat[places[flat[places] != PAD_ID]] = UNKNOWN_ID


def _to_dataset(
    batches: Callable[[], Iterator[Batch]], num_batches: int, context_fields: Sequence[str]
) -> tf.data.Dataset:
    signature = (build_signature(context_fields), tf.TensorSpec([None], tf.float32))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(num_batches))

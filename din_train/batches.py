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

Training batches may come in parts, a tuple of such mappings with one `label` for all: see `RankingModel`. Padded parts
are rows of like length, so that a batch's one long history does not widen them all.
"""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.training_rows import redraw_training_negatives
from din_train.dataset.vocabulary import PAD_ID, UNKNOWN_ID

Inputs = dict[str, NDArray[np.int32]]
Batch = tuple[Inputs, NDArray[np.float32]]
PartedBatch = tuple[Inputs | tuple[Inputs, ...], NDArray[np.float32]]


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
    history = _read_history(data, samples, rows)
    return _build_inputs(samples, rows, samples.target_item_ids[rows], history, max_history_length), _labels(
        samples, rows
    )


def _read_history(data: PreparedData, samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """[N] item ids of the rows' valid positions, row by row."""
    length = samples.history_length[rows]  # [B]
    before = np.cumsum(length, dtype=np.int64) - length  # [B] valid positions in earlier rows
    events = np.repeat(samples.history_start[rows] - before, length) + np.arange(int(length.sum()))  # [N]
    return data.event_item_ids[events]


def _build_inputs(
    samples: Samples,
    rows: NDArray[np.int64],
    targets: NDArray[np.int32],
    history: NDArray[np.int32],
    max_history_length: int,
) -> Inputs:
    length = samples.history_length[rows]  # [B]
    width = round_up_to_bucket(int(length.max(initial=0)), max_history_length)
    before = np.cumsum(length, dtype=np.int64) - length  # [B]
    places = np.repeat(np.arange(len(rows)) * width - before, length) + np.arange(len(history))  # [N]
    padded = np.full(len(rows) * width, PAD_ID, np.int32)
    padded[places] = history
    return {
        "target_item_id": targets,
        "history_item_ids": padded.reshape(len(rows), width),  # [B, T]
        "history_length": length,
        "user_id": samples.user_ids[rows],
        **{name: ids[rows] for name, ids in samples.context.items()},
    }


def _labels(samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return samples.labels[rows].astype(np.float32)


# Cuts of a batch's rows, ascending by length, into padded parts: a half, a quarter, ..., so that the few long
# histories are few rows.
_PADDED_CUTS = (1 / 2, 3 / 4, 7 / 8, 15 / 16, 31 / 32)

# Rows of a part that is worth a core's while, and the most parts.
_ROWS_A_PART = 512
_MOST_PARTS = 8


@dataclass(frozen=True)
class Parts:
    """How a training batch is cut into parts.

    cuts: shares of its rows, ascending; none leaves it whole. by_length: rows are sorted by history length first.
    """

    cuts: tuple[float, ...] = ()
    by_length: bool = False

    def cut(self, rows: NDArray[np.int64], lengths: NDArray[np.int32]) -> list[NDArray[np.int64]]:
        """The rows of each part; in the given order, or sorted by length (stable)."""
        ordered = rows[np.argsort(lengths, kind="stable")] if self.by_length else rows
        return np.split(ordered, [round(cut * len(rows)) for cut in self.cuts])


def choose_parts(batch_size: int, *, padded: bool) -> Parts:
    """Blocks of like length for the padded form, else one part for every few hundred rows."""
    if padded:
        return Parts(_PADDED_CUTS, by_length=True)
    num_parts = min(max(batch_size // _ROWS_A_PART, 1), _MOST_PARTS)
    return Parts(tuple(part / num_parts for part in range(1, num_parts)))


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
        parts: how a batch is cut.
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
        parts: Parts = Parts(),
    ) -> None:
        self._data = data
        self._samples = samples
        self._resampled = resampled
        self._batch_size = batch_size
        self._max_history_length = max_history_length
        self._unknown_rate = unknown_rate
        self._seed = seed
        self._parts = parts
        self.shapes: set[tuple[tuple[int, ...], ...]] = set()  # of the parts' histories so far
        self._drawn_for: int | None = None  # the epoch whose negatives the samples have
        self.epoch = 0
        self.first_step = 0
        self.wait_seconds = 0.0

    def start_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Set the epoch (from 0) that the next pass is, and its first step; forget the last one's waiting time."""
        self.epoch = epoch
        self.first_step = first_step
        self.wait_seconds = 0.0
        if self._resampled is not None and epoch != self._drawn_for:
            self._drawn_for = epoch
            targets = redraw_training_negatives(self._data, self._resampled, epoch)
            others = self._samples.target_item_ids[len(targets) :]  # rows of other splits, after the training split's
            self._samples = replace(self._samples, target_item_ids=np.concatenate([targets, others]))

    def __iter__(self) -> Iterator[PartedBatch]:
        epoch = self.epoch
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._samples))
        steps = iter(range(self.first_step, len(self)))
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as builder:
            ahead: deque[Future[PartedBatch]] = deque()
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

        A step's tensors cross into TensorFlow in one call: `Dataset.from_generator` takes three a step and four times
        as long, which is a tenth of what training has.

        Args:
            first_step: of every pass over it, as `start_epoch` sets it: a data set has one length.
        """
        inputs = build_signature(self._data.context_fields)
        num_parts = len(self._parts.cuts) + 1
        signature = (inputs if num_parts == 1 else (inputs,) * num_parts, tf.TensorSpec([None], tf.float32))
        specs = tf.nest.flatten(signature)
        current: Iterator[PartedBatch] = iter(())

        def take(step: np.int64) -> list[NDArray[np.generic]]:
            nonlocal current
            if step == first_step:
                current = iter(self)
            flat: list[NDArray[np.generic]] = tf.nest.flatten(next(current))
            return flat

        def read(step: tf.Tensor) -> object:
            tensors = tf.numpy_function(take, [step], [spec.dtype for spec in specs])
            for tensor, spec in zip(tensors, specs, strict=True):
                tensor.set_shape(spec.shape)
            return tf.nest.pack_sequence_as(signature, tensors)

        return tf.data.Dataset.range(first_step, len(self)).map(read)

    def _build(self, order: NDArray[np.int64], epoch: int, step: int) -> PartedBatch:
        rows = order[step * self._batch_size : (step + 1) * self._batch_size]
        parts = self._parts.cut(rows, self._samples.history_length[rows])
        random = np.random.default_rng([self._seed, epoch, step])
        inputs = tuple(self._build_part(part, random) for part in parts)
        labels = _labels(self._samples, np.concatenate(parts))
        self.shapes.add(tuple(each["history_item_ids"].shape for each in inputs))
        return inputs[0] if len(inputs) == 1 else inputs, labels

    def _build_part(self, rows: NDArray[np.int64], random: np.random.Generator) -> Inputs:
        targets, history = self._samples.target_item_ids[rows], _read_history(self._data, self._samples, rows)
        for item_ids in (targets, history):
            _replace_by_unknown(item_ids, self._unknown_rate, random)
        return _build_inputs(self._samples, rows, targets, history, self._max_history_length)


def _replace_by_unknown(item_ids: NDArray[np.int32], rate: float, random: np.random.Generator) -> None:
    """In place: each id becomes `UNKNOWN_ID` with probability `rate` (places drawn with replacement)."""
    item_ids[random.integers(0, len(item_ids), random.binomial(len(item_ids), rate))] = UNKNOWN_ID

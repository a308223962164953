"""Training samples -> shuffled batches, built while earlier ones train; `din_train.batches` says what they hold."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.batches import (
    GROUP_ROWS,
    Inputs,
    TrainingBatch,
    build_inputs,
    build_searched,
    build_training_signature,
    compute_block_rows,
    find_firsts,
    name_histories,
    name_shared_inputs,
    read_histories,
    round_up_to_bucket,
    search_histories,
)
from din_train.dataset.category_search import SEARCHED, CategorySearch
from din_train.dataset.store import PreparedData, Samples

# Batches built before they are asked for.
_AHEAD = 4


class TrainingBatches:
    """The lists of the training split, shuffled anew every epoch; batches are built while earlier ones train.

    The rows of a list stay together and in order. A batch has as many lists as have `batch_size` rows at most, on
    average: of lists of one size, which XLA needs, no batch has more rows.

    Order and hidden ids are functions of (seed, epoch) alone; so are the samples of an epoch.

    Args:
        draw_epoch: epoch -> its samples, as many in every epoch, where they change; None keeps those that are given.
        padded: batches as `cut_into_blocks` gives them.
        unknown_rate: share of target ids, and of ids in each sequence, that are hidden: the item is looked up as the
            unknown one, and keeps its category and other fields. So training prepares for items that come after it.
        behaviour_fields: those that the model takes.
        search: of a model that has one.
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
        draw_epoch: Callable[[int], Samples] | None = None,
        padded: bool = False,
        behaviour_fields: Sequence[str] = (),
        search: CategorySearch | None = None,
    ) -> None:
        self.search = search
        self._data = data
        self._sequences = data.sequences if search is None else (*data.sequences, SEARCHED)
        self._behaviour_fields = behaviour_fields
        self._draw_epoch = draw_epoch
        self._batch_size = batch_size
        self._max_history_length = max_history_length
        self._unknown_rate = unknown_rate
        self._seed = seed
        self._padded = padded
        self.shapes: set[tuple[tuple[int, ...], ...]] = set()  # of the sequences so far
        self._drawn_for = 0  # the epoch whose samples these are
        self.epoch = 0
        self.first_step = 0
        self.wait_seconds = 0.0
        self._take(samples if draw_epoch is None else draw_epoch(0))

    def _take(self, samples: Samples) -> None:
        """Train on these rows from now on."""
        self._samples = samples
        lists = samples.find_lists()
        self._list_starts = find_firsts(lists)
        self._list_sizes = np.diff(self._list_starts, append=len(lists))
        self._lists_per_batch = max(1, self._batch_size * len(self._list_starts) // max(1, len(lists)))
        self._cut_at_rows = self._padded and len(np.unique(self._list_sizes)) > 1

    def start_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Set the epoch (from 0) that the next pass is, and its first step; forget the last one's waiting time."""
        self.epoch = epoch
        self.first_step = first_step
        self.wait_seconds = 0.0
        samples = self.draw(epoch)
        if samples is not self._samples:
            self._take(samples)
        self._drawn_for = epoch

    @property
    def changes(self) -> bool:
        """Whether epochs have different samples."""
        return self._draw_epoch is not None

    def draw(self, epoch: int) -> Samples:
        """An epoch's samples."""
        return self._samples if self._draw_epoch is None or epoch == self._drawn_for else self._draw_epoch(epoch)

    def __iter__(self) -> Iterator[TrainingBatch]:
        epoch = self.epoch
        rows, lists = self._shuffle(epoch)
        ends = self._find_ends(lists)
        steps = iter(range(self.first_step, len(self)))
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as builder:
            ahead: deque[Future[TrainingBatch]] = deque()
            while True:
                for step in islice(steps, _AHEAD - len(ahead)):
                    cut = slice(ends[step], ends[step + 1])
                    ahead.append(builder.submit(self._build, rows[cut], lists[cut], epoch, step))
                if not ahead:
                    return
                asked = time.perf_counter()
                batch = ahead.popleft().result()
                self.wait_seconds += time.perf_counter() - asked
                yield batch

    def _shuffle(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[S] the rows in the epoch's order, and the place of each one's list in that order."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._list_starts))
        sizes = self._list_sizes[order]
        before = np.cumsum(sizes) - sizes  # rows of earlier lists
        rows = np.arange(len(self._samples)) + np.repeat(self._list_starts[order] - before, sizes)
        return rows, np.repeat(np.arange(len(order)), sizes)

    def _find_ends(self, lists: NDArray[np.int64]) -> list[int]:
        """Where the batches begin, and the end of the last."""
        if self._cut_at_rows:
            firsts = np.arange(0, len(lists), self._batch_size)
        else:
            firsts = np.searchsorted(lists, np.arange(0, len(self._list_starts), self._lists_per_batch))
        return [*firsts.tolist(), len(lists)]

    def __len__(self) -> int:
        if self._cut_at_rows:
            return math.ceil(len(self._samples) / self._batch_size)
        return math.ceil(len(self._list_starts) / self._lists_per_batch)

    @property
    def num_samples(self) -> int:
        return len(self._samples)

    def to_dataset(self, first_step: int = 0) -> tf.data.Dataset:
        """As a data set for Keras; not prefetched, so that `wait_seconds` is what training waited.

        Replicas share a batch by its lists, so with several of them this is a distributed data set: Keras would cut
        a plain one at rows, and `history_row` then points nowhere.

        A step's tensors cross into TensorFlow in one call: `Dataset.from_generator` takes three a step and four times
        as long, which is a tenth of what training has.

        Args:
            first_step: of every pass over it, as `start_epoch` sets it: a data set has one length.
        """
        signature = build_training_signature(
            self._data.context_widths,
            self._behaviour_fields,
            self._sequences,
            padded=self._padded,
            weighted=self._samples.weights is not None,
        )
        specs = tf.nest.flatten(signature)
        current: Iterator[TrainingBatch] = iter(())
        strategy = tf.distribute.get_strategy()
        replicas = strategy.num_replicas_in_sync

        def take(step: np.int64) -> list[NDArray[np.generic]]:
            nonlocal current
            if step == first_step * replicas:
                batches = iter(self)
                current = batches if replicas == 1 else self._cut_for_replicas(batches, replicas)
            flat: list[NDArray[np.generic]] = tf.nest.flatten(next(current))
            return flat

        def read(step: tf.Tensor) -> object:
            tensors = tf.numpy_function(take, [step], [spec.dtype for spec in specs])
            for tensor, spec in zip(tensors, specs, strict=True):
                tensor.set_shape(spec.shape)
            return tf.nest.pack_sequence_as(signature, tensors)

        dataset = tf.data.Dataset.range(first_step * replicas, len(self) * replicas).map(read)
        if replicas == 1:
            return dataset
        return strategy.distribute_datasets_from_function(lambda _: dataset)

    def _cut_for_replicas(self, batches: Iterator[TrainingBatch], replicas: int) -> Iterator[TrainingBatch]:
        """Each batch as one part per replica, of as many lists as the others or one more; a part may have none."""
        of_histories = name_shared_inputs(self._behaviour_fields, self._data.sequences)
        for inputs, *others in batches:
            ends = [0, *np.cumsum([len(part) for part in np.array_split(inputs["history_length"], replicas)]).tolist()]
            for lists in map(slice, ends[:-1], ends[1:]):
                rows = slice(*np.searchsorted(inputs["history_row"], [lists.start, lists.stop]))
                part = {name: values[lists if name in of_histories else rows] for name, values in inputs.items()}
                part["history_row"] = part["history_row"] - np.int32(lists.start)
                cut: Any = (part, *(each[rows] for each in others))
                yield cut

    def read_groups(self, count: int) -> Iterator[Inputs]:
        """The inputs of the epoch's first groups of lists, about `GROUP_ROWS` rows each or a batch's, not in blocks."""
        rows, lists = self._shuffle(self.epoch)
        num_lists = len(self._list_starts)
        per_group = max(1, round(min(GROUP_ROWS, self._batch_size) * num_lists / max(1, len(rows))))
        ends = np.searchsorted(lists, np.arange(0, num_lists + per_group, per_group))
        for group, cut in enumerate(map(slice, ends[:count], ends[1:])):
            yield dict(self._build_whole(rows[cut], lists[cut], self.epoch, group)[0])

    def _build(self, rows: NDArray[np.int64], lists: NDArray[np.int64], epoch: int, step: int) -> TrainingBatch:
        batch = self._build_whole(rows, lists, epoch, step)
        if self._padded:
            batch = cut_into_blocks(batch, self._max_history_length, self._behaviour_fields, self._data.sequences)
        ids = [batch[0][f"{sequence}_item_ids"] for sequence in ("history", *self._sequences)]
        self.shapes.add(tuple(each.shape for each in tf.nest.flatten(ids)))
        return batch

    def _build_whole(self, rows: NDArray[np.int64], lists: NDArray[np.int64], epoch: int, step: int) -> TrainingBatch:
        random = np.random.default_rng([self._seed, epoch, step])
        samples, rows, found = search_histories(self.search, self._samples, rows, self._behaviour_fields)
        targets = samples.target_item_ids[rows]
        history_row = lists - lists[0]
        first_rows = rows[find_firsts(history_row)]
        histories = read_histories(self._data, samples, first_rows, self._behaviour_fields)
        for item_ids in (targets, *(each["item_ids"] for each in (*histories.values(), found) if each)):
            _hide_ids(item_ids, self._unknown_rate, random)
        inputs = build_inputs(samples, rows, targets, first_rows, history_row, histories, self._max_history_length)
        inputs |= build_searched(found)
        labels, weights = samples.labels[rows].astype(np.float32), samples.weights
        batch: TrainingBatch = (inputs, labels) if weights is None else (inputs, labels, weights[rows])
        return batch


def cut_into_blocks(
    batch: TrainingBatch, max_history_length: int, behaviour_fields: Sequence[str] = (), sequences: Sequence[str] = ()
) -> TrainingBatch:
    """The batch with one history per row, the rows of each group sorted by its length (stable), and those in blocks.

    Block j, [B_j, T_j], has the j-th rows of every group, one group after another; its width is a bucket. Further
    sequences, in which other rows are long, stay whole.
    """
    inputs, *others = batch
    if "history_row" in inputs:
        of_histories = name_shared_inputs(behaviour_fields, sequences)
        row = inputs["history_row"]
        inputs = {name: values[row] if name in of_histories else values for name, values in inputs.items()}
    length = inputs["history_length"]
    groups = []
    for start in range(0, max(len(length), 1), GROUP_ROWS):
        of_group = length[start : start + GROUP_ROWS]
        groups.append(start + np.argsort(of_group, kind="stable"))
    cut = [np.split(rows, np.cumsum(compute_block_rows(len(rows)))[:-1]) for rows in groups]
    blocks = [np.concatenate(of_groups) for of_groups in zip(*cut, strict=True)]
    widths = [round_up_to_bucket(int(length[rows].max(initial=0)), max_history_length) for rows in blocks]
    histories = {
        name: tuple(inputs[name][rows, :width] for rows, width in zip(blocks, widths, strict=True))
        for name in name_histories(behaviour_fields)
    }
    order = np.concatenate(groups)
    ordered = {name: values if name in histories else values[order] for name, values in inputs.items()}
    cut_batch: Any = ({**ordered, **histories}, *(each[order] for each in others))
    return cut_batch  # type: ignore[no-any-return]


def _hide_ids(item_ids: NDArray[np.int32], rate: float, random: np.random.Generator) -> None:
    """In place: each id becomes negative with probability `rate` (places drawn with replacement)."""
    places = random.integers(0, len(item_ids), random.binomial(len(item_ids), rate))
    item_ids[places] = -np.abs(item_ids[places])

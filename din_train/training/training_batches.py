"""Training samples -> shuffled batches, built while earlier ones train; `din_train.batches` says what they hold."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.batches import (
    GROUP_ROWS,
    SHARE,
    Inputs,
    TrainingBatch,
    build_inputs,
    build_searched,
    build_training_signature,
    compute_block_rows,
    cut_searched,
    find_firsts,
    name_histories,
    name_shared_inputs,
    read_histories,
    round_up_to_bucket,
    search_histories,
)
from din_train.dataset.category_search import SEARCHED, CategorySearch
from din_train.dataset.store import PreparedData, Samples
from din_train.errors import ConfigError

# Batches built before they are asked for.
_AHEAD = 4


@dataclass(frozen=True)
class Share:
    """What one of several replicas has of a batch: whole groups, as `RankingModel` cuts them, and maybe none.

    rows: which of the batch's rows. first_group: how many groups are before them. num_groups: how many the batch has.
    """

    rows: slice
    first_group: int
    num_groups: int


def cut_into_shares(lists: NDArray[np.int64], batch_size: int, replicas: int) -> list[Share]:
    """The share of each replica in a batch: as many groups as the others have, or one more.

    Args:
        lists: [M] which list each row is of, ascending.
    """
    first_rows = find_firsts(lists - lists[0])  # of each list
    groups = np.minimum(first_rows // GROUP_ROWS, -(-batch_size // GROUP_ROWS) - 1)
    ends = np.append(first_rows[np.flatnonzero(np.diff(groups, prepend=-1))], len(lists))  # of groups that have a list
    num_groups = len(ends) - 1
    cuts = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(num_groups), replicas))])
    return [Share(slice(ends[a], ends[b]), int(a), num_groups) for a, b in pairwise(cuts)]


def check_batch_size(batch_size: int, replicas: int) -> None:
    """Refuse batches of which some replica would always have nothing.

    Raises:
        ConfigError: with the size to set.
    """
    groups = -(-batch_size // GROUP_ROWS)
    if groups < replicas:
        raise ConfigError(
            f"training.batch_size: received {batch_size}, which is {groups} group{'s' if groups > 1 else ''} of "
            f"{GROUP_ROWS} rows, but {replicas} workers or GPUs take whole groups of the global batch; set it to "
            f"{replicas * GROUP_ROWS} or more, or use fewer of them"
        )


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
        return self._iterate(range(1), 1)

    def _iterate(self, own: range, replicas: int) -> Iterator[TrainingBatch]:
        """The batches; if there are several replicas, the shares of the own ones of them, one after another."""
        epoch = self.epoch
        rows, lists = self._shuffle(epoch)
        ends = self._find_ends(lists)
        parts = ((step, replica) for step in range(self.first_step, len(self)) for replica in own)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as builder:
            ahead: deque[Future[TrainingBatch]] = deque()
            while True:
                for step, replica in islice(parts, _AHEAD - len(ahead)):
                    cut = slice(ends[step], ends[step + 1])
                    which = (replica, replicas) if replicas > 1 else None
                    ahead.append(builder.submit(self._build, rows[cut], lists[cut], epoch, step, which))
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

        Where there are several replicas, this is a distributed data set: Keras would cut a plain one at rows. It has no
        end, since TensorFlow would ask all workers in every step whether there is one: take as many steps as there are.

        A step's tensors cross into TensorFlow in one call: `Dataset.from_generator` takes three a step and four times
        as long, which is a tenth of what training has.

        Args:
            first_step: of every pass over it, as `start_epoch` sets it: a data set has one length.
        """
        strategy = tf.distribute.get_strategy()
        replicas = strategy.num_replicas_in_sync
        signature = build_training_signature(
            self._data.context_widths,
            self._behaviour_fields,
            self._sequences,
            padded=self._padded,
            weighted=self._samples.weights is not None,
            shared=replicas > 1,
        )
        specs = tf.nest.flatten(signature)

        def build(context: tf.distribute.InputContext | None) -> tf.data.Dataset:
            own = range(1)
            if context is not None:  # the replicas of this worker
                of_worker = replicas // context.num_input_pipelines
                own = range(context.input_pipeline_id * of_worker, (context.input_pipeline_id + 1) * of_worker)
            first = first_step * len(own)
            current: Iterator[TrainingBatch] = iter(())
            flat: list[NDArray[np.generic]] = []

            def take(part: np.int64) -> list[NDArray[np.generic]]:
                nonlocal current, flat
                if part == first:
                    current = self._iterate(own, replicas)
                if part < len(self) * len(own):  # later ones are read ahead, and left
                    flat = tf.nest.flatten(next(current))
                return flat

            def read(part: tf.Tensor) -> object:
                tensors = tf.numpy_function(take, [part], [spec.dtype for spec in specs])
                for tensor, spec in zip(tensors, specs, strict=True):
                    tensor.set_shape(spec.shape)
                return tf.nest.pack_sequence_as(signature, tensors)

            if context is not None:
                return tf.data.Dataset.counter(first).map(read)
            return tf.data.Dataset.range(first, len(self)).map(read)

        return build(None) if replicas == 1 else strategy.distribute_datasets_from_function(build)

    def read_groups(self, count: int) -> Iterator[Inputs]:
        """The inputs of the epoch's first groups of lists, about `GROUP_ROWS` rows each or a batch's, not in blocks."""
        rows, lists = self._shuffle(self.epoch)
        num_lists = len(self._list_starts)
        per_group = max(1, round(min(GROUP_ROWS, self._batch_size) * num_lists / max(1, len(rows))))
        ends = np.searchsorted(lists, np.arange(0, num_lists + per_group, per_group))
        for group, cut in enumerate(map(slice, ends[:count], ends[1:])):
            yield dict(self._build_whole(rows[cut], lists[cut], self.epoch, group)[0])

    def _build(
        self,
        rows: NDArray[np.int64],
        lists: NDArray[np.int64],
        epoch: int,
        step: int,
        replica: tuple[int, int] | None = None,
    ) -> TrainingBatch:
        batch = self._build_whole(rows, lists, epoch, step, replica)
        if self._padded:
            batch = cut_into_blocks(batch, self._max_history_length, self._behaviour_fields, self._data.sequences)
        ids = [batch[0][f"{sequence}_item_ids"] for sequence in ("history", *self._sequences)]
        self.shapes.add(tuple(each.shape for each in tf.nest.flatten(ids)))
        return batch

    def _build_whole(
        self,
        rows: NDArray[np.int64],
        lists: NDArray[np.int64],
        epoch: int,
        step: int,
        replica: tuple[int, int] | None = None,
    ) -> TrainingBatch:
        """The batch, not in blocks; or the share that a replica, of so many, has of it.

        Which ids are hidden is drawn for the whole batch.
        """
        random = np.random.default_rng([self._seed, epoch, step])
        samples, rows, found = search_histories(self.search, self._samples, rows, self._behaviour_fields)
        history_row = lists - lists[0]
        list_starts = find_firsts(history_row)
        own_rows, own_lists, share = slice(0, len(rows)), slice(0, len(list_starts)), {}
        if replica is not None:
            own = cut_into_shares(lists, self._batch_size, replica[1])[replica[0]]
            own_rows, own_lists = own.rows, slice(*np.searchsorted(list_starts, [own.rows.start, own.rows.stop]))
            share = {SHARE: np.array([own_rows.start, own.first_group, own.num_groups], np.int32)}

        def draw_hidden(sizes: NDArray[np.integer], part: slice) -> NDArray[np.int64]:
            """Places among the ids of a part, of rows or lists that have so many ids each (drawn with replacement)."""
            ends = np.append(0, np.cumsum(sizes))
            places = random.integers(0, ends[-1], random.binomial(ends[-1], self._unknown_rate))
            first, last = int(ends[part.start]), int(ends[part.stop])
            own: NDArray[np.int64] = places[(first <= places) & (places < last)] - first
            return own

        first_rows = rows[list_starts]
        hidden = [draw_hidden(np.ones(len(rows), np.int64), own_rows)]
        hidden += [draw_hidden(length[first_rows], own_lists) for _, length in samples.all_sequences.values()]
        hidden += [draw_hidden(found["length"], own_rows)] if found else []

        rows, first_rows, history_row = rows[own_rows], first_rows[own_lists], history_row[own_rows] - own_lists.start
        found = cut_searched(found, own_rows)
        targets = samples.target_item_ids[rows]
        histories = read_histories(self._data, samples, first_rows, self._behaviour_fields)
        sequences = [each["item_ids"] for each in (*histories.values(), found) if each]
        for item_ids, places in zip((targets, *sequences), hidden, strict=True):
            item_ids[places] = -np.abs(item_ids[places])
        inputs = build_inputs(samples, rows, targets, first_rows, history_row, histories, self._max_history_length)
        inputs |= build_searched(found) | share
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

"""Prepared data set -> batches of padded histories with their lengths.

A batch (M rows, each a candidate; B histories; T positions):

    target_item_id    [M]     int32; in training a negative id, -i, is item i with its id hidden (see `ItemEmbedding`)
    user_id           [M]     int32
    history_row       [M]     int32, ascending: which history the candidate has
    <context field>   [M]     int32, one a field of `data.context_fields`; [M, V] padded with 0 if it has several values
    history_item_ids  [B, T]  int32, oldest first, padded with 0 on the right; with hidden ids, too
    history_length    [B]     int32
    history_<field>   [B, T]  int32, likewise parallel to the items, one a field of `model.behaviour_fields`
    searched_...      [M, K]  with `model.search`: what it found for each candidate, the same as of the history
    <sequence>_...            of each further sequence of a row the same as of the history: item_ids, length, fields
    label             [M]     float32 (apart, as Keras wants it)
    weight            [M]     float32 (apart), in training, if the log has weights

    share            [3]     int32, of a batch that replicas share: how many rows are before this replica's, how many
                             groups, and how many groups the batch has

In training each history is that of one list (`Samples.find_lists`): a positive and its negatives, or the rows of a
request. A batch has whole lists, so `history_row` also says which rows a loss compares. In scoring, consecutive rows
with equal histories share one.

T is the longest history of the batch (of a further sequence, the longest one of it), rounded up to a bucket so that
shapes are few, capped by `max_history_length`, which keeps the newest.

A padded training batch, which XLA wants, has one history per row (B = M), in blocks, so that its one long history
does not widen all others: see `cut_into_blocks` in `din_train.training.training_batches`. Its `history_row` is the
number of each row's list, and not ascending. Further sequences are not cut. XLA compiles anew for every number of rows,
so where lists differ in size, padded batches are cut at rows, and a list may then be in two of them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.config.data import TIME_GAP
from din_train.dataset.category_search import SEARCHED, CategorySearch
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.time_fields import compute_time_gap
from din_train.dataset.vocabulary import PAD_ID, UNKNOWN_ID

Inputs = dict[str, NDArray[np.int32]]
Batch = tuple[Inputs, NDArray[np.float32]]
# Inputs, labels, and weights if there are any; histories of padded batches are tuples of blocks.
TrainingBatch = (
    tuple[Mapping[str, Any], NDArray[np.float32]] | tuple[Mapping[str, Any], NDArray[np.float32], NDArray[np.float32]]
)

# Rows that share Dice's and batch norm's statistics in training, see `RankingModel`: consecutive ones of a batch.
GROUP_ROWS = 512

# The input that says which part of a batch a replica has.
SHARE = "share"

# Shares of a group's rows, ascending by length, at which padded blocks end: a half, a quarter, ..., so that the few
# long histories are few rows.
_BLOCK_ENDS = (1 / 2, 3 / 4, 7 / 8, 15 / 16, 31 / 32)


def name_histories(behaviour_fields: Sequence[str], sequence: str = "history") -> list[str]:
    """The inputs that hold histories, or another sequence, [B, T] each."""
    return [f"{sequence}_item_ids", *(f"{sequence}_{name}" for name in behaviour_fields)]


def name_shared_inputs(behaviour_fields: Sequence[str], sequences: Sequence[str]) -> set[str]:
    """The inputs that have a row per history; all others have one per candidate."""
    names = {"history", *sequences} - {SEARCHED}
    return {f"{each}_length" for each in names} | {
        name for each in names for name in name_histories(behaviour_fields, each)
    }


def build_signature(
    context_widths: Mapping[str, int | None], behaviour_fields: Sequence[str] = (), sequences: Sequence[str] = ()
) -> dict[str, tf.TensorSpec]:
    """The inputs of a batch: what `score` takes.

    Args:
        context_widths: context field -> V of one of several values, None of others.
        sequences: names of the further sequences.
    """
    lists = [name for each in ("history", *sequences) for name in name_histories(behaviour_fields, each)]
    return {
        "target_item_id": tf.TensorSpec([None], tf.int32),
        "user_id": tf.TensorSpec([None], tf.int32),
        "history_row": tf.TensorSpec([None], tf.int32),
        **{f"{each}_length": tf.TensorSpec([None], tf.int32) for each in ("history", *sequences)},
        **{name: tf.TensorSpec([None, None], tf.int32) for name in lists},
        **{name: tf.TensorSpec([None, None] if width else [None], tf.int32) for name, width in context_widths.items()},
    }


def build_training_signature(
    context_widths: Mapping[str, int | None],
    behaviour_fields: Sequence[str] = (),
    sequences: Sequence[str] = (),
    *,
    padded: bool,
    weighted: bool = False,
    shared: bool = False,
) -> tuple[Any, ...]:
    """The inputs, the labels, and the weights if there are any, of a training batch, or of a replica's share of it."""
    inputs = build_signature(context_widths, behaviour_fields, sequences)
    blocks = len(_BLOCK_ENDS) + 1 if padded else 1
    cut = {name: (inputs[name],) * blocks if padded else inputs[name] for name in name_histories(behaviour_fields)}
    share = {SHARE: tf.TensorSpec([3], tf.int32)} if shared else {}
    return {**inputs, **cut, **share}, *(tf.TensorSpec([None], tf.float32) for _ in range(1 + weighted))


def round_up_to_bucket(longest: int, max_history_length: int) -> int:
    """The smallest of 8, 16, 32, ... and `max_history_length` that holds `longest`."""
    bucket = 8
    while bucket < longest:
        bucket *= 2
    return min(bucket, max_history_length)


def build_batch(
    data: PreparedData,
    samples: Samples,
    rows: NDArray[np.int64],
    max_history_length: int,
    behaviour_fields: Sequence[str] = (),
    *,
    shared: bool = False,
    search: CategorySearch | None = None,
) -> Batch:
    """The batch of the given rows of `samples`, in their order.

    Args:
        shared: whether consecutive rows with equal histories share one; otherwise each row has its own (B = M).
        search: of a model that has one.
    """
    samples, rows, found = search_histories(search, samples, rows, behaviour_fields)
    history_row = number_histories(samples, rows, behaviour_fields) if shared else np.arange(len(rows))
    first_rows = rows[find_firsts(history_row)]
    histories = read_histories(data, samples, first_rows, behaviour_fields)
    targets = samples.target_item_ids[rows]
    inputs = build_inputs(samples, rows, targets, first_rows, history_row, histories, max_history_length)
    return inputs | build_searched(found), samples.labels[rows].astype(np.float32)


def number_histories(samples: Samples, rows: NDArray[np.int64], behaviour_fields: Sequence[str]) -> NDArray[np.int64]:
    """[M] which history each row has, counted up from 0: consecutive rows with equal sequences have the same one.

    A time gap depends on the row's time, so with that field times must be equal, too.
    """
    columns = [column for slices in samples.all_sequences.values() for column in slices]
    columns += [each for each in (samples.skipped,) if each is not None]
    if TIME_GAP in behaviour_fields and samples.timestamps is not None:
        columns.append(samples.timestamps)
    differs = np.zeros(max(len(rows) - 1, 0), np.bool_)
    for column in columns:
        differs |= np.diff(column[rows]) != 0
    return np.cumsum(np.append(np.zeros(min(len(rows), 1), np.bool_), differs))


def find_firsts(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of the numbers, which are ascending, begins."""
    return np.flatnonzero(np.diff(numbers, prepend=-1))


def read_histories(
    data: PreparedData, samples: Samples, rows: NDArray[np.int64], behaviour_fields: Sequence[str]
) -> dict[str, Inputs]:
    """Sequence -> [N] ids of the rows' valid positions, row by row: `item_ids`, and each field of behaviours.

    Time gaps are unknown if there are no times of the rows, or of the behaviours.
    """
    found = {}
    for sequence, (starts, lengths) in samples.all_sequences.items():
        length = lengths[rows]  # [B]
        before = np.cumsum(length, dtype=np.int64) - length  # [B] valid positions in earlier rows
        events = np.repeat(starts[rows] - before, length) + np.arange(int(length.sum()))  # [N]
        if sequence == "history" and samples.skipped is not None:
            skipped = np.repeat(samples.skipped[rows], length)
            events += (skipped >= 0) & (events >= skipped)
        found[sequence] = _read_events(data, samples, rows, length, events, behaviour_fields)
    return found


def _read_events(
    data: PreparedData,
    samples: Samples,
    rows: NDArray[np.int64],
    length: NDArray[np.int32],
    events: NDArray[np.int64],
    behaviour_fields: Sequence[str],
) -> Inputs:
    """[N] `item_ids`, and each field, of events [N], of which each of the rows has `length` ones."""
    ids = {"item_ids": data.event_item_ids[events]}
    for name in behaviour_fields:
        if name != TIME_GAP:
            ids[name] = data.event_fields[name][events]
        elif data.event_times is None or samples.timestamps is None:
            ids[name] = np.full(len(events), UNKNOWN_ID, np.int32)
        else:
            seconds = np.repeat(samples.timestamps[rows], length)
            ids[name] = compute_time_gap(seconds, data.event_times[events])
    return ids


def read_searched(
    search: CategorySearch, samples: Samples, rows: NDArray[np.int64], behaviour_fields: Sequence[str]
) -> Inputs:
    """What is found for each of the rows: [M] `length`, and [n] ids as `read_histories` has them of a sequence."""
    events, length = search.find(samples, rows)
    return {"length": length, **_read_events(search.data, samples, rows, length, events, behaviour_fields)}


def search_histories(
    search: CategorySearch | None, samples: Samples, rows: NDArray[np.int64], behaviour_fields: Sequence[str]
) -> tuple[Samples, NDArray[np.int64], Inputs]:
    """Find behaviours for the rows, whose histories are then the recent ones; without a search all is as it was.

    Returns:
        samples and their rows; and what `read_searched` gives, nothing without a search.
    """
    if search is None:
        return samples, rows, {}
    samples, rows = samples.take(rows), np.arange(len(rows))
    found = read_searched(search, samples, rows, behaviour_fields)
    return search.keep_recent(samples), rows, found


def cut_searched(found: Inputs, rows: slice) -> Inputs:
    """What is found for some of the rows alone."""
    if not found:
        return found
    ends = np.append(0, np.cumsum(found["length"]))
    ids = slice(ends[rows.start], ends[rows.stop])
    return {name: each[rows if name == "length" else ids] for name, each in found.items()}


def build_searched(found: Inputs) -> Inputs:
    """The inputs of what `search_histories` has found; none of nothing."""
    return {
        f"{SEARCHED}_{name}": ids if name == "length" else _pad(ids, found["length"]) for name, ids in found.items()
    }


def _pad(ids: NDArray[np.int32], length: NDArray[np.int32], longest: int = 2**31 - 1) -> NDArray[np.int32]:
    """[N] ids, row by row, of rows of these lengths [B] -> [B, T]."""
    width = round_up_to_bucket(int(length.max(initial=0)), longest)
    before = np.cumsum(length, dtype=np.int64) - length  # [B]
    places = np.repeat(np.arange(len(length)) * width - before, length) + np.arange(len(ids))  # [N]
    padded = np.full(len(length) * width, PAD_ID, np.int32)
    padded[places] = ids
    return padded.reshape(len(length), width)


def build_inputs(
    samples: Samples,
    rows: NDArray[np.int64],
    targets: NDArray[np.int32],
    first_rows: NDArray[np.int64],
    history_row: NDArray[np.int64],
    histories: Mapping[str, Inputs],
    max_history_length: int,
) -> Inputs:
    """From M rows and their targets, and B rows whose histories those are."""
    inputs = {
        "target_item_id": targets,
        "user_id": samples.user_ids[rows],
        "history_row": history_row.astype(np.int32),
    }
    for sequence, (_, lengths) in samples.all_sequences.items():
        length = lengths[first_rows]  # [B]
        for name, ids in histories[sequence].items():
            inputs[f"{sequence}_{name}"] = _pad(ids, length, max_history_length)  # [B, T]
        inputs[f"{sequence}_length"] = length
    return inputs | {name: ids[rows] for name, ids in samples.context.items()}


def compute_block_rows(group_rows: int) -> list[int]:
    """How many of a group's rows each padded block has, those with the shortest histories first."""
    ends = [*(round(share * group_rows) for share in _BLOCK_ENDS), group_rows]
    return [end - start for start, end in pairwise([0, *ends])]


class EvaluationBatches:
    """A split in stored order: scores come back aligned with its samples. Neighbours share equal histories."""

    def __init__(
        self,
        data: PreparedData,
        samples: Samples,
        *,
        batch_size: int,
        max_history_length: int,
        behaviour_fields: Sequence[str] = (),
        search: CategorySearch | None = None,
    ) -> None:
        self._data = data
        self._behaviour_fields = behaviour_fields
        self._samples = samples
        self._batch_size = batch_size
        self._max_history_length = max_history_length
        self._search = search

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self._samples), self._batch_size):
            rows = np.arange(start, min(start + self._batch_size, len(self._samples)))
            yield build_batch(
                self._data,
                self._samples,
                rows,
                self._max_history_length,
                self._behaviour_fields,
                shared=True,
                search=self._search,
            )

    def __len__(self) -> int:
        return math.ceil(len(self._samples) / self._batch_size)

"""Where the histories that rows hold are stored: those that are the beginning of one list are that list, once.

A user's longest history (the first of several) is stored first, and a history that is its beginning is a slice of it.
One that is not (of a log cut to the newest so many) is stored besides, once for equal ones. Histories are equal if
their items, times and behaviour fields are. The lists of further sequences follow those of the first, user by user.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from din_train.dataset.column_file import ColumnWriter, MappedColumns
from din_train.dataset.negatives import mix
from din_train.logs.sample_rows import RawSamples

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NO_TIME = -1
_BLOCK_ROWS = 1 << 15
_FILE_ROWS, _MOST_FILES = 1 << 17, 256


@dataclass
class GivenHistories:
    """The lists of all users, user after user, and where each line's histories lie in them.

    events: columns user_id, item and (-1 where there is none) category and fields, as codes; timestamp in seconds, if
        a sequence has times. places: Parquet, a row per line: history, and for the sequence at place k `start k`,
        `length k`; newest, the time of the history's newest behaviour (`NO_TIME` if there is none).
    lines: how many. later: of them, those whose history has a behaviour at or after their own time; example: the first.
    unordered: those whose behaviours are not in order of time.
    """

    events: MappedColumns = field(init=False)
    places: Path
    lines: int = 0
    later: int = 0
    example: int | None = None
    unordered: int = 0


@dataclass(frozen=True)
class ListBlock:
    """The lists of whole users, in order of user, sequence and line.

    groups: [H] which user's which sequence. lengths: [H]. columns: name -> [N] values of all lists, one after another.
    """

    groups: Ints
    lengths: Ints
    columns: Mapping[str, Ints]

    @property
    def offsets(self) -> Ints:
        ends: Ints = np.cumsum(self.lengths)
        return ends - self.lengths


def place_histories(raw: RawSamples, user_ids: NDArray[np.int32], scratch: Path) -> GivenHistories:
    """Store the lists.

    Args:
        user_ids: [lines] of the rows of `raw.histories`; 0 for one that has no sample.
    """
    sequences = len(raw.layout.sequences)
    fields = [name for name in raw.values if name != "category"]
    columns_there = pq.read_schema(raw.histories).names
    has_times = any(f"timestamp {place}" in columns_there for place in range(sequences))
    optional = {"timestamp": has_times, "category": "category" in raw.values}
    names = ["item", *(name for name, is_there in optional.items() if is_there), *fields]
    types = {"timestamp": pa.int64()}
    schema = pa.schema([("user_id", pa.int32()), *((name, types.get(name, pa.int32())) for name in names)])
    found = GivenHistories(scratch / "places.parquet")
    written = 0
    with (
        ColumnWriter(scratch / "given_events.arrow", schema, scratch) as writer,
        pq.ParquetWriter(found.places, _build_places_schema(sequences)) as places,
    ):
        for table in _read_users(raw.histories, user_ids, scratch):
            users = table["user_id"].to_numpy().astype(np.int64)
            block, order = _join_sequences(table, users, names, raw)
            compared = {name: values for name, values in block.columns.items() if name != "category"}
            source, starts = place_lists(ListBlock(block.groups, block.lengths, compared))
            group_users = block.groups // sequences
            owners = np.repeat(group_users, block.lengths)[source]
            writer.append({"user_id": owners, **{name: values[source] for name, values in block.columns.items()}})
            starts = np.where(starts < 0, 0, starts + written)
            back = np.argsort(order)  # to the order of sequence and line
            starts, lengths = (each[back].reshape(sequences, -1) for each in (starts, block.lengths))
            columns = {"history": table["history"]}
            for place in range(sequences):
                columns[f"start {place}"] = pa.array(starts[place])
                columns[f"length {place}"] = pa.array(lengths[place].astype(np.int32))
            newest = _look_at_times(table, raw, found) if has_times else np.full(len(users), NO_TIME)
            columns["newest"] = pa.array(newest)
            places.write_table(pa.table(columns))
            found.lines += len(users)
            written += len(source)
    found.events = MappedColumns(scratch / "given_events.arrow")
    return found


def _build_places_schema(sequences: int) -> pa.Schema:
    places = [(f"{what} {place}", kind) for place in range(sequences) for what, kind in _PLACE.items()]
    return pa.schema([("history", pa.int64()), *places, ("newest", pa.int64())])


_PLACE = {"start": pa.int64(), "length": pa.int32()}


def _read_users(path: Path, user_ids: NDArray[np.int32], scratch: Path) -> Iterator[Any]:
    """The lines of `path` in order of user and line, with their user_id: tables of whole users, of `_BLOCK_ROWS` lines.

    The lines are first dealt to files of some users each, of which one is sorted in memory at a time: sorting lists in
    the engine takes several times as long, and its memory too.
    """
    lines_per_user = np.bincount(user_ids)
    lines_per_user[:1] = 0
    num_files = min(_MOST_FILES, 1 + int(lines_per_user.sum()) // _FILE_ROWS)
    file_of_user = (np.cumsum(lines_per_user) - 1) * num_files // max(1, int(lines_per_user.sum()))
    paths = [scratch / f"histories_of_users.{number}.arrow" for number in range(num_files)]
    with pq.ParquetFile(path) as source, ExitStack() as stack:
        schema = source.schema_arrow.remove(source.schema_arrow.get_field_index("user"))
        files = [stack.enter_context(pa.ipc.new_stream(each, schema)) for each in map(str, paths)]
        done = 0
        for batch in source.iter_batches(_BLOCK_ROWS, columns=schema.names):
            users = user_ids[done : done + len(batch)]
            done += len(batch)
            number = np.where(users > 0, file_of_user[users], num_files)
            order = np.argsort(number, kind="stable")
            ends = np.searchsorted(number[order], np.arange(num_files + 1))
            for file, start, end in zip(files, ends[:-1].tolist(), ends[1:].tolist(), strict=True):
                if start < end:
                    file.write_batch(batch.take(pa.array(order[start:end])))
    for each in paths:
        with pa.ipc.open_stream(str(each)) as reader:
            table = reader.read_all().combine_chunks()
        each.unlink()
        users = user_ids[table["history"].to_numpy()]
        order = np.argsort(users, kind="stable")
        users = users[order]
        table = table.take(pa.array(order)).append_column("user_id", pa.array(users))
        end = 0
        while end < len(users):
            start, last = end, users[min(end + _BLOCK_ROWS, len(users)) - 1]
            end = int(np.searchsorted(users, last, "right"))
            yield table.slice(start, end - start)


def _join_sequences(table: Any, users: Ints, names: Sequence[str], raw: RawSamples) -> tuple[ListBlock, Ints]:
    """The lists of all sequences, and the number of each in order of sequence and line."""
    sequences = len(raw.layout.sequences)
    lengths = [_count(table[f"item {place}"]) for place in range(sequences)]
    columns = {}
    for name in names:
        parts = []
        for place, length in enumerate(lengths):
            column = f"{name} {place}"
            if column in table.column_names:
                values = pc.fill_null(pc.list_flatten(table[column]), -1).to_numpy()
                parts.append(values // (raw.ticks[place] or 1) if name == "timestamp" else values)
            else:
                parts.append(np.full(int(length.sum()), -1, np.int64 if name == "timestamp" else np.int32))
        columns[name] = parts[0] if sequences == 1 else np.concatenate(parts)
    groups = np.concatenate([users * sequences + place for place in range(sequences)])
    joined = ListBlock(groups, np.concatenate(lengths), columns)
    if sequences == 1:
        return joined, np.arange(len(users))
    order = np.argsort(groups, kind="stable")
    at = spread(joined.offsets[order], joined.lengths[order])
    return ListBlock(groups[order], joined.lengths[order], {name: each[at] for name, each in columns.items()}), order


def _look_at_times(table: Any, raw: RawSamples, found: GivenHistories) -> Ints:
    """[lines] the newest time of each first history; counts what is odd about the times of any."""
    newest_of_first = np.full(table.num_rows, NO_TIME)
    later, unordered = np.zeros((2, table.num_rows), bool)
    own = table["timestamp"].to_numpy() // (raw.log.ticks or 1) if "timestamp" in table.column_names else None
    for place in range(len(raw.layout.sequences)):
        if f"timestamp {place}" not in table.column_names:
            continue
        times = pc.fill_null(pc.list_flatten(table[f"timestamp {place}"]), NO_TIME).to_numpy().astype(np.int64)
        times = times // (raw.ticks[place] or 1)
        lengths = _count(table[f"timestamp {place}"])
        rows = np.repeat(np.arange(len(lengths)), lengths)
        newest = np.full(len(lengths), NO_TIME)
        np.maximum.at(newest, rows, times)
        if place == 0:
            newest_of_first = newest
        if own is not None:
            later |= newest >= own
        falls = (times[1:] < times[:-1]) & (rows[1:] == rows[:-1])
        unordered[rows[1:][falls]] = True
    found.later += int(later.sum())
    found.unordered += int(unordered.sum())
    if found.example is None and later.any():
        found.example = int(table["history"].to_numpy()[later].min())
    return newest_of_first


def place_lists(block: ListBlock) -> tuple[Ints, Ints]:
    """Which values are stored, in their order, and where each list begins among them.

    Returns:
        [E] places in the block's columns; [H] starts: of an empty list its group's, -1 if that has no other.
    """
    groups, lengths, offsets = block.groups, block.lengths, block.offsets
    size = len(groups)
    begins = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
    of_group = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, size)))  # [H]
    most = np.maximum.reduceat(lengths, begins)
    longest = np.full(len(begins), size)
    is_longest = np.flatnonzero(lengths == most[of_group])
    np.minimum.at(longest, of_group[is_longest], is_longest)
    segments = longest[of_group]  # [H] the list that each is a beginning of
    apart = np.flatnonzero(~_are_beginnings(block, segments))
    if len(apart):
        segments[apart] = _find_first_equal(block, apart)
    is_apart = segments != longest[of_group]
    stored, first = np.unique(segments, return_index=True)
    stored, first = stored[lengths[stored] > 0], first[lengths[stored] > 0]
    order = np.lexsort((stored, is_apart[first], of_group[stored]))
    stored = stored[order]
    starts = np.full(size, -1)
    starts[stored] = np.cumsum(lengths[stored]) - lengths[stored]
    return spread(offsets[stored], lengths[stored]), starts[segments]


def _are_beginnings(block: ListBlock, others: Ints) -> Mask:
    """[H] whether each list is the beginning of another: of the list `others` [H]."""
    rows = np.arange(len(others))
    return _agree(block, rows, others)


def _agree(block: ListBlock, rows: Ints, others: Ints) -> Mask:
    """[n] whether each of the lists `rows` is the beginning of the list in `others`, which is at least as long."""
    lengths = block.lengths[rows]
    here, there = (spread(block.offsets[each], lengths) for each in (rows, others))
    differ = np.zeros(len(here), bool)
    for values in block.columns.values():
        differ |= values[here] != values[there]
    owners = np.repeat(np.arange(len(rows)), lengths)
    agree: Mask = np.bincount(owners[differ], minlength=len(rows)) == 0
    return agree


def _find_first_equal(block: ListBlock, rows: Ints) -> Ints:
    """[n] the first of the lists `rows` (ascending, none empty) of its group that is equal to each."""
    lengths = block.lengths[rows]
    at = spread(block.offsets[rows], lengths)
    step = (np.arange(len(at)) - np.repeat(np.cumsum(lengths) - lengths, lengths)).astype(np.uint64)
    mixed = mix(step)
    for values in block.columns.values():
        mixed = mix(mixed ^ values[at].astype(np.uint64))
    hashes = np.add.reduceat(mixed, np.cumsum(lengths) - lengths)
    order = np.lexsort((rows, hashes, lengths, block.groups[rows]))
    keys = np.stack([block.groups[rows].astype(np.uint64), lengths.astype(np.uint64), hashes])[:, order]
    is_new = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))
    first = np.empty(len(rows), np.int64)
    first[order] = rows[order][np.flatnonzero(is_new)[np.cumsum(is_new) - 1]]
    return np.where(_agree(block, rows, first), first, rows)


def spread(starts: Ints, lengths: Ints) -> Ints:
    """[sum of lengths] start, start + 1, ... of each."""
    before = np.cumsum(lengths) - lengths
    found: Ints = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return found


def _count(lists: Any) -> Ints:
    lengths: Ints = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    return lengths


def find_covered(size: int, starts: Ints, lengths: Ints, block_rows: int) -> Iterator[Mask]:
    """[events] block after block: whether an event lies in one of disjoint spans.

    Args:
        size: of all events. starts: of the spans, ascending. lengths: of each.
    """
    for first in range(0, size, block_rows):
        last = min(first + block_rows, size)
        begin, end = np.searchsorted(starts, (first, last))
        inside = slice(max(0, begin - 1), end)  # the one before may reach into the block
        steps = np.zeros(last - first + 1, np.int64)
        np.add.at(steps, np.clip(starts[inside] - first, 0, last - first), 1)
        np.add.at(steps, np.clip(starts[inside] + lengths[inside] - first, 0, last - first), -1)
        yield np.cumsum(steps[:-1]) > 0

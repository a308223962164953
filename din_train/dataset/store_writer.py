"""Writing a prepared data set: its shards, its tables, and the manifest that speaks of them."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from din_train.dataset.content_hash import RowsHash, hash_table
from din_train.dataset.manifest import SCHEMA_VERSION, Manifest, check_shards, write_manifest
from din_train.dataset.matching import Account
from din_train.dataset.negatives import UnknownItems
from din_train.dataset.samples import Block
from din_train.dataset.shard import Shard, Totals, write_shard
from din_train.dataset.store import REJECTED, TABLES
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.files import atomic_folder, compute_sha256
from din_train.logs import FileReport

# A folder, and `write_shard` with its arguments of the data set -> the shards.
WriteShards = Callable[[Path, Callable[..., Shard]], Sequence[Shard]]


@dataclass(frozen=True)
class StoreParts:
    """The store's columns, blocks and tables, and what the manifest says of them.

    blocks: built while they are drawn from; the functions are right afterwards.
    fields: `item`, `user` and `context` -> names.
    negatives: `sampled`, or `in the log`.
    column_types: of columns of samples that are neither int32 nor of a known name.
    base: see `Manifest`.
    write_shards: writes the blocks as several shards, given the folder and `write_shard` with the data set's columns;
        None of a data set of one shard.
    """

    event_columns: Sequence[str]
    sample_columns: Sequence[str]
    blocks: Iterable[Block]
    tables: Mapping[str, pa.Table]
    rejected: Path
    reports: Sequence[FileReport]
    fields: Mapping[str, Sequence[str]]
    negatives: str
    unknown_items: UnknownItems
    items_with_several_categories: int
    count_short_histories: Callable[[], int]
    count_dropped: Callable[[], dict[str, int]]
    describe_histories: Callable[[], dict[str, Any]]
    account: Account
    column_types: Mapping[str, Any] = field(default_factory=dict)
    base: Mapping[str, Any] | None = None
    write_shards: WriteShards | None = None


def write_store(folder: Path, parts: StoreParts, *, scratch: Path, describe: Callable[[Totals], Manifest]) -> Manifest:
    """Write the data set under a temporary name, then give it its own.

    Args:
        scratch: an existing folder.
        describe: see `finish_store`.

    Returns:
        The manifest as written.
    """
    with atomic_folder(folder) as temporary:
        write = partial(
            write_shard,
            event_columns=parts.event_columns,
            sample_columns=parts.sample_columns,
            column_types=parts.column_types,
            num_items=parts.tables["items"].num_rows,
        )
        if parts.write_shards is not None:
            shards = parts.write_shards(temporary, write)
        else:
            users = parts.tables["users"].num_rows
            shards = [write(temporary, None, parts.blocks, users=users, scratch=scratch)]
        return finish_store(temporary, shards, tables=parts.tables, rejected=parts.rejected, describe=describe)


def finish_store(
    folder: Path,
    shards: Iterable[Shard],
    *,
    tables: Mapping[str, pa.Table],
    rejected: Path,
    describe: Callable[[Totals], Manifest],
) -> Manifest:
    """Write what is not in the shards: tables, rejected lines and, at last, the manifest.

    Args:
        folder: an existing one, on this machine. The shards' files may be in it, or are put beside these later.
        shards: of all users, in any order.
        tables: one for each name in `TABLES`.
        rejected: the reader's rejected lines, copied in.
        describe: called once all is written: the manifest but for the files and the fingerprint.

    Returns:
        The manifest as written.
    """
    _check_tables(tables)
    ordered = sorted(shards, key=lambda each: (each.stored.first_user, each.stored.users))  # an empty one first
    stored = [each.stored for each in ordered]
    check_shards(stored, tables["users"].num_rows)
    totals, hashes = Totals(), dict.fromkeys(stored[0].tables, RowsHash())
    for shard in ordered:
        totals.merge(shard.totals)
        hashes = {table: found + shard.hashes[table] for table, found in hashes.items()}
    for name in TABLES:
        pq.write_table(tables[name], folder / f"{name}.parquet", compression="zstd")
    shutil.copyfile(rejected, folder / REJECTED)
    paths = [*(folder / f"{name}.parquet" for name in TABLES), folder / REJECTED]
    files = {path.name: compute_sha256(path) for path in paths}
    files |= {each.file: each.sha256 for shard in stored for each in shard.tables.values()}
    contents = {table: str(found) for table, found in hashes.items()}
    contents |= {name: hash_table(tables[name]) for name in TABLES}  # rejected lines name paths
    written = replace(
        describe(totals),
        bytes=sum(path.stat().st_size for path in paths) + sum(shard.bytes for shard in ordered),
        shards=stored,
        files=dict(sorted(files.items())),
        fingerprint=hashlib.sha256(orjson.dumps([SCHEMA_VERSION, contents], option=orjson.OPT_SORT_KEYS)).hexdigest(),
    )
    write_manifest(folder, written)
    return written


def _check_tables(tables: Mapping[str, pa.Table]) -> None:
    """Ids 0 and 1 are reserved and real ids count up from 2; anything else is a bug, not the user's data."""
    for name, key in (("items", "item_id"), ("users", "user_id")):
        ids = tables[name][key].to_numpy()
        if not np.array_equal(ids, np.arange(FIRST_REAL_ID, FIRST_REAL_ID + len(ids))):
            raise RuntimeError(f"{name}.{key} does not count up from {FIRST_REAL_ID}")

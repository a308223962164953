"""The prepared data set on disk: Parquet files and a manifest that proves what they were made from.

events.parquet      user_id, item_id, timestamp; sorted by user, time, order in the log
samples.parquet     user_id, target_item_id, history_length, label, split; a history is the user's first
                    `history_length` events, so it is stored once, never copied
items.parquet       item_id, item (raw id), category_id, title
users.parquet       user_id, user (raw id)
categories.parquet  category_id, category
rejected.jsonl      the log's bad lines: file, line, reason, text
manifest.json       schema version, recipe, inputs, counts, SHA-256 of every file
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from din_train.errors import DataError
from din_train.files import atomic_folder, compute_sha256
from din_train.samples.split import Split
from din_train.samples.vocabulary import FIRST_REAL_ID

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
REJECTED = "rejected.jsonl"
TABLES = ("events", "samples", "items", "users", "categories")

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Samples:
    """One split's rows, as slices of `PreparedData.event_item_ids`.

    user_ids, target_item_ids: [S] int32. labels: [S] int8.
    history_start: [S] int64, first event row of the history. history_length: [S] int32, 0 if there is none.
    """

    user_ids: NDArray[np.int32]
    target_item_ids: NDArray[np.int32]
    history_start: NDArray[np.int64]
    history_length: NDArray[np.int32]
    labels: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set, opened.

    event_item_ids: [events] int32, every user's items in time order, user after user.
    item_category_ids: [num_items + 2] int32, indexed by item id; ids 0 and 1 have categories 0 and 1.
    num_categories: real categories, ids from 2.
    """

    folder: Path
    manifest: Manifest
    event_item_ids: NDArray[np.int32]
    item_category_ids: NDArray[np.int32]
    num_categories: int
    _user_starts: NDArray[np.int64]
    _samples: pa.Table

    @property
    def fingerprint(self) -> str:
        """Equal for equal contents: what a run remembers of the data it was trained on."""
        return str(self.manifest["fingerprint"])

    def samples(self, split: Split, max_history_length: int) -> Samples:
        """A split's rows in stored order, histories cut to the newest `max_history_length` behaviours."""
        code = self._samples["split"].combine_chunks()
        names = code.dictionary.to_pylist()
        rows = self._samples.filter(pa.array(code.indices.to_numpy() == names.index(split.name.lower())))
        user_ids = rows["user_id"].to_numpy()
        full_length = rows["history_length"].to_numpy()
        length = np.minimum(full_length, np.int32(max_history_length))
        return Samples(
            user_ids=user_ids,
            target_item_ids=rows["target_item_id"].to_numpy(),
            history_start=self._user_starts[user_ids] + (full_length - length),
            history_length=length,
            labels=rows["label"].to_numpy(),
        )


def write_store(folder: Path, tables: dict[str, pa.Table], rejected: Path, manifest: Manifest) -> Manifest:
    """Write the data set under a temporary name, then give it its own.

    Args:
        tables: one a name in `TABLES`.
        rejected: the reader's rejected lines, copied in.
        manifest: everything but the files and the fingerprint.

    Returns:
        The manifest as written.
    """
    _check_ids(tables)
    with atomic_folder(folder) as temporary:
        for name in TABLES:
            pq.write_table(tables[name], temporary / f"{name}.parquet", compression="zstd")
        shutil.copyfile(rejected, temporary / REJECTED)
        hashes = {path.name: compute_sha256(path) for path in sorted(temporary.iterdir())}
        written = {"schema_version": SCHEMA_VERSION, **manifest, "files": hashes}
        of_tables = {name: sha256 for name, sha256 in hashes.items() if name != REJECTED}  # that one names paths
        contents = orjson.dumps([SCHEMA_VERSION, of_tables], option=orjson.OPT_SORT_KEYS)
        written["fingerprint"] = hashlib.sha256(contents).hexdigest()
        (temporary / MANIFEST).write_bytes(orjson.dumps(written, option=orjson.OPT_INDENT_2) + b"\n")
    return written


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None where there is no prepared data set of this version, or it was cut short."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        return None
    if not {"recipe", "inputs", "files", "fingerprint"} <= manifest.keys():
        return None
    return manifest


def find_damage(folder: Path, manifest: Manifest) -> str | None:
    """The first file that is not as the manifest says, or None."""
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or compute_sha256(path) != expected:
            return str(name)
    return None


def open_store(folder: Path) -> PreparedData:
    """Open a prepared data set after checking every file's SHA-256.

    Raises:
        DataError: where there is none, or a file is missing or changed.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder}: no prepared data set here; run `din-train prepare --config ...` first")
    damaged = find_damage(folder, manifest)
    if damaged is not None:
        raise DataError(f"{folder / damaged}: missing or changed since it was prepared; run `din-train prepare` again")
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in ("events", "samples", "items", "categories")}
    categories = tables["items"]["category_id"].to_numpy()
    return PreparedData(
        folder=folder,
        manifest=manifest,
        event_item_ids=np.ascontiguousarray(tables["events"]["item_id"].to_numpy()),
        item_category_ids=np.concatenate([np.arange(FIRST_REAL_ID, dtype=np.int32), categories]),
        num_categories=tables["categories"].num_rows,
        _user_starts=_start_rows(tables["events"]["user_id"].to_numpy()),
        _samples=tables["samples"],
    )


def _start_rows(user_ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """[users + 2] first event row of each user id; events are sorted by user."""
    counts = np.bincount(user_ids)
    starts: NDArray[np.int64] = np.cumsum(counts) - counts
    return starts


def _check_ids(tables: dict[str, pa.Table]) -> None:
    """Ids 0 and 1 are reserved and real ids count up from 2; anything else is a bug, not the user's data."""
    for name, key in (("items", "item_id"), ("users", "user_id"), ("categories", "category_id")):
        ids = tables[name][key].to_numpy()
        if not np.array_equal(ids, np.arange(FIRST_REAL_ID, FIRST_REAL_ID + len(ids))):
            raise RuntimeError(f"{name}.{key} does not count up from {FIRST_REAL_ID}")
    for name, key in (("events", "item_id"), ("samples", "target_item_id")):
        ids = tables[name][key].to_numpy()
        if ids.size and not FIRST_REAL_ID <= ids.min() <= ids.max() < FIRST_REAL_ID + tables["items"].num_rows:
            raise RuntimeError(f"{name}.{key} holds an id that is not in items")

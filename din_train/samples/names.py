"""What ids stand for: raw ids, titles and field values of a prepared data set, by id."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.errors import DataError
from din_train.samples.manifest import read_manifest
from din_train.samples.store import TABLES, PreparedData, Samples
from din_train.samples.vocabulary import FIRST_REAL_ID

_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Names:
    """Strings by id; null for padding and unknown, and where there is no title.

    items, titles: [num_items + 2]. users: [num_users + 2].
    """

    items: pa.Array
    titles: pa.Array
    users: pa.Array
    _vocabularies: pa.Table

    def values(self, field: str) -> list[str | None]:
        """A field's values by id: `category`, or any other item, user or context field."""
        of_field = self._vocabularies.filter(pc.equal(self._vocabularies["field"], field)).sort_by("id")
        return [None] * FIRST_REAL_ID + list(of_field["value"].to_pylist())


def read_names(data: PreparedData) -> Names:
    """The names of a prepared data set.

    Raises:
        DataError: if another one has taken its place since it was opened.
    """
    items, users, vocabularies = (pq.read_table(data.folder / f"{name}.parquet") for name in TABLES)
    manifest = read_manifest(data.folder)
    if manifest is None or manifest["fingerprint"] != data.fingerprint:
        raise DataError(
            f"{data.folder}: another process has prepared another data set here since this command began; prepare this "
            "one again, each in a folder of its own (data.prepared), and run the command again (fit: with --resume)"
        )
    return Names(
        items=_by_id(items, "item"),
        titles=_by_id(items, "title"),
        users=_by_id(users, "user"),
        _vocabularies=vocabularies,
    )


def hash_rows(data: PreparedData, samples: Samples) -> str:
    """SHA-256 of the rows' raw user, raw item and label, in their order: equal for the same rows, whatever their ids.

    Items out of the vocabulary have no raw id here; they are all alike.
    """
    names = read_names(data)
    digest = hashlib.sha256()
    for start in range(0, len(samples), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        for strings, ids in ((names.users, samples.user_ids), (names.items, samples.target_item_ids)):
            taken = pc.fill_null(strings.take(pa.array(ids[rows])), "")
            digest.update(pc.binary_length(taken).to_numpy(zero_copy_only=False).tobytes())
            digest.update(pc.binary_join(pa.ListArray.from_arrays([0, len(taken)], taken), "")[0].as_buffer())
        digest.update(samples.labels[rows].tobytes())
    return digest.hexdigest()


def _by_id(table: pa.Table, name: str) -> pa.Array:
    reserved = pa.nulls(FIRST_REAL_ID, pa.string())
    return pa.concat_arrays([reserved, table[name].cast(pa.string()).combine_chunks()])

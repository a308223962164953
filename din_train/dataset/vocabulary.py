"""Ids: 0 is padding, 1 is unknown, real ids count up from 2.

A field that `vocabulary.hash_buckets` names is not numbered: the id of a text is

    2 + (the first 8 bytes of the SHA-256 of its UTF-8, as a big-endian number) mod n

which is the same in every data set, process and program.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

PAD_ID = 0
UNKNOWN_ID = 1
FIRST_REAL_ID = 2

VOCABULARY_SCHEMA = pa.schema([("field", pa.string()), ("id", pa.int32()), ("value", pa.string())])


@dataclass(frozen=True)
class Numbering:
    """Codes -> ids: most frequent first, then by code.

    ids: [codes] int32, `UNKNOWN_ID` for a code that has no event or too few in training.
    codes: [ids from 2] the code of each real id.
    """

    ids: NDArray[np.int32]
    codes: NDArray[np.int64]


def number_codes(total: NDArray[np.int64], training: NDArray[np.int64], min_count: int) -> Numbering:
    """Ids of the codes that have a kept event and at least `min_count` training events."""
    known = np.flatnonzero((total > 0) & (training >= min_count))
    codes = known[np.argsort(-total[known], kind="stable")]
    ids = np.full(len(total), UNKNOWN_ID, np.int32)
    ids[codes] = np.arange(FIRST_REAL_ID, FIRST_REAL_ID + len(codes), dtype=np.int32)
    return Numbering(ids, codes)


def number_values(values: pa.Array, weights: NDArray[np.int64]) -> tuple[NDArray[np.int32], list[str]]:
    """Ids of a field's values, the heaviest first, then the one that comes first; null is unknown.

    Args:
        values: [n] strings or nulls, one an item or a user.
        weights: [n] how often each occurs.

    Returns:
        [n] ids, and the values by id from 2.
    """
    encoded = values.dictionary_encode()
    present = encoded.is_valid().to_numpy(zero_copy_only=False)
    codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    total = np.bincount(codes[present], weights[present], minlength=len(encoded.dictionary)).astype(np.int64)
    order = np.argsort(-total, kind="stable")  # codes are by first appearance
    ids_of_codes = np.empty(len(order), np.int32)
    ids_of_codes[order] = np.arange(FIRST_REAL_ID, FIRST_REAL_ID + len(order), dtype=np.int32)
    ids = np.full(len(codes), UNKNOWN_ID, np.int32)
    ids[present] = ids_of_codes[codes[present]]
    return ids, encoded.dictionary.take(pa.array(order)).to_pylist()


def hash_values(values: Any, buckets: int) -> NDArray[np.int32]:
    """[n] strings or nulls -> [n] ids by their hash; null is unknown."""
    encoded = values.dictionary_encode()
    digests = [hashlib.sha256(each.encode()).digest()[:8] for each in encoded.dictionary.to_pylist()]
    ids = np.array([FIRST_REAL_ID + int.from_bytes(each, "big") % buckets for each in digests] + [UNKNOWN_ID], np.int32)
    hashed: NDArray[np.int32] = ids[pc.fill_null(encoded.indices, len(ids) - 1).to_numpy(zero_copy_only=False)]
    return hashed


def number_buckets(
    numbers: NDArray[np.float64], num_buckets: int, weights: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int32], list[str]]:
    """Ids of quantile buckets of numbers, the smallest first; NaN is unknown.

    Buckets hold about equally many items or users, or the same weight; where one value fills several, they are one.

    Args:
        weights: [n] how much each number counts (its behaviours in training); None: once. If none counts, all do.

    Returns:
        [n] ids, and the buckets by id from 2, such as `[5, 9.5)`.
    """
    present = np.isfinite(numbers)
    if not present.any():
        return np.full(len(numbers), UNKNOWN_ID, np.int32), []
    weights = present.astype(np.int64) if weights is None or not weights[present].any() else weights
    counted = present & (weights > 0)
    quantiles = np.linspace(0, 1, num_buckets + 1)[1:-1]
    edges = np.unique(np.quantile(numbers[counted], quantiles, method="inverted_cdf", weights=weights[counted]))
    edges = edges[edges > numbers[counted].min()]
    ids = np.full(len(numbers), UNKNOWN_ID, np.int32)
    ids[present] = FIRST_REAL_ID + np.searchsorted(edges, numbers[present], side="right")
    bounds = ["-inf", *(short if float(short := f"{edge:g}") == edge else repr(float(edge)) for edge in edges), "inf"]
    return ids, [f"[{low}, {high})" for low, high in pairwise(bounds)]


def build_vocabulary(fields: dict[str, list[str]]) -> pa.Table:
    """Field -> its values by id from 2, as the table that is stored."""
    tables = [
        pa.table(
            [
                pa.repeat(pa.scalar(name, pa.string()), len(values)),
                pa.array(np.arange(FIRST_REAL_ID, FIRST_REAL_ID + len(values), dtype=np.int32)),
                pa.array(values, pa.string()),
            ],
            schema=VOCABULARY_SCHEMA,
        )
        for name, values in fields.items()
    ]
    return pa.concat_tables([VOCABULARY_SCHEMA.empty_table(), *tables]).combine_chunks()


class RawIds:
    """One vocabulary, hashed once.

    Args:
        names: [ids] string or null; those of the reserved ids are passed over (see `Names`).
    """

    def __init__(self, names: Sequence[str | None]) -> None:
        self._index = pd.Index(np.array(names[FIRST_REAL_ID:], object))

    @property
    def first(self) -> str | None:
        """A raw id that there is, as an example."""
        return str(self._index[0]) if len(self._index) else None

    def find(self, raw: Any) -> NDArray[np.int32]:
        """[S] strings or nulls -> [S] ids; unknown where there is none."""
        distinct = raw.dictionary_encode()
        places = self._index.get_indexer(np.array(distinct.dictionary.to_pylist(), object))
        ids = np.where(places < 0, UNKNOWN_ID, places + FIRST_REAL_ID).astype(np.int32)
        ids = np.append(ids, np.int32(UNKNOWN_ID))  # of null
        found: NDArray[np.int32] = ids[distinct.indices.fill_null(len(ids) - 1).to_numpy(zero_copy_only=False)]
        return found


class HashedIds:
    """Ids by hash, of any text.

    Args:
        buckets: how many ids there are.
    """

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets

    @property
    def first(self) -> None:
        """No text is known."""
        return None

    def find(self, raw: Any) -> NDArray[np.int32]:
        """[S] strings or nulls -> [S] ids; unknown for null."""
        return hash_values(raw, self._buckets)

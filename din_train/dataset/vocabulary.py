"""Ids: 0 is padding, 1 is unknown, real ids count up from 2.

A field that `vocabulary.hash_buckets` names is not numbered: the id of a text is

    2 + (the first 8 bytes of the SHA-256 of its UTF-8, as a big-endian number) mod n

which is the same in every data set, process and program.

With a base, an earlier vocabulary, its ids stay as they are, and what is new comes after them (see `base_vocabulary`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

PAD_ID = 0
UNKNOWN_ID = 1
FIRST_REAL_ID = 2

VOCABULARY_SCHEMA = pa.schema([("field", pa.string()), ("id", pa.int32()), ("value", pa.string())])


# The code of a base's id that the log does not have.
NO_CODE = -1
_NONE: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Numbering:
    """Codes -> ids: those of the base first, in its order; then the most frequent first, then by code.

    ids: [codes] int32, `UNKNOWN_ID` for a code that has no event or too few in training.
    codes: [ids from 2] the code of each real id; `NO_CODE` if only the base has it.
    """

    ids: NDArray[np.int32]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, ordered: NDArray[np.int64], size: int, base: NDArray[np.int64] = _NONE) -> Self:
        """Number the base's codes, then the others in the given order.

        Args:
            ordered: codes that get an id; those of the base among them have one already.
            size: how many codes there are.
            base: [ids from 2 of the base] the code of each, or `NO_CODE`.
        """
        is_new = np.ones(size, np.bool_)
        is_new[base[base != NO_CODE]] = False
        codes = np.concatenate([base, ordered[is_new[ordered]]])
        ids = np.full(size, UNKNOWN_ID, np.int32)
        present = np.flatnonzero(codes != NO_CODE)
        ids[codes[present]] = FIRST_REAL_ID + present
        return cls(ids, codes)

    def take(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """[codes] counts -> [ids from 2]; 0 if only the base has the id."""
        return np.append(counts, 0)[self.codes]  # NO_CODE is the last

    def take_values(self, values: pa.Array, base: Sequence[str]) -> list[str]:
        """[codes] values, and the base's by id from 2 -> the values by id from 2."""
        return [*base, *values.take(pa.array(self.codes[len(base) :])).to_pylist()]


def find_codes(values: Sequence[str], among: Any) -> NDArray[np.int64]:
    """The place of each value among others, which are different strings; `NO_CODE` if it is not there."""
    found = pc.index_in(pa.array(values, pa.string()), value_set=among.cast(pa.string()))
    places: NDArray[np.int64] = found.fill_null(NO_CODE).to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def number_codes(
    total: NDArray[np.int64], training: NDArray[np.int64], min_count: int, base: NDArray[np.int64] = _NONE
) -> Numbering:
    """Ids of the codes that have a kept event and at least `min_count` training events, and of those of the base."""
    known = np.flatnonzero((total > 0) & (training >= min_count))
    return Numbering.of(known[np.argsort(-total[known], kind="stable")], len(total), base)


def number_values(
    values: pa.Array, weights: NDArray[np.int64], base: Sequence[str] = ()
) -> tuple[NDArray[np.int32], list[str]]:
    """Ids of a field's values, the heaviest first, then the one that comes first; null is unknown.

    Args:
        values: [n] strings or nulls, one an item or a user.
        weights: [n] how often each occurs.
        base: the values, by id from 2, of an earlier vocabulary, which keep their ids.

    Returns:
        [n] ids, and the values by id from 2.
    """
    encoded = values.dictionary_encode()
    present = encoded.is_valid().to_numpy(zero_copy_only=False)
    codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    total = np.bincount(codes[present], weights[present], minlength=len(encoded.dictionary)).astype(np.int64)
    order = np.argsort(-total, kind="stable")  # codes are by first appearance
    numbering = Numbering.of(order, len(order), find_codes(base, encoded.dictionary))
    ids = np.full(len(codes), UNKNOWN_ID, np.int32)
    ids[present] = numbering.ids[codes[present]]
    return ids, numbering.take_values(encoded.dictionary, base)


def hash_texts(texts: Any) -> NDArray[np.uint64]:
    """[n] strings -> [n] the first 8 bytes of the SHA-256 of each one's UTF-8, as a big-endian number."""
    digests = b"".join(hashlib.sha256(each.encode()).digest()[:8] for each in texts.to_pylist())
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def hash_values(values: Any, buckets: int) -> NDArray[np.int32]:
    """[n] strings or nulls -> [n] ids by their hash; null is unknown."""
    encoded = values.dictionary_encode()
    ids = FIRST_REAL_ID + (hash_texts(encoded.dictionary) % np.uint64(buckets)).astype(np.int64)
    ids = np.append(ids, UNKNOWN_ID).astype(np.int32)
    hashed: NDArray[np.int32] = ids[pc.fill_null(encoded.indices, len(ids) - 1).to_numpy(zero_copy_only=False)]
    return hashed


def read_edges(buckets: Sequence[str]) -> NDArray[np.float64]:
    """The numbers between buckets such as `[5, 9.5)`."""
    return np.array([float(each[1:].partition(",")[0]) for each in buckets[1:]], np.float64)


def number_buckets(
    numbers: NDArray[np.float64],
    num_buckets: int,
    weights: NDArray[np.int64] | None = None,
    base: Sequence[str] = (),
) -> tuple[NDArray[np.int32], list[str]]:
    """Ids of quantile buckets of numbers, the smallest first; NaN is unknown.

    Buckets hold about equally many items or users, or the same weight; where one value fills several, they are one.

    Args:
        weights: [n] how much each number counts (its behaviours in training); None: once. If none counts, all do.
        base: the buckets of an earlier vocabulary, which stay as they are.

    Returns:
        [n] ids, and the buckets by id from 2, such as `[5, 9.5)`.
    """
    present = np.isfinite(numbers)
    ids = np.full(len(numbers), UNKNOWN_ID, np.int32)
    if base:
        ids[present] = FIRST_REAL_ID + np.searchsorted(read_edges(base), numbers[present], side="right")
        return ids, list(base)
    if not present.any():
        return ids, []
    weights = present.astype(np.int64) if weights is None or not weights[present].any() else weights
    counted = present & (weights > 0)
    quantiles = np.linspace(0, 1, num_buckets + 1)[1:-1]
    edges = np.unique(np.quantile(numbers[counted], quantiles, method="inverted_cdf", weights=weights[counted]))
    edges = edges[edges > numbers[counted].min()]
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

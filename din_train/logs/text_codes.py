"""The codes of texts, by first appearance, as a chunk after the other is read."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.logs.expressions import to_mask
from din_train.logs.records import view_texts

_FIRST_LARGE, _MOST_DIGITS = 1 << 24, 8


class TextCodes:
    """Texts -> codes by first appearance. Small whole numbers, as many ids are, are looked up in an array."""

    def __init__(self) -> None:
        self._of_numbers = np.full(1, -1, np.int32)
        self._of_texts: dict[str, int] = {}
        self._texts = [pa.array([], pa.string())]
        self._size = 0

    def encode(self, texts: Any) -> Any:
        """Int32 codes of a column, or of a dictionary array of different texts; null stays null."""
        distinct = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
        size = len(distinct.dictionary)
        places = pc.fill_null(distinct.indices, size).to_numpy(zero_copy_only=False)
        first = np.full(size + 1, -1)
        first[places[::-1]] = np.arange(len(places))[::-1]  # of several values for a place the last one stays
        used = np.flatnonzero(first[:size] >= 0)
        used = used[np.argsort(first[used])]
        codes = np.zeros(size + 1, np.int32)
        codes[used] = self._number(distinct.dictionary.take(pa.array(used)))
        return pa.array(codes[places], mask=places == size if distinct.null_count else None)

    def _number(self, texts: Any) -> NDArray[np.int32]:
        """[n] codes of different texts."""
        numbers = _find_small_numbers(texts)
        is_number = numbers >= 0
        others = texts.filter(pa.array(~is_number)).to_pylist()
        lacking = int(numbers.max(initial=0)) + 1 - len(self._of_numbers)
        if lacking > 0:
            more = np.full(max(lacking, len(self._of_numbers)), -1, np.int32)
            self._of_numbers = np.concatenate([self._of_numbers, more])
        codes = np.empty(len(texts), np.int32)
        codes[is_number] = self._of_numbers[numbers[is_number]]
        codes[~is_number] = [self._of_texts.get(text, -1) for text in others]
        new = np.flatnonzero(codes < 0)
        codes[new] = np.arange(self._size, self._size + len(new))
        self._size += len(new)
        self._of_numbers[numbers[is_number]] = codes[is_number]
        self._of_texts.update(zip(others, codes[~is_number].tolist(), strict=True))
        self._texts.append(texts.take(pa.array(new)))
        return codes

    @property
    def texts(self) -> Any:
        """By code."""
        return pa.concat_arrays(self._texts)


def _find_small_numbers(texts: Any) -> NDArray[np.int64]:
    """[n] whole numbers below 2^24 that are written without a sign or leading zeros; -1 for other texts."""
    lengths = view_texts(texts)[0]
    is_short = (lengths <= _MOST_DIGITS) & to_mask(pc.ascii_is_decimal(texts))
    numbers = pc.if_else(pa.array(is_short), texts, "0").cast(pa.int64()).to_numpy()
    digits = 1 + np.searchsorted(10 ** np.arange(1, _MOST_DIGITS + 1), numbers, side="right")
    return np.where(is_short & (digits == lengths) & (numbers < _FIRST_LARGE), numbers, -1)

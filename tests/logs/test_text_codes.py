"""Codes by first appearance: the same as a dictionary gives one by one."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from din_train.logs.text_codes import TextCodes

TEXTS = (
    *("0", "00", "7", "07", "12", "+7", "-7", "7.0", " 7", "", "B000", "\u0667", "\uff17", "\u00e9"),
    *("16777215", "16777216", "99999999", "100000000", "9" * 30),
)


def encode_plainly(chunks: Sequence[Sequence[str | None]]) -> tuple[list[list[int | None]], list[str]]:
    codes: dict[str, int] = {}
    found = [[None if text is None else codes.setdefault(text, len(codes)) for text in chunk] for chunk in chunks]
    return found, list(codes)


@pytest.mark.parametrize("is_dictionary", [False, True])
def test_codes_are_those_of_first_appearance(is_dictionary: bool) -> None:
    for seed in range(100):
        draw = np.random.default_rng(seed)
        chunks = []
        for size in draw.integers(0, 9, draw.integers(1, 6)):
            chunk = [None if place == len(TEXTS) else TEXTS[place] for place in draw.integers(0, len(TEXTS) + 1, size)]
            chunks.append(chunk)
        codes = TextCodes()
        found = []
        for chunk in chunks:
            column = pa.array(chunk, pa.string())
            if is_dictionary:  # in another order, with texts that are not there
                indices = [None if text is None else len(TEXTS) - 1 - TEXTS.index(text) for text in chunk]
                column = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(TEXTS[::-1]))
            found.append(codes.encode(column).to_pylist())
        assert (found, codes.texts.to_pylist()) == encode_plainly(chunks)

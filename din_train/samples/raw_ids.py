"""Raw ids -> ids, for rows that were not there when the data set was prepared."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from din_train.samples.vocabulary import FIRST_REAL_ID, UNKNOWN_ID


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

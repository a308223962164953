"""What is wrong with the rows of a chunk, column by column."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from din_train.logs.expressions import Mask, Reasons
from din_train.logs.rejects import Rejects
from din_train.logs.row_files import Chunk

CHUNK_ROWS = 100_000  # that a reader works on at a time


class BadRows:
    """Why the rows of a chunk cannot be used; of several reasons a row has the first."""

    def __init__(self, chunk: Chunk) -> None:
        self._reasons = [""]
        self._of_rows = np.zeros(chunk.table.num_rows, np.int32)  # [rows] a place in `_reasons`
        for row, reason in chunk.broken.items():
            self._of_rows[row] = self._number(reason)

    def _number(self, reason: str) -> int:
        if reason not in self._reasons:
            self._reasons.append(reason)
        return self._reasons.index(reason)

    @property
    def usable(self) -> Mask:
        """[rows] whether nothing is wrong so far."""
        good: Mask = self._of_rows == 0
        return good

    def add(self, reasons: Reasons) -> None:
        """Take in what is wrong with one column."""
        for reason, mask in reasons.items():
            if mask.any():
                self._of_rows[mask & self.usable] = self._number(reason)

    def hide(self, column: Any) -> Any:
        """A column with null in the bad rows, which tell nothing of the log."""
        return column if self.usable.all() else pc.if_else(pa.array(self.usable), column, None)

    def reject(self, chunk: Chunk, rejects: Rejects) -> None:
        """Count the rows of the chunk, and reject the bad ones.

        Raises:
            DataError: if there is no hope for the file.
        """
        report, before = rejects.report, rejects.report.lines
        for row in np.flatnonzero(self._of_rows).tolist():
            report.lines = before + row + 1
            rejects.add(int(chunk.lines[row]), self._reasons[self._of_rows[row]], chunk.show(row))
        report.lines = before + len(self._of_rows)
        if len(chunk.lines):
            rejects.count_records(chunk.lines, np.fromiter(chunk.broken, np.int64, len(chunk.broken)))

"""What is said where the disk is full while columns are written."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from din_train.dataset import column_file
from din_train.dataset.column_file import ColumnWriter, map_columns
from din_train.errors import RunError
from din_train.files import atomic_folder

SCHEMA = pa.schema([("a", pa.int32()), ("b", pa.int64())])
COLUMNS = {"a": np.arange(1000), "b": np.arange(1000)}


def write(folder: Path) -> None:
    with atomic_folder(folder / "data") as temporary, ColumnWriter(temporary / "x.arrow", SCHEMA, folder) as writer:
        writer.append(COLUMNS)
        writer.append({"a": np.arange(0), "b": np.arange(0)})


def test_what_is_written_is_mapped(tmp_path: Path) -> None:
    write(tmp_path)
    mapped = map_columns(tmp_path / "data" / "x.arrow")
    assert mapped["a"].tolist() == list(range(1000))
    assert (mapped["a"].dtype, mapped["b"].dtype) == (np.int32, np.int64)


def test_a_disk_that_fills_up_is_what_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(column_file._Sink, "write", fail)  # while the columns are mapped
    with pytest.raises(RunError, match=r"data: cannot be written: no space left on its disk \([\d,]+ bytes free\)"):
        write(tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_disk_that_is_too_small_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(RunError, match=r"x\.arrow: needs 12,000 bytes, and 11,999 are free on its disk"):
        write(tmp_path)


class Usage:
    """Of a small disk."""

    free = 11_999

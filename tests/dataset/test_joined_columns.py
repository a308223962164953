"""Files that are joined: what their columns are, and what is said where there is no room."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from din_train.dataset import store
from din_train.dataset.column_file import ColumnWriter
from din_train.dataset.joined_columns import join_columns
from din_train.dataset.manifest import ShardFile
from din_train.errors import DataError, RunError
from din_train.files import compute_sha256

SCHEMA = pa.schema([("a", pa.int8()), ("tags", pa.list_(pa.int32(), 3)), ("b", pa.int64())])
COLUMNS: dict[str, Any] = {
    "a": np.arange(7, dtype=np.int8),
    "tags": np.arange(21, dtype=np.int32).reshape(7, 3),
    "b": np.arange(7) - 2**40,
}


def write(folder: Path, *cuts: int, schema: pa.Schema = SCHEMA) -> list[ShardFile]:
    files = []
    for number, (begin, end) in enumerate(pairwise(cuts)):
        path = folder / f"{number}.arrow"
        with ColumnWriter(path, schema, folder) as writer:
            writer.append({name: COLUMNS[name][begin:end] for name in schema.names})
        files.append(ShardFile(path.name, end - begin, compute_sha256(path)))
    return files


@pytest.mark.parametrize("cuts", [(0, 7), (0, 0, 3, 3, 4, 7, 7), (0, 0, 0)])
def test_columns_of_all_files(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    files = write(tmp_path, *cuts)
    joined = join_columns(tmp_path, files, tmp_path, is_checked=False)
    for name, column in joined.items():
        expected = COLUMNS[name][: cuts[-1]]
        assert (column.dtype, column.shape) == (expected.dtype, expected.shape)
        assert column.tolist() == expected.tolist()
    assert list(joined) == SCHEMA.names
    assert len(list(tmp_path.iterdir())) == len(files)


def test_a_file_with_other_columns_or_rows(tmp_path: Path) -> None:
    files = write(tmp_path, 0, 3, 7)
    with pytest.raises(DataError, match=r"1\.arrow: missing or changed"):
        join_columns(tmp_path, [files[0], ShardFile("1.arrow", 3, files[1].sha256)], tmp_path, is_checked=True)
    (tmp_path / "0.arrow").rename(tmp_path / "first.arrow")
    write(tmp_path, 0, 3, schema=pa.schema([("a", pa.int16()), *list(SCHEMA)[1:]]))
    with pytest.raises(DataError, match=r"0\.arrow: missing or changed"):
        join_columns(tmp_path, [ShardFile("first.arrow", 3, ""), files[0]], tmp_path, is_checked=True)


def test_a_disk_without_room_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write(tmp_path, 0, 3, 7)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=255))
    with pytest.raises(RunError, match="joined shards: needs 256 bytes, and 255 are free on its disk"):  # 64 + 128 + 64
        join_columns(tmp_path, files, tmp_path, is_checked=False)


def test_they_are_joined_beside_the_data_set_unless_nothing_can_be_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store._find_scratch(tmp_path / "prepared") == tmp_path
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/elsewhere")
    assert store._find_scratch(tmp_path / "prepared") == Path("/elsewhere")

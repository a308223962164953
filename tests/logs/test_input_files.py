"""Input files are looked at before any is read, and all problems come at once."""

import os
from pathlib import Path

import pytest

from din_train.config import ColumnsConfig, DataConfig
from din_train.errors import DataError
from din_train.logs import input_files, read_log


def amazon(reviews: Path, items: Path) -> DataConfig:
    return DataConfig(source="amazon-2018", reviews=reviews, items=items, prepared=Path("prepared"))


def test_files_come_in_the_order_they_are_read(tmp_path: Path) -> None:
    reviews, items = tmp_path / "r", tmp_path / "i"
    reviews.write_text("x")
    items.write_text("x")
    assert input_files(amazon(reviews, items)) == (reviews, items)


def test_missing_and_directory_are_both_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        input_files(amazon(tmp_path / "none.gz", tmp_path))
    assert caught.value.problems == (
        f"data.reviews: {tmp_path}/none.gz: no such file; check the path, or download the file first",
        f"data.items: {tmp_path}: is a directory; expected a file",
    )


def test_a_path_through_a_file_is_missing_too(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("x")
    with pytest.raises(DataError, match=r"data.items: .*/r/below: no such file"):
        input_files(amazon(tmp_path / "r", tmp_path / "r" / "below"))


def test_empty_file_and_pipe(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError) as caught:
        read_log(amazon(tmp_path / "empty", tmp_path / "pipe"), tmp_path, lambda _: None)
    assert caught.value.problems == (
        f"data.reviews: {tmp_path}/empty: is empty; fetch the file again",
        f"data.items: {tmp_path}/pipe: is a device or a pipe; expected a file",
    )


@pytest.mark.parametrize("name", ["x" * 5000, "x\0y"])
def test_a_path_that_cannot_be_looked_at(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"cannot be read .*; check the path and its permissions"):
        input_files(amazon(tmp_path / name, tmp_path / name))
    columns = ColumnsConfig(user="u", item="i", timestamp="t")
    with pytest.raises(DataError, match=r"data\.events: .* cannot be read .*; check the path and its permissions"):
        input_files(DataConfig(source="table", events=tmp_path / name, columns=columns, prepared=Path("prepared")))

"""Input files are looked at before any is read, and all problems come at once."""

import gzip
import os
from pathlib import Path

import pytest
from log_runner import Runner, lines, review

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


def test_folders_of_reviews_and_of_ratings(runner: Runner) -> None:
    folder = runner.folder / "reviews"
    folder.mkdir()
    (folder / "b.json").write_bytes(lines(review("b", "j", 7), "oops", review("c", "k", 8)))
    (folder / "a.json.gz").write_bytes(gzip.compress(lines(review("a", "i", 9))))
    (folder / "_SUCCESS").touch()
    data = {"source": "amazon-2018", "reviews": folder, "prepared": runner.folder, "max_bad_share": 0.5}
    got = runner.run(DataConfig.model_validate(data))
    assert got.events == [("a", "i", 9, 0), ("b", "j", 7, 1), ("c", "k", 8, 2)]
    assert [(each["file"], each["line"]) for each in got.rejected] == [(str(folder / "b.json"), 2)]
    assert [(each.path.name, each.kept) for each in got.log.reports] == [("a.json.gz", 1), ("b.json", 2)]
    (folder / "c.csv").write_bytes(b"i,u,5.0,9\n")
    with pytest.raises(DataError, match=r"c\.csv: holds ratings, but .*a\.json\.gz reviews; give files of one kind"):
        runner.run(DataConfig.model_validate(data))
    (folder / "d.csv").write_bytes(b"j,u,5.0,8\nj,v,5.0,x\n")
    ratings = runner.run(DataConfig.model_validate({**data, "reviews": folder / "*.csv"}))
    assert ratings.events == [("u", "i", 9, 0), ("u", "j", 8, 1)]
    assert [(each["file"], each["line"]) for each in ratings.rejected] == [(str(folder / "d.csv"), 2)]


@pytest.mark.parametrize("source", ["amazon-2018", "movielens"])
def test_the_same_file_twice(runner: Runner, source: str) -> None:
    content, key = (
        (lines(review()), "reviews") if source == "amazon-2018" else (b"1::10::5::9\n2::10::4::9\n", "events")
    )
    (runner.folder / "one").write_bytes(content)
    (runner.folder / "one.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=r"one\.gz: has the same content as .*one, so every row would count twice"):
        runner.source(source, **{key: runner.folder / "one*"})


def test_a_folder_of_movielens_ratings(runner: Runner) -> None:
    folder = runner.folder / "ratings"
    folder.mkdir()
    (folder / "1.csv").write_bytes(b"userId,movieId,rating,timestamp\n1,10,4.0,900000000\n1,11,x,900000001\n")
    (folder / "2.csv").write_bytes(b"userId,movieId,rating,timestamp\n2,10,3.5,900000002\n")
    got = runner.source("movielens", events=folder)
    assert got.events == [("1", "10", 900000000, 1, 0), ("2", "10", 900000002, 0, 1)]
    assert [(each["file"], each["line"]) for each in got.rejected] == [(str(folder / "1.csv"), 3)]
    (folder / "3.dat").write_bytes(b"3::10::5::900000000\n")
    with pytest.raises(DataError, match=r"3\.dat: its first line is of another MovieLens layout than .*1\.csv"):
        runner.source("movielens", events=folder)

"""What is read is what was written: bits flipped, names changed, writers killed, readers beside writers."""

import multiprocessing
from pathlib import Path

import orjson
import pytest

from din_train import checksums
from din_train.checksums import INDEX, begin_index, indexed_file, read_indexed
from din_train.errors import DamagedError


def write(path: Path, contents: bytes) -> None:
    with indexed_file(path) as temporary:
        temporary.write_bytes(contents)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    begin_index(tmp_path, config={"seed": 1})
    write(tmp_path / "a", b"one")
    (tmp_path / "below").mkdir()
    with indexed_file(tmp_path / "below" / "b", tmp_path) as temporary:
        temporary.write_bytes(b"two")
    write(tmp_path / "a", b"three")
    assert read_indexed(tmp_path / "a", "") == b"three"
    assert read_indexed(tmp_path / "below" / "b", "", tmp_path) == b"two"
    index = orjson.loads((tmp_path / INDEX).read_bytes())
    assert index["config"] == {"seed": 1}
    assert {name: len(each) for name, each in index["files"].items()} == {"a": 1, "below/b": 1}


def test_a_file_that_is_not_there_is_not_damaged(tmp_path: Path) -> None:
    begin_index(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_indexed(tmp_path / "a", "")


def test_no_flipped_bit_of_the_file_or_of_the_index_makes_another_value(tmp_path: Path) -> None:
    contents = b'{"gauc": 0.75}'
    write(tmp_path / "a", contents)
    for name in ("a", INDEX):
        whole = (tmp_path / name).read_bytes()
        believed = 0
        for bit in range(8 * len(whole)):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            (tmp_path / name).write_bytes(damaged)
            try:
                assert read_indexed(tmp_path / "a", "") == contents
                believed += 1
            except DamagedError:
                pass
        assert believed == 0 or name == INDEX  # blanks of the index may change
        (tmp_path / name).write_bytes(whole)


@pytest.mark.parametrize("index", [None, b"", b"[]", b"{}", b'{"files": []}', b'{"files": {"a": "x"}}', b"[" * 100_000])
def test_without_a_whole_index_nothing_is_believed(tmp_path: Path, index: bytes | None) -> None:
    write(tmp_path / "a", b"one")
    (tmp_path / INDEX).unlink()
    if index is not None:
        (tmp_path / INDEX).write_bytes(index)
    with pytest.raises(DamagedError, match=rf"{INDEX}: .*; do this$"):
        read_indexed(tmp_path / "a", "do this")


@pytest.mark.parametrize("killed_at", [1, 2])
def test_a_writer_that_is_killed_leaves_the_old_or_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    write(tmp_path / "a", b"old")
    calls = []

    def kill(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        real(*arguments)  # type: ignore[arg-type]

    real = checksums._write
    monkeypatch.setattr(checksums, "_write", kill)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a", b"new")
    assert read_indexed(tmp_path / "a", "") == (b"old", b"new")[killed_at - 1]
    monkeypatch.setattr(checksums, "_write", real)
    write(tmp_path / "a", b"newer")
    assert read_indexed(tmp_path / "a", "") == b"newer"


def _write_many(folder: Path, name: str) -> None:
    for number in range(40):
        write(folder / name, b"%d" % number)


def test_writers_and_readers_beside_each_other(tmp_path: Path) -> None:
    begin_index(tmp_path)
    write(tmp_path / "a", b"0")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, name)) for name in "ab"]
    for each in writers:
        each.start()
    while any(each.is_alive() for each in writers):
        assert read_indexed(tmp_path / "a", "").isdigit()
    assert [each.exitcode for each in writers] == [0, 0]
    assert [read_indexed(tmp_path / name, "") for name in "ab"] == [b"39", b"39"]

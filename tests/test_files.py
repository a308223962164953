"""Whole files or nothing: what stands on disk after a success and after a failure."""

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from din_train.errors import RunError
from din_train.files import atomic_file, atomic_folder, compute_sha256, make_folder


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def fail_halfway(write: AbstractContextManager[Path], error: type[BaseException]) -> None:
    with write as temporary:
        (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
        raise error


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"abc")
    assert compute_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"\0" * 3_000_000)
    assert compute_sha256(path) == hashlib.sha256(b"\0" * 3_000_000).hexdigest()


def test_a_file_takes_its_place_only_once_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".json"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["metrics.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with pytest.raises(error):
        fail_halfway(atomic_file(path), error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["metrics.json"]


def test_a_folder_takes_its_place_whole_and_its_parents_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "prepared"
    with atomic_folder(path) as temporary:
        (temporary / "first").touch()
        assert not path.exists()
    with atomic_folder(path) as temporary:
        (temporary / "second").touch()
        assert names(path) == ["first"]
    assert names(path) == ["second"]
    assert names(path.parent) == ["prepared"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "prepared"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(error):
        fail_halfway(atomic_folder(path), error)
    assert names(path) == ["old"]
    assert names(tmp_path) == ["prepared"]


def test_a_failed_folder_that_was_not_there_stays_away(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_halfway(atomic_folder(tmp_path / "prepared"), ZeroDivisionError)
    assert names(tmp_path) == []


def test_stopped_between_the_two_renames_the_old_folder_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prepared"
    path.mkdir()
    (path / "old").touch()
    rename = Path.rename

    def fail_second(self: Path, target: Path) -> Path:
        if self.name == ".prepared.tmp":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(KeyboardInterrupt), atomic_folder(path):
        pass
    assert names(tmp_path) == ["prepared"]
    assert names(path) == ["old"]


def test_folders_are_made_and_may_be_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    make_folder(path)
    make_folder(path)
    assert path.is_dir()


@pytest.mark.parametrize("inside", [".", "below", "far/below"])
def test_a_file_in_the_folders_place(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "taken"
    file.touch()
    path = file / inside
    with pytest.raises(RunError) as caught:
        make_folder(path)
    assert caught.value.problems == (
        f"{path}: cannot be made a folder, because {file} is a file; move it or choose another path",
    )
    with pytest.raises(RunError), atomic_folder(path / "prepared"):
        pass
    assert file.is_file()


def test_a_link_to_nothing_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(RunError, match=r"because .*link is a file"):
        make_folder(tmp_path / "link" / "below")


def test_a_folder_that_the_system_refuses() -> None:
    with pytest.raises(RunError, match=r"^/proc/new: cannot be made a folder \(.+\); choose another path$"):
        make_folder(Path("/proc/new"))

"""Whole files or nothing: what stands on disk after a success and after a failure."""

import errno
import hashlib
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from din_train import files
from din_train.errors import ConfigError, RunError
from din_train.files import (
    atomic_file,
    atomic_folder,
    check_can_be_file,
    check_space,
    compute_sha256,
    follow_links,
    hold,
    make_folder,
    published,
    recover,
    scratch_folder,
)
from din_train.remote_path import make_input_path, remove_folder


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def fail_halfway(write: AbstractContextManager[Path], error: BaseException | type[BaseException]) -> None:
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
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(KeyboardInterrupt), atomic_folder(path):
        pass
    assert names(tmp_path) == ["prepared"]
    assert names(path) == ["old"]


FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, FULL),
        OSError(f"[Errno 28] Error writing bytes to file. Detail: [errno 28] {FULL}"),
        OSError(f"Can't write data (file write failed: errno = 28, error message = '{FULL}')"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    ],
    ids=str,
)
@pytest.mark.parametrize("write", [atomic_file, atomic_folder, scratch_folder])
def test_a_full_disk_is_named_with_the_path_and_what_is_free(
    tmp_path: Path, error: OSError, write: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    with pytest.raises(RunError, match=r"/\.?a(\.scratch)?: cannot be written: no space left .*\([\d,]+ bytes free"):
        fail_halfway(write(tmp_path / "a"), error)
    assert names(tmp_path) == []


def test_what_cannot_be_written_has_the_name_it_was_to_have(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"^/proc/a\.json: cannot be written \(.+\); choose another path$"),
        atomic_file(Path("/proc/a.json")) as temporary,
    ):
        temporary.write_text("x")
    with pytest.raises(RunError, match=r"b: cannot be written \(Read-only file system\)"):
        fail_halfway(atomic_file(tmp_path / "b"), OSError(errno.EROFS, os.strerror(errno.EROFS)))
    with pytest.raises(FileNotFoundError, match="log"):  # another file's
        fail_halfway(atomic_file(tmp_path / "b"), FileNotFoundError(errno.ENOENT, "no", "log"))


def test_more_than_the_disk_has_is_refused_before_it_is_written(tmp_path: Path) -> None:
    check_space(tmp_path / "a", 1)
    with pytest.raises(RunError, match=r"a: needs 10,000,000,000,000,000,000 bytes, and [\d,]+ are free on its disk"):
        check_space(tmp_path / "a", 10**19)


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


def test_a_link_to_nothing_yet_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("disk/one")
    make_folder(tmp_path / "link" / "below")
    assert (tmp_path / "disk/one/below").is_dir()
    assert (tmp_path / "link").readlink() == Path("disk/one")


@pytest.mark.parametrize(("target", "end"), [("real", "real"), ("more", "far/real"), ("../a/more", "far/real")])
@pytest.mark.parametrize("there", [False, True])
def test_what_a_link_points_to_is_replaced_and_the_link_stays(
    tmp_path: Path, target: str, end: str, *, there: bool
) -> None:
    folder = tmp_path / "a"
    (folder / "far").mkdir(parents=True)
    (folder / "more").symlink_to("far/real")
    (folder / "file").symlink_to(f"{target}.txt" if target == "real" else target)
    file_end = folder / (f"{end}.txt" if target == "real" else end)
    (folder / "folder").symlink_to(target)
    if there:
        file_end.write_text("old")
    with atomic_file(folder / "file") as temporary:
        temporary.write_text("new")
        assert temporary.parent == file_end.parent or temporary.parent.samefile(file_end.parent)
    assert (folder / "file").is_symlink()
    assert file_end.read_text() == "new"
    file_end.unlink()
    if there:
        (folder / end).mkdir()
        (folder / end / "old").touch()
    with atomic_folder(folder / "folder") as temporary:
        (temporary / "new").touch()
    assert (folder / "folder").is_symlink()
    assert names(folder / end) == ["new"]
    assert not list(folder.rglob(".*"))


def enter(write: Any, path: Path) -> None:
    made = write(path)
    if isinstance(made, AbstractContextManager):
        with made:
            pass


@pytest.mark.parametrize("write", [atomic_file, atomic_folder, hold, recover, make_folder, follow_links])
def test_a_link_that_leads_back_to_itself_is_refused(tmp_path: Path, write: Any) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(RunError, match="leads back to itself"):
        enter(write, tmp_path / "one")
    assert sorted(names(tmp_path)) == ["one", "two"]


def test_paths_without_a_name() -> None:
    assert follow_links(Path()) == Path.cwd()
    assert follow_links(Path("x/..")) == Path.cwd()
    with pytest.raises(RunError, match="has no name of its own"):
        follow_links(Path("/"))


@pytest.mark.parametrize("there", ["folder", "device", "file"])
def test_a_path_where_no_file_can_be_written_is_refused(tmp_path: Path, there: str) -> None:
    (tmp_path / "file").touch()
    path = {"folder": tmp_path, "device": Path("/dev/null"), "file": tmp_path / "file/below"}[there]
    with pytest.raises(
        RunError if there == "file" else ConfigError, match=str(path.parent if there == "file" else path)
    ):
        check_can_be_file(path, "--output")
    check_can_be_file(tmp_path / "file", "--output")
    check_can_be_file(tmp_path / "new/new", "--output")


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "gone/metrics.json"
    with pytest.raises(RunError) as caught, atomic_file(path) as temporary:
        temporary.write_text("x")
    assert str(caught.value) == f"{path}: cannot be written (No such file or directory); choose another path"


@pytest.mark.parametrize("kind", ["tmp", "scratch"])
@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_what_has_our_name_but_not_our_mark_is_left_alone(tmp_path: Path, kind: str, what: str) -> None:
    theirs = tmp_path / f".prepared.{kind}"
    (tmp_path / "backup/old").mkdir(parents=True)
    (tmp_path / "backup/old/thesis.txt").write_text("mine")
    if what == "folder":
        (tmp_path / "backup").rename(theirs)
    elif what == "file":
        theirs.write_text("mine")
    else:
        theirs.symlink_to("backup")
    before = sorted(map(str, tmp_path.rglob("*")))
    make = {"tmp": atomic_folder, "scratch": scratch_folder}[kind]
    with pytest.raises(RunError, match=f"{theirs}: in the way, and not made by din-train"), make(tmp_path / "prepared"):
        pass
    if kind == "tmp":
        with pytest.raises(RunError, match="in the way"):
            recover(tmp_path / "prepared")
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_an_old_name_is_anybodys(tmp_path: Path) -> None:
    (tmp_path / ".prepared.old").mkdir()
    (tmp_path / ".prepared.old/thesis.txt").write_text("mine")
    for _ in range(2):
        with atomic_folder(tmp_path / "prepared"):
            pass
    assert (tmp_path / ".prepared.old/thesis.txt").read_text() == "mine"


def kill(fail: Callable[[], None]) -> None:
    """Run in a process that is killed, so that nothing is cleaned up."""
    pid = os.fork()
    if not pid:
        fail()
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("after", ["made", "filled", "old moved away", "half removed"])
def test_after_a_kill_the_old_folder_is_whole_and_nothing_else_is_left(tmp_path: Path, after: str) -> None:
    path = tmp_path / "prepared"
    with atomic_folder(path) as temporary:
        (temporary / "old").touch()

    def write() -> None:
        def stop(*_: object, **__: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        renames = []
        rename = Path.rename

        def count(self: Path, target: Path) -> Path:
            renames.append(self)
            if after == "old moved away" and len(renames) == 2:
                stop()
            return rename(self, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "rename", count)
            if after == "half removed":
                patch.setattr(files.shutil, "rmtree", stop)
            with atomic_folder(path) as temporary:
                if after == "made":
                    stop()
                (temporary / "new").touch()
                if after == "filled":
                    stop()

    kill(write)
    recover(path)
    assert names(path) == ["new" if after == "half removed" else "old"]
    assert names(tmp_path) == ["prepared"]


def hold_elsewhere(path: Path) -> tuple[int, int]:
    """A process that holds it until it is killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        with hold(path):
            os.write(writer, b"x")
            time.sleep(60)
        os._exit(0)
    assert os.read(reader, 1) == b"x"
    return pid, reader


def test_who_holds_a_path_is_named_and_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs/a"
    pid, _ = hold_elsewhere(path)
    with pytest.raises(ConfigError) as caught, hold(path):
        pass
    assert caught.value.problems == (f"{path}: in use by process {pid}; wait for it to end, or stop it",)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert names(path.parent) == [".a.lock"]
    with hold(path), pytest.raises(ConfigError, match=f"process {os.getpid()}"), hold(path):
        pass
    assert names(path.parent) == []


def test_a_lock_is_of_what_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with hold(tmp_path / "link"), pytest.raises(ConfigError, match="real: in use"), hold(tmp_path / "real"):
        pass


def test_waiting_for_a_lock_says_for_whom_and_goes_on_when_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "prepared"
    pid, _ = hold_elsewhere(path)
    said: list[str] = []

    def stop(line: str) -> None:
        said.append(line)
        os.kill(pid, signal.SIGKILL)

    with hold(path, wait=stop):
        assert (tmp_path / ".prepared.lock").read_text() == f"din-train {os.getpid()}\n"
    os.waitpid(pid, 0)
    assert said == [f"{path}: waiting for process {pid}, which is at work on it"]


def test_many_processes_are_never_in_a_lock_together(tmp_path: Path) -> None:
    """Each adds 1 to a number 50 times, reading and writing it apart; the lock file goes and comes meanwhile."""
    number = tmp_path / "number"
    number.write_text("0")
    pids = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            for _ in range(50):
                with hold(tmp_path / "x", wait=lambda _: None):
                    before = int(number.read_text())
                    time.sleep(0.0005)
                    number.write_text(str(before + 1))
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
    assert number.read_text() == "200"


@pytest.mark.parametrize("what", ["link", "dangling link", "text", "folder", "pipe"])
def test_a_lock_file_that_is_not_ours_is_left_alone(tmp_path: Path, what: str) -> None:
    theirs, lock = tmp_path / "thesis.txt", tmp_path / ".a.lock"
    theirs.write_text("mine")
    match what:
        case "link":
            lock.symlink_to(theirs)
        case "dangling link":
            lock.symlink_to("nowhere")
        case "text":
            lock.write_text("mine")
        case "folder":
            lock.mkdir()
        case "pipe":
            os.mkfifo(lock)
    with pytest.raises(RunError, match=r"\.a\.lock"), hold(tmp_path / "a"):
        pass
    assert theirs.read_text() == "mine"
    assert os.path.lexists(lock)
    assert not (tmp_path / "nowhere").exists()
    if what == "text":
        assert lock.read_text() == "mine"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_contents_reach_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    done: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    place = tmp_path / "place"
    place.mkdir()
    if what == "file":
        with atomic_file(place / "a") as temporary:
            temporary.write_text("x")
        assert done == [temporary.name, "place"]
    else:
        with atomic_folder(place / "a") as temporary:
            (temporary / "inside").write_text("x")
        assert done == ["inside", "new", "place"]


def test_a_folder_that_the_system_refuses() -> None:
    with pytest.raises(RunError, match=r"^/proc/new: cannot be made a folder \(.+\); choose another path$"):
        make_folder(Path("/proc/new"))


def test_a_url_is_no_place_for_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_folder(Path("s3://AKIA:hush@bucket/run"))
    assert caught.value.problems == (
        "s3://...: is a URL, expected a path on this machine: only input files may be URLs",
    )
    make_folder(tmp_path / "s3:" / "run")  # an absolute path may have any name
    assert names(tmp_path) == ["s3:"]


def test_a_published_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "made" / "part"
    with published(path) as one, published(path) as other:  # two attempts at a time
        one.write_text("one")
        other.write_text("other")
        assert [each for each in names(path.parent) if not each.startswith(".")] == []
    assert path.read_text() == "one"  # the last one that ends
    with pytest.raises(ZeroDivisionError), published(path) as failing:
        failing.write_text(str(1 / 0))
    assert (path.read_text(), names(path.parent)) == ("one", ["part"])


def test_a_file_is_published_where_its_url_says() -> None:
    fsspec = pytest.importorskip("fsspec")
    path = make_input_path("memory://bucket/made/part")
    for text in ("first", "second"):
        with published(path) as local:
            local.write_text(text)
        assert fsspec.filesystem("memory").find("/bucket") == ["/bucket/made/part"]
        with path.open("rb") as file:
            assert file.read() == text.encode()
    remove_folder(make_input_path("memory://bucket/made"))
    assert fsspec.filesystem("memory").find("/bucket") == []

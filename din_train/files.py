"""Files and folders that are written whole or not at all, by one process at a time.

What is made for `FOLDER/NAME` stands beside it until it is whole:

.PID-NAME       a file
.NAME.tmp/      a folder: `new`, and `old` between the two renames
.NAME.scratch/  what is needed meanwhile
.NAME.lock      held, with the holder's process id

The folders carry a mark: only what carries it is ours to remove. A link is followed first, so what it points to is
replaced and the link stays.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from din_train.errors import ConfigError, DinTrainError, RunError
from din_train.remote_path import is_remote, upload

MARK = ".din-train"
_LOCK_TEXT = "din-train "  # then the process id
_MOST_LINKS = 40  # in one chain, as in Linux


def compute_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def check_space(path: Path, needed: int) -> None:
    """Check that the disk has room, before `needed` bytes are written.

    Raises:
        RunError: if it has less.
    """
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise RunError(
            f"{path}: needs {needed:,} bytes, and {free:,} are free on its disk; free some, or choose another"
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether the disk is full. Some libraries say so only in their message."""
    return (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or any(
        words in str(error) for words in ("No space left on device", "Disk quota exceeded")
    )


@contextmanager
def named_errors(path: Path, temporary: Path) -> Iterator[None]:
    """Errors of writing `temporary` name `path`, which it will become."""
    try:
        yield
    except DinTrainError:
        raise
    except Exception as error:
        if is_disk_full(error):
            free = shutil.disk_usage(path.parent).free
            reason = f"no space left on its disk ({free:,} bytes free); free some, or choose another path"
            raise RunError(f"{path}: cannot be written: {reason}") from error
        is_ours = isinstance(error, OSError) and str(error.filename).startswith(str(temporary))
        if isinstance(error, OSError) and (is_ours or error.errno in _WRITE_ERRORS):
            reason = error.strerror or str(error)
            raise RunError(f"{path}: cannot be written ({reason}); choose another path") from error
        raise


def follow_links(path: Path) -> Path:
    """The path that a link points to, which need not exist; if the path is no link, the path itself.

    Raises:
        RunError: if a link leads back to itself, or the path has no name.
    """
    target = path
    for _ in range(_MOST_LINKS):
        if target.is_symlink():
            target = target.parent / target.readlink()
        elif target.name not in ("", ".."):
            return target
        elif target == (target := target.resolve()):
            raise RunError(f"{path}: has no name of its own; choose another path")
    raise RunError(f"{path}: a link that leads back to itself; remove it, or choose another path")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffixes); on success it takes `path`'s name, else it is removed.

    Needs no lock: each process has a temporary path of its own, and the last one's file stays.
    """
    path = follow_links(path)
    with _renamed_to(path) as temporary:
        yield temporary
        sync(temporary)


def write_text(path: Path, text: str) -> None:
    """Write the whole file or nothing; its folder is created if it is missing."""
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """Yield a path on this machine; on success what was written there is `path`, else nothing is.

    For a folder that several machines see: the same file may be written by two of them at a time, and one of them may
    end at any moment. The last file stays.
    """
    name = f".{uuid.uuid4().hex}-{path.name}"  # hidden: what reads the folder looks at none of these
    if is_remote(path):
        with tempfile.TemporaryDirectory() as local:
            yield Path(local) / path.name
            upload(Path(local) / path.name, path, name)
        return
    make_folder(path.parent)
    temporary = path.with_name(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `path`; on success it takes `path`'s place, else it is removed.

    One process at a time may write `path`: see `hold`.

    Raises:
        RunError: see `recover`.
    """
    path = follow_links(path)
    recover(path)
    temporary = _beside(path, "tmp")
    new, old = temporary / "new", temporary / "old"
    make_marked_folder(temporary)
    try:
        with named_errors(path, temporary):
            new.mkdir()
            yield new
            for each in (*new.rglob("*"), new):
                sync(each)
            if path.exists():
                path.rename(old)
            new.rename(path)
            sync(path.parent)
    finally:
        if old.exists() and not path.exists():  # stopped between the two renames
            old.rename(path)
        _remove_marked(temporary)


def recover(path: Path) -> None:
    """Clean up after a killed writer of the folder `path`: restore its old contents, and remove other leftovers.

    Raises:
        RunError: if `path` or its temporary folder exists and is not ours.
    """
    path = follow_links(path)
    check_can_be_folder(path)
    temporary = _beside(path, "tmp")
    old = temporary / "old"
    _check_marked(temporary)
    if old.exists() and not path.exists():
        old.rename(path)
    _remove_marked(temporary)


@contextmanager
def scratch_folder(path: Path, parent: Path | None = None) -> Iterator[Path]:
    """Yield a folder for what is needed while `path` is made: beside it, on the same disk, or in `parent`.

    Raises:
        RunError: if something else has its name.
    """
    path = follow_links(path)
    scratch = _beside(path, "scratch")
    if parent is not None:  # which may hold scratch folders of other folders with this name
        place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
        scratch = parent / f".{path.name}-{place}.scratch"
    _check_marked(scratch)
    _remove_marked(scratch)
    make_marked_folder(scratch)
    try:
        with named_errors(scratch, scratch):
            yield scratch
    finally:
        _remove_marked(scratch)


def make_marked_folder(path: Path) -> None:
    """Create a folder that carries our mark, or find it.

    Raises:
        RunError: if something else has its name.
    """
    make_folder(path.parent)
    _check_marked(path)
    path.mkdir(exist_ok=True)
    (path / MARK).touch()


def _check_marked(path: Path) -> None:
    """Refuse anything but an empty folder, or one with our mark."""
    if not os.path.lexists(path):
        return
    is_folder = path.is_dir() and not path.is_symlink()
    if not is_folder or not ((path / MARK).is_file() or not any(path.iterdir())):
        raise RunError(f"{path}: in the way, and not made by din-train, which leaves it alone; move it away")


def _remove_marked(path: Path) -> None:
    """The mark is removed last, so that a folder that is left half-removed still has it."""
    if not path.exists():
        return
    for each in path.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        elif each.name != MARK:
            with contextlib.suppress(OSError):
                each.unlink()
    remove_empty(path)


def remove_empty(path: Path) -> None:
    """Remove a folder that holds nothing but our mark."""
    with contextlib.suppress(OSError):
        if {each.name for each in path.iterdir()} <= {MARK}:
            (path / MARK).unlink(missing_ok=True)
            path.rmdir()


def _beside(path: Path, kind: str) -> Path:
    """The name is whole, never a prefix: `sample` and `sample-base` may be written at the same time."""
    return path.with_name(f".{path.name}.{kind}")


def replace_link(path: Path, target: Path) -> None:
    """Make `path` a link to `target`, in place of the link there is."""
    with _renamed_to(path) as temporary:
        temporary.symlink_to(target)


@contextmanager
def _renamed_to(path: Path) -> Iterator[Path]:
    """A path for the body to write, which then replaces `path`; errors name `path`."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with named_errors(path, temporary):
            yield temporary
            temporary.replace(path)
            sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def make_folder(path: Path) -> None:
    """Create a folder and its parents; if one of them is a link to nothing, create what it points to.

    Raises:
        RunError: if a file has its name, or it cannot be made.
    """
    check_can_be_folder(path)
    try:
        Path(os.path.realpath(path)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be made a folder ({error.strerror}); choose another path") from None


def check_can_be_folder(path: Path) -> None:
    """Refuse, before any work, a path where no folder can be.

    Raises:
        ConfigError: if it is a URL. RunError: if it or a parent is a file, or a link that leads back to itself.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:$", path.parts[0] if path.parts else "") and not Path(path.parts[0]).exists():
        raise ConfigError(
            f"{path.parts[0]}//...: is a URL, expected a path on this machine: only input files may be URLs"
        )
    for each in (path, *path.parents):
        target = follow_links(each) if each.is_symlink() else each
        if os.path.lexists(target) and not target.is_dir():
            what = f"a link to the file {target}" if target != each else "a file"
            raise RunError(f"{path}: cannot be made a folder, because {each} is {what}; move it or choose another path")


def check_can_be_file(path: Path, option: str) -> None:
    """Refuse, before any work, an option's path where no file can be written.

    Raises:
        ConfigError: if it is a folder, a device or a pipe.
        RunError: if it is a link that leads back to itself, or a parent is a file.
    """
    target = follow_links(path)
    if target.exists() and not target.is_file():
        raise ConfigError(f"{option} {path}: is not an ordinary file; choose another path")
    check_can_be_folder(target.parent)


@contextmanager
def hold(path: Path, *, wait: Callable[[str], None] | None = None) -> Iterator[int]:
    """Lock `path`, a file or folder that need not exist yet; yields the lock's file descriptor.

    The lock ends with the process that holds it, even if that is killed.

    Args:
        wait: called with a line that says who holds it, before waiting; None: refuse at once.

    Raises:
        ConfigError: if another process holds it.
        RunError: if it cannot be locked.
    """
    path = follow_links(path)
    make_folder(path.parent)
    lock = _beside(path, "lock")
    descriptor = _open_locked(lock, path, wait)
    try:
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            if _is_at(descriptor, lock):
                lock.unlink()  # while it is held: a process that waits for it sees that it is gone, and makes a new one
        os.close(descriptor)


def _open_locked(lock: Path, path: Path, wait: Callable[[str], None] | None) -> int:
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            why = "it is a link" if lock.is_symlink() else error.strerror
            raise RunError(f"{path}: cannot be locked, because of {lock} ({why})") from None
        try:
            _check_lock_file(descriptor, lock)
            _lock(descriptor, path, wait)
            if _is_at(descriptor, lock):
                with contextlib.suppress(OSError):  # a full disk: the lock holds nevertheless
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{_LOCK_TEXT}{os.getpid()}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _check_lock_file(descriptor: int, lock: Path) -> None:
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    text = os.pread(descriptor, len(_LOCK_TEXT), 0) if is_file else b"?"
    if text not in (b"", _LOCK_TEXT.encode()):
        raise RunError(f"{lock}: in the way, and not a lock of din-train; move it away")


def _lock(descriptor: int, path: Path, wait: Callable[[str], None] | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read_holder(descriptor)
        if wait is None:
            raise ConfigError(f"{path}: in use by {holder}; wait for it to end, or stop it") from None
        wait(f"{path}: waiting for {holder}, which is at work on it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise RunError(f"{path}: cannot be locked ({error.strerror}); choose a path on another disk") from None


def _read_holder(descriptor: int) -> str:
    for _ in range(10):
        text = os.pread(descriptor, 64, 0).decode(errors="replace").removeprefix(_LOCK_TEXT).strip()
        if text.isdigit():
            return f"process {text}"
        time.sleep(0.05)  # the holder has not written its id yet
    return "another process"


def _is_at(descriptor: int, lock: Path) -> bool:
    """Whether the file still has its name: an earlier holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), lock.lstat())
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, would outlast a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # not every file system can sync a folder
            raise
    finally:
        os.close(descriptor)

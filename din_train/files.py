"""Reading and writing whole files safely: checksums, and temporary name then rename."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from din_train.errors import RunError


def compute_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffixes); on success it takes `path`'s name, else it is removed."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `path`; on success it takes `path`'s place, else it is removed."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}.tmp")
    retired = path.with_name(f".{path.name}-{os.getpid()}.old")
    make_folder(path.parent)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(retired)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        RunError: where a file stands in its place, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(each for each in (path, *path.parents) if each.exists() and not each.is_dir())
        raise RunError(
            f"{path}: cannot be made a folder, because {file} is a file; move it or choose another path"
        ) from None
    except OSError as error:
        raise RunError(f"{path}: cannot be made a folder ({error.strerror}); choose another path") from None


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Wait until no other process holds `path`'s lock, and hold it; released even if the process is killed."""
    make_folder(path.parent)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

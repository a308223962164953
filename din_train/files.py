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
    """Yield a new temporary folder beside `path`; on success it takes `path`'s place, else it is removed.

    One process at a time may write `path` (see `exclusive_lock`), after `remove_leftovers`.
    """
    temporary, retired = _beside(path, "tmp"), _beside(path, "old")
    make_folder(path.parent)
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(retired)
        temporary.rename(path)
    finally:
        if retired.exists() and not path.exists():  # stopped between the two renames
            retired.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


@contextmanager
def scratch_folder(path: Path, parent: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder for what is needed while `path` is made: beside it, on the same disk, or in `parent`."""
    scratch = _scratch(path, parent)
    make_folder(scratch.parent)
    try:
        scratch.mkdir()
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_leftovers(path: Path, scratch_parent: Path | None = None) -> None:
    """Remove what a killed writer of the folder `path` left beside it, and in the parent of its scratch folder."""
    for leftover in (_beside(path, "tmp"), _beside(path, "old"), _beside(path, "scratch")):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(_scratch(path, scratch_parent), ignore_errors=True)


def _scratch(path: Path, parent: Path | None) -> Path:
    if parent is None:
        return _beside(path, "scratch")
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]  # folders of one name may be made side by side
    return parent / f".{path.name}-{place}.scratch"


def _beside(path: Path, kind: str) -> Path:
    """A whole name, never a prefix: `sample` and `sample-base` may be written side by side."""
    return path.with_name(f".{path.name}.{kind}")


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        RunError: where a file stands in its place, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(each for each in (path, *path.parents) if os.path.lexists(each) and not each.is_dir())
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

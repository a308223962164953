"""`checksums.json` of a folder: the SHA-256 of every file in it that is read later, checked by whoever reads it.

{"files": {name: [SHA-256, ...]}, ...}

While a file is being replaced, it has two. So if the process is killed in between, the file still has a valid one.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson

from din_train.errors import DamagedError
from din_train.files import atomic_file

INDEX = "checksums.json"

Index = dict[str, Any]


@contextmanager
def indexed_file(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """`atomic_file`, whose SHA-256 goes into the index.

    Args:
        folder: the one that has the index; by default the file's own.
    """
    folder = folder or path.parent
    name = path.relative_to(folder).as_posix()
    with ExitStack() as lock:
        with atomic_file(path) as temporary:
            yield temporary
            with temporary.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            lock.enter_context(_locked(folder, fcntl.LOCK_EX))
            index = _read_or_begin(folder)
            _write(folder, index, {name: [*index["files"].get(name, []), sha256]})
        _write(folder, index, {name: [sha256]})


def write_indexed_json(path: Path, value: Any) -> None:
    """Write a value as JSON to an indexed file."""
    with indexed_file(path) as temporary:
        temporary.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def read_indexed(path: Path, advice: str, folder: Path | None = None) -> bytes:
    """The bytes of a file, checked to be those that were written.

    Args:
        advice: what to do if they are not. folder: see `indexed_file`.

    Raises:
        DamagedError: if they are not, the index does not list the file, or it cannot be read.
        FileNotFoundError: if there is no file.
    """
    folder = folder or path.parent
    with _locked(folder, fcntl.LOCK_SH):
        try:
            contents = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DamagedError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
        index = read_index(folder, advice)
    if hashlib.sha256(contents).hexdigest() not in index["files"].get(path.relative_to(folder).as_posix(), []):
        raise DamagedError(
            f"{path}: damaged or changed since it was written (its SHA-256 is not the one in {INDEX}); {advice}"
        )
    return contents


def begin_index(folder: Path, **about: Any) -> None:
    """Begin the index of a folder without files; `about` is kept in it as well."""
    _write(folder, {"files": {}, **about}, {})


def read_index(folder: Path, advice: str) -> Index:
    """The index.

    Raises:
        DamagedError: if there is none, or it is damaged.
    """
    path = folder / INDEX
    try:
        index: Index = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise DamagedError(f"{path}: no such file, so nothing in the folder can be checked; {advice}") from None
    except orjson.JSONDecodeError as error:
        raise DamagedError(f"{path}: damaged ({error}); {advice}") from None
    files = index.get("files") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not all(isinstance(each, list) for each in files.values()):
        raise DamagedError(f"{path}: damaged (not an index of files); {advice}")
    return index


def _read_or_begin(folder: Path) -> Index:
    return read_index(folder, "restore it from a copy") if (folder / INDEX).exists() else {"files": {}}


def _write(folder: Path, index: Index, files: Mapping[str, list[str]]) -> None:
    changed = {**index, "files": {**index["files"], **files}}
    with atomic_file(folder / INDEX) as temporary, temporary.open("wb") as file:
        file.write(orjson.dumps(changed, option=orjson.OPT_INDENT_2) + b"\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Lock the folder itself, so that no lock file is left."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)

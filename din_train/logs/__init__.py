"""Raw logs -> normalised Parquet: `read_log` is the one way in, `read_samples` that of ready-made samples."""

import glob
import os
import re
import stat
from pathlib import Path
from typing import cast

from din_train.config import DataConfig
from din_train.config.data import AMAZON_SOURCES
from din_train.errors import DataError
from din_train.logs.amazon import read_amazon
from din_train.logs.delta import is_delta_table, list_log
from din_train.logs.log import Cluster, FileReport, Progress, RawLog, field_column
from din_train.logs.movielens import read_movielens
from din_train.logs.sample_rows import ROW_SPLITS, RawSamples, read_sample_files
from din_train.logs.table import read_events, read_table
from din_train.logs.taobao import describe_taobao
from din_train.remote_path import RemotePath, is_remote

__all__ = [
    "FILE_KEYS",
    "ROW_SPLITS",
    "Cluster",
    "FileReport",
    "Progress",
    "RawLog",
    "RawSamples",
    "field_column",
    "find_files",
    "find_missing",
    "input_files",
    "list_file_keys",
    "read_log",
    "read_samples",
    "readable_files",
]

FILE_KEYS = ("reviews", "events", "items", "users", "train", "validation", "test")

# Source -> the keys that may name a folder or a glob.
_TAKEN_TOGETHER = {
    **dict.fromkeys(("table", "taobao", "movielens"), ("events",)),
    **dict.fromkeys(AMAZON_SOURCES, ("reviews",)),
    "rows": ROW_SPLITS,
}


def read_log(data: DataConfig, folder: Path, progress: Progress, cluster: Cluster | None = None) -> RawLog:
    """Read the log of events that `data` names into normalised files in `folder`.

    Args:
        data: which files, of which source, and what share of bad lines they may have.
        folder: exists.
        progress: called now and then; all calls together sum up to the sizes of `input_files`.
        cluster: reads the events, if given; tables of items and users are read here in any case.

    Raises:
        DataError: where a file is missing, damaged, of another format, or has too many bad lines or no event.
    """
    files = find_files(data)
    match data.source:
        case "table" if data.columns is not None:
            return read_table(data, data.columns, files["events"], folder, progress, cluster)
        case "movielens":
            return read_movielens(data, files["events"], folder, progress, cluster)
        case "taobao":
            return read_events(data, describe_taobao(data), files["events"], folder, progress, cluster)
        case "amazon-2014" | "amazon-2018" | "amazon-2023":
            return read_amazon(data, data.source, files["reviews"], folder, progress)
    raise ValueError(f"{data.source}: no log of events")


def list_file_keys(data: DataConfig) -> tuple[str, ...]:
    """The keys of `data` that may name files of the log."""
    return (*FILE_KEYS, *(f"item_vectors.{name}" for name in data.item_vectors or {}))


def read_samples(data: DataConfig, folder: Path, progress: Progress) -> RawSamples:
    """Read the rows that `data` names, which hold their histories, as `read_log` reads a log."""
    files = find_files(data)
    return read_sample_files(data, {split: files[split] for split in ROW_SPLITS if split in files}, folder, progress)


def input_files(data: DataConfig) -> tuple[Path, ...]:
    """The log's files; of a Delta table those of its own log, which name all others and change with them.

    Raises:
        DataError: with one line for each that is not a file with something in it.
    """
    return tuple(
        file for path in readable_files(data) for file in ((*list_log(path),) if is_delta_table(path) else (path,))
    )


def readable_files(data: DataConfig) -> tuple[Path, ...]:
    """The same, a Delta table as its folder."""
    return tuple(path for paths in find_files(data).values() for path in paths)


def find_missing(data: DataConfig) -> list[Path]:
    """Files of the log that are no longer where `data` says."""
    paths = [path for key in list_file_keys(data) if (path := data.path_of(key)) is not None]
    return [path for path in paths if not any(map(_exists, _expand(path)))]


def _exists(path: Path) -> bool:
    return path.exists() if is_remote(path) else os.path.exists(path)  # noqa: PTH110 - raises nothing


def find_files(data: DataConfig) -> dict[str, tuple[Path, ...]]:
    """Config key -> its files: one, or those of a glob or a folder, by name."""
    files: dict[str, tuple[Path, ...]] = {}
    problems = []
    for key in list_file_keys(data):
        path = data.path_of(key)
        if path is None:
            continue
        files[key] = _expand(path) if key in _TAKEN_TOGETHER.get(data.source, ()) else (path,)
        if not files[key]:
            problems.append(f"data.{key}: {path}: no file there matches; check the path")
        takes_delta = data.source in ("table", "rows") and "." not in key
        problems += [
            f"data.{key}: {each}: {problem}"
            for each in files[key]
            if (problem := _find_problem(each)) is not None and not (takes_delta and is_delta_table(each))
        ]
    if problems:
        raise DataError(problems)
    return files


def _expand(path: Path) -> tuple[Path, ...]:
    """The files of a folder (those whose name begins with `.` or `_` left out) or a glob; else the path itself.

    That is a Delta table's too.
    """
    if is_delta_table(path):
        return (path,)
    if isinstance(path, RemotePath):
        return _expand_remote(path)
    if os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir, raises nothing
        found = [each for each in path.rglob("*") if each.is_file()]
        parts = {each: each.relative_to(path).parts for each in found}
        return tuple(sorted(each for each in found if not any(part.startswith((".", "_")) for part in parts[each])))
    if not os.path.lexists(path) and glob.has_magic(str(path)):
        return tuple(sorted(each for name in glob.glob(str(path), recursive=True) if (each := Path(name)).is_file()))  # noqa: PTH207
    return (path,)


def _expand_remote(path: RemotePath) -> tuple[Path, ...]:
    is_folder = path.is_dir()
    if not is_folder and (path.exists() or not glob.has_magic(str(path))):
        return (cast("Path", path),)
    try:
        found = path.find_files()
    except OSError:
        return (cast("Path", path),)  # it is said when the path is looked at
    own = len(str(path)) if is_folder else 0
    shown = [each for each in found if not own or not re.search(r"/[._]", str(each)[own:])]
    return tuple(cast("list[Path]", shown))


def _find_problem(path: Path) -> str | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "no such file; check the path, or download the file first"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return f"cannot be read ({getattr(error, 'strerror', None) or error}); check the path and its permissions"
    if stat.S_ISDIR(status.st_mode):
        return "is a directory; expected a file"
    if not stat.S_ISREG(status.st_mode):
        return "is a device or a pipe; expected a file"
    if not status.st_size:
        return "is empty; fetch the file again"
    return None

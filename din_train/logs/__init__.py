"""Raw logs -> normalised Parquet: `read_log` is the one way in."""

import stat
from pathlib import Path

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs.amazon import read_amazon
from din_train.logs.log import FileReport, Progress, RawLog
from din_train.logs.table import read_table

__all__ = ["FileReport", "Progress", "RawLog", "input_files", "read_log"]


def read_log(data: DataConfig, folder: Path, progress: Progress) -> RawLog:
    """Read the log that `data` names into events.parquet, items.parquet (Amazon) and rejected.jsonl in `folder`.

    Args:
        data: which files, of which source, and what share of bad lines they may have.
        folder: exists.
        progress: called now and then; all calls together sum up to the sizes of `input_files`.

    Raises:
        DataError: where a file is missing, damaged, of another format, or has too many bad lines or no event.
    """
    files = input_files(data)
    if data.source == "table":
        if data.columns is None:
            raise ValueError("DataConfig lets no table be without columns")
        return read_table(data, data.columns, files[0], folder, progress)
    return read_amazon(data, data.source, files[0], files[1], folder, progress)


def input_files(data: DataConfig) -> tuple[Path, ...]:
    """The log's files: reviews and items (Amazon), or events.

    Raises:
        DataError: with one line for each that is not a file with something in it.
    """
    keys = ("events",) if data.source == "table" else ("reviews", "items")
    files = {f"data.{key}": Path(getattr(data, key)) for key in keys}
    problems = [f"{key}: {path}: {problem}" for key, path in files.items() if (problem := _find_problem(path))]
    if problems:
        raise DataError(problems)
    return tuple(files.values())


def _find_problem(path: Path) -> str | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "no such file; check the path, or download the file first"
    except OSError as error:
        return f"cannot be read ({error.strerror}); check the path and its permissions"
    if stat.S_ISDIR(status.st_mode):
        return "is a directory; expected a file"
    if not stat.S_ISREG(status.st_mode):
        return "is a device or a pipe; expected a file"
    if not status.st_size:
        return "is empty; fetch the file again"
    return None

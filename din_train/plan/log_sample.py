"""Parts of a log, spread over its files: a small log from which the size of the whole one can be estimated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs import find_files
from din_train.logs.delta import is_delta_table
from din_train.logs.lines import BLOCK_BYTES, read_blocks, read_magic, tell_packing
from din_train.remote_path import is_remote

# Keys of the log itself; the tables of items and users beside it are taken whole.
_LOG_KEYS = ("reviews", "events", "train", "validation", "test")
_PIECES = 8  # of each file, at equal distances
_MOST_FILES = 16
_MOST_ROWS = 300_000  # of typed files, whose bytes are packed
_MOST_SIDE_BYTES = 1 << 30
_PARQUET, _ARROW = b"PAR1", (b"ARROW1", b"\xff\xff\xff\xff")


@dataclass(frozen=True)
class LogSample:
    """data: the config of the small log. share: how much of the whole log it is. bytes: of the whole log."""

    data: DataConfig
    share: float
    bytes: int


def write_log_sample(data: DataConfig, folder: Path, most_bytes: int) -> LogSample:
    """Write about `most_bytes` of the log into `folder`, or all of a smaller log.

    Raises:
        DataError: if a file is missing, or is of a kind from which nothing can be taken.
    """
    files = find_files(data)
    side = sum(path.stat().st_size for key, paths in files.items() if key not in _LOG_KEYS for path in paths)
    if side > _MOST_SIDE_BYTES:
        raise DataError(
            f"data: the tables beside the log have {side:,} bytes, which take too long to read for an estimate; run "
            "`din-train prepare` first, and then plan with exact figures"
        )
    log = {key: files[key] for key in _LOG_KEYS if key in files}
    total = sum(path.stat().st_size for paths in log.values() for path in paths)
    share = min(1.0, most_bytes / total)
    places, taken = {}, 0.0
    for key, paths in log.items():
        target = folder / key
        chosen = paths if share == 1.0 else _choose(paths)
        of_chosen = sum(path.stat().st_size for path in chosen)
        of_key = sum(path.stat().st_size for path in paths)
        for number, path in enumerate(chosen):
            copy = target / _name(data.path_of(key), path, number)
            copy.parent.mkdir(parents=True, exist_ok=True)
            taken += path.stat().st_size * _copy(path, copy, min(1.0, share * of_key / of_chosen))
        places[key] = copy if len(paths) == 1 else target
    return LogSample(data.at(places), min(1.0, taken / total), total)


def _choose(paths: Sequence[Path]) -> Sequence[Path]:
    return [paths[place] for place in range(0, len(paths), math.ceil(len(paths) / _MOST_FILES))]


def _name(given: Path | None, path: Path, number: int) -> Path:
    """Where a file goes: as it lies in its folder, since the folders' names may be columns."""
    if given is not None and not is_remote(path) and path != given and path.is_relative_to(given):
        return path.relative_to(given)
    return Path(f"{number}-{path.name}")


def _copy(path: Path, target: Path, share: float) -> float:
    """Copy a share of a file's rows; packed text is unpacked.

    Returns:
        The share that was copied.
    """
    if is_delta_table(path):
        raise DataError(f"{path}: of a Delta table there is no estimate; run `din-train prepare` first, and then plan")
    magic = read_magic(path)
    if magic.startswith(_PARQUET):
        return _copy_parquet(path, target, share)
    if magic.startswith(_ARROW) and share < 1.0:
        raise DataError(f"{path}: of an Arrow file there is no estimate; run `din-train prepare` first, and then plan")
    if magic.startswith(_ARROW):
        target.write_bytes(path.read_bytes())
        return 1.0
    if tell_packing(magic) != "plain" or is_remote(path) or share == 1.0:
        return _copy_head(path, target, share)
    return _copy_pieces(path, target, share)


def _copy_pieces(path: Path, target: Path, share: float) -> float:
    size, copied = path.stat().st_size, 0
    length = max(1, round(size * share / _PIECES))
    with path.open("rb") as source, target.open("wb") as sink:
        for piece in range(_PIECES):
            source.seek(size * piece // _PIECES)
            if piece:
                source.readline()  # which began before
            lines = source.read(length) + source.readline()
            copied += sink.write(lines)
    return copied / size


def _copy_head(path: Path, target: Path, share: float) -> float:
    size, used = path.stat().st_size, 0

    def count(read: int) -> None:
        nonlocal used
        used += read

    with target.open("wb") as sink:
        for _, block in read_blocks(path, count):
            sink.write(block)
            if used >= size * share and share < 1.0:
                break
    return min(1.0, used / size)


def _copy_parquet(path: Path, target: Path, share: float) -> float:
    with path.open("rb") as disk:
        source = pq.ParquetFile(disk)
        total, copied = source.metadata.num_rows, 0
        groups = source.num_row_groups
        wanted = min(total * share, _MOST_ROWS)
        chosen = sorted({groups * piece // _PIECES for piece in range(_PIECES)}) if wanted < total else range(groups)
        with pq.ParquetWriter(target, source.schema_arrow) as sink:
            for group in chosen:
                left = math.ceil(wanted / len(chosen)) if wanted < total else source.metadata.row_group(group).num_rows
                for batch in source.iter_batches(min(left, BLOCK_BYTES), row_groups=[group]):
                    sink.write_batch(batch.slice(0, left))
                    copied += min(left, batch.num_rows)
                    left -= batch.num_rows
                    if left <= 0:
                        break
    return copied / total if total else 1.0

"""Files of a log with the same content, which would count every event twice."""

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from din_train.errors import DataError
from din_train.logs.lines import BLOCK_BYTES, tell_packing, unpack
from din_train.logs.row_files import find_partitions, parquet_source

_BEGINNING = 1 << 16


def check_contents_differ(paths: Sequence[Path]) -> None:
    """Compare files by content, a packed one by what is in it; those without a row may be equal.

    Folders such as `day=2020-01-01` are content too. Only files that begin alike are read to their ends. One that
    cannot be read is left to its reader.

    Raises:
        DataError: where two are equal.
    """
    alike: dict[str, list[Path]] = {}
    for path in paths if len(paths) > 1 else ():
        alike.setdefault(_hash(path, _BEGINNING), []).append(path)
    for group in alike.values():
        seen: dict[str, Path] = {}
        for path in group if len(group) > 1 else ():
            first = seen.setdefault(_hash(path, None), path)
            if first is not path and _has_rows(path):
                raise DataError(
                    f"{path}: has the same content as {first}, so every row would count twice; give one of them only"
                )


def _hash(path: Path, most: int | None) -> str:
    """SHA-256 of a file's content, or of its first so many bytes; the path itself where it cannot be read."""
    digest = hashlib.sha256(repr(find_partitions(path)).encode())
    try:
        with path.open("rb") as disk:
            packing = tell_packing(disk.read(4))
            disk.seek(0)
            source = unpack(disk, packing)
            while piece := source.read(BLOCK_BYTES if most is None else most):
                digest.update(piece)
                if most is not None:
                    break
    except (OSError, EOFError, zlib.error):
        return str(path)
    return digest.hexdigest()


def _has_rows(path: Path) -> bool:
    """Whether a file has more than one line, a header, or is JSON with an object, or Parquet with rows."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        try:
            return bool(pq.read_metadata(parquet_source(path)).num_rows)
        except (pa.ArrowException, OSError):
            return True
    with path.open("rb") as disk:
        beginning = unpack(disk, tell_packing(magic)).read(_BEGINNING)
    _, _, rest = beginning.partition(b"\n")
    return bool(rest.strip()) or len(beginning) == _BEGINNING or beginning.lstrip(b"[ ").startswith(b"{")

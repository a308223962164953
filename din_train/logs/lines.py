"""A text log as numbered lines: plain or gzip, told apart by content."""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from din_train.errors import DataError
from din_train.logs.log import Progress

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 24
# What no log is packed to: a stream of as many bytes that is this many times as long as what it is read from.
_BOMB_BYTES, _BOMB_RATIO = 1 << 24, 200

_BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
_OTHER_PACKINGS = {
    "zip": re.compile(rb"PK\x03\x04"),
    "bzip2": re.compile(rb"BZh\d1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
}


def read_lines(path: Path, progress: Progress) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its newline).

    Raises:
        DataError: where the file cannot be read to its end.
    """
    for first, block in read_blocks(path, progress):
        yield from enumerate(split_lines(block), first)


def split_lines(block: bytes) -> list[bytes]:
    """The lines of a block, without their newlines; a carriage return stays."""
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def read_blocks(path: Path, progress: Progress) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines) about `BLOCK_BYTES` at a time, without a byte order mark.

    Args:
        path: plain text or gzip (several members too).
        progress: called once a block with the bytes of the file on disk used since the last call.

    Raises:
        DataError: where the file cannot be read to its end, or a line is longer than `MAX_LINE_BYTES`.
    """
    first = 1
    buffer = bytearray()
    try:
        with path.open("rb") as disk:
            source = gzip.GzipFile(fileobj=disk) if _is_gzip(path) else disk
            reported = unpacked = 0
            while True:
                piece = source.read1(BLOCK_BYTES)
                buffer += piece
                unpacked += len(piece)
                if unpacked > max(_BOMB_BYTES, _BOMB_RATIO * disk.tell()):
                    raise DataError(
                        f"{path}: its gzip stream is more than {_BOMB_RATIO} times as long as the file, as no log's "
                        "is; check the file, or unpack it"
                    )
                if piece and len(buffer) < BLOCK_BYTES:
                    continue
                progress(disk.tell() - reported)
                reported = disk.tell()
                end = buffer.rfind(b"\n") + 1 if piece else len(buffer)
                if len(buffer) - end > MAX_LINE_BYTES:
                    raise _too_long(path, first + buffer.count(b"\n"))
                if end:
                    block = bytes(buffer[:end])
                    del buffer[:end]
                    yield first, block.removeprefix(_BOM) if first == 1 else block
                    first += block.count(b"\n")
                if not piece:
                    return
    except EOFError:
        raise _damaged(path, "ends early", first + buffer.count(b"\n") - 1) from None
    except (gzip.BadGzipFile, zlib.error):
        raise _damaged(path, "is damaged", first + buffer.count(b"\n") - 1) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


def read_magic(path: Path) -> bytes:
    """The first 16 bytes of a file, by which formats are told apart.

    Raises:
        DataError: where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


def _is_gzip(path: Path) -> bool:
    magic = read_magic(path)
    for name, pattern in _OTHER_PACKINGS.items():
        if pattern.match(magic):
            raise DataError(f"{path}: packed with {name}, expected plain text or gzip; unpack it, or pack it with gzip")
    return magic.startswith(GZIP)


def _damaged(path: Path, what: str, line: int) -> DataError:
    return DataError(f"{path}: the gzip stream {what} after line {line:,}; fetch the file again")


def _too_long(path: Path, line: int) -> DataError:
    return DataError(
        f"{path}:{line}: a line longer than {MAX_LINE_BYTES >> 20} MiB, expected one record a line; "
        "check that the file is the log it should be"
    )

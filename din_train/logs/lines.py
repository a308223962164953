"""A text log as numbered lines in UTF-8: plain, gzip or zstd, told apart by content."""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from din_train.errors import DataError
from din_train.logs.log import Progress

BLOCK_BYTES = 1 << 20
HEAD_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 24
# What no log is packed to: a stream of as many bytes that is this many times as long as what it is read from.
_BOMB_BYTES, _BOMB_RATIO = 1 << 24, 200

_BOM = b"\xef\xbb\xbf"
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SHEETS = (".xlsx", ".xlsm", ".xlsb", ".ods")
_OTHER_PACKINGS = {
    "zip": re.compile(rb"PK\x03\x04"),
    "bzip2": re.compile(rb"BZh\d1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
}


@dataclass
class Piece:
    """A part of a file that can be read without the others.

    start, end: bytes of text, of which the lines that begin there belong to the piece, or row groups of Parquet.
    lines: how many lines (rows) it has, once it has been read.
    """

    start: int
    end: int
    lines: int = 0


class _PieceOfText:
    """The lines that begin in a piece of an open file, read like a file."""

    def __init__(self, disk: BinaryIO, piece: Piece) -> None:
        self._disk, self._end = disk, piece.end
        disk.seek(max(piece.start - 1, 0))
        if piece.start:
            disk.readline(MAX_LINE_BYTES + 2)  # of the piece before, which refuses a longer one

    def read1(self, size: int) -> bytes:
        place = self._disk.tell()
        if place >= self._end:
            return b""
        content = self._disk.read(min(size, self._end - place))
        if place + len(content) == self._end and not content.endswith(b"\n"):
            content += self._disk.readline(MAX_LINE_BYTES + 1)
        return content


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


def read_blocks(
    path: Path, progress: Progress, encoding: str = "utf-8", *, whole_lines: bool = True, piece: Piece | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines) about `BLOCK_BYTES` at a time, without a byte order mark.

    Args:
        path: plain text, gzip or zstd (several members too).
        progress: called once a block with the bytes of the file on disk used since the last call.
        encoding: of the text; what is no such text becomes what is no UTF-8.
        whole_lines: if not, a block may begin and end inside a line, which may have any length.
        piece: of plain text; if given, only its lines are read, and they are numbered from 1.

    Raises:
        DataError: where the file cannot be read to its end, or a line is longer than `MAX_LINE_BYTES`.
    """
    first, is_first = 1, piece is None or piece.start == 0
    buffer = bytearray()
    packing = find_packing(path)
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)(_MARK_UNREADABLE)
    try:
        with path.open("rb") as disk:
            source: Any = unpack(disk, packing) if piece is None else _PieceOfText(disk, piece)
            reported = unpacked = 0
            while True:
                content = source.read(BLOCK_BYTES) if packing == "zstd" else source.read1(BLOCK_BYTES)
                unpacked += len(content)
                buffer += content if decoder is None else _recode(decoder, content)
                if unpacked > max(_BOMB_BYTES, _BOMB_RATIO * disk.tell()):
                    raise DataError(
                        f"{path}: its {packing} stream is more than {_BOMB_RATIO} times as long as the file, as no "
                        "log's is; check the file, or unpack it"
                    )
                if content and len(buffer) < BLOCK_BYTES:
                    continue
                progress(disk.tell() - reported)
                reported = disk.tell()
                end = buffer.rfind(b"\n") + 1 if content and whole_lines else len(buffer)
                if len(buffer) - end > MAX_LINE_BYTES:
                    raise _too_long(path, first + buffer.count(b"\n"), piece)
                if end:
                    block = bytes(buffer[:end])
                    del buffer[:end]
                    yield first, block.removeprefix(_BOM) if is_first else block
                    is_first = False
                    first += block.count(b"\n")
                    if piece is not None:
                        piece.lines = first - 1 + (not block.endswith(b"\n"))
                if not content:
                    return
    except EOFError:
        raise _damaged(path, packing, "ends early", first + buffer.count(b"\n") - 1) from None
    except (gzip.BadGzipFile, zlib.error):
        raise _damaged(path, packing, "is damaged", first + buffer.count(b"\n") - 1) from None
    except OSError as error:
        if error.errno is None and packing == "zstd":  # as pyarrow tells it
            what = "ends early" if "Truncated" in str(error) else "is damaged"
            raise _damaged(path, packing, what, first + buffer.count(b"\n") - 1) from None
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


def read_head(path: Path, encoding: str = "utf-8") -> bytes:
    """The first lines of a text, about `HEAD_BYTES`.

    Raises:
        DataError: as `read_blocks`.
    """
    head = bytearray()
    for _first, block in read_blocks(path, lambda _bytes: None, encoding):
        head += block
        if len(head) >= HEAD_BYTES:
            break
    return bytes(head)


def unpack(disk: BinaryIO, packing: str) -> Any:
    """The content of an open file: plain, or packed with gzip or zstd."""
    if packing == "gzip":
        return gzip.GzipFile(fileobj=disk)
    return pa.CompressedInputStream(pa.PythonFile(disk, "r"), "zstd") if packing == "zstd" else disk


def tell_packing(magic: bytes) -> str:
    """`gzip`, `zstd`, or `plain`: what a file is that begins so."""
    return "gzip" if magic.startswith(GZIP) else "zstd" if magic.startswith(ZSTD) else "plain"


def _recode(decoder: codecs.IncrementalDecoder, piece: bytes) -> bytes:
    return decoder.decode(piece, final=not piece).encode(errors="surrogateescape")


# The name of what a decoder does with bytes that it cannot read: one byte that is no UTF-8 in their place.
_MARK_UNREADABLE = "din_train.mark_unreadable"
codecs.register_error(_MARK_UNREADABLE, lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]


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


def find_packing(path: Path) -> str:
    """`plain`, `gzip` or `zstd`.

    Raises:
        DataError: if a file is packed in another way, or cannot be read.
    """
    magic = read_magic(path)
    for name, pattern in _OTHER_PACKINGS.items():
        if pattern.match(magic):
            if path.suffix.lower() in _SHEETS:
                raise DataError(f"{path}: a spreadsheet, which is not read; save its sheet as CSV and give that file")
            raise DataError(
                f"{path}: packed with {name}, expected plain text, gzip or zstd; unpack it, or pack it with gzip"
            )
    return tell_packing(magic)


def _damaged(path: Path, packing: str, what: str, line: int) -> DataError:
    return DataError(f"{path}: the {packing} stream {what} after line {line:,}; fetch the file again")


def _too_long(path: Path, line: int, piece: Piece | None) -> DataError:
    place = f"{path}:{line}" if piece is None or piece.start == 0 else f"{path}, after byte {piece.start:,}"
    return DataError(
        f"{place}: a line longer than {MAX_LINE_BYTES >> 20} MiB, expected one record a line; "
        "check that the file is the log it should be"
    )

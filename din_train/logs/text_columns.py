"""Text cut into columns, a block of whole lines at a time: plain lines all at once, lines with quotes by Python's csv.

Only the wanted columns need be good: a broken quote, a NUL or what is no UTF-8 in another column is no fault.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from din_train.logs.chunks import Chunk
from din_train.logs.dialect import MAX_RECORD_LINES, Dialect, RecordReader, drop_needless_blanks
from din_train.logs.expressions import flatten
from din_train.logs.lines import MAX_LINE_BYTES, Piece, read_blocks
from din_train.logs.log import Progress

Ints = npt.NDArray[np.int64]

_WRONG_WIDTH, _BROKEN_QUOTES = "wrong number of fields", "broken quotes"
_LONE_RETURN = "carriage return inside the line"
_LONGEST_MENDED = 1 << 20

# What stands for a delimiter of several characters; lines that hold it are cut by csv.
_STAND_IN = "\x1f"


def read_text_rows(
    path: Path,
    dialect: Dialect,
    width: int,
    wanted: Mapping[str, int],
    progress: Progress,
    piece: Piece | None = None,
) -> Iterator[Chunk]:
    """The rows of a text file, a block at a time; a header is none.

    Args:
        width: how many fields a row must have.
        wanted: name -> place of the columns to give.
        piece: if given, only its rows are read, and their lines are numbered from 1.

    Raises:
        DataError: where the file cannot be read to its end.
    """
    cutter = _Cutter(dialect, width, wanted)
    is_header_next = dialect.has_header and (piece is None or piece.start == 0)
    for chunk in cutter.cut_blocks(read_blocks(path, progress, dialect.encoding, piece=piece)):
        if is_header_next and chunk.table.num_rows:
            is_header_next = False
            chunk = chunk.slice(1, chunk.table.num_rows)
        yield chunk


@dataclass(frozen=True)
class _Odd:
    """What lines with quotes, or with what pyarrow would take for a line's end, became.

    rows: the fields of the good ones. lines: where they begin. broken: line -> reason.
    taken: lines that are no plain ones: all of these, and those of records that begin in them.
    rest: the line of a record that may go on in the next block; None if there is none.
    """

    rows: list[list[str]]
    lines: list[int]
    broken: dict[int, str]
    taken: list[int]
    rest: int | None


class _Block(Sequence[bytes]):
    """Whole lines: their bytes, where each begins, and where the next one does."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.bytes = np.frombuffer(content, np.uint8)
        ends = np.flatnonzero(self.bytes == ord("\n")) + 1
        self.ends: Ints = ends if ends.size and ends[-1] == len(content) else np.append(ends, len(content))
        self.starts: Ints = np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, line: Any) -> Any:
        return self.content[self.starts[line] : self.ends[line]]

    def join(self, lines: Ints) -> bytes:
        """The bytes of ascending lines."""
        if not lines.size:
            return b""
        breaks = np.flatnonzero(np.diff(lines) != 1)
        starts = self.starts[lines[np.concatenate([[0], breaks + 1])]].tolist()
        ends = self.ends[lines[np.append(breaks, len(lines) - 1)]].tolist()
        return b"".join([self.content[start:end] for start, end in zip(starts, ends, strict=True)])

    def find_blank_lines(self, delimiter: bytes) -> list[int]:
        """Lines without anything on them; delimiters between no fields are something."""
        first = self.bytes[self.starts]
        candidates = np.flatnonzero((first <= ord(" ")) & (first != delimiter[0])).tolist()
        return [line for line in candidates if not (text := self[line]).strip() and delimiter not in text]


class _Cutter:
    def __init__(self, dialect: Dialect, width: int, wanted: Mapping[str, int]) -> None:
        self._dialect = dialect
        self._width = width
        self._places = list(wanted.values())
        self._schema = pa.schema([(name, pa.string()) for name in wanted])
        self._quote, self._delimiter = dialect.quote.encode(), dialect.delimiter.encode()
        self._is_simple = len(self._delimiter) == 1
        self._field_sign = self._delimiter.strip(b" ") or b"\0"  # on a line that is not blank though it has no field
        self._mender = _Mender(dialect)

    def cut_blocks(self, blocks: Iterator[tuple[int, bytes]]) -> Iterator[Chunk]:
        """Blocks of whole lines with the number of their first one -> their rows."""
        waiting, start = b"", 1
        for number, more in blocks:
            first, content = (start, waiting + more) if waiting else (number, more)
            block = _Block(content)
            chunk, rest = self._cut(block, may_wait=self._dialect.is_multiline)
            yield replace(chunk, lines=chunk.lines + first)
            waiting, start = (b"", 0) if rest is None else (content[block.starts[rest] :], first + rest)
        if waiting:
            chunk, _ = self._cut(_Block(waiting), may_wait=False)
            yield replace(chunk, lines=chunk.lines + start)

    def _cut(self, block: _Block, *, may_wait: bool) -> tuple[Chunk, int | None]:
        """The rows of a block, and the line from which on it waits for the next one."""
        odd = self._cut_odd_lines(block, may_wait=may_wait)
        end = len(block) if odd.rest is None else odd.rest
        is_plain = np.ones(end, bool)
        is_plain[odd.taken] = False
        is_plain[[line for line in block.find_blank_lines(self._field_sign) if line < end]] = False
        plain_lines = np.flatnonzero(is_plain)
        columns, bad = self._cut_plain_lines(block, is_plain, len(plain_lines))
        broken = odd.broken | dict.fromkeys(plain_lines[bad].tolist(), _WRONG_WIDTH)
        lines = np.delete(plain_lines, bad)
        if odd.rows or broken:
            fields = [_to_strings([row[place] for row in odd.rows]) for place in self._places]
            columns = [pa.concat_arrays(pair) for pair in zip(columns, fields, strict=True)]
            lines = np.concatenate([lines, np.array([*odd.lines, *broken], np.int64)])
            order = np.argsort(lines)
            lines = lines[order]
            taken = pa.array(order, mask=order >= len(lines) - len(broken))
            columns = [column.take(taken) for column in columns]
        reasons = {int(np.searchsorted(lines, line)): reason for line, reason in sorted(broken.items())}
        columns, reasons = _refuse_bad_texts(columns, reasons, block.content)
        offsets = np.append(block.starts[lines], block.ends[end - 1] if end else 0).astype(np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(block.content)]
        texts = pa.chunked_array([pa.Array.from_buffers(pa.binary(), len(lines), buffers)])
        return Chunk(pa.table(columns, schema=self._schema), lines, reasons, texts), odd.rest

    def _cut_plain_lines(self, block: _Block, is_plain: Any, count: int) -> tuple[list[Any], list[int]]:
        """Columns of lines without quotes, and which of these lines have not as many fields as they must."""
        content, delimiter = block.content, self._dialect.delimiter
        if count < len(is_plain) or count < len(block):
            content = block.join(np.flatnonzero(is_plain))
        if delimiter == " ":
            content = drop_needless_blanks(content)
        if not self._is_simple:
            content, delimiter = content.replace(self._delimiter, _STAND_IN.encode()), _STAND_IN
        try:
            return self._split(content, delimiter), []
        except pa.ArrowInvalid:
            plain = _Block(content)
            widths = 1 + np.add.reduceat(plain.bytes == ord(delimiter), plain.starts, dtype=np.int64)
            is_good = widths == self._width
            return self._split(plain.join(np.flatnonzero(is_good)), delimiter), np.flatnonzero(~is_good).tolist()

    def _split(self, content: bytes, delimiter: str) -> list[Any]:
        """Columns of lines that have as many fields as they must.

        Raises:
            ArrowInvalid: if they have not.
        """
        if not content:
            return [pa.array([], pa.string()) for _ in self._places]
        names = [str(place) for place in range(self._width)]
        needed = [names[place] for place in dict.fromkeys(self._places)]
        table = pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=names),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=needed,
                column_types=dict.fromkeys(needed, pa.string()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        return [flatten(table[names[place]]) for place in self._places]

    def _cut_odd_lines(self, block: _Block, *, may_wait: bool) -> _Odd:
        odd = _Odd([], [], {}, [], None)
        content = block.content
        masks = [block.bytes == sign for sign in self._quote[:1] if self._quote in content]
        has_lone_return = b"\r" in content and content.count(b"\r") != content.count(b"\r\n")
        if has_lone_return:
            returns = np.flatnonzero(block.bytes[:-1] == ord("\r"))
            masks.append(np.zeros(len(content), bool))
            masks[-1][returns[block.bytes[returns + 1] != ord("\n")]] = True
        if not self._is_simple and _STAND_IN.encode() in content:
            masks.append(block.bytes == ord(_STAND_IN))
        if not masks:
            return odd
        lines = np.flatnonzero(np.logical_or.reduceat(np.logical_or.reduce(masks), block.starts))
        reader = RecordReader(block, self._dialect)
        rows = None if has_lone_return or self._dialect.is_multiline else reader.read_all(block.join(lines))
        if rows is None:
            return self._cut_one_by_one(block, lines.tolist(), reader, may_wait=may_wait)
        are_good = [len(row) == self._width for row in rows]
        numbers = lines.tolist()
        if all(are_good):
            return _Odd(rows, numbers, {}, numbers, None)
        broken = dict.fromkeys(compress(numbers, map(not_, are_good)), _WRONG_WIDTH)
        return _Odd(list(compress(rows, are_good)), list(compress(numbers, are_good)), broken, numbers, None)

    def _cut_one_by_one(self, block: _Block, lines: Sequence[int], reader: RecordReader, *, may_wait: bool) -> _Odd:
        odd, after = _Odd([], [], {}, [], None), 0
        for line in lines:
            if line < after:
                continue
            after = line + 1
            raw = block[line]
            if not raw.strip() and self._field_sign not in raw:
                odd.taken.append(line)
                continue
            fields, has_return = None, b"\r" in raw.removesuffix(b"\n").removesuffix(b"\r")
            if self._dialect.is_multiline or not has_return:
                try:
                    fields, after = reader.read(line, line + 1)
                except csv.Error as error:
                    if self._dialect.is_multiline and reader.is_open(error):
                        fields, after = self._join_lines(reader, block, line, may_wait=may_wait)
                        if after > len(block):
                            return replace(odd, rest=line)
                    if fields is None and not has_return:
                        fields = self._mender.cut(raw, self._width, self._places)
            odd.taken.extend(range(line, after))
            if fields is not None and len(fields) == self._width:
                odd.rows.append(fields)
                odd.lines.append(line)
            else:
                unread = _LONE_RETURN if has_return else _BROKEN_QUOTES
                odd.broken[line] = unread if fields is None else _WRONG_WIDTH
        return odd

    def _join_lines(
        self, reader: RecordReader, block: _Block, line: int, *, may_wait: bool
    ) -> tuple[list[str] | None, int]:
        """The fields of a record over several lines, if it is one, and the line after it; if it waits, a later one."""
        stop = min(len(block), line + MAX_RECORD_LINES)
        try:
            fields, after = reader.read(line, stop)
        except csv.Error as error:
            waits = may_wait and stop == len(block) and len(block.content) - block.starts[line] <= MAX_LINE_BYTES
            return None, len(block) + 1 if waits and reader.is_open(error) else line + 1
        return (fields, after) if len(fields) == self._width else (None, line + 1)


class _Mender:
    """Cuts a line whose quotes do not match, if the wanted fields are good all the same."""

    def __init__(self, dialect: Dialect) -> None:
        quote, delimiter = re.escape(dialect.quote or '"'), re.escape(dialect.delimiter)
        escape = re.escape(dialect.escape) or "(?!)"
        closed = rf"{quote}(?:[^{quote}{re.escape(dialect.escape)}]|{escape}.|{quote}{quote})*+{quote}"
        rest = rf"(?:(?!{delimiter}).)*+"
        self._field = re.compile(
            rf"(?P<good>{closed}(?={delimiter}|\Z)|(?!{quote}){rest})|{closed}{rest}|{quote}.*", re.DOTALL
        )
        self._dialect = dialect

    def cut(self, line: bytes, width: int, places: Sequence[int]) -> list[str] | None:
        """The fields of a line, those that are not wanted empty; None if it cannot be told what they are."""
        if len(line) > _LONGEST_MENDED or not self._dialect.quote:
            return None
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode(errors="surrogateescape")
        fields, end = [], -len(self._dialect.delimiter)
        while end < len(text):
            found = self._field.match(text, end + len(self._dialect.delimiter))
            if found is None:
                return None
            fields.append(found["good"])
            end = found.end()
        if len(fields) != width or any(fields[place] is None for place in places):
            return None
        return [self._unquote(fields[place]) if place in places else "" for place in range(width)]

    def _unquote(self, field: str) -> str:
        quote, escape = self._dialect.quote, self._dialect.escape
        if not field.startswith(quote):
            return field
        field = field[1:-1].replace(2 * quote, quote)
        return field.replace(escape + quote, quote).replace(2 * escape, escape) if escape else field


def _to_strings(texts: list[str]) -> Any:
    """A string column, of which a text that was no UTF-8 keeps its bytes."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([text.encode(errors="surrogateescape") for text in texts], pa.binary()).view(pa.string())


def _refuse_bad_texts(columns: list[Any], broken: dict[int, str], content: bytes) -> tuple[list[Any], dict[int, str]]:
    """Rows with a NUL or with what is no UTF-8 are broken; a broken row is null in all columns."""
    has_nul, is_ascii = b"\0" in content, content.isascii()
    reasons: dict[int, str] = {}
    for column in columns:
        if not is_ascii:
            reasons |= dict.fromkeys(_find_no_utf8(column), "invalid UTF-8")
        if has_nul:
            found = pc.indices_nonzero(pc.match_substring(column, "\0")).to_pylist()
            reasons = dict.fromkeys(found, "NUL character") | reasons
    if not reasons:
        return columns, broken
    is_bad = np.zeros(len(columns[0]), bool)
    is_bad[list(reasons)] = True
    nothing = pa.scalar(None, pa.string())
    columns = [pc.if_else(pa.array(is_bad), nothing, column) for column in columns]
    return columns, dict(sorted((reasons | broken).items()))


def _find_no_utf8(column: Any) -> list[int]:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        rows = []
        for row, value in enumerate(column.view(pa.binary()).to_pylist()):
            try:
                (value or b"").decode()
            except UnicodeDecodeError:
                rows.append(row)
        return rows
    return []

"""How a text file is written: delimiter, quotes, encoding, header; told by how it begins, unless the config says so.

What is not plain is taken only if it reads more lines than the plain reading does: commas with doubled quotes, or tabs
without quotes, in UTF-8, with a header.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from din_train.config.file_formats import FormatConfig
from din_train.errors import DataError
from din_train.logs.lines import read_head, split_lines

_FORMS = {"\t": "tab-separated", ",": "comma-separated", " ": "separated by blanks"}
_OTHER_DELIMITERS = (";", "|", "::", " ")
_BACKSLASH = "\\"
_TYPED_ROWS = 200
# What another way of quoting must read beside the plain one: this share of the lines that speak for it, and so many
# lines for each one that it cannot read and the plain one can.
_LEAST_GAIN, _LEAST_GAIN_TO_LOSS = 0.25, 10
# What stands for a delimiter of several characters while Python's csv cuts a line; no log has it.
_STAND_IN = "\uffff"

# Between blanks, several of them are as one, and those at the ends of a line are none.
_NEEDLESS_BLANKS = re.compile(rb"^ +| +(?=\r?$)|(?<= ) +", re.MULTILINE)
_END_BLANKS = re.compile(r" +(?=\r?$)", re.MULTILINE)

# A record over several lines has at most this many.
MAX_RECORD_LINES = 1000

_NUMBER_OR_TIME = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
_NO_VALUES = ("null", "none", "nan", "na", "n/a", "\\n")
_MULTIBYTE_LETTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# In Western text: one or two accented letters beside a plain one; and the dashes, dots and quotes of Windows.
_ACCENTED = rb"[\xc0-\xd6\xd8-\xdd\xdf-\xf6\xf8-\xfd]{1,2}"
_LATIN_LETTERS = re.compile(rb"(?<=[A-Za-z])%b|%b(?=[A-Za-z])" % (_ACCENTED, _ACCENTED))
_WINDOWS_SIGN = re.compile(rb"[\x80\x85\x91-\x97\x99]")
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")
_LEAST_LATIN_LINES = 3


@dataclass(frozen=True)
class Dialect:
    """How a text file is written.

    quote, escape: "" if there is none; a doubled quote inside quotes is a quote in any case.
    has_header: whether the first line that is not blank names the columns.
    is_multiline: whether a quoted field may go on in the next line.
    """

    delimiter: str
    quote: str
    escape: str
    encoding: str
    has_header: bool
    is_multiline: bool

    @property
    def form(self) -> str:
        """What the file is read as, for messages."""
        form = _FORMS.get(self.delimiter, f"separated by '{self.delimiter}'")
        return form if self.has_header else f"{form}, without a header"


class RecordReader:
    """Cuts lines that may have quotes, by Python's `csv`.

    Args:
        lines: bytes, with or without their line ends.
    """

    def __init__(self, lines: Sequence[bytes], dialect: Dialect) -> None:
        self._lines = lines
        self._delimiter = dialect.delimiter
        escape = dialect.escape if dialect.quote and dialect.escape != dialect.quote else ""
        self._escape = escape
        # What stands before anything but a quote or itself is text; csv would drop it.
        self._escaped = re.compile(f"{re.escape(escape)}([{re.escape(escape + dialect.quote)}])?") if escape else None
        self._place = self._stop = 0
        self._reader = csv.reader(
            self,
            delimiter=self._delimiter if len(self._delimiter) == 1 else _STAND_IN,
            quotechar=dialect.quote or None,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            escapechar=escape or None,
            skipinitialspace=dialect.delimiter == " ",
            strict=True,
        )

    def __iter__(self) -> Iterator[str]:
        """The lines of one record, for csv."""
        return self

    def __next__(self) -> str:
        """The next line of a record, for csv."""
        if self._place == self._stop:
            raise StopIteration
        line = self._lines[self._place]
        self._place += 1
        return self._prepare(line.removesuffix(b"\n")) + "\n"

    def _prepare(self, text: bytes) -> str:
        shown = text.decode(errors="surrogateescape")
        if self._escaped is not None and self._escape in shown:
            shown = self._escaped.sub(lambda found: found[0] if found[1] else 2 * self._escape, shown)
        if self._delimiter == " ":
            shown = _END_BLANKS.sub("", shown)
        return shown if len(self._delimiter) == 1 else shown.replace(self._delimiter, _STAND_IN)

    def _restore(self, fields: list[str]) -> list[str]:
        if len(self._delimiter) == 1:
            return fields
        return [field.replace(_STAND_IN, self._delimiter) for field in fields]

    def read(self, start: int, stop: int) -> tuple[list[str], int]:
        """The fields of the record that begins in line `start`, and the line after it; at most that before `stop`.

        Raises:
            csv.Error: where the quotes do not match.
        """
        self._place, self._stop = start, stop
        fields = next(self._reader)
        return self._restore(fields), self._place

    def read_all(self, content: bytes) -> list[list[str]] | None:
        """The fields of lines of which each is a record; None if any is not."""
        texts = self._prepare(content.removesuffix(b"\n")).split("\n")
        try:
            rows = list(csv.reader(texts, self._reader.dialect))
        except csv.Error:
            return None
        if len(rows) != len(texts):
            return None
        return rows if len(self._delimiter) == 1 else list(map(self._restore, rows))

    @staticmethod
    def is_open(error: csv.Error) -> bool:
        """Whether a field goes on after the last line."""
        return str(error) == "unexpected end of data"


def find_dialect(path: Path, given: FormatConfig) -> tuple[Dialect, list[str]]:
    """The dialect of a text file and the names of its columns: '1', '2', ... if it has no header.

    Args:
        given: what the config says, which is not guessed.

    Raises:
        DataError: where the file cannot be read, is empty, or its first line is no header.
    """
    encoding, head = read_decoded_head(path, given)
    lines = [line for line in split_lines(head) if line.strip()]
    if not lines:
        raise DataError(f"{path}: is empty, expected a header and rows; check the path")
    dialect = _find_signs(lines, given, encoding)
    try:
        names, _ = RecordReader(lines, dialect).read(0, len(lines) if dialect.is_multiline else 1)
    except csv.Error:
        has_return = b"\r" in lines[0].rstrip(b"\r")
        raise _no_header(path, "carriage return inside the line" if has_return else "broken quotes") from None
    if given.header is not False:
        names = _complete_header(names, lines, dialect)
    has_header = not _is_row(names, lines, dialect) if given.header is None else given.header
    if has_header and not _are_utf_8(names):
        raise _no_header(path, "invalid UTF-8")
    if has_header and "\0" in "".join(names):
        raise _no_header(path, "NUL character")
    dialect = replace(dialect, has_header=has_header)
    return dialect, names if has_header else [str(place) for place in range(1, len(names) + 1)]


def _complete_header(names: list[str], lines: Sequence[bytes], dialect: Dialect) -> list[str]:
    """The names of a header that lacks one: of R's row names, the first column, or of nothing, after the last sign."""
    rows = list(islice(_read_rows(lines, dialect), _TYPED_ROWS))
    widths = {len(row) for row in rows}
    if min(len(names), len(rows)) < 2 or widths != {len(names) + 1} or any(map(_NUMBER_OR_TIME.fullmatch, names)):
        return names
    if not any(row[-1] for row in rows):
        return [*names, ""]
    return ["", *names] if len({row[0] for row in rows}) == len(rows) else names


def _are_utf_8(names: Sequence[str]) -> bool:
    return not any("\udc80" <= sign <= "\udcff" for name in names for sign in name)


def read_decoded_head(path: Path, given: FormatConfig) -> tuple[str, bytes]:
    """The codec of a text file, and its first lines in UTF-8.

    Raises:
        DataError: where the file cannot be read.
    """
    head = read_head(path)
    encoding = _find_encoding(head, given.encoding)
    return encoding, head if encoding == "utf-8" else read_head(path, encoding)


def _no_header(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path}: its first line is no header ({reason}); expected a CSV, TSV or Parquet file in UTF-8 "
        "with lines ended by newlines; check the path in the config"
    )


def _find_encoding(head: bytes, given: str | None) -> str:
    """The codec of a file, by its byte order mark, its NULs, or letters that are no UTF-8."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and given in (None, "utf-16"):
        return "utf-16"
    beginning = head[:4096]
    half = len(beginning) // 2
    nul_first, nul_second = beginning[::2].count(0), beginning[1::2].count(0)
    if given in (None, "utf-16") and half > 8:
        if nul_second > 0.8 * half and nul_first < 0.05 * half:
            return "utf-16-le"
        if nul_first > 0.8 * half and nul_second < 0.05 * half:
            return "utf-16-be"
    if given is not None:
        return "utf-16-le" if given == "utf-16" else given
    if head.isascii() or _MULTIBYTE_LETTER.search(head):
        return "utf-8"
    lines = sum(not line.isascii() for line in head.split(b"\n"))
    rest = _WINDOWS_SIGN.sub(b"", head)
    if lines < _LEAST_LATIN_LINES or _HIGH_BYTE.search(_LATIN_LETTERS.sub(b"", rest)):
        return "utf-8"
    return "latin-1" if len(rest) == len(head) else "cp1252"


def _find_signs(lines: Sequence[bytes], given: FormatConfig, encoding: str) -> Dialect:
    """Delimiter, quote and escape, and whether quoted fields go on across lines."""
    first = lines[0].decode(errors="replace")
    plain = "\t" if "\t" in first else ","
    delimiters = [plain, *(sign for sign in _OTHER_DELIMITERS if sign in first)]
    if given.delimiter is not None:
        delimiters = [given.delimiter]
    is_only = len(delimiters) == 1
    unquoted = [Dialect(each, "", "", encoding, has_header=True, is_multiline=False) for each in delimiters]
    found = [_find_quotes(_mend_header(lines, each), given, each, is_only=is_only) for each in unquoted]
    best, most = found[0]
    for other, score in found[1:]:
        if score > 1.2 * most and score > 0.9 * len(lines):
            best, most = other, score
    return best


def _mend_header(lines: Sequence[bytes], unquoted: Dialect) -> Sequence[bytes]:
    """The lines with one sign between fields, and with a name for each column."""
    if unquoted.delimiter == " ":
        lines = split_lines(drop_needless_blanks(b"\n".join(lines)))
    quoted = replace(unquoted, quote='"')
    try:
        names, _ = RecordReader(lines, quoted).read(0, 1)
    except csv.Error:
        return lines
    all_names = _complete_header(names, lines, quoted)
    if all_names == names:
        return lines
    added = [lines[0], b"-"] if all_names[:-1] == names else [b"-", lines[0]]
    return [unquoted.delimiter.encode().join(added), *lines[1:]]


def drop_needless_blanks(content: bytes) -> bytes:
    """Lines between blanks with one blank between fields, and none at their ends."""
    return _NEEDLESS_BLANKS.sub(b"", content)


def _find_quotes(
    lines: Sequence[bytes], given: FormatConfig, unquoted: Dialect, *, is_only: bool
) -> tuple[Dialect, int]:
    """The usual way of quoting, or one that plainly reads more lines; and how many lines it reads.

    Args:
        is_only: whether no other delimiter may be the right one, so that the number does not matter.
    """
    sign = given.quote or '"'
    quoted = replace(unquoted, quote=sign, escape=given.escape or "", is_multiline=given.quote is not None)
    escaped = replace(quoted, escape=_BACKSLASH)
    head = b"\n".join(lines)
    some = sign.encode() in head
    if given.quote == "":
        candidates = [unquoted]
    elif given.quote is not None or unquoted.delimiter in (",", ";", " "):
        candidates = [quoted]
    else:
        candidates = [unquoted, quoted] if some else [unquoted]
        if some and _has_quoted_column(lines, unquoted, sign):
            candidates.reverse()
    if given.escape is None and given.quote != "" and f"{_BACKSLASH}{sign}".encode() in head:
        candidates.append(escaped)
    if is_only and not some:
        return candidates[0], len(lines)
    best, good = candidates[0], set[int]()
    for candidate in candidates:
        evidence = sign if candidate is not escaped else _BACKSLASH + sign
        found, joined, failed = _find_good(lines, candidate)
        gained, holders = len(found - good), sum(evidence.encode() in line for line in lines)
        is_better = gained > max(1, _LEAST_GAIN * holders, _LEAST_GAIN_TO_LOSS * len(good - found))
        if candidate is candidates[0] or is_better:
            best, good = replace(candidate, is_multiline=candidate.is_multiline or joined > failed), found
    return best, len(good)


def _has_quoted_column(lines: Sequence[bytes], unquoted: Dialect, quote: str) -> bool:
    """Whether all values of a column are quoted, and no value is quoted by half."""
    rows = [line.decode(errors="replace").rstrip("\r").split(unquoted.delimiter) for line in lines[1:]]
    width = lines[0].decode(errors="replace").count(unquoted.delimiter) + 1
    rows = [row for row in rows if len(row) == width]
    whole = re.compile(rf"{re.escape(quote)}(?:[^{re.escape(quote)}]|{re.escape(quote)}{{2}}|\\.)*{re.escape(quote)}")
    if len(rows) < 2 or any(value.startswith(quote) and not whole.fullmatch(value) for row in rows for value in row):
        return False
    return any(all(whole.fullmatch(value) for value in column) for column in zip(*rows, strict=True))


def _find_good(lines: Sequence[bytes], dialect: Dialect) -> tuple[set[int], int, int]:
    """Which lines can be cut like the first one; how many records go over several; how many lines' quotes stay open.

    Lines of a record over several lines are no rows, at most half of them: else a stray quote would swallow rows.
    """
    reader = RecordReader(lines, dialect)
    rows = reader.read_all(b"\n".join(lines))
    if rows is not None and len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows):
        return set(range(len(lines))), 0, 0
    quote, delimiter = dialect.quote.encode(), dialect.delimiter.encode()
    good = set[int]()
    width = joined = failed = place = 0
    while place < len(lines):
        line = lines[place]
        if not quote or quote not in line:
            fields, end = line.count(delimiter) + 1, place + 1
        else:
            fields, end = _count_fields(reader, place, len(lines))
            if end > place + 1:
                like_rows = sum(each.count(delimiter) + 1 == width for each in lines[place:end])
                if fields == width and 2 * like_rows <= end - place:
                    joined += 1
                else:
                    fields, end = 0, place + 1
            if not fields and line.count(quote) % 2:
                failed += 1
        width = width or fields
        good.update(range(place, end) if fields == width > 1 else ())
        place = end
    return good, joined, failed


def _count_fields(reader: RecordReader, place: int, stop: int) -> tuple[int, int]:
    """Of the record at `place`, 0 if its quotes do not match; and the line after it."""
    for end in (place + 1, min(stop, place + MAX_RECORD_LINES)):
        try:
            fields, after = reader.read(place, end)
        except csv.Error as error:
            if not reader.is_open(error):
                break
        else:
            return len(fields), after
    return 0, place + 1


def _is_row(names: Sequence[str], lines: Sequence[bytes], dialect: Dialect) -> bool:
    """Whether a first line is a row like those below it: no name wherever all of them have a number or a time.

    A cell is no name if it is a number, a time or nothing, or has no letter, as a history may have. One of them is a
    number or a time. An only line is a row if it has a number or a time at all.
    """
    places = [str(place) for place in range(len(names) + 1)]
    if list(names) in (places[:-1], places[1:]):  # as pandas names columns without names
        return False
    rows = list(islice((row for row in _read_rows(lines, dialect) if len(row) == len(names)), _TYPED_ROWS))
    if not rows:
        return any(map(_NUMBER_OR_TIME.fullmatch, names))
    columns = [[value for value in column if value] for column in zip(*rows, strict=True)]
    typed = [all(map(_NUMBER_OR_TIME.fullmatch, column)) and bool(column) for column in columns]
    first = [name for name, is_typed in zip(names, typed, strict=False) if is_typed]
    return any(map(_NUMBER_OR_TIME.fullmatch, first)) and not any(map(_is_name, first))


def _is_name(cell: str) -> bool:
    is_value = cell.lower() in _NO_VALUES or _NUMBER_OR_TIME.fullmatch(cell) is not None
    return not is_value and any(map(str.isalpha, cell))


def _read_rows(lines: Sequence[bytes], dialect: Dialect) -> Iterator[list[str]]:
    reader, place = RecordReader(lines, dialect), 1
    while place < len(lines):
        try:
            fields, place = reader.read(place, len(lines) if dialect.is_multiline else place + 1)
        except csv.Error:
            place += 1
            continue
        yield fields

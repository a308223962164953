"""The times of a log: unix times, ISO 8601, YYYYMMDD and the like, by a pattern, or none but the order of the rows.

One log has one form, told by its first time that tells: numbers in one unit (see `time_unit`), texts in ISO 8601, or
calendar numbers (YYYYMMDD, YYYYMMDDhhmm, YYYYMMDDhhmmss, which lie in no unit's range). A time in another form is a bad
row. Numbers that tell nothing (a counter) are kept as they are, and only their order means something.

A fraction of a second in ISO 8601, by a pattern, or in a column of type timestamp is kept, to the microsecond in text,
so that events of one second stay in order. A fraction of a number is cut off: unix seconds 1400000000.9 are 1400000000.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.config import ColumnsConfig
from din_train.config.column_roles import FILE_ORDER
from din_train.errors import DataError
from din_train.logs.expressions import EXACT_IN_FLOAT, Mask, Reasons, find_nulls, flatten, take_text, to_mask
from din_train.logs.records import MAX_TIMESTAMP, NullValues, drop_null_values, view_texts
from din_train.logs.rejects import INVALID_UTF8, OTHER_UNIT
from din_train.logs.time_unit import TICKS, find_unix_times, in_range, to_unix_seconds

Ints = NDArray[np.int64]

ISO, CALENDAR = "ISO 8601", "YYYYMMDD"
_NUMBERS = "whole numbers"
_ARROW_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_MICROSECONDS = TICKS["microseconds"]

_NOT_WHOLE, _NO_TIME, _NO_DATE = "timestamp not a whole number", "timestamp not a number or a date", "no such date"
_BY_PATTERN = "timestamp not as data.columns.time_format says"
_NEGATIVE, _TOO_LARGE = "negative timestamp", "timestamp too large"
_ROUNDED = "timestamp rounded to a float of few bits"  # unix seconds in 32 bits: to two minutes

_PLAIN_DIGITS = 18  # always fit int64
_NUMBER = r"^ *(?P<sign>[+-]?)0*(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]*))? *$"
_DAY, _CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
_OFFSET = "(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})?"
_ISO = rf"^ *{_DAY}(?:{_CLOCK}(?: ?(?:Z|UTC|{_OFFSET}))?)? *$"
_WITH_OFFSET = rf"^ *(?P<clock>{_DAY}{_CLOCK}) ?{_OFFSET} *$"
_WITH_ZONE = r"(?:Z|UTC) *$"


@dataclass(frozen=True)
class _Values:
    """[n] times of one column as they stand.

    numbers: 0 where there is none. is_number, has_fraction, is_iso: where a value is so. missing: where there is none.
    texts: None if the column holds numbers.
    """

    numbers: Ints
    is_number: Mask
    has_fraction: Mask
    is_iso: Mask
    missing: Mask
    reasons: Reasons
    texts: Any = None


class TimeReader:
    """Reads the times of one log, of however many files.

    Args:
        columns: unit, pattern and zone, if the config gives them; what it does not is told by the log.
        nulls: `data.null_values`.
    """

    def __init__(self, columns: ColumnsConfig, nulls: NullValues) -> None:
        self._unit, self._pattern = columns.time_unit, columns.time_format
        self._zone, self._nulls = columns.time_zone, nulls
        self._in_file_order = columns.timestamp == FILE_ORDER
        self._rows = 0
        self._has_numbers = False  # that tell nothing, before any that does
        self.form: str | None = self._unit

    @property
    def ticks(self) -> int | None:
        """Timestamps a second; None if they are no unix times."""
        if self._pattern is not None or self.form == ISO:
            return _MICROSECONDS
        if self.form == CALENDAR:
            return 1
        return None if self.form is None else TICKS[self.form]

    @property
    def state(self) -> tuple[str | None, bool]:
        """What the rows so far tell of those that follow."""
        return self.form, self._has_numbers

    @state.setter
    def state(self, state: tuple[str | None, bool]) -> None:
        self.form, self._has_numbers = state

    def number_rows(self, rows: int) -> Ints:
        """The times of the next rows of a log that has none: 0, 1, ..."""
        self._rows += rows
        return np.arange(self._rows - rows, self._rows)

    def read(self, column: Any, usable: Mask) -> tuple[Ints, Reasons]:
        """[n] times in `ticks` a second, and where a row has none.

        Args:
            column: numbers, timestamps, dates, or text.
            usable: [n] the rows that are good otherwise: no other tells the form of the log.

        Raises:
            DataError: if the column has a type that says another unit than the log's, or the pattern cannot be read.
        """
        column = flatten(column)
        if pa.types.is_temporal(column.type):
            return self._read_timestamps(column)
        if self._pattern is not None:
            return self._read_pattern(column, self._pattern)
        values = _take_values(column, self._nulls)
        reasons = values.reasons
        bad = values.missing | np.logical_or.reduce([~values.is_number & ~values.is_iso, *reasons.values()])
        reasons[_NO_TIME] = ~values.is_number & ~values.is_iso
        calendar = _find_calendar(values.numbers) & values.is_number & ~values.has_fraction
        if self._unit is None:
            self._tell_form(values, calendar, usable & ~bad)
        return self._convert(values, calendar, reasons)

    def _tell_form(self, values: _Values, calendar: Mask, usable: Mask) -> None:
        """The first time that tells decides."""
        if self.form is not None:
            return
        telling = {unit: values.is_number & in_range(values.numbers, ticks) for unit, ticks in TICKS.items()}
        tells_nothing = values.is_number & ~np.logical_or.reduce([*telling.values(), calendar]) & (values.numbers != 0)
        if not self._has_numbers:
            telling |= {ISO: values.is_iso, CALENDAR: calendar}
        else:
            tells_nothing |= calendar
        first = {form: int(np.argmax(mask & usable)) for form, mask in telling.items() if (mask & usable).any()}
        counter = int(np.argmax(tells_nothing & usable)) if (tells_nothing & usable).any() else len(usable)
        first = {form: row for form, row in first.items() if form in TICKS or row < counter}
        if first:
            self.form = min(first, key=lambda form: first[form])
        elif counter < len(usable):
            self._has_numbers = True

    def _convert(self, values: _Values, calendar: Mask, reasons: Reasons) -> tuple[Ints, Reasons]:
        numbers, form = values.numbers, self.form
        if form == ISO:
            reasons |= _name_units(values, calendar, form)
            times, no_date = _parse_iso(values.texts, values.is_iso, self._zone)
            reasons[f"timestamp: {_NO_DATE}"] = no_date
        elif form == CALENDAR:
            reasons |= _name_units(values, np.zeros(len(numbers), bool), form)
            reasons[f"timestamp: {_NO_DATE}"] = values.is_number & ~calendar
            times = _localize(_parse_calendar(np.where(calendar, numbers, 19700101)), self._zone, 1)
        else:
            known = form or _NUMBERS
            for unit, ticks in TICKS.items():
                if unit != form:
                    reasons[f"{OTHER_UNIT}{unit}, not {known}"] = values.is_number & in_range(numbers, ticks)
            reasons[f"{OTHER_UNIT}{ISO}, not {known}"] = values.is_iso
            may_have = in_range(numbers, TICKS[form]) if form is not None else np.zeros(len(numbers), bool)
            reasons[_NOT_WHOLE] = values.has_fraction & ~may_have & (self._unit is None)
            times = numbers
        reasons[_NEGATIVE] = reasons.get(_NEGATIVE, times < 0) | (times < 0)
        return times, reasons

    def _read_timestamps(self, column: Any) -> tuple[Ints, Reasons]:
        """A column of type timestamp or date says its unit, whatever the size of its values."""
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("s"))
        if not pa.types.is_timestamp(column.type):
            raise DataError(f"data.columns.timestamp: is of type {column.type}, which is no moment")
        found = _ARROW_UNITS[column.type.unit]
        if self.form not in (None, found):
            raise DataError(
                f"mixed units of time ({found} here, {self.form} in the files before); write all files of the log "
                "with one unit"
            )
        self.form = found
        times = np.asarray(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64)
        if column.type.tz is None:
            times = _localize(times, self._zone, TICKS[found])
        return times, {"no timestamp": to_mask(pc.is_null(column)), _NEGATIVE: times < 0}

    def _read_pattern(self, column: Any, pattern: str) -> tuple[Ints, Reasons]:
        texts, broken = take_text(column)
        texts = drop_null_values(texts, self._nulls)
        given = to_mask(texts.is_valid()) & ~broken
        try:
            times, unread = _parse_texts(texts, given, "try_strptime(text, $pattern)", pattern)
        except duckdb.InvalidInputException as error:
            what = str(error).splitlines()[0].removeprefix("Invalid Input Error: ")
            raise DataError(f"data.columns.time_format: {pattern!r} cannot be read ({what})") from None
        if "%z" not in pattern:
            times = _localize(times, self._zone, _MICROSECONDS)
        reasons = {"no timestamp": ~given & ~broken, INVALID_UTF8: broken, _BY_PATTERN: unread, _NEGATIVE: times < 0}
        return times, reasons


def read_unix_seconds(column: Any, columns: ColumnsConfig, nulls: NullValues) -> tuple[Ints, Reasons]:
    """[n] times in whole seconds, each by its own form, and where a row has none: for rows that are no log.

    What is below the range of unix times, and no calendar number, is taken for seconds.

    Args:
        columns: unit, pattern and zone, if the config gives them.
        nulls: `data.null_values`.
    """
    column, reader = flatten(column), TimeReader(columns, nulls)
    if pa.types.is_temporal(column.type) or columns.time_format is not None:
        times, reasons = reader.read(column, np.ones(len(column), bool))
        return times // (reader.ticks or 1), reasons
    values = _take_values(column, nulls)
    calendar = _find_calendar(values.numbers) & ~values.has_fraction & (columns.time_unit is None)
    seconds, unknown = to_unix_seconds(values.numbers)
    dates = _localize(_parse_calendar(np.where(calendar, values.numbers, 19700101)), columns.time_zone, 1)
    seconds = np.where(calendar, dates, seconds)
    reasons = {**values.reasons, _NO_TIME: ~values.is_number & ~values.is_iso}
    if values.is_iso.any():
        times, no_date = _parse_iso(values.texts, values.is_iso, columns.time_zone)
        seconds = np.where(values.is_iso, times // _MICROSECONDS, seconds)
        reasons[f"timestamp: {_NO_DATE}"] = no_date
    reasons[_NEGATIVE] = reasons.get(_NEGATIVE, seconds < 0) | (seconds < 0)
    reasons["timestamp in no unit of unix times"] = unknown & values.is_number & ~calendar
    return seconds, reasons


def read_numbers(column: Any, role: str, nulls: NullValues) -> tuple[Ints, Reasons]:
    """[n] whole numbers, and where a row has none: counters, the numbers of rows.

    Args:
        role: for the reasons.
    """
    values = _take_values(flatten(column), nulls)
    reasons = values.reasons | {_NOT_WHOLE: (~values.is_number & ~values.missing) | values.has_fraction}
    return values.numbers, {reason.replace("timestamp", role): mask for reason, mask in reasons.items()}


def _take_values(column: Any, nulls: NullValues) -> _Values:
    size, no = len(column), np.zeros(len(column), bool)
    if pa.types.is_integer(column.type):
        numbers, too_large = column, no
        if pa.types.is_uint64(column.type):
            beyond = pc.greater(column, pa.scalar(MAX_TIMESTAMP, pa.uint64()))
            numbers, too_large = pc.if_else(beyond, None, column), to_mask(beyond)
        missing = to_mask(pc.is_null(column))
        whole = np.asarray(pc.fill_null(numbers.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64)
        reasons = {"no timestamp": missing, _TOO_LARGE: too_large, _NEGATIVE: whole < 0}
        return _Values(whole, ~missing & ~too_large, no, no, missing, reasons)
    if pa.types.is_floating(column.type):
        floats = np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
        missing = np.isnan(floats)
        too_large = floats >= float(2**63)
        floor = np.floor(np.where(missing | too_large | (floats < 0), 0, floats))
        is_rounded = np.abs(floats) >= EXACT_IN_FLOAT[column.type.bit_width] if column.type.bit_width < 64 else no
        reasons = {"no timestamp": missing, _TOO_LARGE: too_large, _ROUNDED: is_rounded, _NEGATIVE: floats < 0}
        with np.errstate(invalid="ignore"):
            return _Values(
                floor.astype(np.int64), ~missing & ~too_large, floats != np.floor(floats), no, missing, reasons
            )
    texts, broken = take_text(column)
    texts = drop_null_values(texts, nulls)
    missing = find_nulls(texts)
    reasons = {"no timestamp": missing, INVALID_UTF8: broken}
    if _are_plain(texts):
        return _Values(texts.cast(pa.int64()).to_numpy(), ~no, no, no, missing, reasons, texts)
    is_iso = to_mask(pc.match_substring_regex(texts, _ISO))
    if (is_iso | missing).all():
        return _Values(np.zeros(size, np.int64), no, no, is_iso, missing, reasons, texts)
    cut = pc.extract_regex(texts, _NUMBER)
    is_number = to_mask(cut.is_valid())
    sign, whole, part = (pc.struct_field(cut, name) for name in ("sign", "whole", "part"))
    zero = to_mask(pc.equal(whole, "0"))
    negative = to_mask(pc.equal(sign, "-")) & ~(zero & ~to_mask(pc.match_substring_regex(part, "[1-9]")))
    digits = pc.fill_null(pc.binary_length(whole), 1).to_numpy(zero_copy_only=False)
    at_limit = (digits == 19) & ~to_mask(pc.less_equal(whole, str(MAX_TIMESTAMP)))
    too_large = ((digits > 19) | at_limit) & ~negative
    usable = pa.array(is_number & ~negative & ~too_large)
    numbers = pc.if_else(usable, whole, "0").cast(pa.int64()).to_numpy()
    has_fraction = to_mask(pc.match_substring_regex(part, "[1-9]"))
    reasons |= {_NEGATIVE: negative, _TOO_LARGE: too_large}
    return _Values(numbers, is_number, has_fraction, is_iso, missing, reasons, texts)


def _are_plain(texts: Any) -> bool:
    """Whether every text is a whole number of digits alone that fits int64."""
    lengths, content = view_texts(texts)
    if not content.size or texts.null_count:
        return False
    fit = lengths.min() > 0 and lengths.max() <= _PLAIN_DIGITS
    return bool(fit and content.min() >= ord("0") and content.max() <= ord("9"))


def _name_units(values: _Values, calendar: Mask, form: str) -> Reasons:
    """Where a number is one although the log's times are in another form, by the form it is in."""
    reasons = {}
    for unit, ticks in TICKS.items():
        reasons[f"{OTHER_UNIT}{unit}, not {form}"] = values.is_number & in_range(values.numbers, ticks)
    if form == ISO:
        reasons[f"{OTHER_UNIT}{CALENDAR}, not {form}"] = calendar
        other = values.is_number & ~find_unix_times(values.numbers) & ~calendar
        reasons[f"{OTHER_UNIT}{_NUMBERS}, not {form}"] = other
    else:
        reasons[f"{OTHER_UNIT}{ISO}, not {form}"] = values.is_iso
    return reasons


def _parse_iso(texts: Any, wanted: Mask, zone: str) -> tuple[Ints, Mask]:
    """[n] microseconds of the wanted texts in ISO 8601, 0 elsewhere, and where a wanted one is no time.

    Args:
        zone: of texts that do not name theirs.
    """
    if pc.any(pc.match_substring(texts, ",")).as_py():
        texts = pc.replace_substring(texts, ",", ".")
    offsets = np.zeros(len(texts), np.int64)
    has_zone = to_mask(pc.match_substring_regex(texts, _WITH_ZONE))
    has_offset = to_mask(pc.match_substring_regex(texts, _WITH_OFFSET))
    if has_offset.any():
        cut = pc.extract_regex(texts, _WITH_OFFSET)
        sign, hours, minutes = (pc.struct_field(cut, name) for name in ("sign", "hours", "minutes"))
        hours, minutes = (
            pc.if_else(pc.fill_null(pc.equal(each, ""), True), "0", each).cast(pa.int64()).to_numpy()
            for each in (hours, minutes)
        )
        offsets = np.where(to_mask(pc.equal(sign, "-")), -1, 1) * (hours * 60 + minutes) * 60 * _MICROSECONDS
        texts = pc.if_else(pa.array(has_offset), pc.struct_field(cut, "clock"), texts)
    times, unread = _parse_texts(texts, wanted, "try_cast(trim(text) as timestamp)")
    return np.where(has_zone | has_offset, times - offsets, _localize(times, zone, _MICROSECONDS)), unread


def _parse_texts(texts: Any, wanted: Mask, expression: str, pattern: str | None = None) -> tuple[Ints, Mask]:
    """[n] microseconds of the wanted texts, 0 elsewhere, and where a wanted one is no time.

    Args:
        expression: in SQL, of `text` and `$pattern`.
    """
    with _start_engine().cursor() as engine:
        engine.register("times", pa.table({"text": pc.if_else(pa.array(wanted), texts, None)}))
        query = f"select epoch_us({expression}) as us from times"  # noqa: S608 - of our own words
        found = engine.sql(query, params=None if pattern is None else {"pattern": pattern})
        micros = flatten(found.to_arrow_table()["us"])
    unread = wanted & to_mask(pc.is_null(micros))
    return np.asarray(pc.fill_null(micros, 0).to_numpy(zero_copy_only=False), np.int64), unread


@cache
def _start_engine() -> duckdb.DuckDBPyConnection:
    """A DuckDB that holds nothing: starting it costs more than a chunk of times."""
    return duckdb.connect(config={"threads": 1})


def _localize(times: Ints, zone: str, ticks: int) -> Ints:
    """Times of a clock in a zone -> unix times: of what it shows twice the first, of what it skips the moment after."""
    if zone == "UTC":
        return times
    unit = next(short for short, name in _ARROW_UNITS.items() if TICKS[name] == ticks)
    clock = pa.array(times).cast(pa.timestamp(unit))
    try:
        moments = pc.assume_timezone(clock, zone, ambiguous="earliest", nonexistent="latest")
    except pa.ArrowInvalid as error:
        raise DataError(f"data.columns.time_zone: {zone!r} cannot be used ({str(error).splitlines()[0]})") from None
    return np.asarray(moments.cast(pa.int64()).to_numpy(), np.int64)


def _cut_calendar(numbers: Ints) -> tuple[Ints, Ints]:
    """[n] YYYYMMDD and hhmmss of numbers of 8, 12 or 14 digits; (0, 0) of others."""
    day, clock = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
    for digits, (divisor, factor) in {8: (1, 0), 12: (10**4, 100), 14: (10**6, 1)}.items():
        found = (numbers >= 10 ** (digits - 1)) & (numbers < 10**digits)
        day = np.where(found, numbers // divisor, day)
        clock = np.where(found, numbers % divisor * factor, clock)
    return day, clock


def _find_calendar(numbers: Ints) -> Mask:
    """[n] whether a number is a day from 1970 to 2127, with or without a time of day."""
    day, clock = _cut_calendar(numbers)
    if not day.any():
        return np.zeros(len(numbers), bool)
    year, month, of_month = day // 10_000, day // 100 % 100, day % 100
    good = (year >= 1970) & (year < 2128) & (month >= 1) & (month <= 12) & (of_month >= 1)
    good &= (clock // 10_000 < 24) & (clock // 100 % 100 < 60) & (clock % 100 < 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0)
    length = (_count_days(months + 1) - _count_days(months)).astype(np.int64)
    found: Mask = good & (of_month <= length)
    return found


def _count_days(months: Ints) -> Ints:
    """[n] days from 1970 to the first of a month, counted from January 1970."""
    days: Ints = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return days


def _parse_calendar(numbers: Ints) -> Ints:
    """[n] seconds of calendar numbers, by a clock of their own."""
    day, clock = _cut_calendar(numbers)
    days = _count_days((day // 10_000 - 1970) * 12 + day // 100 % 100 - 1) + day % 100 - 1
    seconds: Ints = days * 86_400 + clock // 10_000 * 3600 + clock // 100 % 100 * 60 + clock % 100
    return seconds

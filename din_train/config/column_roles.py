"""`data.columns`: which column of a table, or of rows with histories, is which."""

from collections.abc import Iterator
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field

from din_train.config.file_formats import Column
from din_train.config.section import Section

FILE_ORDER = "file-order"
TIME_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")

# The roles that a column can have; a column has one of them.
ROLES = ("user", "item", "timestamp", "category", "label", "request", "weight")


def _write_number(value: object) -> object:
    """A type may be a number in the log; it is compared as text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_EventNames = Annotated[
    tuple[Annotated[str, BeforeValidator(_write_number), Field(min_length=1)], ...], Field(strict=False)
]


class EventTypesConfig(Section):
    """`data.columns.events`: a log of events of several types; types that are not named are left out."""

    column: Annotated[Column, Field(description="the column of types")]
    click: Annotated[_EventNames, Field(min_length=1, description="the types that are clicks, such as [buy, cart]")]
    impression: Annotated[
        _EventNames,
        Field(
            description="the types that show an item, such as [view]: an impression is positive if the same user and "
            "item (and request) has a click within click_window after it"
        ),
    ] = ()
    click_window: Annotated[
        int, Field(ge=0, lt=2**40, description="seconds after an impression in which a click belongs to it")
    ] = 1800

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """A type is one thing."""
        for name in self.impression:
            if name in self.click:
                yield "impression", f"received '{name}', which is a click already; name it once"


def _find_zone_problem(zone: str) -> str | None:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"received '{zone}', which is no time zone of this machine; expected one such as Europe/Berlin or UTC"
    return None


class ColumnsConfig(Section):
    """The columns of a table: names in its header, or positions from 1."""

    user: Annotated[Column, Field(description="the column of user ids")]
    item: Annotated[
        Column | None, Field(description="the column of item ids; of rows with data.impressions there is none")
    ] = None
    timestamp: Annotated[
        Column | None,
        Field(
            description="the column of times: unix times in seconds, milliseconds, microseconds or nanoseconds, "
            "ISO 8601, YYYYMMDD[hhmm[ss]], or whole numbers of which the order matters; file-order: the log has no "
            "times, and its lines are in order"
        ),
    ] = None
    category: Annotated[Column | None, Field(description="the column of categories; without it all are unknown")] = None
    label: Annotated[
        Column | None,
        Field(
            description="the column of a log of impressions that says what was clicked: 0 and 1, true and false, or 1 "
            "and -1; without it all are clicks",
        ),
    ] = None
    label_at_least: Annotated[
        float | None,
        Field(strict=False, description="the label is a number (a rating, a watch ratio): at least this is a click"),
    ] = None
    request: Annotated[
        Column | None,
        Field(
            description="the column of request ids of a log of impressions: a user's rows of one id were shown "
            "together; without it, a user's rows of one time were",
        ),
    ] = None
    weight: Annotated[
        Column | None, Field(description="the column of sample weights, in loss and metrics; without it all are 1")
    ] = None
    events: Annotated[EventTypesConfig | None, Field(description="a column of types, and which are clicks")] = None
    time_unit: Annotated[
        Literal["seconds", "milliseconds", "microseconds", "nanoseconds"] | None,
        Field(description="of numbers in the time column; told by their size if left out"),
    ] = None
    time_format: Annotated[
        str | None,
        Field(min_length=2, description="of texts in the time column, such as '%d/%m/%Y %H:%M'"),
    ] = None
    time_zone: Annotated[
        str, Field(min_length=1, description="of times that do not name theirs, such as Europe/Berlin")
    ] = "UTC"

    @property
    def is_labelled(self) -> bool:
        """Whether rows are impressions, of which some are clicked."""
        return self.label is not None or (self.events is not None and bool(self.events.impression))

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """Every role needs a column of its own, and some roles need another."""
        if self.label_at_least is not None and self.label is None:
            yield "label_at_least", "not used without data.columns.label; name the column of ratings there"
        if self.events is not None and self.label is not None:
            yield "events", "not used beside data.columns.label: a row has one label; remove one of them"
        if self.time_format is not None and self.time_unit is not None:
            yield "time_format", "not used beside data.columns.time_unit, which is of numbers; remove one of them"
        if self.events is not None and self.events.impression and self.timestamp == FILE_ORDER:
            yield (
                "events.impression",
                "not used beside timestamp: file-order, since click_window is in seconds; remove it",
            )
        if problem := _find_zone_problem(self.time_zone):
            yield "time_zone", problem
        yield from self.find_equal(is_category_of_items=isinstance(self.category, int))

    def find_equal(self, *, is_category_of_items: bool) -> Iterator[tuple[str, str]]:
        """Roles that name one column.

        Args:
            is_category_of_items: whether the category may be a column of data.items, and not of the log.
        """
        columns: dict[str | int, str] = {}
        for role, name in {
            **{role: getattr(self, role) for role in ROLES if role != "category" or not is_category_of_items},
            "events.column": None if self.events is None else self.events.column,
        }.items():
            if name is not None and name != FILE_ORDER and columns.setdefault(name, role) != role:
                yield role, f"received '{name}', the column of data.columns.{columns[name]} already; name another one"

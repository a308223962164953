"""Impressions and clicks as rows of their own: which impressions are positive, and which clicks have none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
from ibis import Table, _

from din_train.dataset.database import count_rows
from din_train.errors import DataError


@dataclass(frozen=True)
class ClickCounts:
    """Of a log whose clicks are rows of their own: impressions, those that are positive, clicks, and those without an
    impression.
    """

    impressions: int
    positive: int
    clicks: int
    alone: int

    def describe(self, window: int) -> str:
        """A sentence on the clicks that no impression accounts for.

        Args:
            window: seconds.
        """
        return (
            f"{self.alone:,} of {self.clicks:,} clicks have no impression of their user and item in the {window:,} "
            "seconds before them (data.columns.events.click_window); like all clicks they are in histories"
        )

    def check(self, log: Path) -> None:
        """Look at the labels that the impressions have.

        Args:
            log: its first file, for messages.

        Raises:
            DataError: if all are positive, or none is.
        """
        if self.positive in (0, self.impressions):
            which = "each" if self.positive else "none"
            raise DataError(
                f"{log}: data.columns.events: {which} of {self.impressions:,} impressions has a click of its "
                "user and item in click_window, so there is nothing to tell apart; check click, impression and "
                "click_window, or leave impression out, so that the log is one of clicks"
            )


def match_clicks(events: Table, window: int) -> Table:
    """Label impressions by the clicks that follow.

    An impression is positive if its user clicks its item at its time or in the window after it; where rows name their
    requests, in the same request, or by a click that names none.

    Args:
        events: user_code, item_code, timestamp, ordinal, click (0 or 1), and request (text or null) if the log has it.
        window: in units of the timestamps.

    Returns:
        In place of click: label, whether an impression is positive (of a click: whether it follows an impression of
        its own), and behaviour, 1 for clicks: they are in histories and no samples.
    """
    pair = ["user_code", "item_code"]
    is_click = events.click == 1
    if "request" in events.columns:
        named = events.request.notnull()
        near = [
            _find_near(events, [*pair, "request"], is_click & named),
            _find_near(events, pair, is_click & ~named),
        ]
    else:
        near = [_find_near(events, pair, is_click)]
    next_clicks, impressions = zip(*near, strict=True)
    timestamp = events.timestamp
    follows = [(each - timestamp <= window).fill_null(False) for each in next_clicks]
    precedes = [(timestamp - each <= window).fill_null(False) for each in impressions]
    label = ibis.ifelse(is_click, ibis.or_(*precedes), ibis.or_(*follows)).cast("int8")
    return events.mutate(label=label, behaviour=events.click).drop("click")


def _find_near(events: Table, keys: list[str], click: Any) -> tuple[Any, Any]:
    """The time of the next of these clicks at or after each row, and of the last impression at or before each of them.

    Of one time, impressions stand before clicks.
    """
    order = ["timestamp", "click", "ordinal"]
    after = ibis.window(group_by=keys, order_by=order, preceding=0, following=None)
    before = ibis.window(group_by=keys, order_by=order, preceding=None, following=0)
    time = events.timestamp
    next_click = ibis.ifelse(click, time, None).min().over(after)
    last_impression = ibis.ifelse(events.click == 0, time, None).max().over(before)
    return next_click, ibis.ifelse(click, last_impression, None)


def count_clicks(events: Table) -> ClickCounts:
    """Count what `match_clicks` made of a log."""
    impressions, clicks = events.filter(_.behaviour == 0), events.filter(_.behaviour == 1)
    return ClickCounts(
        impressions=count_rows(impressions),
        positive=count_rows(impressions.filter(_.label == 1)),
        clicks=count_rows(clicks),
        alone=count_rows(clicks.filter(_.label == 0)),
    )

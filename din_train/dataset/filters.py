"""`filters`, and the least number of events a protocol needs: what is left out of a log before it is split."""

import ibis
from ibis import Table, _

from din_train.config import FiltersConfig
from din_train.dataset.database import Database, count_rows
from din_train.errors import DataError


def filter_events(
    database: Database, events: Table, filters: FiltersConfig, *, ticks: int | None, min_clicks: int
) -> tuple[Table, dict[str, int]]:
    """The events that are left, and how many events, or users, were left out by reason.

    Args:
        events: a table of the database: user_code, item_code, timestamp, ordinal, label where the log has one, request
            (text or null) where it names them, behaviour where clicks are rows of their own; it is replaced by smaller
            ones.
        ticks: timestamps a second, None where they are no unix times.
        min_clicks: the least requests with a click (events, where the log has no labels) the protocol needs of a user.

    Returns:
        Where the log has labels, with the columns moment and request (see `number_requests`) in place of request.

    Raises:
        DataError: if no user has enough events.
    """
    dropped: dict[str, int] = {}
    events = _filter_window(database, events, filters, ticks, dropped)
    events = _filter_duplicates(database, events, filters, dropped)
    events = _filter_k_core(database, events, filters.k_core, dropped)
    if "label" in events.columns:
        events = _replace(
            database, events, number_requests(database, events, ticks or 1), "with_requests", None, dropped
        )
    return _filter_short_users(database, events, min_clicks, dropped), dropped


def _filter_window(
    database: Database, events: Table, filters: FiltersConfig, ticks: int | None, dropped: dict[str, int]
) -> Table:
    if filters.since is None and filters.until is None:
        return events
    inside = events
    if filters.since is not None:
        inside = inside.filter(_.timestamp >= filters.since * (ticks or 1))
    if filters.until is not None:
        inside = inside.filter(_.timestamp < filters.until * (ticks or 1))
    return _replace(database, events, inside, "in_window", "events_outside_the_time_window", dropped)


def _filter_duplicates(database: Database, events: Table, filters: FiltersConfig, dropped: dict[str, int]) -> Table:
    if filters.duplicates == "keep":
        return events
    keys = ["user_code", "item_code", *(["timestamp"] if filters.duplicates == "drop-same-time" else [])]
    keys += [name for name in ("label", "behaviour") if name in events.columns]
    if filters.duplicates == "drop-same-item":  # of the first time; where that is twice, the first in the file
        earliest = events.group_by(keys).agg(timestamp=_.timestamp.min())
        first = events.semi_join(earliest, [*keys, "timestamp"]).group_by(keys).agg(ordinal=_.ordinal.min())
    else:
        first = events.group_by(keys).agg(ordinal=_.ordinal.min())
    return _replace(database, events, events.semi_join(first, "ordinal"), "distinct", "duplicate_events", dropped)


def _filter_k_core(database: Database, events: Table, k: int, dropped: dict[str, int]) -> Table:
    """Leave out users and items of fewer than k clicks, until every one left has k."""
    if k == 1:
        return events
    before, step = count_rows(events), 0
    while True:
        rows = count_rows(events)
        for key in ("user_code", "item_code"):
            enough = _clicks(events).group_by(key).agg(clicks=_.count()).filter(_.clicks >= k)
            events = _replace(database, events, events.semi_join(enough, key), f"core_{step}", None, dropped)
            step += 1
        if count_rows(events) == rows:
            dropped["events_outside_the_k_core"] = before - rows
            return events


def _filter_short_users(database: Database, events: Table, min_clicks: int, dropped: dict[str, int]) -> Table:
    per_user = events.group_by("user_code").agg(events=_.count())
    if "label" in events.columns:
        clicked = (
            _impressions(events)
            .filter(_.label == 1)
            .select("user_code", "request")
            .distinct()
            .group_by("user_code")
            .agg(clicks=_.count())
        )
        per_user = per_user.left_join(clicked, "user_code").drop("user_code_right")
        per_user = per_user.mutate(clicks=_.clicks.fill_null(0))
    else:
        per_user = per_user.mutate(clicks=_.events)
    per_user = database.create("per_user", per_user)
    short = per_user.filter(_.clicks < min_clicks)
    all_users, short_users = count_rows(per_user), count_rows(short)
    if short_users == all_users:
        left_out = "".join(f"; {name.replace('_', ' ')}: {count:,}" for name, count in dropped.items() if count)
        what = "requests with a click" if "label" in events.columns else "events"
        raise DataError(
            f"no user has the {min_clicks} {what} the protocol needs (the log has {count_rows(events):,} events of "
            f"{all_users:,} users{left_out and f' left{left_out}'}); check "
            f"{'filters, ' if left_out else ''}data.columns, or use a longer log"
        )
    dropped["users_with_too_few_events"] = short_users
    dropped["events_of_those_users"] = int(short.events.sum().to_pyarrow().as_py() or 0)
    if not short_users:
        return events
    return events.semi_join(per_user.filter(_.clicks >= min_clicks), "user_code")


def number_requests(database: Database, events: Table, ticks: int) -> Table:
    """Impressions with moment (the time of the request's earliest row) and request.

    Request numbers a user's requests in order of moment, then of request id, so that the order of the lines says
    nothing; in a log that names no requests, and where a row has none, the second is the request. A click beside its
    impression belongs to no request: its number is -1.

    Args:
        ticks: timestamps a second.
    """
    second = (_.timestamp - _.timestamp % ticks).cast("int64")
    no_request = (events.behaviour == 1) if "behaviour" in events.columns else ibis.literal(value=False)
    if "request" not in events.columns:
        return events.mutate(moment=second, request=ibis.ifelse(no_request, -1, second))
    # Not `//`, which is a division of floats in both engines, and wrong of nanoseconds.
    key = ibis.coalesce("id " + events.request, "at " + (events.timestamp - events.timestamp % ticks).cast("string"))
    keyed = events.mutate(key=key).drop("request")
    requests = _impressions(keyed).group_by("user_code", "key").agg(moment=_.timestamp.min())
    requests = database.number(requests, ["user_code", "moment", "key"], "request", "int64")
    if "behaviour" not in events.columns:
        return keyed.inner_join(requests, ["user_code", "key"]).drop("key")
    shown = _impressions(keyed).inner_join(requests, ["user_code", "key"]).drop("key")
    clicks = keyed.filter(_.behaviour == 1).mutate(moment=_.timestamp, request=ibis.literal(-1, "int64")).drop("key")
    return shown.union(clicks.select(shown.columns))


def _clicks(events: Table) -> Table:
    """The rows that are in histories."""
    if "behaviour" in events.columns:
        return events.filter(_.behaviour == 1)
    return events.filter(_.label == 1) if "label" in events.columns else events


def _impressions(events: Table) -> Table:
    """The rows that may be samples."""
    return events.filter(_.behaviour == 0) if "behaviour" in events.columns else events


def _replace(
    database: Database, before: Table, after: Table, name: str, reason: str | None, dropped: dict[str, int]
) -> Table:
    """Materialise `after`, count what it lacks, and free what it came from."""
    rows = count_rows(before)
    table = database.create(name, after)
    if reason is not None:
        dropped[reason] = rows - count_rows(table)
    database.drop(before)
    return table

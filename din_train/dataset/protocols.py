"""Protocols: which event of a user is a target of which split, and how much of the history it sees.

A user's clicks b1 .. bn in time order (ties in the log's own order). A target is predicted from clicks before it (see
`samples/histories.py`). b1 has nothing before it and is no target, unless `data.min_history` is 0; in general a target
with fewer than `data.min_history` clicks in its history is no sample.

              b1       b2 .. b(n-2)   b(n-1)       bn
    paper     history  train          train        test
    holdout   history  train          validation   test

              before validation_from   from there on        from test_from on
    time      train                    validation           test
              history: b before it     b before             b before
                                       validation_from      test_from

              a training user   a validation user   a test user
    user      b2 .. bn: train   b2 .. bn            b2 .. bn

Under `time` the history ends at the split's cut, as it stood when the model would have been put to use.

What that means for short users (`data.min_history` 1):

    events    paper             holdout                    time                            user
    1         dropped           dropped                    dropped                         dropped
    2         test only         dropped                    b2, if b1 is before its cut     b2, in the user's split
    3         1 train, test     validation and test only   b2 and b3, likewise             b2 and b3
    4         2 train, test     1 train, validation, test  b2 to b4, likewise              b2 to b4

In a log of impressions (events with labels, or with types of which some are impressions) b1 .. bn are the requests with
a click, in order of moment, then of request id; histories hold clicks and nothing else. Every impression is a candidate
for a sample, and all of a request go the same way: where the next request with a click goes (itself, where it has one);
what was shown after bn goes with bn. Under `time` they go by the moment. So that no row of a user tells another's
label, under `paper` and `holdout` all rows of the validation or of the test split see the history that stood at the
split's first request: what was shown after bn sees b1 .. b(n-1), as bn does. A user of too few requests with a click is
dropped with all impressions; under `user` with a `data.min_history` of 0 none is.

`presampled` (sources `rows` and `x1`): rows are samples already, see `presampled.py`.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from din_train.config import DataConfig, UserSplitConfig
from din_train.config.rows import RowSplitConfig
from din_train.dataset.histories import find_history_ends
from din_train.dataset.negatives import mix
from din_train.dataset.vocabulary import hash_texts

Ints = NDArray[np.int64]


class Split(IntEnum):
    """The part of the data a sample belongs to; `HISTORY` marks events that are no target."""

    HISTORY = -1
    TRAIN = 0
    VALIDATION = 1
    TEST = 2


SPLITS = (Split.TRAIN, Split.VALIDATION, Split.TEST)


def least_clicks(data: DataConfig) -> int:
    """The least clicks (of impressions: requests with one) a user needs: for a test target with enough history, and a
    validation target before it.

    Under `user` with a `min_history` of 0 every impression is a sample, even of a user who never clicked.
    """
    if data.protocol == "user" and data.min_history == 0:
        return 0
    least = data.min_history + 1
    return least + 1 if data.protocol == "holdout" else least


@dataclass(frozen=True)
class UserEvents:
    """Whole users' events, as requests and as clicks.

    user_rows: [E] which user, 0, 1, ... first_events: [users] where each begins. is_sample: [E] whether an event may be
    a sample: all are, but clicks beside the impressions that they belong to. is_click: [E] of a sample its label.
    moments: [E] the request's, in seconds. requests: [E] which of the user's requests, 0, 1, ...; of a log of clicks
    each event is one. num_requests: [users] with a click. clicked_before: [E] the user's requests with a click before
    the event's.
    click_rows: [C] places of the clicks, user after user in the order of histories. click_times: [C] seconds.
    click_starts: [users] each user's first place in `click_rows`. num_clicks: [users].
    positions: [E] of a click its place in the user's list of clicks; else -1.
    """

    user_rows: Ints
    first_events: Ints
    is_sample: NDArray[np.bool_]
    is_click: NDArray[np.bool_]
    moments: Ints
    requests: Ints
    num_requests: Ints
    clicked_before: Ints
    click_rows: Ints
    click_times: Ints
    click_starts: Ints
    num_clicks: Ints
    positions: Ints

    @classmethod
    def of_clicks(cls, users: NDArray[np.int32], seconds: Ints) -> Self:
        """From a log of clicks: [E] users and times, sorted by user, time and place in the file."""
        user_rows, starts, counts = _number_users(users)
        rows = np.arange(len(users))
        positions = rows - np.repeat(starts, counts)
        return cls(
            user_rows=user_rows,
            first_events=starts,
            is_sample=np.ones(len(users), np.bool_),
            is_click=np.ones(len(users), np.bool_),
            moments=seconds,
            requests=positions,
            num_requests=counts,
            clicked_before=positions,
            click_rows=rows,
            click_times=seconds,
            click_starts=starts,
            num_clicks=counts,
            positions=positions,
        )

    @classmethod
    def of_impressions(
        cls,
        users: NDArray[np.int32],
        is_click: NDArray[np.bool_],
        *,
        requests: Ints,
        moments: Ints,
        times: Ints,
        items: NDArray[np.int32],
        ticks: int,
        is_behaviour: NDArray[np.bool_] | None = None,
    ) -> Self:
        """From a log of impressions, [E] each, sorted by user and request.

        Args:
            requests: ascending within a user, in order of moment. moments, times: of the request and of the row, in the
                log's own unit. items: codes that are in order of raw item id. ticks: units a second.
            is_behaviour: clicks that are rows of their own: they are in histories and no samples, and the others are
                samples and in no history. None: what is clicked is both.
        """
        is_sample = np.ones(len(users), np.bool_) if is_behaviour is None else ~is_behaviour
        is_click = is_click & is_sample
        user_rows, starts, _ = _number_users(users)
        begins = np.append(True, (users[1:] != users[:-1]) | (requests[1:] != requests[:-1]))[: len(users)]
        request_rows = np.cumsum(begins) - 1  # [E] which request of the block
        with_click = np.bincount(request_rows, weights=is_click) > 0  # [requests]
        request_users = user_rows[begins]
        num_requests = np.bincount(request_users, weights=with_click, minlength=len(starts)).astype(np.int64)
        up_to: Ints = np.cumsum(with_click) - with_click  # requests with a click before, over all users
        first_requests = request_rows[starts]
        clicked_before: Ints = up_to[request_rows] - up_to[first_requests][user_rows]
        clicks = np.flatnonzero(is_click if is_behaviour is None else is_behaviour)
        click_rows = clicks[np.lexsort((items[clicks], times[clicks], user_rows[clicks]))]
        num_clicks = np.bincount(user_rows[clicks], minlength=len(starts))
        click_starts = np.cumsum(num_clicks) - num_clicks
        positions = np.full(len(users), -1)
        positions[click_rows] = np.arange(len(clicks)) - np.repeat(click_starts, num_clicks)
        return cls(
            user_rows=user_rows,
            first_events=starts,
            is_sample=is_sample,
            is_click=is_click,
            moments=moments // ticks,
            requests=request_rows - first_requests[user_rows],
            num_requests=num_requests,
            clicked_before=clicked_before,
            click_rows=click_rows,
            click_times=times[click_rows] // ticks,
            click_starts=click_starts,
            num_clicks=num_clicks,
            positions=positions,
        )

    def count_clicks_before(self, moments: Ints) -> Ints:
        """[E] the user's clicks strictly before a moment of each event's."""
        first = self.click_starts[self.user_rows]
        return find_history_ends(self.click_times, first, first + self.num_clicks[self.user_rows], moments) - first


def _number_users(users: NDArray[np.int32]) -> tuple[Ints, Ints, Ints]:
    """[E] which user; [users] where each begins, and how many events each has."""
    starts = np.flatnonzero(np.diff(users, prepend=users[0] - 1)) if len(users) else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, len(users)))
    return np.repeat(np.arange(len(starts)), counts), starts, counts


@dataclass(frozen=True)
class Targets:
    """splits: [E] of `Split`. history_length: [E] clicks that the target sees.

    is_old: [E] targets that `data.since_base` takes out of training.
    """

    splits: NDArray[np.int8]
    history_length: Ints
    is_old: NDArray[np.bool_]


def assign_splits(
    events: UserEvents,
    data: DataConfig,
    *,
    labelled: bool,
    user_splits: NDArray[np.int8] | None,
    train_after: int | None = None,
) -> Targets:
    """The split and the history of every event as a target.

    Args:
        events: whole users.
        data: the protocol and its settings.
        labelled: whether the log has impressions.
        user_splits: [users] of `Split`, for `user`.
        train_after: training targets are those after this moment; None: all.
    """
    in_file_order = not labelled and data.ties == "file_order"
    length = events.positions if in_file_order else events.count_clicks_before(events.moments - data.history_lag)
    splits = np.full(len(length), Split.TRAIN, np.int8)
    if data.protocol in ("paper", "holdout"):
        last = events.num_requests[events.user_rows] - 1
        going_with = np.minimum(events.clicked_before, last)  # the request with a click that an event goes with, from 0
        splits[going_with == last] = Split.TEST
        if data.protocol == "holdout":
            splits[going_with == last - 1] = Split.VALIDATION
        splits[~events.is_sample] = Split.HISTORY
        if labelled:
            length = _share_first_history(events, splits, length)
    elif data.protocol == "time" and data.time_split is not None:
        cuts = data.time_split.validation_from, data.time_split.test_from
        splits = np.searchsorted(cuts, events.moments, side="right").astype(np.int8)
        cut = np.array([np.iinfo(np.int64).max, *cuts])[splits]  # [E] where its split's histories end
        length = np.minimum(length, events.count_clicks_before(cut - data.history_lag))
    elif data.protocol == "user" and user_splits is not None:
        splits = user_splits[events.user_rows]
    else:
        raise ValueError(f"{data.protocol}: not a protocol for events, or its settings are missing")
    splits = np.where((length >= data.min_history) & events.is_sample, splits, Split.HISTORY).astype(np.int8)
    is_old = np.zeros(len(splits), np.bool_)
    if train_after is not None:
        is_old = (splits == Split.TRAIN) & (events.moments <= train_after)
        splits[is_old] = Split.HISTORY
    return Targets(splits, length, is_old)


def _share_first_history(events: UserEvents, splits: NDArray[np.int8], length: Ints) -> Ints:
    """[E] lengths: of a user's rows of the validation or the test split all the first request's, which is the least."""
    for split in (Split.VALIDATION, Split.TEST):
        inside = splits == split
        first = np.full(len(events.num_clicks), np.iinfo(np.int64).max)
        np.minimum.at(first, events.user_rows[inside], length[inside])
        length = np.where(inside, first[events.user_rows], length)
    return length


def assign_users(users: Any, config: UserSplitConfig | RowSplitConfig) -> NDArray[np.int8]:
    """[users] of `Split`, by a hash of raw id and seed, so that a user keeps its split when the log grows.

    A share takes the users below it, the hash being a number from 0 to 1. A number takes that many users with the
    lowest hashes, which new users may displace: no user leaves training while the log only grows. If users leave the
    log, others leave training for their places.

    Args:
        users: [users] raw ids, each once.
        config: shares or numbers; numbers beyond the users there are take all that is left. Test users come first.
    """
    seed = mix(np.array([config.seed], np.uint64))
    drawn = mix(seed ^ hash_texts(users)).astype(np.float64) / 2.0**64
    order = np.argsort(drawn, kind="stable")
    ordered, splits = drawn[order], np.full(len(drawn), Split.TRAIN, np.int8)
    first, below = 0, 0.0
    for split, wanted in ((Split.TEST, config.test), (Split.VALIDATION, config.validation)):
        if wanted < 1:
            below += wanted
            last = max(int(np.searchsorted(ordered, below)), first + (round(wanted * len(ordered)) >= 1))
            last = min(last, len(ordered))
        else:
            last = min(len(ordered), first + int(wanted))
            below = float(ordered[last - 1]) if last else 0.0
        splits[order[first:last]] = split
        first = last
    return splits

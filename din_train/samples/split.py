"""Protocols: which event of a user is a target of which split, and how much of the history it sees.

A user's clicks b1 .. bn in time order (ties in the log's own order). A target is predicted from clicks before it. b1
has nothing before it and is no target, unless `data.min_history` is 0; in general a target with fewer than
`data.min_history` clicks in its history is no sample.

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

In a log of impressions (events with labels) b1 .. bn are the clicks, and histories hold nothing else. Every impression
is a candidate for a sample. It goes where the next click goes (that is: the click itself, and what was shown between
the click before and it); what was shown after bn goes with bn, its history being b1 .. bn. Under `time` it goes by its
own time. A user with too few clicks is dropped with all impressions; under `user` with a `data.min_history` of 0 none
is.

`presampled` (source `x1`): rows are samples already, see `samples/presampled.py`.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from din_train.config import DataConfig, UserSplitConfig
from din_train.samples.negatives import mix

Ints = NDArray[np.int64]


class Split(IntEnum):
    """The part of the data a sample belongs to; `HISTORY` marks events that are no target."""

    HISTORY = -1
    TRAIN = 0
    VALIDATION = 1
    TEST = 2


SPLITS = (Split.TRAIN, Split.VALIDATION, Split.TEST)


def least_clicks(data: DataConfig) -> int:
    """The least clicks a user needs: for a test target with enough history, and a validation target before it.

    Under `user` with a `min_history` of 0 every impression is a sample, even of a user who never clicked.
    """
    if data.protocol == "user" and data.min_history == 0:
        return 0
    least = data.min_history + 1
    return least + 1 if data.protocol == "holdout" else least


@dataclass(frozen=True)
class UserClicks:
    """Whole users' events in time order, as positions among their clicks.

    user_rows: [E] which user, 0, 1, ... first_events: [users] where each begins. num_clicks: [users].
    clicks_before: [E] clicks of the user before the event. is_click: [E].
    """

    user_rows: Ints
    first_events: Ints
    num_clicks: Ints
    clicks_before: Ints
    is_click: NDArray[np.bool_]

    @classmethod
    def of(cls, users: NDArray[np.int32], is_click: NDArray[np.bool_]) -> "UserClicks":
        """From events sorted by user and time: [E] users, and which events are clicks."""
        starts = np.flatnonzero(np.diff(users, prepend=users[0] - 1)) if len(users) else np.zeros(0, np.int64)
        counts = np.diff(np.append(starts, len(users)))
        user_rows = np.repeat(np.arange(len(starts)), counts)
        up_to: Ints = np.cumsum(is_click) - is_click  # clicks before, over all users
        clicks_before: Ints = up_to - np.repeat(up_to[starts], counts)
        num_clicks = np.add.reduceat(is_click.astype(np.int64), starts) if len(starts) else starts
        return cls(user_rows, starts, num_clicks, clicks_before, is_click)


@dataclass(frozen=True)
class Targets:
    """splits: [E] of `Split`. history_length: [E] clicks that the target sees."""

    splits: NDArray[np.int8]
    history_length: Ints


def assign_splits(
    clicks: UserClicks, data: DataConfig, *, seconds: Ints, user_splits: NDArray[np.int8] | None
) -> Targets:
    """The split and the history of every event as a target.

    Args:
        clicks: whole users.
        data: the protocol and its settings.
        seconds: [E] unix times, for `time`.
        user_splits: [users] of `Split`, for `user`.
    """
    length = clicks.clicks_before
    splits = np.full(len(length), Split.TRAIN, np.int8)
    if data.protocol in ("paper", "holdout"):
        num_clicks = clicks.num_clicks[clicks.user_rows]
        going_with = np.minimum(length, num_clicks - 1)  # the click an impression goes with, from 0
        splits[going_with == num_clicks - 1] = Split.TEST
        if data.protocol == "holdout":
            splits[going_with == num_clicks - 2] = Split.VALIDATION
    elif data.protocol == "time" and data.time_split is not None:
        for split, cut in (
            (Split.VALIDATION, data.time_split.validation_from),
            (Split.TEST, data.time_split.test_from),
        ):
            before = np.bincount(
                clicks.user_rows, weights=clicks.is_click & (seconds < cut), minlength=len(clicks.num_clicks)
            ).astype(np.int64)
            inside = seconds >= cut
            splits[inside] = split
            length = np.where(inside, np.minimum(clicks.clicks_before, before[clicks.user_rows]), length)
    elif data.protocol == "user" and user_splits is not None:
        splits = user_splits[clicks.user_rows]
    else:
        raise ValueError(f"{data.protocol}: not a protocol for events, or its settings are missing")
    splits = np.where(length >= data.min_history, splits, Split.HISTORY).astype(np.int8)
    return Targets(splits, length)


def assign_users(user_codes: Ints, config: UserSplitConfig) -> NDArray[np.int8]:
    """[users] of `Split`: at random, but the same for the same seed and log.

    Args:
        user_codes: [users] distinct numbers.
        config: how many of each; numbers beyond the users there are take all that is left.
    """
    order = np.lexsort((user_codes, mix(mix(np.array([config.seed], np.uint64)) ^ user_codes.astype(np.uint64))))
    splits = np.full(len(user_codes), Split.TRAIN, np.int8)
    test, validation = (_count(share, len(user_codes)) for share in (config.test, config.validation))
    splits[order[:test]] = Split.TEST
    splits[order[test : test + validation]] = Split.VALIDATION
    return splits


def _count(share: float, users: int) -> int:
    return min(users, round(share * users) if share < 1 else int(share))

"""Which distributions are compared, and with which of the run's rows.

    category, fields of items, users, rows    with the training rows
    fields of behaviours                      with all behaviours of the run's data set
    popularity, days since the last           with the run's test rows: a training row is counted in the popularity of
    behaviour, scores                         its own item
    history length                            with the run's latest clicks, of as long a time as the new ones, at least
                                              a day: histories grow with a log, so those of its first days are short

The history length is how many behaviours of the user come before a click, at most `data.max_history_length`, whatever
the protocol. In all of them sampled negatives are left out, but for the scores.
"""

import numpy as np
from numpy.typing import NDArray

from din_train.config import DataConfig
from din_train.dataset.names import read_names
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.time_fields import SECONDS_A_DAY
from din_train.drift.new_log import NewLog
from din_train.drift.stability import Stability, compare_numbers, compare_values
from din_train.drift.unknown_values import read_field_values, take_known
from din_train.evaluation.evaluate import POPULARITY_EDGES
from din_train.evaluation.scores import ScoredRows

TRAINING, TESTED, BEHAVIOURS, LATEST = "training rows", "test rows", "behaviours", "latest clicks"

_OF_HISTORY = "days_since_last"
_NO_HISTORY = "the input has no earlier events, so its histories begin in it"
_FROZEN = "histories end at the run's last event, so that it grows by the day"
# Field -> the least span of new rows in which all of its values may occur, and the reason otherwise.
_LEAST_SPAN = {
    "hour": (SECONDS_A_DAY - 3600, "the new rows span less than a day"),
    "weekday": (7 * SECONDS_A_DAY - 3600, "the new rows span less than a week"),
}


def compare_distributions(
    data: DataConfig,
    run_data: PreparedData,
    log: NewLog,
    *,
    training: Samples,
    tested: Samples,
    targets: Samples,
) -> list[Stability]:
    """All but the scores'.

    Args:
        data: the run's config. log: of which `targets` are the rows, without sampled negatives. training, tested: the
            run's rows, likewise.
    """
    no_history = None if log.has_history else _NO_HISTORY
    popularity = run_data.most_training_events
    latest = log.last - max(log.span, SECONDS_A_DAY if log.times.is_unix else 1)
    lengths = [find_history_lengths(each, after, data) for each, after in ((run_data, latest), (log.data, log.last))]
    compared = [
        compare_numbers("history length", LATEST, lengths[0], lengths[1], not_compared=no_history),
        compare_numbers(
            "item popularity",
            TESTED,
            popularity[tested.target_item_ids],
            take_known(popularity, targets.target_item_ids),
            edges=POPULARITY_EDGES,
        ),
    ]
    names, of_training, of_tests = read_names(run_data), dict(read_field_values(run_data, training)), {}
    if _OF_HISTORY in tested.context:
        of_tests[_OF_HISTORY] = tested.context[_OF_HISTORY]
    for name, new in read_field_values(log.data, targets):
        against, earlier = (TESTED, of_tests[name]) if name in of_tests else (TRAINING, of_training[name])
        if new.dtype != np.int32:
            numbers = [np.where(each[:, 1] > 0, np.nan, each[:, 0]) for each in (earlier, new)]
            compared.append(compare_numbers(name, against, *numbers, has_missing=True))
            continue
        reason = no_history or (_FROZEN if log.is_frozen else None) if name == _OF_HISTORY else _find_reason(name, log)
        compared.append(
            compare_values(
                name,
                against,
                earlier,
                new,
                values=names.values(name),
                num_known=run_data.num_values[name],
                not_compared=reason,
            )
        )
    for name, ids in log.data.event_fields.items():
        compared.append(
            compare_values(
                name,
                BEHAVIOURS,
                run_data.event_fields[name],
                ids[log.is_new_event],
                values=names.values(name),
                num_known=run_data.num_values[name],
            )
        )
    return compared


def find_history_lengths(data: PreparedData, after: int, config: DataConfig) -> NDArray[np.int64]:
    """[N] how many behaviours of its user come before each click after a moment, of those that have enough."""
    users, times = data.event_columns["user_id"], data.event_columns["timestamp"]
    clicks = np.flatnonzero(times > after)
    lengths = np.minimum(clicks - data.user_starts[users[clicks]], config.max_history_length)
    enough: NDArray[np.int64] = lengths[lengths >= config.min_history]
    return enough


def _find_reason(name: str, log: NewLog) -> str | None:
    least, reason = _LEAST_SPAN.get(name, (0, ""))
    return reason if log.span < least else None


def compare_scores(before: ScoredRows, now: ScoredRows) -> Stability:
    """The scores of the run's test rows and of the new ones."""
    return compare_numbers("score", TESTED, before.logit, now.logit)

"""Which rows are one list: a positive with its negatives, or the rows of one request."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import prepare_events

from din_train.dataset.protocols import Split
from din_train.dataset.store import NO_EVENT, Samples


def make(users: list[int], labels: list[int], **columns: Any) -> Samples:
    count = len(users)
    given = {name: np.array(values) for name, values in columns.items() if name != "sequences"}
    defaults = {
        "target_item_ids": np.full(count, 2, np.int32),
        "history_start": np.zeros(count, np.int64),
        "history_length": np.ones(count, np.int32),
        "events": np.arange(count),
    }
    return Samples(
        user_ids=np.array(users, np.int32),
        labels=np.array(labels, np.int8),
        **{**defaults, **given},
        sequences=columns.get("sequences", {}),
    )


def test_rows_of_one_request_are_a_list_with_all_their_positives() -> None:
    samples = make([2, 2, 2, 2, 3, 3], [1, 0, 1, 0, 0, 1], requests=[0, 0, 0, 1, 1, 1])
    assert samples.find_lists().tolist() == [0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize(
    "columns",
    [
        {"history_length": [1, 1, 2, 2]},
        {"history_start": [0, 0, 1, 1]},
        {"timestamps": [5, 5, 6, 6]},
        {"sequences": {"views": (np.zeros(4, np.int64), np.array([1, 1, 3, 3], np.int32))}},
    ],
)
def test_rows_of_a_list_have_one_moment_and_one_history(columns: dict[str, Any]) -> None:
    assert make([2, 2, 2, 2], [1, 0, 0, 1], requests=[0, 0, 0, 0], **columns).find_lists().tolist() == [0, 0, 1, 1]
    assert make([2, 2, 2, 2], [0, 0, 0, 0], **columns).find_lists().tolist() == [0, 0, 1, 1]


def test_rows_without_requests_are_a_list_up_to_the_second_positive() -> None:
    #                                       a run of user 2 ................  of user 3, and of 4
    assert make([2, 2, 2, 2, 2, 3, 3, 4], [0, 1, 0, 1, 0, 1, 1, 0]).find_lists().tolist() == [0, 0, 0, 1, 1, 2, 3, 4]


def test_rows_of_no_event_are_lists_by_their_histories() -> None:
    assert make([2, 2, 3], [0, 0, 0], events=[NO_EVENT] * 3).find_lists().tolist() == [0, 0, 1]
    assert make([], []).find_lists().tolist() == []


def test_a_positive_and_its_sampled_negatives_are_a_list_even_beside_another_of_the_same_moment(tmp_path: Path) -> None:
    # Ties are apart: i2 and i3 both have the history [i1]; i4 and i5 have [i1, i2, i3].
    events = [
        ("u", item, "x", time) for item, time in [("i1", 1), ("i2", 2), ("i3", 2), ("i4", 3), ("i5", 4), ("i6", 5)]
    ]
    others = [("v", f"i{n}", "x", n) for n in range(7, 10)]
    data, _ = prepare_events(tmp_path, [*events, *others], data={"ties": "apart"}, negatives={"per_positive": 2})
    samples = data.samples(Split.TRAIN, 100)
    assert samples.history_length.tolist() == [1, 1, 1, 1, 1, 1, 3, 3, 3]
    assert samples.find_lists().tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]

"""Which stored event is the click of an impression, in a log whose clicks are rows of their own."""

from typing import Any

import numpy as np
import pytest

from din_train.audit.audited_run import NOWHERE, StoredEvents
from din_train.dataset.store import Samples


def make_samples(users: list[int], items: list[int], labels: list[int]) -> Samples:
    def column(values: Any, kind: Any = np.int32) -> Any:
        return np.array(values, kind)

    size = len(users)
    return Samples(
        user_ids=column(users),
        target_item_ids=column(items),
        history_start=np.zeros(size, np.int64),
        history_length=column([0] * size),
        labels=column(labels, np.int8),
        events=np.arange(size),
        context={},
    )


@pytest.mark.parametrize(
    ("user", "item", "moment", "label", "row"),
    [
        (2, 5, 0, 1, 0),
        (2, 5, 10, 1, 0),  # at the moment itself
        (2, 5, 11, 1, 2),  # the next one
        (2, 5, 31, 1, NOWHERE),
        (2, 6, 0, 1, 1),
        (2, 5, 0, 0, NOWHERE),  # not clicked
        (2, 9, 0, 1, NOWHERE),
        (3, 6, 0, 1, NOWHERE),  # another user's
        (3, 5, 0, 1, 3),
    ],
)
def test_the_first_click_at_or_after_the_moment(user: int, item: int, moment: int, label: int, row: int) -> None:
    events = StoredEvents(
        item_ids=np.array([5, 6, 5, 5], np.int32),
        user_ids=np.array([2, 2, 2, 3], np.int32),
        timestamps=np.array([10, 20, 30, 5]),
        ordinals=np.arange(4),
        first=np.array([0, 0, 0, 3]),
        end=np.array([0, 0, 3, 4]),
    )
    assert events.find_clicks_after(make_samples([user], [item], [label]), np.array([moment])).tolist() == [row]

"""The rows of a refit: all of training, and of validation the targets with as many negatives as in training."""

import numpy as np
import pytest

from din_train.dataset.store import Samples
from din_train.dataset.training_rows import join_for_refit


def make(users: list[int], labels: list[int]) -> Samples:
    rows = np.arange(len(users), dtype=np.int32)
    return Samples(
        user_ids=np.array(users, np.int32),
        target_item_ids=rows + 10,
        history_start=rows.astype(np.int64) + 100,
        history_length=rows + 1,
        labels=np.array(labels, np.int8),
        events=rows.astype(np.int64) + 200,
        context={"hour": rows + 50},
    )


@pytest.mark.parametrize(("per_positive", "kept"), [(None, [0, 1, 2, 3, 4]), (1, [0, 1, 3, 4]), (2, [0, 1, 2, 3, 4])])
def test_rows_by_hand(per_positive: int | None, kept: list[int]) -> None:
    training, validation = make([2, 2], [1, 0]), make([3, 3, 3, 4, 4], [1, 0, 0, 1, 0])
    joined = join_for_refit(training, validation, per_positive=per_positive)
    assert joined.user_ids.tolist() == [2, 2, *np.array([3, 3, 3, 4, 4])[kept]]
    assert joined.labels.tolist() == [1, 0, *np.array([1, 0, 0, 1, 0])[kept]]
    for name, first in (("target_item_ids", 10), ("history_start", 100), ("history_length", 1), ("events", 200)):
        assert getattr(joined, name).tolist() == [first, first + 1, *(first + row for row in kept)]
    assert joined.context["hour"].tolist() == [50, 51, *(50 + row for row in kept)]
    assert joined.history_length.dtype == np.int32

"""Rows of equal histories are brought together, whatever their order."""

import numpy as np

from din_train.dataset.store import Samples
from din_train.predict.shared_histories import sort_by_history, unify_histories


def make_samples(user: list[int], start: list[int], length: list[int], carts: tuple[list[int], list[int]]) -> Samples:
    return Samples(
        user_ids=np.array(user, np.int32),
        target_item_ids=np.arange(len(user), dtype=np.int32),
        history_start=np.array(start),
        history_length=np.array(length, np.int32),
        labels=np.zeros(len(user), np.int8),
        events=np.arange(len(user)),
        sequences={"carts": (np.array(carts[0]), np.array(carts[1], np.int32))},
    )


def test_equal_lists_begin_at_the_same_event() -> None:
    events = np.array([5, 6, 5, 6, 7, 5, 6, 7], np.int32)
    samples = make_samples([2, 2, 2, 2], [0, 2, 2, 5], [2, 2, 3, 3], ([4, 7, 0, 0], [1, 1, 0, 1]))
    unified = unify_histories(samples, events)
    assert unified.history_start.tolist() == [0, 0, 2, 2]  # 5 6 twice, 5 6 7 twice
    assert unified.sequences["carts"][0].tolist() == [4, 4, 0, 0]  # 7, 7, nothing, 5


def test_rows_of_one_history_follow_each_other() -> None:
    samples = make_samples([3, 2, 3, 2, 3], [9, 0, 9, 0, 9], [2, 1, 1, 1, 2], ([0] * 5, [0] * 5))
    assert sort_by_history(samples).tolist() == [1, 3, 2, 0, 4]

"""Slices keep a positive and its negatives together, and leave no row out."""

import numpy as np
import pytest

from din_train.config import MetricsConfig
from din_train.dataset.store import PreparedData, Samples
from din_train.evaluation.evaluate import compute_slice_metrics, find_slices, find_targets
from din_train.evaluation.scores import ScoredRows


def make_samples(**columns: object) -> Samples:
    size = len(columns["label"])  # type: ignore[arg-type]
    given = {name: np.array(values, np.int32) for name, values in columns.items() if name != "context"}
    return Samples(
        user_ids=given["user"],
        target_item_ids=given["item"],
        history_start=given.get("start", np.zeros(size, np.int32)).astype(np.int64),
        history_length=given["length"],
        labels=given["label"].astype(np.int8),
        events=np.arange(size),
        context=columns.get("context", {}),  # type: ignore[arg-type]
    )


# user 2: a positive with two negatives; user 3: a negative first, as ready-made samples may have it; user 4: an
# impression with two clicks, which has no one target
SAMPLES = make_samples(
    user=[2, 2, 2, 3, 3, 4, 4, 4],
    item=[5, 7, 8, 6, 5, 9, 5, 7],
    label=[1, 0, 0, 0, 1, 1, 1, 0],
    length=[3, 3, 3, 10, 10, 0, 0, 0],
    start=[0, 0, 0, 3, 3, 13, 13, 13],
)


def data_with(training_events: list[int]) -> PreparedData:
    data = object.__new__(PreparedData)
    object.__setattr__(data, "training_events", np.array(training_events))
    return data


def test_a_rows_target_is_its_impressions_positive_where_it_has_exactly_one() -> None:
    assert find_targets(SAMPLES).tolist() == [5, 5, 5, 5, 5, 9, 5, 7]


def test_two_impressions_of_a_user_have_targets_of_their_own() -> None:
    samples = make_samples(
        user=[2, 2, 2, 2], item=[5, 6, 7, 8], label=[1, 0, 1, 0], length=[3, 3, 4, 4], start=[0, 0, 0, 0]
    )
    assert find_targets(samples).tolist() == [5, 5, 7, 7]


def test_histories_cut_to_one_length_are_told_apart_by_where_they_begin() -> None:
    samples = make_samples(
        user=[2, 2, 2, 2], item=[5, 6, 7, 8], label=[1, 0, 1, 0], length=[9, 9, 9, 9], start=[0, 0, 1, 1]
    )
    assert find_targets(samples).tolist() == [5, 5, 7, 7]


def test_slices_by_length_popularity_and_novelty() -> None:
    #                        id: 0  1  2  3  4  5    6  7  8  9
    data = data_with([0, 0, 1, 1, 1, 120, 4, 7, 3, 0])
    slices = find_slices(data, SAMPLES, {})
    named = {key: {name: np.flatnonzero(rows).tolist() for name, rows in parts} for key, parts in slices.items()}
    assert named["history_length"] == {"0": [5, 6, 7], "1-4": [0, 1, 2], "10-19": [3, 4]}
    assert named["target_popularity"] == {"0": [5], "5-9": [7], "100-999": [0, 1, 2, 3, 4, 6]}
    assert named["target_item"] == {"new": [5], "known": [0, 1, 2, 3, 4, 6, 7]}


def test_context_values_are_slices_and_the_rare_ones_are_together() -> None:
    ids = np.array([1, 2, 2, 3, 3, 3, 4, 4], np.int32)
    samples = make_samples(user=[2] * 8, item=[5] * 8, label=[1] * 8, length=[1] * 8, context={"weekday": ids})
    values = [None, None, "Monday", "Tuesday", "Wednesday"]
    parts = find_slices(data_with([1] * 10), samples, {"weekday": values})["weekday"]
    assert {name: int(rows.sum()) for name, rows in parts} == {"unknown": 1, "Monday": 2, "Tuesday": 3, "Wednesday": 2}
    many = make_samples(
        user=[2] * 41, item=[5] * 41, label=[1] * 41, length=[1] * 41,
        context={"page": np.append(np.arange(2, 42), 7).astype(np.int32)},
    )  # fmt: skip
    pages = find_slices(data_with([1] * 10), many, {"page": [None, None, *(f"p{n}" for n in range(40))]})["page"]
    assert len(pages) == 31
    assert pages[-1][0] == "other"
    assert int(pages[-1][1].sum()) == 10
    assert {name: int(rows.sum()) for name, rows in pages}["p5"] == 2


@pytest.mark.parametrize("dimension", ["history_length", "target_popularity", "target_item"])
def test_every_row_is_in_one_slice_of_a_dimension(dimension: str) -> None:
    parts = find_slices(data_with([0, 0, 1, 1, 1, 120, 4, 7, 3, 0]), SAMPLES, {})[dimension]
    np.testing.assert_array_equal(np.sum([rows for _, rows in parts], axis=0), np.ones(len(SAMPLES)))


def test_a_slices_metrics_are_those_of_its_rows_alone() -> None:
    rows = ScoredRows.of(SAMPLES, np.array([3, 2, 4, 1, 2, 0, 1, 2], np.float32))
    metrics = compute_slice_metrics(
        rows, {"half": [("first", np.arange(8) < 5), ("last", np.arange(8) >= 5)]}, MetricsConfig()
    )
    first, last = metrics["half"]
    # user 2 (3 impressions): 3 > 2, 3 < 4: one half; user 3 (2 impressions): 2 > 1: one
    assert (first["name"], first["gauc"], first["num_samples"]) == ("first", pytest.approx((3 * 0.5 + 2 * 1) / 5), 5)
    assert (last["gauc"], last["gauc_users"], last["gauc_users_skipped"]) == (0.0, 1, 0)


def test_a_slices_gauc_has_the_weights_asked_for() -> None:
    rows = ScoredRows.of(SAMPLES, np.array([3, 2, 4, 1, 2, 0, 1, 2], np.float32))
    config = MetricsConfig(gauc_weighting="uniform")
    (first,) = compute_slice_metrics(rows, {"half": [("first", np.arange(8) < 5)]}, config)["half"]
    assert first["gauc"] == pytest.approx((0.5 + 1) / 2)  # by impressions it would be (3 * 0.5 + 2 * 1) / 5

"""Which test users are shown follows from the rule alone."""

import numpy as np

from din_train.dataset.store import Samples
from din_train.explain.examples import choose_example_rows
from din_train.report.attention import build_example


def make_samples(lengths: list[int], *, negatives: int = 1) -> Samples:
    """One user a length, from 2; a clicked row and so many sampled ones after it, all with the user's history."""
    width = 1 + negatives
    users = np.repeat(np.arange(2, 2 + len(lengths), dtype=np.int32), width)
    return Samples(
        user_ids=users,
        target_item_ids=np.arange(2, 2 + len(users), dtype=np.int32),
        history_start=np.repeat(np.arange(len(lengths), dtype=np.int64) * 100, width),
        history_length=np.repeat(np.array(lengths, np.int32), width),
        labels=np.tile(np.array([1] + [0] * negatives, np.int8), len(lengths)),
        events=np.repeat(np.arange(len(lengths)), width),
    )


def test_one_of_each_sixth_by_score_of_histories_of_5_to_20() -> None:
    lengths = [4, 21, *range(5, 21), 5, 6]  # users 2 and 3 have another length, the next 18 do not
    samples = make_samples(lengths)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=len(samples)).astype(np.float32)
    eligible = np.arange(4, len(samples), 2)
    ranked = eligible[np.argsort(logits[eligible])]
    chosen = choose_example_rows(samples, logits, seed=7)
    assert [row // 2 for row, _ in chosen] == [sampled // 2 for _, sampled in chosen if sampled is not None]
    assert [sampled for _, sampled in chosen] == [row + 1 for row, _ in chosen]
    places = [int(np.flatnonzero(ranked == row)[0]) for row, _ in chosen]
    assert [place // 3 for place in places] == [0, 1, 2, 3, 4, 5]
    assert chosen == choose_example_rows(samples, logits, seed=7)
    others = {tuple(row for row, _ in choose_example_rows(samples, logits, seed=seed)) for seed in range(20)}
    assert len(others) > 10  # drawn, not the first of each part


def test_a_user_counts_once_with_the_first_clicked_row() -> None:
    samples = make_samples([6, 6, 6])
    same = Samples(**{**samples.__dict__, "user_ids": np.full(6, 2, np.int32)})
    assert choose_example_rows(same, np.arange(6, dtype=np.float32), seed=1) == [(0, 1)]


def test_unknown_items_are_not_shown() -> None:
    samples = make_samples([6, 7])
    samples.target_item_ids[0] = 1
    assert choose_example_rows(samples, np.zeros(4, np.float32), seed=1) == [(2, 3)]


def test_without_such_a_length_any_history_will_do_but_none() -> None:
    assert choose_example_rows(make_samples([2, 0, 30]), np.zeros(6, np.float32), seed=1) == [(0, 1), (4, 5)]
    assert choose_example_rows(make_samples([0, 0]), np.zeros(4, np.float32), seed=1) == []


def test_the_sampled_item_is_the_next_not_clicked_with_the_same_history() -> None:
    samples = make_samples([6, 7], negatives=3)
    logits = np.zeros(8, np.float32)
    assert choose_example_rows(samples, logits, seed=1) == [(0, 1), (4, 5)]
    samples.history_length[1] = 5  # another history of the same user
    assert choose_example_rows(samples, logits, seed=1)[0] == (0, 2)
    before = samples.take(np.array([2, 0]))  # the not clicked one is stored first
    assert choose_example_rows(before, logits[:2], seed=1) == [(1, 0)]
    alone = samples.take(np.array([0, 4, 5]))
    assert choose_example_rows(alone, logits[:3], seed=1) == [(0, None), (1, 2)]


def test_an_example_has_the_weights_of_its_candidates() -> None:
    event = {"item": "a", "title": None, "category": "x", "timestamp": 5}
    candidate = {"item": "b", "title": "B", "category": None, "click_probability": 0.25}
    other = {**candidate, "item": "c"}
    weighed = build_example("u", {"history": [event]}, (candidate, [[0.5]]), (other, [[0.75]]))  # type: ignore[arg-type,list-item]
    assert weighed == {
        "user": "u",
        "clicked": candidate,
        "sampled": other,
        "behaviours": [{**event, "weight_clicked": 0.5, "weight_sampled": 0.75}],
    }
    alone = build_example("u", {"history": [event]}, (candidate, [[0.5]]))  # type: ignore[arg-type,list-item]
    assert (alone["sampled"], alone["behaviours"][0]["weight_sampled"]) == (None, None)

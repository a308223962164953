"""Which test users are shown follows from the rule alone; the file is whole, and refused where it is not."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from din_train.dataset.store import Samples
from din_train.errors import RunError
from din_train.explain.examples import Example, build_example, choose_rows, read_examples, write_examples


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
    chosen = choose_rows(samples, logits, seed=7)
    assert [row // 2 for row, _ in chosen] == [sampled // 2 for _, sampled in chosen if sampled is not None]
    assert [sampled for _, sampled in chosen] == [row + 1 for row, _ in chosen]
    places = [int(np.flatnonzero(ranked == row)[0]) for row, _ in chosen]
    assert [place // 3 for place in places] == [0, 1, 2, 3, 4, 5]
    assert chosen == choose_rows(samples, logits, seed=7)
    others = {tuple(row for row, _ in choose_rows(samples, logits, seed=seed)) for seed in range(20)}
    assert len(others) > 10  # drawn, not the first of each part


def test_a_user_counts_once_with_the_first_clicked_row() -> None:
    samples = make_samples([6, 6, 6])
    same = Samples(**{**samples.__dict__, "user_ids": np.full(6, 2, np.int32)})
    assert choose_rows(same, np.arange(6, dtype=np.float32), seed=1) == [(0, 1)]


def test_unknown_items_are_not_shown() -> None:
    samples = make_samples([6, 7])
    samples.target_item_ids[0] = 1
    assert choose_rows(samples, np.zeros(4, np.float32), seed=1) == [(2, 3)]


def test_without_such_a_length_any_history_will_do_but_none() -> None:
    assert choose_rows(make_samples([2, 0, 30]), np.zeros(6, np.float32), seed=1) == [(0, 1), (4, 5)]
    assert choose_rows(make_samples([0, 0]), np.zeros(4, np.float32), seed=1) == []


def test_the_sampled_item_is_the_next_not_clicked_with_the_same_history() -> None:
    samples = make_samples([6, 7], negatives=3)
    logits = np.zeros(8, np.float32)
    assert choose_rows(samples, logits, seed=1) == [(0, 1), (4, 5)]
    samples.history_length[1] = 5  # another history of the same user
    assert choose_rows(samples, logits, seed=1)[0] == (0, 2)
    before = samples.take(np.array([2, 0]))  # the not clicked one is stored first
    assert choose_rows(before, logits[:2], seed=1) == [(1, 0)]
    alone = samples.take(np.array([0, 4, 5]))
    assert choose_rows(alone, logits[:3], seed=1) == [(0, None), (1, 2)]


def make_example() -> Example:
    history = [{"item": "a", "title": None, "category": "x", "timestamp": 5}]
    candidate = {"item": "b", "title": "B", "category": None, "click_probability": 0.25}
    return build_example("u", history, (candidate, np.array([0.5])))  # type: ignore[arg-type,list-item]


def test_the_files_form(tmp_path: Path) -> None:
    path = tmp_path / "attention.json"
    write_examples(path, [make_example()])
    assert orjson.loads(path.read_bytes()) == {
        "examples": [
            {
                "user": "u",
                "clicked": {"item": "b", "title": "B", "category": None, "click_probability": 0.25},
                "sampled": None,
                "behaviours": [
                    {
                        "item": "a", "title": None, "category": "x", "timestamp": 5,
                        "weight_clicked": 0.5, "weight_sampled": None,
                    }
                ],
            }
        ]
    }  # fmt: skip
    assert read_examples(path) == [make_example()]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["attention.json", "checksums.json"]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "no such file"),
        (b"{", "damaged or changed"),
        (b"[]", "damaged or changed"),
        (b'{"examples": [{"user": "u"}]}', "damaged or changed"),
    ],
)
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, contents: bytes | None, message: str) -> None:
    path = tmp_path / "attention.json"
    write_examples(path, [make_example()])
    path.unlink()
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(RunError, match=message):
        read_examples(path)

"""Unknown items, users and values, counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from log_factory import make_config, write_table

from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.drift.distributions import compare_distributions, find_history_lengths
from din_train.drift.new_log import drop_negatives, open_new_log
from din_train.drift.unknown_values import measure_unknown

HEADER = ["user", "item", "category", "time", "colour", "price", "tags", "age"]
DAY = 86_400
START = 1_600_000_000 // DAY * DAY
FIELDS = {
    "item_fields": ["colour", "price", "tags"],
    "user_fields": ["age"],
    "list_fields": {"tags": {"separator": "|"}},
    "numeric_fields": ["price"],
    "standardized_fields": ["age"],
    "num_buckets": 2,
}
# Item -> category, colour, price, tags. e and f are in the new log alone; g and h are never in training.
ITEMS = {
    "a": ("x", "red", "1", "p|q"),
    "b": ("x", "blue", "2", "q"),
    "c": ("y", "", "3", "p"),
    "d": ("y", "red", "4", ""),
    "e": ("z", "RED", "9", "p|r|s"),
    "f": ("", "", "none", ""),
    "g": ("y", "blue", "5", "q"),
    "h": ("y", "blue", "6", "q"),
}


def log_of(user: str, items: str, first: int, age: str) -> list[tuple[object, ...]]:
    return [
        (user, item, ITEMS[item][0], START + (first + day) * DAY, *ITEMS[item][1:], age)
        for day, item in enumerate(items)
    ]


def test_by_hand(tmp_path: Path) -> None:
    old = log_of("u", "abcd", 0, "20") + log_of("v", "dcba", 0, "40") + log_of("x", "ghg", 0, "40")
    new = log_of("u", "aef", 4, "20") + log_of("w", "e", 6, "")
    write_table(tmp_path / "log.tsv", HEADER, old)
    config = make_config(tmp_path, data=FIELDS)
    prepare_data(config, force=False, progress=lambda _: None)
    run_data = open_store(config.data.prepared)
    log_file = write_table(tmp_path / "new.tsv", HEADER, old + new)
    training, tested = (
        drop_negatives(run_data.samples(split, 100), sampled=True) for split in (Split.TRAIN, Split.TEST)
    )
    with open_new_log(config, run_data, {"input": log_file}) as log:
        targets = drop_negatives(log.data.samples(Split.TEST, 100), sampled=True)
        rows = {"training": training, "tested": tested, "targets": targets}
        shares = measure_unknown(run_data, log.data, **rows, is_new_event=log.is_new_event)
        compared = {each.name: each for each in compare_distributions(config.data, run_data, log, **rows)}
    found = {
        each.name: (each.rows, each.unknown, each.missing, each.distinct, each.distinct_unknown) for each in shares
    }
    assert found == {
        "item": (4, 3, 0, 3, 2),  # a, e, f, e
        "user": (4, 1, 0, 2, 1),
        "category": (4, 2, 1, 2, 1),  # x, z, none, z
        "colour": (4, 2, 1, 2, 1),  # red, RED, none, RED
        "price": (4, 0, 1, 2, 0),  # two buckets, and one that is no number
        "tags": (9, 4, 1, 4, 2),  # p q, p r s, none, p r s
        "age": (4, 0, 1, 1, 0),
    }
    # Training rows are the second clicks, b of u and c of v: one of two has no colour, and each has a tag.
    assert {each.name: each.earlier_missing for each in shares} == {
        **dict.fromkeys(found, 0.0),
        "colour": 0.5,
    }
    by_name = {each.name: each for each in shares}
    assert by_name["colour"].measured == 0.5  # 1 of 4 is missing, no more than in training
    assert by_name["tags"].measured == pytest.approx(5 / 9)
    # Test items are d, a and g; each of the first two was in the history of a training row.
    assert by_name["item"].earlier_unknown == pytest.approx(1 / 3)
    assert dict(zip(compared["colour"].bins, compared["colour"].new.tolist(), strict=True)) == {
        "blue": 0, "other values": 1, "no known value": 3,
    }  # fmt: skip
    assert compared["age"].new.tolist()[-1] == 1


def test_history_lengths_are_those_of_clicks_after_a_moment(tmp_path: Path) -> None:
    write_table(tmp_path / "log.tsv", HEADER, log_of("u", "abcda", 0, "1") + log_of("v", "abc", 2, "1"))
    config = make_config(tmp_path, data={"max_history_length": 3})
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    assert np.sort(find_history_lengths(data, START, config.data)).tolist() == [1, 1, 2, 2, 3, 3]
    assert np.sort(find_history_lengths(data, START + 3 * DAY, config.data)).tolist() == [2, 3]

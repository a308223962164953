"""Which event is a target of which split: a golden file by hand, short users, ties, the newest history kept."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from log_factory import prepare_events, read_positives

from din_train.errors import DataError
from din_train.samples.split import Split, assign_splits

GOLDEN = yaml.safe_load((Path(__file__).parent / "golden" / "six_events.yaml").read_text())
H, TRAIN, VALIDATION, TEST = Split.HISTORY, Split.TRAIN, Split.VALIDATION, Split.TEST

# Another user, so that there is something to draw negatives from.
OTHER = [("v", item, "x", time) for time, item in enumerate("pqr")]


@pytest.mark.parametrize("protocol", ["paper", "holdout"])
def test_golden_split_of_a_six_event_user(tmp_path: Path, protocol: str) -> None:
    events = [(user, item, "x", time) for user, item, time in GOLDEN["log"]]
    data, _ = prepare_events(tmp_path, [*OTHER, *events], data={"protocol": protocol})
    for split in (TRAIN, VALIDATION, TEST):
        found = [
            {"target": each["target"], "history": each["history"]}
            for each in read_positives(data, split)
            if each["user"] == "u"
        ]
        assert found == GOLDEN[protocol][split.name.lower()]


@pytest.mark.parametrize(
    ("protocol", "events", "expected"),
    [
        ("paper", 2, [H, TEST]),
        ("paper", 3, [H, TRAIN, TEST]),
        ("paper", 4, [H, TRAIN, TRAIN, TEST]),
        ("holdout", 3, [H, VALIDATION, TEST]),
        ("holdout", 4, [H, TRAIN, VALIDATION, TEST]),
    ],
)
def test_short_users(protocol: str, events: int, expected: list[Split]) -> None:
    assert assign_splits(np.array([events]), protocol).tolist() == expected
    assert assign_splits(np.array([5, events]), protocol).tolist()[5:] == expected


@pytest.mark.parametrize(("protocol", "dropped_users", "dropped_events"), [("paper", 1, 1), ("holdout", 2, 3)])
def test_users_of_too_few_events_are_dropped_and_counted(
    tmp_path: Path, protocol: str, dropped_users: int, dropped_events: int
) -> None:
    events = [*OTHER, ("one", "a", "x", 1), ("two", "b", "x", 1), ("two", "c", "x", 2)]
    _, preparation = prepare_events(tmp_path, events, data={"protocol": protocol})
    dropped = preparation.manifest["dropped"]
    assert dropped["users_with_too_few_events"] == dropped_users
    assert dropped["events_of_those_users"] == dropped_events


def test_nobody_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no user has the 3 events the protocol needs"):
        prepare_events(tmp_path, [("u", "a", "x", 1), ("u", "b", "x", 2)])


def test_a_long_history_keeps_its_newest(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, [*OTHER, *(("u", item, "x", time) for time, item in enumerate("abcdef"))])
    (test,) = [each for each in read_positives(data, TEST, max_history_length=2) if each["user"] == "u"]
    assert test == {"user": "u", "target": "f", "history": ["d", "e"]}

"""Random logs through every protocol, against a plain reading of the protocol's words."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from log_factory import make_config, read_samples, write_table

from din_train.errors import DataError
from din_train.samples.prepare import prepare_data
from din_train.samples.split import Split
from din_train.samples.store import open_store

COLUMNS = {"user": "user", "item": "item", "timestamp": "time"}
CUTS = (3, 6)

ROWS = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdefgh"), st.integers(0, 9), st.integers(0, 1)),
    min_size=1,
    max_size=40,
)
Row = dict[str, Any]


def split_by_the_book(rows: list[tuple[str, str, int, int]], protocol: str, min_history: int) -> dict[str, list[Row]]:
    """Every sample that stems from an event of the log, a user at a time; `user` is left to the caller."""
    expected: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for user in dict.fromkeys(row[0] for row in rows):
        events = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
        clicks = [row for row in events if row[3]]
        everyone = protocol == "user" and min_history == 0
        if not everyone and len(clicks) < min_history + 1 + (protocol == "holdout"):
            continue
        before = 0  # clicks before the event
        for _, item, time, label in events:
            nth = min(before, len(clicks) - 1)  # the click this event is, or goes with
            history = clicks[:before]
            if protocol == "time":
                split = "train" if time < CUTS[0] else "validation" if time < CUTS[1] else "test"
                cut = {"train": 10, "validation": CUTS[0], "test": CUTS[1]}[split]
                history = [click for click in history if click[2] < cut]
            elif nth == len(clicks) - 1 and protocol != "user":
                split = "test"
            elif nth == len(clicks) - 2 and protocol == "holdout":
                split = "validation"
            else:
                split = "train"
            if len(history) >= min_history:
                sample = {"user": user, "target": item, "history": [click[1] for click in history], "label": label}
                expected[split].append(sample)
            before += label
    return expected


def run(rows: list[Any], folder: Path, *, labelled: bool, **sections: Any) -> dict[str, list[Row]] | None:
    """The stored samples of every split, None where no user is left."""
    write_table(folder / "log.tsv", ["user", "item", "time", "label"], rows)
    data = sections.pop("data")
    data["columns"] = {**COLUMNS, "label": "label"} if labelled else COLUMNS
    config = make_config(folder, data=data, **sections)
    problem = None
    try:
        prepare_data(config, force=True, progress=lambda _: None)
    except DataError as error:
        problem = str(error)
    if problem is not None:
        assert "no user has" in problem
        return None
    prepared = open_store(config.data.prepared)
    return {split.name.lower(): read_samples(prepared, split) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)}


def make_data(protocol: str, min_history: int) -> dict[str, Any]:
    cuts = {"time_split": {"validation_from": CUTS[0], "test_from": CUTS[1]}} if protocol == "time" else {}
    users = {"user_split": {"validation": 1, "test": 1}} if protocol == "user" else {}
    return {"protocol": protocol, "min_history": min_history, **cuts, **users}


def merge_users(splits: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Under `user` all of a user's samples are in one split; put them where the book has them: in train."""
    of_split = {split: {row["user"] for row in rows} for split, rows in splits.items()}
    assert sum(map(len, of_split.values())) == len(set().union(*of_split.values()))
    users = set().union(*of_split.values())
    every = [row for user in sorted(users) for rows in splits.values() for row in rows if row["user"] == user]
    return {"train": every, "validation": [], "test": []}


def sort_users(splits: dict[str, list[Row]]) -> dict[str, list[Row]]:
    return {split: sorted(rows, key=lambda row: row["user"]) for split, rows in splits.items()}  # a stable sort


def check(found: dict[str, list[Row]] | None, expected: dict[str, list[Row]], protocol: str) -> None:
    if found is None:
        assert not any(expected.values())
        return
    found = merge_users(found) if protocol == "user" else found
    assert sort_users(found) == sort_users(expected)


@pytest.mark.parametrize("protocol", ["holdout", "paper", "time", "user"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(rows=ROWS, min_history=st.integers(0, 2))
def test_every_impression_is_used_exactly_as_the_protocol_says(
    protocol: str, rows: list[tuple[str, str, int, int]], min_history: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = run(rows, Path(folder), labelled=True, data=make_data(protocol, min_history))
    check(found, split_by_the_book(rows, protocol, min_history), protocol)


@pytest.mark.parametrize("protocol", ["holdout", "paper", "time", "user"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(
    rows=ROWS,
    min_history=st.integers(0, 2),
    per_positive=st.integers(1, 3),
    exclude=st.sampled_from(["all", "history"]),
    distribution=st.sampled_from(["uniform", "popularity"]),
)
def test_every_event_is_used_exactly_as_the_protocol_says_and_negatives_are_what_they_may_be(
    protocol: str,
    rows: list[tuple[str, str, int, int]],
    min_history: int,
    per_positive: int,
    exclude: str,
    distribution: str,
) -> None:
    negatives = {
        "per_positive": per_positive,
        "evaluation_per_positive": per_positive,
        "exclude": exclude,
        "distribution": distribution,
    }
    rows = [(*row[:3], 1) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(protocol, min_history)
        found = run(rows, Path(folder), labelled=False, data=data, negatives=negatives)
    expected = split_by_the_book(rows, protocol, min_history)
    positives = None if found is None else {s: [row for row in each if row["label"]] for s, each in found.items()}
    check(positives, expected, protocol)
    own: dict[str, list[str]] = {}
    for user, item, _, _ in sorted(rows, key=lambda row: row[2]):
        own.setdefault(user, []).append(item)
    kept_users = {row["user"] for each in (found or {}).values() for row in each}
    items = {item for user in own for item in own[user]}
    for each in (found or {}).values():
        for positive, drawn in group(each):
            excluded = set(own[positive["user"]] if exclude == "all" else [*positive["history"], positive["target"]])
            assert not excluded & {row["target"] for row in drawn}
            assert all(row["history"] == positive["history"] and row["user"] == positive["user"] for row in drawn)
            assert (
                len(drawn) == per_positive
                or distribution == "popularity"
                or not items - excluded
                or (kept_users != own.keys() and not drawn)
            )


def group(rows: Iterable[Row]) -> list[tuple[Row, list[Row]]]:
    """Each positive with the negatives behind it."""
    groups: list[tuple[Row, list[Row]]] = []
    for row in rows:
        if row["label"]:
            groups.append((row, []))
        else:
            groups[-1][1].append(row)
    return groups


READY_MADE = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.sampled_from("abcde"),
        st.lists(st.sampled_from(["a", "b", "c", "ab"]), max_size=4),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(train=READY_MADE, test=READY_MADE)
def test_every_ready_made_row_is_kept_with_its_history(train: list[Any], test: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, rows in (("train", train), ("test", test)):
            lines = [f"{label},{u},{i},c,{'^'.join(h)},{'^'.join('c' for _ in h)}\n" for u, i, h, label in rows]
            (folder / f"{split}.csv").write_text(
                "label,user_id,item_id,cate_id,item_history,cate_history\n" + "".join(lines)
            )
        files = {split: str(folder / f"{split}.csv") for split in ("train", "test")}
        config = make_config(folder, data={"source": "x1", "events": None, "columns": None, **files})
        prepare_data(config, force=False, progress=lambda _: None)
        data = open_store(config.data.prepared)
        found = {split: read_samples(data, split) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)}
    held: dict[str, tuple[int, list[str]]] = {}  # user -> row of the longest positive history, that history
    for place, (user, _, history, label) in enumerate(train):
        if label and (user not in held or len(history) > len(held[user][1])):
            held[user] = (place, history)
    expected: dict[Split, list[Row]] = {split: [] for split in found}
    for place, (user, item, history, label) in enumerate(train):
        is_held = user in held and (place == held[user][0] or (not label and history == held[user][1]))
        row = {"user": user, "target": item, "history": history, "label": label}
        expected[Split.VALIDATION if is_held else Split.TRAIN].append(row)
    expected[Split.TEST] = [{"user": u, "target": i, "history": h, "label": label} for u, i, h, label in test]
    assert found == expected

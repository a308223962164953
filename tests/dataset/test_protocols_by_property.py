"""Random logs through every protocol, against a plain reading of the protocol's words.

Preparing takes the time, whatever the size: a few logs of many users try what many logs of a few would.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, assume, given, settings
from log_factory import make_config, read_samples, write_table

from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.errors import DataError

COLUMNS = {"user": "user", "item": "item", "timestamp": "time"}
CUTS = (3, 6)

ROWS = st.lists(
    st.tuples(st.sampled_from("opqrstuvwx"), st.sampled_from("abcdefgh"), st.integers(0, 9), st.integers(0, 1)),
    min_size=20,  # of less, few users have what a protocol asks for
    max_size=100,
)
IMPRESSIONS = st.lists(
    st.tuples(
        st.sampled_from("opquvw"),
        st.sampled_from("abcdefgh"),
        st.integers(0, 9),
        st.integers(0, 1),
        st.sampled_from("rst-"),
    ),
    min_size=20,
    max_size=80,
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
    header = ["user", "item", "time", "label", "request"]
    write_table(folder / "log.tsv", header[: len(rows[0])], rows)
    data = sections.pop("data")
    data["columns"] = {**COLUMNS, **{name: name for name in header[3 : len(rows[0])]}} if labelled else COLUMNS
    config = make_config(folder, data=data, **sections)
    problem = None
    try:
        prepare_data(config, force=True, progress=lambda _: None)
    except DataError as error:
        problem = str(error)
    if problem is not None:
        # Of a class or a split without a sample; what is said then has tests of its own.
        assume("nothing to tell apart" not in problem and "data.time_split" not in problem)
        assume("data.user_split" not in problem and "split has no sample" not in problem)
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


def split_impressions_by_the_book(
    rows: list[tuple[str, str, int, int, str]], protocol: str, min_history: int, lag: int
) -> dict[str, list[Row]]:
    """Every sample, a user and a request at a time; an empty request id: the rows of the user's one time."""
    expected: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for user in sorted({row[0] for row in rows}):
        requests: dict[str, list[tuple[str, str, int, int, str]]] = {}
        for row in rows:
            if row[0] == user:
                requests.setdefault(f"id {row[4]}" if row[4] else f"at {row[2]}", []).append(row)
        order = sorted(requests, key=lambda key: (min(row[2] for row in requests[key]), key))
        clicked = [key for key in order if any(row[3] for row in requests[key])]  # b1 .. bn
        if not (protocol == "user" and min_history == 0) and len(clicked) < min_history + 1 + (protocol == "holdout"):
            continue
        clicks = sorted(
            (time, item) for _, item, time, label, _ in (row for key in order for row in requests[key]) if label
        )
        shared: dict[str, list[str]] = {}
        for place, key in enumerate(order):
            moment = min(row[2] for row in requests[key])
            goes_with = next((each for each in order[place:] if each in clicked), clicked[-1] if clicked else None)
            until = moment - lag
            if protocol == "time":
                split = "train" if moment < CUTS[0] else "validation" if moment < CUTS[1] else "test"
                until = min(until, {"train": 99, "validation": CUTS[0] - lag, "test": CUTS[1] - lag}[split])
            elif protocol == "user":
                split = "train"
            elif goes_with == clicked[-1]:
                split = "test"
            else:
                split = "validation" if protocol == "holdout" and goes_with == clicked[-2] else "train"
            history = [item for time, item in clicks if time < until]
            if protocol in ("paper", "holdout") and split != "train":
                history = shared.setdefault(split, history)
            if len(history) >= min_history:
                for _, item, _, label, _ in sorted(requests[key], key=lambda row: (row[1], row[2], row[3])):
                    expected[split].append({"user": user, "target": item, "history": history, "label": label})
    return expected


@pytest.mark.parametrize("protocol", ["holdout", "paper", "time", "user"])
@settings(max_examples=7, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(
    rows=IMPRESSIONS, min_history=st.integers(0, 2), lag=st.integers(0, 2), with_ids=st.booleans(), seed=st.randoms()
)
def test_impressions_are_used_as_the_protocol_says_whatever_the_order_of_the_lines(
    protocol: str,
    rows: list[tuple[str, str, int, int, str]],
    min_history: int,
    lag: int,
    with_ids: bool,
    seed: Any,
) -> None:
    rows = [(*row[:4], "" if row[4] == "-" or not with_ids else row[4]) for row in rows]
    shuffled = seed.sample(rows, len(rows))
    kept = slice(None) if with_ids else slice(4)
    data = {**make_data(protocol, min_history), "history_lag": lag}
    with tempfile.TemporaryDirectory() as folder:
        found = run([row[kept] for row in shuffled], Path(folder), labelled=True, data=data)
    expected = split_impressions_by_the_book(rows, protocol, min_history, lag)
    if found is None:
        assert not any(expected.values())
        return
    found = merge_users(found) if protocol == "user" else found
    assert found == {split: sorted(each, key=lambda row: row["user"]) for split, each in expected.items()}


@pytest.mark.parametrize("protocol", ["holdout", "paper", "time", "user"])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
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
    own: dict[str, list[str]] = {}
    for user, item, _, _ in sorted(rows, key=lambda row: row[2]):
        own.setdefault(user, []).append(item)
    least = 0 if protocol == "user" and min_history == 0 else min_history + 1 + (protocol == "holdout")
    items = {item for chosen in own.values() for item in chosen if len(chosen) >= least}

    def can_be_drawn(positive: Row) -> set[str]:
        chosen = own[positive["user"]] if exclude == "all" else [*positive["history"], positive["target"]]
        return items - set(chosen)

    if exclude == "history" and protocol == "time":  # the target's place in the list is not the history's end
        check_some_are_left_out(positives, expected)
    elif distribution == "uniform":
        expected = {s: [row for row in each if can_be_drawn(row)] for s, each in expected.items()}
        check(positives, expected, protocol)
    else:  # nor can an item without a training event be drawn
        check_some_are_left_out(positives, expected)
    for each in (found or {}).values():
        for positive, drawn in group(each):
            excluded = set(own[positive["user"]] if exclude == "all" else [*positive["history"], positive["target"]])
            assert not excluded & {row["target"] for row in drawn}
            assert all(row["history"] == positive["history"] and row["user"] == positive["user"] for row in drawn)
            assert len(drawn) == per_positive


def check_some_are_left_out(found: dict[str, list[Row]] | None, expected: dict[str, list[Row]]) -> None:
    """That every positive is the book's, each of its own, in the book's order for its user."""
    of_book = [row for each in expected.values() for row in each]
    for user in {row["user"] for row in of_book}:
        left = iter(row for row in of_book if row["user"] == user)
        rows = [row for each in (found or {}).values() for row in each if row["user"] == user]
        assert all(row in left for row in rows)


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
        st.sampled_from("rstuvw"),
        st.sampled_from("abcde"),
        st.lists(st.sampled_from(["a", "b", "c", "ab"]), max_size=4),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(train=READY_MADE, test=READY_MADE)
def test_every_ready_made_row_is_kept_with_its_history(train: list[Any], test: list[Any]) -> None:
    assume(train != test and all({label for *_, label in rows} == {0, 1} for rows in (train, test)))
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

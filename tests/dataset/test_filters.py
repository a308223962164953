"""What is left out before the protocol applies, and items without enough training events: each counted."""

from pathlib import Path
from typing import Any

import pytest
from log_factory import Event, make_config, prepare_events, read_events, read_raw_ids, read_samples, write_table

from din_train.dataset.negatives import UnknownItems
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store

DAY = 86_400
START = 1_400_000_000 // DAY * DAY  # 2014-05-13


def kept(data: PreparedData) -> list[tuple[str, str, int]]:
    """The stored events in raw ids."""
    users, items = read_raw_ids(data, "users", "user_id", "user"), read_raw_ids(data, "items", "item_id", "item")
    events = read_events(data)
    rows = zip(events["user_id"], events["item_id"], events["timestamp"], strict=True)
    return [(users[user], items[item], time) for user, item, time in rows]


def events_of(user: str, items: str, times: Any = None) -> list[Event]:
    return [(user, item, "x", time) for item, time in zip(items, times or range(len(items)), strict=True)]


def test_a_window_of_time(tmp_path: Path) -> None:
    events = [*events_of("u", "abcdef", range(START, START + 6 * DAY, DAY)), *events_of("v", "abc", [START] * 3)]
    window = {"since": "2014-05-14", "until": START + 5 * DAY}
    data, preparation = prepare_events(tmp_path, events, filters=window)
    assert kept(data) == [("u", item, START + n * DAY) for n, item in enumerate("bcde", 1)]
    assert preparation.manifest.dropped["events_outside_the_time_window"] == 5
    assert preparation.manifest.dropped["users_with_too_few_events"] == 0  # v is gone with its events


def test_a_window_is_in_seconds_whatever_the_logs_unit(tmp_path: Path) -> None:
    events = events_of("u", "abcdef", [(START + n * DAY) * 1000 + 7 for n in range(6)])
    data, _ = prepare_events(tmp_path, events, filters={"since": START + DAY, "until": START + 5 * DAY})
    assert kept(data) == [("u", item, START + n * DAY) for n, item in enumerate("bcde", 1)]


@pytest.mark.parametrize(
    ("duplicates", "expected", "dropped"),
    [
        ("keep", ["a", "b", "a", "a", "b"], 0),
        ("drop-same-time", ["a", "b", "a", "b"], 1),
        ("drop-same-item", ["a", "b"], 3),
    ],
)
def test_duplicates(tmp_path: Path, duplicates: str, expected: list[str], dropped: int) -> None:
    events = [*events_of("u", "abaab", [1, 2, 3, 3, 4]), *events_of("v", "cd")]
    filters = {"duplicates": duplicates}
    data, preparation = prepare_events(tmp_path, events, filters=filters, data={"protocol": "paper"})
    assert [item for user, item, _ in kept(data) if user == "u"] == expected
    assert preparation.manifest.dropped.get("duplicate_events", 0) == dropped


def test_the_k_core_is_taken_until_nothing_more_falls_out(tmp_path: Path) -> None:
    # c has one event; without it v has one event, whose item d then has one; u, w and a, b are left.
    events = [*events_of("u", "ab"), *events_of("w", "bad"), *events_of("v", "cd")]
    data, preparation = prepare_events(tmp_path, events, filters={"k_core": 2}, data={"protocol": "paper"})
    assert [each[:2] for each in kept(data)] == [("u", "a"), ("u", "b"), ("w", "b"), ("w", "a")]
    assert preparation.manifest.dropped["events_outside_the_k_core"] == 3


def test_items_seen_only_after_training_become_unknown(tmp_path: Path) -> None:
    events = [*events_of("u", "abcd"), *events_of("v", "bace")]
    data, preparation = prepare_events(
        tmp_path, events, data={"protocol": "paper"}, vocabulary={"min_count": 1}, negatives={"per_positive": 3}
    )
    assert sorted(read_raw_ids(data, "items", "item_id", "item").values()) == ["a", "b", "c"]
    tests = [row for row in read_samples(data, Split.TEST) if row["label"]]
    assert [row["target"] for row in tests] == ["?", "?"]
    assert tests[0]["history"] == ["a", "b", "c"]
    assert preparation.manifest.unknown_rate_in_test == 1.0
    assert preparation.manifest.dropped["items_of_too_few_training_events"] == 2
    assert preparation.manifest.counts["items"] == 3
    assert preparation.manifest.unknown_items == UnknownItems(items=2, training_events=0)
    # every known item is in both lists, so d and e are all there is to draw
    assert preparation.manifest.dropped["positives_without_a_negative"] == 0
    drawn = [
        row["target"] for split in (Split.TRAIN, Split.TEST) for row in read_samples(data, split) if not row["label"]
    ]
    assert drawn == ["?"] * (4 * 3 + 2)


def test_items_seen_only_after_training_are_not_drawn_by_popularity(tmp_path: Path) -> None:
    events = [*events_of("u", "abcd"), *events_of("v", "bace")]
    negatives = {"per_positive": 3, "distribution": "popularity"}
    _, preparation = prepare_events(
        tmp_path, events, data={"protocol": "paper"}, vocabulary={"min_count": 1}, negatives=negatives
    )
    assert preparation.manifest.dropped["positives_without_a_negative"] == 4 + 2
    assert preparation.manifest.counts["samples"] == 0


def test_positives_without_a_negative_leave_every_split_counted(tmp_path: Path) -> None:
    # u chose all six items; v and w did not. All of u's events stay in the log.
    events = [*events_of("u", "abcdefab"), *events_of("v", "abc"), *events_of("w", "defa")]
    data, preparation = prepare_events(tmp_path, events, negatives={"per_positive": 2, "evaluation_per_positive": 3})
    rows = {split: read_samples(data, split) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)}
    users = {split: [row["user"] for row in each] for split, each in rows.items()}
    assert users == {
        Split.TRAIN: ["w"] * 3, Split.VALIDATION: [*"vvvv", *"wwww"], Split.TEST: [*"vvvv", *"wwww"]
    }  # fmt: skip
    assert preparation.manifest.dropped["positives_without_a_negative"] == 7
    assert preparation.manifest.counts["events"] == len(events)
    assert preparation.manifest.counts["positives"] == 1 + 2 + 2


def test_positives_keep_their_negatives_until_nothing_is_left_to_draw(tmp_path: Path) -> None:
    events = [*events_of("u", "abcdefab"), *events_of("v", "abc")]
    data, preparation = prepare_events(tmp_path, events, negatives={"exclude": "history", "per_positive": 2})
    rows = [row for row in read_samples(data, Split.TRAIN) if row["user"] == "u"]
    assert [(row["target"], len(row["history"])) for row in rows if row["label"]] == [
        ("b", 1),
        ("c", 2),
        ("d", 3),
        ("e", 4),
    ]
    assert [row["target"] for row in rows[-3:]] == ["e", "f", "f"]  # f is all that is left
    assert [row["user"] for row in read_samples(data, Split.TEST)] == ["v", "v"]
    assert preparation.manifest.dropped["positives_without_a_negative"] == 3  # f, a and b of u


def test_rare_items_become_unknown_in_histories_too(tmp_path: Path) -> None:
    events = [*events_of("u", "aabz"), *events_of("v", "aaba")]
    data, preparation = prepare_events(tmp_path, events, data={"protocol": "paper"}, vocabulary={"min_count": 3})
    assert read_raw_ids(data, "items", "item_id", "item") == {2: "a"}
    assert [row["history"] for row in read_samples(data, Split.TEST) if row["label"]] == [["a", "a", "?"]] * 2
    assert data.training_events.tolist() == [0, 0, 4]
    assert preparation.manifest.unknown_items == UnknownItems(items=2, training_events=2)  # b twice, z only in the test
    assert preparation.manifest.unknown_rate_in_test == 0.5


def test_without_filters_nothing_is_counted_as_dropped(tmp_path: Path) -> None:
    _, preparation = prepare_events(tmp_path, [*events_of("u", "abcd"), *events_of("v", "efgh")])
    assert set(preparation.manifest.dropped.values()) == {0}
    assert preparation.manifest.counts["events_with_too_short_history"] == 2


def test_unknown_impressions_are_no_unknown_targets(tmp_path: Path) -> None:
    """The rate is of clicked items; two of three test impressions are unknown here, of which none was clicked."""
    rows = [(user, item, time, label) for user in "uv" for time, (item, label) in enumerate(
        [("a", 1), ("b", 1), ("a", 1), (f"{user}1", 0), (f"{user}2", 0), ("b", 1)])]  # fmt: skip
    write_table(tmp_path / "log.tsv", ["user", "item", "time", "label"], rows)
    columns = {"user": "user", "item": "item", "timestamp": "time", "label": "label"}
    config = make_config(tmp_path, data={"columns": columns, "protocol": "paper"}, vocabulary={"min_count": 1})
    manifest = prepare_data(config, force=False, progress=lambda _: None).manifest
    tests = read_samples(open_store(config.data.prepared), Split.TEST)
    assert [(row["target"], row["label"]) for row in tests] == [("?", 0), ("?", 0), ("b", 1)] * 2
    assert manifest.unknown_rate_in_test == 0
    assert manifest.unknown_items == UnknownItems(items=4, training_events=0)


def test_unknown_items_of_ready_made_samples(tmp_path: Path) -> None:
    """A user's longest positive is validation's; training has a 3 times, b 2 times, f once, and no c, d, e."""
    rows = ["u,b,c,a,c", "u,c,c,a^b,c^c", "x,a,c,b,c", "x,e,c,b^a,c^c", "y,a,c,f,c", "y,a,c,f^a,c^c"]
    for name, lines in (("train", rows), ("test", ["u,d,c,a^b^c,c^c^c"])):
        header = "label,user_id,item_id,cate_id,item_history,cate_history"
        text = "\n".join([header, *(f"1,{line}" for line in lines), f"0,{lines[0]}"])
        (tmp_path / f"{name}.csv").write_text(text + "\n")
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    data = {"source": "x1", "events": None, "columns": None, **files}
    config = make_config(tmp_path, data=data, vocabulary={"min_count": 2})
    manifest = prepare_data(config, force=False, progress=lambda _: None).manifest
    assert read_raw_ids(open_store(config.data.prepared), "items", "item_id", "item") == {2: "a", 3: "b"}
    assert manifest.unknown_items == UnknownItems(items=4, training_events=1)
    assert manifest.dropped["items_of_too_few_training_events"] == 4

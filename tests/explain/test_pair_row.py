"""The history of a pair, by hand for each protocol; what ids are called."""

from pathlib import Path

import numpy as np
from log_factory import make_config, prepare_events, write_table

from din_train.dataset.names import UNKNOWN_ITEM, Describer
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.explain.explain import find_pair_row

# Every user clicks what the letters say, a second apart; item b twice by u.
CLICKS = {"u": "abcbde", "v": "fghij", "w": "klmno"}
EVENTS = [
    (user, item, f"of {item}", 1_400_000_000 + place)
    for user, items in CLICKS.items()
    for place, item in enumerate(items)
]


def read_history(data: PreparedData, user: str, item: str, longest: int = 100) -> tuple[str, Split | None, int]:
    """Items of the history, the split of the row, and its label."""
    describer = Describer(data)
    user_id, item_id = describer.find_user(user), describer.find_item(item)
    assert user_id is not None
    assert item_id is not None
    row = find_pair_row(data, user_id, item_id, longest)
    assert (row.samples.user_ids.tolist(), row.samples.target_item_ids.tolist()) == ([user_id], [item_id])
    behaviours = describer.history(row.samples, 0)
    return "".join(each["item"] for each in behaviours), row.split, int(row.samples.labels[0])


def test_a_clicked_target_sees_what_came_before_it(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    assert read_history(data, "u", "e") == ("abcbd", Split.TEST, 1)
    assert read_history(data, "u", "d") == ("abcb", Split.VALIDATION, 1)
    assert read_history(data, "u", "c") == ("ab", Split.TRAIN, 1)
    assert read_history(data, "u", "b") == ("abc", Split.TRAIN, 1)  # the newer of two
    assert read_history(data, "u", "e", 2) == ("bd", Split.TEST, 1)
    assert read_history(data, "v", "j") == ("fghi", Split.TEST, 1)


def test_any_other_item_sees_all_events_the_newest_kept(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    samples = data.samples(Split.TEST, 100)
    negatives = set(samples.target_item_ids[samples.labels == 0].tolist())
    describer = Describer(data)
    other = next(item for item in "klmno" if describer.find_item(item) not in negatives)
    assert read_history(data, "u", other) == ("abcbde", None, 0)
    assert read_history(data, "u", other, 3) == ("bde", None, 0)
    last_user = describer.user(len(data.user_starts) - 1)
    others = [item for user, items in CLICKS.items() if user != last_user for item in items]
    other = next(item for item in others if describer.find_item(item) not in negatives)
    assert read_history(data, last_user, other) == (CLICKS[last_user], None, 0)


def test_a_sampled_test_row_is_the_row_itself(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    samples, describer = data.samples(Split.TEST, 100), Describer(data)
    row = int(np.flatnonzero(samples.labels == 0)[0])
    user, item = describer.user(samples.user_ids[row]), describer.item(int(samples.target_item_ids[row]))["item"]
    assert read_history(data, user, item) == (CLICKS[user][:-1], Split.TEST, 0)


def test_context_is_the_rows_own_and_unknown_without_a_row(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS, data={"context_fields": ["hour"]})
    describer = Describer(data)
    user, e, a = describer.find_user("u"), describer.find_item("e"), describer.find_item("a")
    assert None not in (user, e, a)
    hour = 1_400_000_000 // 3600 % 24
    assert find_pair_row(data, user, e, 100).samples.context["hour"].tolist() == [hour + 2]
    assert find_pair_row(data, user, a, 100).samples.context["hour"].tolist() == [1]


def test_ready_made_samples_give_the_longest_history(tmp_path: Path) -> None:
    header = ["label", "user_id", "item_id", "cate_id", "item_history", "cate_history"]
    train = [[1, "u", "c", "x", "a^b", "x^x"], [0, "u", "d", "x", "a^b", "x^x"], [1, "v", "a", "x", "d", "x"]]
    test = [[1, "u", "e", "x", "a^b^c", "x^x^x"], [0, "u", "f", "x", "a^b^c", "x^x^x"]]
    for name, rows in (("train", train), ("test", test)):
        path = write_table(tmp_path / f"{name}.csv", header, rows)
        path.write_text(path.read_text().replace("\t", ","))
    config = make_config(
        tmp_path,
        data={
            "source": "x1", "train": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv"),
            "protocol": "presampled", "events": None, "columns": None,
        },
    )  # fmt: skip
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    assert read_history(data, "u", "e") == ("abc", Split.TEST, 1)
    assert read_history(data, "u", "a") == ("abc", None, 0)
    assert read_history(data, "u", "a", 2) == ("bc", None, 0)
    assert read_history(data, "v", "e") == ("d", None, 0)
    assert Describer(data).history(find_pair_row(data, 2, 2, 9).samples, 0)[0]["timestamp"] is None


def test_what_ids_are_called(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS, vocabulary={"min_count": 2})
    describer = Describer(data)
    assert describer.find_user("nobody") is None
    assert describer.find_item("e") is None  # has too few training events
    user = describer.find_user("u")
    assert user is not None
    assert describer.user(user) == "u"
    assert describer.first("users") == describer.user(2)
    history = describer.history(find_pair_row(data, user, 1, 100).samples, 0)
    assert [each["item"] for each in history][:2] == [UNKNOWN_ITEM, "b"]
    assert history[1] == {"item": "b", "title": None, "category": "of b", "timestamp": 1_400_000_001}
    assert history[0] == {"item": UNKNOWN_ITEM, "title": None, "category": None, "timestamp": 1_400_000_000}


def test_a_log_without_unix_times_has_no_times(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, [(user, item, category, time % 1000) for user, item, category, time in EVENTS])
    describer = Describer(data)
    user = describer.find_user("u")
    assert user is not None
    assert {each["timestamp"] for each in describer.history(find_pair_row(data, user, 1, 100).samples, 0)} == {None}

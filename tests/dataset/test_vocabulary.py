"""Raw ids to dense ids: order, reserved ids, ids kept as text, categories, ties."""

from pathlib import Path

from log_factory import prepare_events, read_events, read_raw_ids, read_values

EVENTS = [
    ("007", "x", "toys", 3),
    ("007", "y", "books", 1),
    ("007", "x", "toys", 2),
    ("7", "z", "", 5),
    ("7", "x", "games", 6),
    ("7", "w w", "books", 7),
]


def test_ids_count_up_from_two_most_frequent_first(tmp_path: Path) -> None:
    data, preparation = prepare_events(tmp_path, EVENTS)
    assert read_raw_ids(data, "users", "user_id", "user") == {2: "007", 3: "7"}
    assert read_raw_ids(data, "items", "item_id", "item") == {2: "x", 3: "y", 4: "z", 5: "w w"}
    assert read_values(data, "category") == {2: "toys", 3: "books"}
    assert preparation.manifest.counts == {
        "events": 6,
        "users": 2,
        "items": 4,
        "items_with_category": 3,
        "items_with_several_categories": 1,
        "categories": 2,
        "events_with_too_short_history": 2,
        "samples": 8,
        "positives": 4,
        "rows_equal_in_user_item_and_time": 0,
        "test_targets": 2,
        "test_targets_in_their_history": 1,
    }


def test_category_is_the_items_first_in_the_log_and_unknown_without_one(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    # padding, unknown, x, y, z, w w
    assert data.item_category_ids.tolist() == [0, 1, 2, 3, 1, 3]


def test_a_log_without_a_category_column_has_unknown_categories(tmp_path: Path) -> None:
    columns = {"user": "user", "item": "item", "timestamp": "time"}
    data, _ = prepare_events(tmp_path, EVENTS, data={"columns": columns})
    assert data.item_category_ids.tolist() == [0, 1, 1, 1, 1, 1]
    assert data.num_categories == 0


def test_events_are_sorted_by_user_time_and_place_in_the_log(tmp_path: Path) -> None:
    tied = [("u", item, "c", 5) for item in "dbca"] + [("u", "first", "c", 1)]
    data, _ = prepare_events(tmp_path, tied)
    items = read_raw_ids(data, "items", "item_id", "item")
    assert [items[each] for each in data.event_item_ids] == ["first", "d", "b", "c", "a"]
    assert read_events(data)["timestamp"] == [1, 5, 5, 5, 5]


def test_ties_keep_the_logs_order_even_of_items_seen_before(tmp_path: Path) -> None:
    events = [("v", item, "c", 1) for item in "abc"] + [("u", item, "c", 5) for item in "cba"]
    data, _ = prepare_events(tmp_path, events)
    items = read_raw_ids(data, "items", "item_id", "item")
    assert [items[each] for each in data.event_item_ids] == ["a", "b", "c", "c", "b", "a"]


def test_ids_of_dropped_users_are_not_in_the_vocabulary(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, [*EVENTS, ("short", "rare", "odd", 1)])
    assert "rare" not in read_raw_ids(data, "items", "item_id", "item").values()
    assert "odd" not in read_values(data, "category").values()

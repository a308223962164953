"""Rows that hold their histories: how lists are stored, which split a row is of, and negatives of positives alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_factory import make_config, read_raw_ids, read_samples
from rich.console import Console

from din_train.config import Config
from din_train.dataset.column_file import map_columns
from din_train.dataset.given_histories import ListBlock, place_lists
from din_train.dataset.manifest import Manifest
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.summary import build_preparation_table
from din_train.dataset.training_rows import redraw_training_negatives
from din_train.dataset.vocabulary import hash_values
from din_train.errors import DataError

DAY = 86_400
START = 20_000 * DAY


def configure(folder: Path, files: dict[str, list[dict[str, Any]]], **changes: Any) -> Config:
    """Rows as JSON lines; `changes` are keys of `data`, or sections that are no key of it."""
    for split, rows in files.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sections = {key: changes.pop(key) for key in ("negatives", "vocabulary") if key in changes}
    data = {
        "source": "rows",
        "events": None,
        **{split: str(folder / f"{split}.jsonl") for split in files},
        "columns": {"user": "u", "item": "i", "label": "y"},
        "sequences": {"clicks": {"item": "h"}},
        **changes,
    }
    return make_config(folder, data=data, **sections)


def prepare(folder: Path, files: dict[str, list[dict[str, Any]]], **changes: Any) -> tuple[PreparedData, Manifest]:
    config = configure(folder, files, **changes)
    manifest = prepare_data(config, force=True, progress=lambda _: None).manifest
    return open_store(config.data.prepared), manifest


def row(user: str, item: str, history: str, label: int = 1, **others: Any) -> dict[str, Any]:
    return {"u": user, "i": item, "h": list(history), "y": label, **others}


PAIR = [row("u", "x", "ab"), row("u", "y", "ab", 0)]


def read_column(data: PreparedData, split: Split, name: str) -> list[Any]:
    column: list[Any] = map_columns(data.folder / f"samples.{split.name.lower()}.arrow")[name].tolist()
    return column


def test_the_x1_layout_is_a_preset(tmp_path: Path) -> None:
    """The same rows in other words are the same data set."""
    lines = ["label,user_id,item_id,cate_id,item_history,cate_history"]
    lines += ["1,u,b,x,a,y", "0,u,q,x,a,y", "1,u,c,x,a^b,y^x", "0,u,r,x,a^b,y^x", "1,v,b,x,,", "0,v,s,,b^z,x^"]
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n" + ("1,w,b,x,,\n" if name == "test" else ""))
    files: dict[str, Any] = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    rows = {
        "source": "rows",
        "columns": {"user": "user_id", "item": "item_id", "label": "label", "category": "cate_id"},
        "sequences": {"any": {"item": "item_history", "category": "cate_history"}},
        "row_split": None,
    }
    found = []
    for changes in ({"source": "x1", "columns": None}, rows):
        config = make_config(tmp_path, data={"events": None, **files, **changes})
        found.append(prepare_data(config, force=True, progress=lambda _: None).manifest.fingerprint)
    assert found[0] == found[1]


PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=4)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 3), PAIRS), min_size=1))
def test_lists_are_stored_once_and_whole(given_lists: list[tuple[int, list[tuple[int, int]]]]) -> None:
    given_lists.sort(key=lambda each: each[0])
    lists = [values for _, values in given_lists]
    flat = np.array([pair for values in lists for pair in values], np.int64).reshape(-1, 2)
    block = ListBlock(
        groups=np.array([group for group, _ in given_lists]),
        lengths=np.array([len(values) for values in lists]),
        columns={"item": flat[:, 0], "time": flat[:, 1]},
    )
    source, starts = place_lists(block)
    stored = [tuple(pair) for pair in flat[source].tolist()]
    for values, start in zip(lists, starts, strict=True):
        assert stored[start : start + len(values)] == values if values else start >= -1
    expected = 0  # of each group the longest, and once each that is not its beginning
    for group in {group for group, _ in given_lists}:
        own = [values for each, values in given_lists if each == group]
        longest = next(values for values in own if len(values) == max(map(len, own)))
        apart = {tuple(values) for values in own if values != longest[: len(values)]}
        expected += len(longest) + sum(map(len, apart))
    assert len(stored) == expected


def test_several_sequences_with_times_and_fields(tmp_path: Path) -> None:
    def make(user: str, item: str, clicks: str, carts: str, label: int) -> dict[str, Any]:
        times = [START + 10 * place for place in range(len(clicks))]
        return row(user, item, clicks, label, t=times, k=["pc" if each == "a" else None for each in clicks],
                   carts=list(carts), at=START + 1000, w=0.5)  # fmt: skip

    rows = [make("u", "x", "ab", "cd", 1), make("u", "y", "ab", "cd", 0)]
    rows += [make("u", "z", "a", "dc", 1), make("v", "x", "", "c", 0)]
    data, manifest = prepare(
        tmp_path,
        {"train": rows, "test": [*rows[:2], make("v", "z", "b", "", 1)]},
        columns={"user": "u", "item": "i", "label": "y", "timestamp": "at", "weight": "w"},
        sequences={"clicks": {"item": "h", "timestamp": "t", "fields": {"device": "k"}}, "carts": {"item": "carts"}},
        behaviour_fields=["device"],
    )
    items = read_raw_ids(data, "items", "item_id", "item")
    events = map_columns(data.folder / "events.arrow")
    assert [items[each] for each in events["item_id"]] == list("abcddcbc")  # u: clicks ab, carts cd and dc; v: b, c
    assert events["user_id"].tolist() == [2] * 6 + [3] * 2
    assert events["timestamp"].tolist() == [START, START + 10, -1, -1, -1, -1, START, -1]
    assert events["device"].tolist() == [2, 1, 1, 1, 1, 1, 1, 1]
    values = pq.read_table(data.folder / "vocabularies.parquet").to_pylist()
    assert {"field": "device", "id": 2, "value": "pc"} in values
    assert [read_column(data, Split.TEST, f"carts_{what}") for what in ("start", "length")] == [[2, 2, 7], [2, 2, 0]]
    assert [read_column(data, Split.TEST, f"history_{what}") for what in ("start", "length")] == [[0, 0, 6], [2, 2, 1]]
    assert read_column(data, Split.TEST, "timestamp") == [START + 1000] * 3
    assert read_column(data, Split.TEST, "weight") == [0.5] * 3
    assert manifest.histories == {
        "given": True, "requests": 2, "requests_of_several_histories": 2,
        "example_of_several_histories": "user 'u', 2024-10-04 00:16:40",
        "rows_of_later_behaviours": 0, "histories_out_of_order": 0,
    }  # fmt: skip


def test_what_is_wrong_with_histories_is_counted(tmp_path: Path) -> None:
    """One request sees two histories; a behaviour has the row's own time; one history is newest first."""
    rows = [
        row("u", "x", "ab", at=100, t=[1, 2], r="1"), row("u", "y", "a", 0, at=100, t=[1], r="1"),
        row("v", "x", "ab", at=100, t=[1, 100], r="1"), row("w", "x", "ab", 0, at=100, t=[2, 1], r="1"),
    ]  # fmt: skip
    _, manifest = prepare(
        tmp_path,
        {"train": rows, "test": [row("w", "y", "", 0, at=200, t=[], r="2"), row("w", "z", "", at=200, t=[], r="2")]},
        columns={"user": "u", "item": "i", "label": "y", "timestamp": "at", "request": "r"},
        sequences={"clicks": {"item": "h", "timestamp": "t"}},
    )
    assert manifest.histories == {
        "given": True, "requests": 4, "requests_of_several_histories": 1, "example_of_several_histories": "user 'u', 1",
        "rows_of_later_behaviours": 1, "histories_out_of_order": 1,
        "example_of_later_behaviours": "user 'v', 1970-01-01 00:01:40",
    }  # fmt: skip
    assert any(each.startswith("1 of 6 histories are not in order of time: ") for each in manifest.remarks)
    console = Console(width=250)
    with console.capture() as capture:
        console.print(build_preparation_table(manifest))
    shown = [[cell.strip() for cell in line.strip("│").split("│")] for line in capture.get().splitlines()]
    assert ["requests whose rows have different histories: audit fails", "1"] in shown
    assert ["rows with a behaviour at or after their own time: audit fails", "1"] in shown


def test_targets_in_their_own_history_are_counted_in_every_split(tmp_path: Path) -> None:
    train = [
        row("u", "b", "ab"),
        row("u", "c", "ab", 0),
        row("u", "a", "ab", 0),
        row("v", "x", "ab"),
        row("w", "a", "a"),
    ]
    _, manifest = prepare(
        tmp_path, {"train": train, "validation": [*PAIR, row("v", "a", "xa")], "test": [*PAIR, row("u", "b", "bb")]}
    )
    assert manifest.counts["targets_in_their_history"] == 4
    assert manifest.counts["test_targets_in_their_history"] == 1


def test_fields_of_rows(tmp_path: Path) -> None:
    """The first row that says something of an item or a user counts; context fields are each row's own."""
    rows = [
        row("u", "x", "", brand=None, age="30", place="top"), row("u", "x", "", 0, brand="B", age="40", place="end"),
        row("v", "y", "x", brand="C", age=None, place="top"), row("v", "x", "x", 0, brand="D", age=None, place=None),
    ]  # fmt: skip
    data, _ = prepare(
        tmp_path, {"train": rows, "test": rows[:3]},
        item_fields=["brand"], user_fields=["age"], context_fields=["place"],
    )  # fmt: skip
    values = pq.read_table(data.folder / "vocabularies.parquet").to_pylist()
    names = {(each["field"], each["id"]): each["value"] for each in values}
    items = read_raw_ids(data, "items", "item_id", "item")
    brands = {items[item]: names.get(("brand", int(data.item_fields["brand"][item]))) for item in items}
    assert brands == {"x": "B", "y": "C"}
    assert [names.get(("age", int(each))) for each in data.user_fields["age"][2:]] == ["30", None]
    assert [names.get(("place", each)) for each in read_column(data, Split.TEST, "place")] == ["top", "end", "top"]


def find_splits(data: PreparedData) -> dict[str, list[str]]:
    """Split -> targets, in order."""
    return {split.name.lower(): [each["target"] for each in read_samples(data, split)] for split in SPLITS}


def test_rows_by_time(tmp_path: Path) -> None:
    """Of 10 rows the newest 2 and those of their second are for test; of the others the newest."""
    times = [5, 1, 9, 3, 7, 2, 8, 4, 6, 8]
    rows = [row("u", f"i{time}", "a", place % 2, at=time) for place, time in enumerate(times)]
    data, _ = prepare(
        tmp_path, {"train": rows}, row_split={"by": "time", "validation": 0.1, "test": 0.2},
        columns={"user": "u", "item": "i", "label": "y", "timestamp": "at"},
    )  # fmt: skip
    assert find_splits(data) == {
        "train": ["i5", "i1", "i3", "i2", "i4", "i6"], "validation": ["i7"], "test": ["i9", "i8", "i8"]
    }  # fmt: skip


@pytest.mark.parametrize("by", ["user", "hash"])
def test_rows_by_user_or_request(tmp_path: Path, by: str) -> None:
    """Rows of one user, or of one request of a user, go the same way; a file of its own keeps its split."""
    rows = [row(f"u{n // 6}", f"i{n}", "a", n % 2, r=n // 2) for n in range(240)]
    columns = {"user": "u", "item": "i", "label": "y", **({"request": "r"} if by == "hash" else {})}
    test = [each | {"r": 0} for each in PAIR]
    split = {"by": by, "validation": 0.25, "seed": 5}
    data, _ = prepare(tmp_path, {"train": rows, "test": test}, row_split=split, columns=columns)
    found = find_splits(data)
    assert found["test"] == ["x", "y"]
    rows_of_group = 6 if by == "user" else 2
    training, validation = (
        {int(target[1:]) // rows_of_group for target in found[name]} for name in ("train", "validation")
    )
    assert not training & validation
    assert len(training | validation) == 240 // rows_of_group
    assert 5 <= len(validation) <= 15 if by == "user" else 15 <= len(validation) <= 45  # 10 and 30 are expected


def test_a_split_without_a_row(tmp_path: Path) -> None:
    rows = [row("u", "i", "a", place % 2, at=5) for place in range(10)]
    with pytest.raises(DataError, match=r"data\.row_split: leaves the train split without a row"):
        prepare(
            tmp_path, {"train": rows}, row_split={"by": "time"},
            columns={"user": "u", "item": "i", "label": "y", "timestamp": "at"},
        )  # fmt: skip


@pytest.mark.parametrize("exclude", ["all", "history"])
def test_negatives_of_positives_alone(tmp_path: Path, exclude: str) -> None:
    """They have their positive's history, and are no item of the user's (or of the history), whatever the epoch."""
    letters = "abcdefghij"
    rows = [
        {"u": user, "i": letters[place + shift], "h": list(letters[shift : place + shift])}
        for shift, user in enumerate("uvw")
        for place in range(6)
    ]
    config = configure(
        tmp_path, {"train": rows, "test": [{"u": "u", "i": "g", "h": list("abcdef")}]},
        columns={"user": "u", "item": "i"},
        negatives={"per_positive": 2, "evaluation_per_positive": 3, "exclude": exclude, "resample": "epoch"},
    )  # fmt: skip
    manifest = prepare_data(config, force=True, progress=lambda _: None).manifest
    data = open_store(config.data.prepared)
    assert manifest.negatives == "sampled"
    assert manifest.samples == {"train": 15 * 3, "validation": 3 * 4, "test": 4}
    own = {user: {each["i"] for each in rows if each["u"] == user} for user in "uvw"}
    own["u"].add("g")
    for split in SPLITS:
        positive: dict[str, Any] = {}
        for each in read_samples(data, split):
            if each["label"]:
                positive = each
                continue
            assert (each["user"], each["history"]) == (positive["user"], positive["history"])
            excluded = own[each["user"]] if exclude == "all" else {*each["history"], positive["target"]}
            assert each["target"] not in excluded
    stored = data.samples(Split.TRAIN, 100)
    epochs = [redraw_training_negatives(data, config.negatives, epoch) for epoch in range(3)]
    assert np.array_equal(epochs[0], stored.target_item_ids)
    is_positive = stored.labels == 1
    assert all(np.array_equal(each[is_positive], stored.target_item_ids[is_positive]) for each in epochs)
    assert not np.array_equal(epochs[1], epochs[2])


def test_items_are_known_by_what_training_sees(tmp_path: Path) -> None:
    """Validation and test rows have lists of their own here, which training does not see."""
    train = [row("u", "a", "bc"), row("u", "a", "bc", 0)]
    held = [row("u", "d", "ce"), row("u", "a", "ce", 0)]
    data, manifest = prepare(
        tmp_path, {"train": train, "validation": held, "test": [*held, row("u", "b", "f")]}, vocabulary={"min_count": 1}
    )
    assert set(read_raw_ids(data, "items", "item_id", "item").values()) == {"a", "b", "c"}
    assert manifest.unknown_items.items == 3


def test_rows_have_all_kinds_of_fields(tmp_path: Path) -> None:
    """A context field of several values, numbers of users that only training rows weigh, and times of behaviours."""
    day = [{"tags": ["p", "q"], "age": "20"}, {"tags": ["q"], "age": "40"}, {"tags": [], "age": "60"}]
    rows = [
        row("u", "a", "xy", at=START, past=[START - 100_000, START - 1], **day[0]),
        row("v", "b", "x", 0, at=START + 1, past=[START - 9], **day[1]),
        row("w", "a", "", at=START + 2, past=[], **day[2]),
        row("w", "b", "", 0, at=START + 2, past=[], **day[2]),
    ]
    data, manifest = prepare(
        tmp_path,
        {"train": rows[:2], "validation": rows[2:], "test": rows[:1:-1]},
        columns={"user": "u", "item": "i", "label": "y", "timestamp": "at"},
        sequences={"clicks": {"item": "h", "timestamp": "past"}},
        context_fields=["tags"],
        list_fields={"tags": {}},
        user_fields=["age"],
        standardized_fields=["age"],
        behaviour_fields=["time_gap"],
    )
    assert data.samples(Split.TRAIN, 10).context["tags"].tolist() == [[3, 2], [2, 0]]  # q is in two rows
    assert data.samples(Split.TEST, 10).context["tags"].tolist() == [[1, 0], [1, 0]]
    assert manifest.field_values["age"].mean == 30.0
    assert data.event_times.tolist() == [START - 100_000, START - 1, START - 9]
    assert data.num_values["time_gap"] > 2


def test_an_item_of_histories_alone_that_fills_empty_places_is_said(tmp_path: Path) -> None:
    rows = [
        {"u": f"u{n % 5}", "i": str(n % 25), "y": n % 2, "h": [str(each % 25) for each in range(n)][-9:] + ["-1"] * 3}
        for n in range(50)
    ]
    _, manifest = prepare(tmp_path, {"train": rows}, row_split={"by": "user", "validation": 0.2, "test": 0.2})
    (said,) = (each for each in manifest.remarks if "behaviours" in each)
    assert said.startswith("'-1' is ")
    assert said.endswith("no row's item: if it only fills empty places, give it as padding in data.sequences")
    sequences = {"clicks": {"item": "h", "padding": "-1"}}
    _, manifest = prepare(
        tmp_path, {"train": rows}, row_split={"by": "user", "validation": 0.2, "test": 0.2}, sequences=sequences
    )
    assert not any("behaviours" in each for each in manifest.remarks)


def test_histories_of_other_ids_than_the_rows_are_refused(tmp_path: Path) -> None:
    rows = [
        {"u": f"u{n % 5}", "i": str(n % 25), "y": n % 2, "h": [f"{each}.0" for each in range(n % 25)]}
        for n in range(50)
    ]
    split = {"by": "user", "validation": 0.2, "test": 0.2}
    with pytest.raises(
        DataError, match=r"of 24 items in the histories, 0 are items of the rows; the histories have '0.0'"
    ):
        prepare(tmp_path, {"train": rows}, row_split=split)
    prepare(tmp_path, {"train": rows}, row_split=split, unmatched="allow")


def test_blocks_of_any_size_give_the_same_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories are read some users at a time, from files of some users each, and looked at some values at a time."""
    draw = np.random.default_rng(5)
    lines = ["label,user_id,item_id,cate_id,item_history,cate_history"]
    for number in range(60):
        items = draw.integers(0, 9, draw.integers(0, 6))
        categories = [items[place] % 3 + (place % 4 == 3) for place in range(len(items))]
        user, target = draw.integers(0, 9) if number % 3 else 4, draw.integers(0, 12)
        histories = ("^".join(map(str, each)) for each in (items, categories))
        lines.append(f"{number % 2},u{user},{target},{target % 3},{','.join(histories)}")
    for name in ("train", "test"):
        more = ["1,w,1,1,2,2"] if name == "test" else []
        (tmp_path / f"{name}.csv").write_text("\n".join([*lines, *more, ""]))
    files: dict[str, Any] = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    config = make_config(tmp_path, data={"events": None, "source": "x1", "columns": None, **files})
    found = []
    for file_rows, block_rows, values in ((1 << 17, 1 << 15, 10**6), (7, 3, 4), (1, 1, 1), (20, 1000, 11)):
        monkeypatch.setattr("din_train.dataset.given_histories._FILE_ROWS", file_rows)
        monkeypatch.setattr("din_train.dataset.given_histories._BLOCK_ROWS", block_rows)
        monkeypatch.setattr("din_train.dataset.presampled.BLOCK_ROWS", values)
        monkeypatch.setattr("din_train.dataset.row_blocks.BLOCK_ROWS", values)
        found.append(prepare_data(config, force=True, progress=lambda _: None).manifest)
    assert {each.fingerprint for each in found} == {found[0].fingerprint}
    assert found[0].counts["items_with_several_categories"]
    assert [each.counts for each in found] == [found[0].counts] * 4


def test_numbers_of_a_side_sequence_are_cut_where_training_behaviours_are(tmp_path: Path) -> None:
    """Training sees dwell times 1, 2 and 30 of `clicks`, and 4 of `carts`; 99 and 100 are of the test split alone."""
    rows = [
        row("u", "x", "abc", d=["1", "2", "30"], carts=["d"], e=[4]),
        row("u", "y", "ab", 0, d=[1, 2], carts=[], e=[]),
    ]
    test = [row("v", "x", "abd", d=[99, "?", None], carts=["c"], e=[100]), row("v", "y", "abd", 0, d=[99, "?", None],
            carts=["c"], e=[100])]  # fmt: skip
    options: dict[str, Any] = {
        "sequences": {
            "clicks": {"item": "h", "fields": {"dwell": "d"}},
            "carts": {"item": "carts", "fields": {"dwell": "e"}},
        },
        "behaviour_fields": ["dwell"],
        "numeric_fields": ["dwell"],
        "num_buckets": 2,
    }
    data, manifest = prepare(tmp_path, {"train": rows, "validation": test[::-1], "test": test}, **options)
    names = pq.read_table(data.folder / "vocabularies.parquet").to_pylist()
    assert [(each["id"], each["value"]) for each in names if each["field"] == "dwell"] == [
        (2, "[-inf, 2)"), (3, "[2, inf)"),
    ]  # fmt: skip
    assert data.event_fields["dwell"].tolist() == [2, 3, 3, 3, 3, 1, 1, 3]
    values = manifest.field_values["dwell"]
    assert (values.kind, values.size, values.missing, values.unread) == ("behaviours", 8, 1, 1)


def test_values_of_a_side_sequence_are_hashed_if_the_config_says_so(tmp_path: Path) -> None:
    rows = [row("u", "x", "ab", k=["pc", "tv"]), row("u", "y", "ab", 0, k=["pc", "tv"])]
    test = [row("v", "x", "a", k=["tv"]), row("v", "y", "a", 0, k=["tv"])]
    data, _ = prepare(
        tmp_path,
        {"train": rows, "validation": test[::-1], "test": test},
        sequences={"clicks": {"item": "h", "fields": {"device": "k"}}},
        behaviour_fields=["device"],
        vocabulary={"hash_buckets": {"device": 1000}},
    )
    assert data.event_fields["device"].tolist() == hash_values(pa.array(["pc", "tv", "tv"]), 1000).tolist()
    assert data.num_values["device"] == 1002

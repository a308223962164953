"""The rows of an epoch: fresh negatives in place of a file's own, and histories of all other training events."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, prepare_events, read_raw_ids, write_table

from din_train.batches import read_histories
from din_train.config import Config
from din_train.dataset.histories import count_visits
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples, open_store
from din_train.dataset.training_rows import compute_positive_share, draw_epoch, read_rows
from din_train.errors import DataError
from din_train.training.training_batches import TrainingBatches

# Ready-made rows: a history, its positive, its negative. The last of each user validates.
TRAIN = {"u": [("a", "b", "x"), ("ab", "c", "y"), ("abc", "d", "z")], "v": [("p", "q", "a"), ("pq", "r", "b")]}
TEST = {"u": [("abcd", "e", "f")], "v": [("pqr", "s", "a")]}


def prepare_rows(folder: Path, train: Any = TRAIN, **sections: Any) -> tuple[PreparedData, Config]:
    for name, users in (("train", train), ("test", TEST)):
        lines = [
            json.dumps({"u": user, "i": item, "h": list(history), "y": label})
            for user, rows in users.items()
            for history, *items in rows
            for item, label in zip(items, (1, 0), strict=False)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    data = {
        "source": "rows",
        "events": None,
        "train": str(folder / "train.jsonl"),
        "test": str(folder / "test.jsonl"),
        "columns": {"user": "u", "item": "i", "label": "y"},
        "sequences": {"clicks": {"item": "h"}},
    }
    config = make_config(folder, data=data, **sections)
    prepare_data(config, force=True, progress=lambda _: None)
    return open_store(config.data.prepared), config


def draw(data: PreparedData, config: Config, epoch: int, *, refit: bool = False) -> Samples:
    stored = read_rows(data, config, refit=refit, max_history_length=config.data.max_history_length)
    return draw_epoch(data, config, stored, epoch)


def read(data: PreparedData, samples: Samples) -> list[tuple[str, str, int]]:
    """History, target and label of each row, as batches have them."""
    items = read_raw_ids(data, "items", "item_id", "item")
    ids = read_histories(data, samples, np.arange(len(samples)), [])["history"]["item_ids"]
    histories = np.split(ids, np.cumsum(samples.history_length)[:-1])
    return [
        (" ".join(items[each] for each in history), items[target], int(label))
        for history, target, label in zip(histories, samples.target_item_ids, samples.labels, strict=True)
    ]


def collect(data: PreparedData, config: Config, *, refit: bool = False) -> dict[str, set[str]]:
    """Positive -> all items that were its negatives in some of many epochs."""
    found: dict[str, set[str]] = {}
    for epoch in range(60):
        positive = ""
        for _, item, label in read(data, draw(data, config, epoch, refit=refit)):
            positive = item if label else positive
            found.setdefault(positive, set()).update(() if label else (item,))
    return found


FRESH = {"resample": "epoch", "per_positive": 2}


def test_each_positive_of_the_file_gets_fresh_negatives(tmp_path: Path) -> None:
    data, config = prepare_rows(tmp_path, negatives=FRESH)
    epochs = [read(data, draw(data, config, epoch)) for epoch in range(3)]
    for rows in epochs:
        assert [row for row in rows if row[2]] == [("a", "b", 1), ("a b", "c", 1), ("p", "q", 1)]
        assert [(history, label) for history, _, label in rows] == [
            (history, label) for history in ("a", "a b", "p") for label in (1, 0, 0)
        ]
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[1] == read(data, draw(data, config, 1))
    assert draw(data, config, 1).find_lists().tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_the_share_of_positives_is_that_of_the_rows_of_an_epoch(tmp_path: Path) -> None:
    """Each positive of the file has one negative of its own, and two fresh ones."""
    data, config = prepare_rows(tmp_path, negatives=FRESH)
    for refit in (False, True):
        drawn = float(draw(data, config, 1, refit=refit).labels.mean())
        assert compute_positive_share(data, config, refit=refit) == pytest.approx(drawn) == pytest.approx(1 / 3)
    never = make_config(tmp_path)
    assert compute_positive_share(data, never, refit=False) == 0.5


def test_the_share_of_positives_is_by_weight(tmp_path: Path) -> None:
    """As the logloss counts rows: two of four, with 6 and 1 of the weight of 9."""
    header = ["user", "item", "category", "time", "label", "weight"]
    rows = [("u", f"i{n}", "c", n, *each) for n, each in enumerate([(1, 6), (0, 1), (0, 1), (1, 1), (1, 3), (0, 5)])]
    write_table(tmp_path / "log.tsv", header, rows)
    columns = {"user": "user", "item": "item", "category": "category", "timestamp": "time", "label": "label"}
    split = {"protocol": "time", "time_split": {"validation_from": 4, "test_from": 5}, "min_history": 0}
    config = make_config(tmp_path, data={"columns": {**columns, "weight": "weight"}, **split})
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    assert data.samples(Split.TRAIN, 100).labels.tolist() == [1, 0, 0, 1]
    assert compute_positive_share(data, config, refit=False) == pytest.approx(7 / 9)
    assert compute_positive_share(data, config, refit=True) == pytest.approx(10 / 12)


def test_fresh_negatives_are_items_of_the_training_rows_and_never_of_the_users(tmp_path: Path) -> None:
    data, config = prepare_rows(tmp_path, negatives=FRESH)
    of_u, of_v = {"x", "y", "p", "q"}, {"a", "b", "c", "x", "y"}  # d, z and r validate; e, f and s are of the test
    assert collect(data, config) == {"b": of_u, "c": of_u, "q": of_v}
    of_u, of_v = of_u | {"z", "r"}, of_v | {"d", "z"}
    assert collect(data, config, refit=True) == {"b": of_u, "c": of_u, "d": of_u, "q": of_v, "r": of_v}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # x and y are no training event of anybody
        ({"distribution": "popularity"}, {"b": {"p", "q"}, "c": {"p", "q"}, "q": {"a", "b", "c"}}),
        (
            {"exclude": "history"},
            {"b": set("cxypq"), "c": set("xypq"), "q": set("abcxy")},
        ),
    ],
)
def test_the_draw_is_as_configured(tmp_path: Path, changes: dict[str, str], expected: dict[str, set[str]]) -> None:
    data, config = prepare_rows(tmp_path, negatives={**FRESH, **changes})
    assert collect(data, config) == expected


def test_a_positive_without_a_negative_is_left_out_in_every_epoch(tmp_path: Path) -> None:
    # User v has all items of the training rows: a, b, c, x, y and p. The last row of each user validates.
    rows = {"u": TRAIN["u"], "v": [("abcxy", "p", "b"), ("abcxyp", "q", "c")]}
    data, config = prepare_rows(tmp_path, rows, negatives=FRESH)
    for epoch in range(3):
        assert [row[1] for row in read(data, draw(data, config, epoch)) if row[2]] == ["b", "c"]


def test_a_file_without_any_item_left_is_refused(tmp_path: Path) -> None:
    rows = {"u": [("a", "b", "a"), ("ab", "d", "z")]}
    data, config = prepare_rows(tmp_path, rows, negatives=FRESH)
    with pytest.raises(DataError, match=r"no positive has an item of the training file left .*; use a log with more"):
        draw(data, config, 0)


def test_batches_have_the_rows_of_their_epoch(tmp_path: Path) -> None:
    data, config = prepare_rows(tmp_path, negatives=FRESH)
    batches = TrainingBatches(
        data,
        data.samples(Split.TRAIN, 100),
        batch_size=4,
        max_history_length=100,
        unknown_rate=0.0,
        seed=1,
        draw_epoch=lambda epoch: draw(data, config, epoch),
    )
    for epoch in (0, 2, 1):
        batches.start_epoch(epoch)
        found = np.concatenate([inputs["target_item_id"] for inputs, *_ in batches])
        assert sorted(found) == sorted(draw(data, config, epoch).target_item_ids)
        assert batches.num_samples == 9


EVENTS = [("u", f"i{n}", "x", n) for n in range(1, 7)] + [("v", f"j{n}", "x", n) for n in range(1, 5)]


def test_the_history_is_all_other_training_events(tmp_path: Path) -> None:
    """Of user u, i5 validates and i6 is of the test; of v, j3 and j4."""
    data, _ = prepare_events(tmp_path, EVENTS)
    config = make_config(tmp_path, training={"epochs": 1, "leave_one_out": 1.0})

    def positives(config: Config, *, refit: bool = False) -> list[tuple[str, str]]:
        samples = draw(data, config, 0, refit=refit)
        rows = read(data, samples)
        assert all(rows[row][0] == rows[row - 1][0] for row in np.flatnonzero(samples.labels == 0))
        return [(history, item) for history, item, label in rows if label]

    assert positives(config) == [("i1 i3 i4", "i2"), ("i1 i2 i4", "i3"), ("i1 i2 i3", "i4"), ("j1", "j2")]
    validation = [("i1 i2 i3 i4", "i5"), ("j1 j2", "j3")]
    of_training = [("i1 i3 i4 i5", "i2"), ("i1 i2 i4 i5", "i3"), ("i1 i2 i3 i5", "i4"), ("j1 j3", "j2")]
    assert positives(config, refit=True) == of_training + validation
    newest = make_config(tmp_path, data={"max_history_length": 2}, training={"epochs": 1, "leave_one_out": 1.0})
    assert positives(newest) == [("i3 i4", "i2"), ("i2 i4", "i3"), ("i2 i3", "i4"), ("j1", "j2")]


def test_ready_made_histories_go_on_as_far_as_training_rows_do(tmp_path: Path) -> None:
    data, config = prepare_rows(tmp_path, negatives=FRESH, training={"epochs": 1, "leave_one_out": 1.0})

    def histories(*, refit: bool) -> list[tuple[str, str]]:
        return [row[:2] for row in read(data, draw(data, config, 0, refit=refit)) if row[2]]

    assert histories(refit=False) == [("a c", "b"), ("a b", "c"), ("p", "q")]
    assert histories(refit=True) == [("a c d", "b"), ("a b d", "c"), ("p r", "q"), ("a b c", "d"), ("p q", "r")]


def test_a_share_of_the_lists_changes_anew_every_epoch(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, [(f"u{n % 50}", f"i{n % 37}", "x", n) for n in range(600)])
    config = make_config(tmp_path, training={"epochs": 1, "leave_one_out": 0.3})
    stored = data.samples(Split.TRAIN, 100)
    changed = []
    for epoch in range(2):
        samples = draw(data, config, epoch)
        assert samples.skipped is not None
        rows = samples.skipped >= 0
        assert np.array_equal(samples.history_length[~rows], stored.history_length[~rows])
        assert np.array_equal(rows[0::2], rows[1::2])  # a positive and its negative
        changed.append(rows)
        visits = count_visits(len(data.event_item_ids), samples)
        items = read_histories(data, samples, np.arange(len(samples)), [])["history"]["item_ids"]
        counts = np.bincount(data.event_item_ids, weights=visits, minlength=int(items.max()) + 1)
        assert np.array_equal(counts, np.bincount(items, minlength=len(counts)))
    assert 0.2 < changed[0].mean() < 0.4
    assert not np.array_equal(*changed)


def test_scoring_has_the_stored_histories(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    for split in (Split.VALIDATION, Split.TEST):
        assert data.samples(split, 100).skipped is None

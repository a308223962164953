"""Logs whose clicks are rows of their own: labels, histories and counts computed by hand, and planted leaks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from log_factory import make_config, read_events, read_samples, write_table

from din_train.dataset.prepare import Preparation, prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.errors import DataError

T = 1_500_000_000
HEADER = ["user", "item", "type", "time", "request"]
TYPES = {"column": "type", "click": ["buy"], "impression": ["view"]}


def prepare(
    folder: Path, rows: Sequence[Sequence[object]], types: dict[str, Any] = TYPES, **data: Any
) -> tuple[PreparedData, Preparation]:
    """Prepare rows of item, type, seconds after T and maybe request, all of one user."""
    padded = [("u", item, kind, T + time, *(more or ("",))) for item, kind, time, *more in rows]
    write_table(folder / "log.tsv", HEADER, padded)
    columns = {"user": "user", "item": "item", "timestamp": "time", "events": types}
    if any(len(row) > 3 for row in rows):
        columns["request"] = "request"
    config = make_config(folder, data={"columns": columns, "min_history": 0, "protocol": "paper", **data})
    preparation = prepare_data(config, force=True, progress=lambda _: None)
    return open_store(config.data.prepared), preparation


def show(data: PreparedData) -> list[tuple[str, str, int]]:
    """Target, history and label of every sample, split after split."""
    rows = [row for split in (Split.TRAIN, Split.VALIDATION, Split.TEST) for row in read_samples(data, split)]
    return [(row["target"], "".join(row["history"]), row["label"]) for row in rows]


ROWS = [
    ("a", "view", 0),
    ("a", "buy", 100),
    ("b", "view", 200),
    ("c", "view", 300),
    ("c", "buy", 300),
    ("d", "buy", 400),
    ("x", "other", 450),
    ("e", "view", 5000),
    ("e", "buy", 6801),
    ("f", "view", 9000),
    ("f", "buy", 9001),
    ("g", "view", 9100),
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1]], ids=["in order", "backwards"])
def test_labels_histories_and_counts(tmp_path: Path, rows: list[tuple[str, str, int]]) -> None:
    data, preparation = prepare(tmp_path, rows)
    assert show(data) == [
        ("a", "", 1),
        ("b", "a", 0),
        ("c", "a", 1),  # clicked at the same second, which is not before it
        ("e", "acd", 0),  # bought 1,801 seconds later
        ("f", "acd", 1),  # the test split shares the history of its first request
        ("g", "acd", 0),
    ]
    assert [time - T for time in read_events(data)["timestamp"]] == [100, 300, 400, 6801, 9001]
    assert preparation.manifest.remarks[0] == (
        "2 of 5 clicks have no impression of their user and item in the 1,800 seconds before them "
        "(data.columns.events.click_window); like all clicks they are in histories"
    )
    report = preparation.manifest.read[0]
    assert (report.lines, report.kept, report.skipped) == (12, 11, {"event other": 1})
    assert preparation.manifest.counts["rows_equal_in_user_item_and_time"] == 0


def test_the_click_that_makes_an_impression_positive_is_not_in_its_history(tmp_path: Path) -> None:
    rows = [
        row for n in range(6) for row in (("a", "view", 100 * n), ("a", "buy", 100 * n), ("b", "view", 100 * n + 50))
    ]
    write_table(tmp_path / "log.tsv", HEADER[:4], [
        (user, item, kind, T + time) for user in ("u", "v", "w") for item, kind, time in rows
    ])  # fmt: skip
    columns = {"user": "user", "item": "item", "timestamp": "time", "events": TYPES}
    split = {"protocol": "user", "user_split": {"validation": 1, "test": 1}, "min_history": 0}
    config = make_config(tmp_path, data={"columns": columns, **split})
    prepare_data(config, force=True, progress=lambda _: None)
    expected = [("a", "a" * n, 1) for n in range(6)] + [("b", "a" * (n + 1), 0) for n in range(6)]
    for part in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        found = [
            (row["target"], "".join(row["history"]), row["label"])
            for row in read_samples(open_store(config.data.prepared), part)
        ]
        assert sorted(found) == sorted(expected)


def test_a_click_belongs_to_an_impression_of_its_request(tmp_path: Path) -> None:
    rows = [
        ("a", "view", 0, "r1"),
        ("a", "view", 10, "r2"),
        ("a", "buy", 20, "r2"),
        ("b", "view", 30, "r3"),
        ("b", "buy", 40, ""),  # names no request: of any
        ("c", "view", 50, "r4"),
        ("c", "buy", 60, "r5"),
    ]
    data, preparation = prepare(tmp_path, [row if row[3] else (*row[:3], "NULL") for row in rows])
    assert sorted(row[::2] for row in show(data)) == [("a", 0), ("a", 1), ("b", 1), ("c", 0)]
    assert preparation.manifest.remarks[0].startswith("1 of 3 clicks have no impression")
    assert preparation.manifest.histories["requests"] == 4


def test_the_window_is_the_configs(tmp_path: Path) -> None:
    rows = [
        ("a", "view", 0),
        ("a", "buy", 10),
        ("b", "view", 20),
        ("b", "buy", 31),
        ("c", "view", 40),
        ("c", "buy", 41),
    ]
    data, _ = prepare(tmp_path, rows, {**TYPES, "click_window": 10})
    assert [row[::2] for row in show(data)] == [("a", 1), ("b", 0), ("c", 1)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("a", "view", 0), ("b", "buy", 1)],
            r"none of 1 impressions has a click of its user and item in click_window",
        ),
        ([("a", "view", 0), ("a", "buy", 1)], r"each of 1 impressions has a click"),
        (
            [("a", "view", 5 - T), ("b", "view", 6 - T), ("b", "buy", 7 - T)],
            "needs unix times, in which click_window is",
        ),
    ],
)
def test_logs_with_nothing_to_tell_apart(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, rows)

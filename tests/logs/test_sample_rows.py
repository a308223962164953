"""Rows that hold their histories: the public layouts, kinds of sequences, and what is wrong with a row."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import Runner

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs import RawSamples, read_samples

FILES = ("train", "validation", "test")


def read(runner: Runner, **data: Any) -> RawSamples:
    """Files as contents, or a path."""
    files = {name: runner.file(data.pop(name)) for name in FILES if name in data}
    values = {"source": "rows", "prepared": runner.folder / "prepared", "row_split": {}, **files, **data}
    return read_samples(DataConfig.model_validate(values), runner.folder, lambda _: None)


def show(raw: RawSamples, *names: str) -> list[tuple[Any, ...]]:
    """The named columns of every sample, then the items of its first history."""
    rows, histories = (pq.read_table(path).to_pylist() for path in (raw.log.events, raw.histories))
    return [
        (*(row[name] for name in names), [raw.items[code].as_py() for code in histories[row["history"]]["item 0"]])
        for row in rows
    ]


def show_sequence(raw: RawSamples, role: str, place: int = 0) -> list[list[Any]]:
    """What every line's sequence has of a role: texts, or times."""
    lists = [row[f"{role} {place}"] for row in pq.read_table(raw.histories).to_pylist()]
    if role == "timestamp":
        return lists
    texts = raw.items if role == "item" else raw.values[role]
    return [[None if code is None else texts[code].as_py() for code in each] for each in lists]


def test_a_click_sequence_beside_fields(runner: Runner) -> None:
    """As FuxiCTR's example data are."""
    text = (
        b"clk,time_stamp,userid,adgroup_id,pid,cate_id,price,click_sequence\n"
        b"0,2017-05-06 00:00:00,874257,172298,p1,5443,3.9,170301^573514\n"
        b"1,2017-05-06 00:01:00,227368,519384,p2,,189.0,\n"
    )
    raw = read(
        runner,
        train=text,
        columns={
            "user": "userid", "item": "adgroup_id", "category": "cate_id", "timestamp": "time_stamp", "label": "clk"
        },
        sequences={"history": {"item": "click_sequence"}},
        item_fields=["price"],
        context_fields=["pid"],
    )  # fmt: skip
    assert show(raw, "user", "item", "category", "label", "field price", "field pid") == [
        ("874257", "172298", "5443", 0, "3.9", "p1", ["170301", "573514"]),
        ("227368", "519384", None, 1, "189.0", "p2", []),
    ]
    ticks = raw.log.ticks or 0
    seconds = [time // ticks for time in pq.read_table(raw.log.events)["timestamp"].to_pylist()]
    assert seconds == [1494028800, 1494028860]


def test_a_request_of_several_items(runner: Runner) -> None:
    """As MIND's behaviors.tsv is: no header, columns by their positions."""
    text = (
        b"1\tU74\t11/17/2019 2:35:26 PM\tN9 N8\tN124-0 N87-1\n"
        b"2\tU7\t11/17/2019 2:38:26 PM\t\tN105-1\n"
        b"3\tU7\t11/17/2019 2:38:26 PM\tN9\tN105\n"
        b"4\tU7\t11/17/2019 2:38:26 PM\tN9\t\n"
    )
    raw = read(
        runner,
        train=text,
        format={"header": False},
        columns={"user": 2, "timestamp": 3, "request": 1, "time_format": "%m/%d/%Y %I:%M:%S %p"},
        sequences={"history": {"item": 4, "separator": " "}},
        impressions=5,
        max_bad_share=0.5,
    )
    assert show(raw, "user", "item", "label", "request", "history", "ordinal") == [
        ("U74", "N124", 0, "1", 0, 0, ["N9", "N8"]),
        ("U74", "N87", 1, "1", 0, 1, ["N9", "N8"]),
        ("U7", "N105", 1, "2", 1, 2, []),
    ]
    report = raw.log.reports[0]
    assert report.rejected == {"impressions not ITEM-0 or ITEM-1": 2}
    assert report.kept == 2
    assert report.notes == {"samples of its requests": 3}


def test_a_column_per_behaviour(runner: Runner) -> None:
    """As Tenrec's are: `hist_10` follows `hist_9`, and 0 is no item."""
    names = [f"hist_{number}" for number in (10, 1, 2, 9)]
    text = f"user,item,click,{','.join(names)}\nu,5,1,4,0,1,3\nu,6,0,0,0,0,0\nu,7,0,,,2,\n"
    raw = read(
        runner,
        train=text.encode(),
        columns={"user": "user", "item": "item", "label": "click"},
        sequences={"history": {"item": "hist_*", "padding": "0"}},
    )
    assert show(raw, "item", "label") == [("5", 1, ["1", "3", "4"]), ("6", 0, []), ("7", 0, ["2"])]


def test_positives_only_in_three_files(runner: Runner) -> None:
    """As the 5-core benchmark of Amazon 2023 has them."""
    header = b"user_id,parent_asin,rating,timestamp,history\n"
    raw = read(
        runner,
        train=header + b"A,B1,4.0,1594001326000,\nA,B2,3.0,1594003138000,B1\n",
        validation=header + b"A,B3,5.0,1594003139000,B1 B2\n",
        test=header + b"A,B4,5.0,1594003140000,B1 B2  B3\n",
        row_split=None,
        columns={"user": "user_id", "item": "parent_asin", "timestamp": "timestamp"},
        sequences={"history": {"item": "history", "separator": " "}},
    )
    assert show(raw, "split", "item", "label") == [
        ("train", "B1", 1, []), ("train", "B2", 1, ["B1"]), ("validation", "B3", 1, ["B1", "B2"]),
        ("test", "B4", 1, ["B1", "B2", "B3"]),
    ]  # fmt: skip
    assert (raw.log.labelled, raw.log.ticks) == (False, 1000)


COLUMNS = {"user": "user", "item": "target", "category": "cate", "label": "label", "timestamp": "at"}
ROWS = [
    {"user": 1, "at": 1494001326, "target": 7, "cate": 2, "label": 0, "items": [], "cates": [], "dwell": [], "w": 1.5},
    {"user": 2, "at": 1494001327, "target": 8, "cate": 3, "label": 1, "items": [5, 6], "cates": [1, None],
     "dwell": ["long", None], "w": 0.0},
]  # fmt: skip


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_lists_of_a_feature_store(runner: Runner, kind: str) -> None:
    path = runner.folder / f"given.{kind}"
    if kind == "parquet":
        write_parquet(path, ROWS)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    raw = read(
        runner,
        train=path,
        columns={**COLUMNS, "weight": "w"},
        sequences={"clicks": {"item": "items", "category": "cates", "fields": {"dwell": "dwell", "unused": "cates"}}},
        behaviour_fields=["dwell"],
    )
    assert show(raw, "user", "item", "category", "label", "weight") == [
        ("1", "7", "2", 0, 1.5, []), ("2", "8", "3", 1, 0.0, ["5", "6"]),
    ]  # fmt: skip
    assert show_sequence(raw, "category") == [[], ["1", None]]
    assert show_sequence(raw, "dwell") == [[], ["long", None]]
    assert set(raw.values) == {"category", "dwell"}


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_lists_of_timestamps_and_of_decimals(runner: Runner, unit: str, zone: str | None) -> None:
    path, kind = runner.folder / "given.parquet", pa.timestamp(unit, zone)
    ticks = {"ms": 1_000, "us": 1_000_000}[unit]
    times = [[1_600_000_000 * ticks, 1_600_000_007 * ticks], [], None]
    ids = [Decimal("7.00"), Decimal("8.00"), Decimal("9.00")]
    numbers = pa.decimal128(9, 2)
    table = {
        "u": ["a", "b", "c"],
        "i": pa.array(ids, numbers),
        "y": [True, False, True],
        "at": pa.array([1_600_000_100 * ticks] * 3, kind),
        "h": pa.array([ids[1:], [], None], pa.list_(numbers)),
        "t": pa.array(times, pa.list_(pa.int64())).cast(pa.list_(kind)),
        "x_1": pa.array([None, *ids[:2]], numbers),
        "x_2": pa.array(ids, numbers),
    }
    pq.write_table(pa.table(table), path)
    raw = read(
        runner,
        train=path,
        columns={"user": "u", "item": "i", "label": "y", "timestamp": "at"},
        sequences={"clicks": {"item": "h", "timestamp": "t"}, "others": {"item": "x_*"}},
    )
    assert show(raw, "user", "item", "label") == [("a", "7", 1, ["8", "9"]), ("b", "8", 0, []), ("c", "9", 1, [])]
    assert show_sequence(raw, "item", 1) == [["7"], ["7", "8"], ["8", "9"]]
    assert show_sequence(raw, "timestamp") == [times[0], [], []]
    assert (raw.log.ticks, raw.ticks[0]) == (ticks, ticks)


def test_sequences_are_turned_round_with_all_that_is_parallel(runner: Runner) -> None:
    text = b'user,item,a,at,b\nu,x,3|0|2|1,30|0|20|10,"[5, 4]"\nu,y,,,"[]"\n'
    raw = read(
        runner,
        train=text,
        columns={"user": "user", "item": "item"},
        history_separator="|",
        sequences={
            "clicks": {"item": "a", "timestamp": "at", "order": "newest_first", "padding": "0"},
            "carts": {"item": "b", "order": "newest_first"},
        },
    )
    assert show_sequence(raw, "item") == [["1", "2", "3"], []]
    assert show_sequence(raw, "timestamp") == [[10, 20, 30], []]
    assert show_sequence(raw, "item", 1) == [["4", "5"], []]


def test_bad_rows(runner: Runner) -> None:
    good = {"user": "u", "item": "i", "label": "1", "w": 1.0, "items": ["a"], "times": [5]}
    bad = [
        ({"user": None}, "no user"), ({"item": ""}, "empty item"), ({"label": "2"}, "label like a rating"),
        ({"w": -1.0}, "negative weight"), ({"items": ["a", None], "times": [1, 2]}, "empty id in items"),
        ({"items": ["a", "b"]}, "items and times of different lengths"),
        ({"items": ["a", "b"], "times": [1, -2]}, "negative timestamp in times"),
        ({"items": ["a\0"]}, "NUL character"),
    ]  # fmt: skip
    path = write_parquet(runner.folder / "given.parquet", [good, *(good | change for change, _ in bad)])
    columns = {"user": "user", "item": "item", "label": "label", "weight": "w"}
    sequences = {"history": {"item": "items", "timestamp": "times"}}
    raw = read(runner, train=path, columns=columns, sequences=sequences, max_bad_share=1)
    assert show(raw, "user", "item") == [("u", "i", ["a"])]
    lines = [json.loads(line) for line in raw.log.rejected.read_bytes().splitlines()]
    assert [(line["line"], line["reason"]) for line in lines] == [
        (place, reason) for place, (_, reason) in enumerate(bad, 2)
    ]


@pytest.mark.parametrize(
    ("columns", "sequence", "expected"),
    [
        ({"user": "usr"}, {"item": "h"}, "data.columns.user: no column 'usr'"),
        ({"user": "user"}, {"item": "hist"}, "data.sequences.history.item: "),
        ({"user": "user"}, {"item": "h_*"}, "data.sequences.history.item: "),
        ({"user": "user"}, {"item": "s"}, "data.sequences.history.item: column 's' is of type struct<"),
    ],
)
def test_a_column_that_is_not_there_or_of_no_use(
    runner: Runner, columns: dict[str, str], sequence: dict[str, str], expected: str
) -> None:
    path = write_parquet(runner.folder / "given.parquet", [{"user": "u", "item": "i", "h": ["a"], "s": {"a": 1}}])
    with pytest.raises(DataError) as caught:
        read(runner, train=path, columns={"item": "item", **columns}, sequences={"history": sequence})
    assert any(expected in problem for problem in caught.value.problems)


def test_files_of_a_folder(runner: Runner) -> None:
    folder = runner.folder / "rows"
    folder.mkdir()
    for number in range(2):
        write_parquet(folder / f"{number}.parquet", [{"user": "u", "item": f"i{number}", "h": ["a"]}])
    raw = read(runner, train=folder, columns={"user": "user", "item": "item"}, sequences={"history": {"item": "h"}})
    assert show(raw, "item", "ordinal") == [("i0", 0, ["a"]), ("i1", 1, ["a"])]
    assert [report.path.name for report in raw.log.reports] == ["0.parquet", "1.parquet"]

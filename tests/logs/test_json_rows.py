"""Objects of JSON as rows: one a line, or in one array of any layout."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from log_runner import Runner, lines

from din_train.config import ColumnsConfig
from din_train.errors import DataError
from din_train.logs import lines as lines_module
from din_train.logs.row_files import Chunk, open_row_file


def read(path: Path, content: str | bytes, *columns: str) -> Chunk:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return next(open_row_file(path).read_chunks(10_000, lambda _: None, columns or None))


def test_values_are_texts_and_lists_stay_lists(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [
        {"u": 5, "t": 1.5, "b": True, "h": ["a", 2, None, 3.0], "o": {"x": [1]}, "m": "s"},
        {"u": 5.0, "t": 1e300, "b": False, "h": [], "o": None, "m": [1, "é"]},
        {"u": "5", "t": 12345678901234567, "h": None},
    ]
    path = tmp_path / "log.jsonl"
    text = "\n\n".join(json.dumps(each) for each in values)
    chunk = read(path, text)
    assert open_row_file(path).form == "JSON lines"
    assert chunk.table.schema.field("h").type == pa.list_(pa.string())
    assert chunk.table.to_pylist() == [
        {"u": "5", "t": "1.5", "b": "true", "h": ["a", "2", None, "3"], "o": '{"x":[1]}', "m": "s", "o.x": ["1"]},
        {"u": "5", "t": "1e+300", "b": "false", "h": [], "o": None, "m": '[1,"é"]', "o.x": None},
        {"u": "5", "t": "12345678901234567", "b": None, "h": None, "o": None, "m": None, "o.x": None},
    ]
    assert chunk.lines.tolist() == [1, 3, 5]
    assert chunk.show(2) == text.encode().split(b"\n\n")[2]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("18446744073709551621", "18446744073709551621"),  # beyond 64 bits, where orjson reads a float
        ("-9223372036854775809", "-9223372036854775809"),
        ("9007199254740993.0", "9007199254740993"),
        ("1e20", "1" + 20 * "0"),
        ("1.5e300", "1.5e+300"),
    ],
)
def test_whole_numbers_keep_their_digits(tmp_path: Path, number: str, text: str) -> None:
    content = f'{{"u": {number}, "h": [{number}, 1.5, 2.0, "a", null], "o": {{"x": [{number}, 7]}}, "t": 8}}\n'
    (values,) = read(tmp_path / "log.jsonl", content, "u", "h", "t").table.to_pylist()
    assert values == {"u": text, "h": [text, "1.5", "2", "a", None], "t": "8"}


def test_whole_numbers_inside_objects_keep_their_digits(tmp_path: Path) -> None:
    first, second = 18446744073709551621, 18446744073709551623
    content = f'{{"u": {{"id": {first}}}, "e": [{{"i": {second}}}, {{"i": [{first}, 2.0]}}, {{"i": 7}}]}}'
    chunk = read(tmp_path / "log", content, "u.id", "e.i")
    assert chunk.table["u.id"].to_pylist() == [str(first)] * 3
    assert chunk.table["e.i"].to_pylist()[0] == str(second)
    assert chunk.table["e.i"].to_pylist()[2] == "7"


NESTED: list[dict[str, Any]] = [
    {"user": {"id": 7, "home": {"city": "x"}}, "events": [{"item": 1, "tags": ["a"]}, {"item": "b", "tags": []}]},
    {"user": {"id": 8}, "events": None},
    {"user": {"id": 9}, "events": 3},
    {"user": None, "events": [{"item": 2}, 4, {"item": 3, "tags": 1}]},
]


def test_objects_in_objects_are_columns_with_dots(tmp_path: Path) -> None:
    path, text = tmp_path / "log", "\n".join(map(json.dumps, NESTED))
    chunk = read(path, text)  # all columns of the lines, and none inside a list of objects
    assert chunk.table.schema.names == ["user", "events", "user.id", "user.home.city"]
    assert chunk.table["user.id"].to_pylist() == ["7", "8", None, None]  # `events` of the third one is no list
    assert read(path, text, "user.home.city").table.to_pylist() == [
        {"user.home.city": "x"},
        *[{"user.home.city": None}] * 3,
    ]
    dotted = '{"a.b": 1, "a": {"b": 2, "c": 3}}'
    assert read(path, dotted, "a.b", "a.c").table.to_pylist() == [{"a.b": "1", "a.c": "3"}]


def test_the_objects_of_a_list_are_rows_if_their_columns_are_wanted(tmp_path: Path) -> None:
    path, text = tmp_path / "log", "\n".join(map(json.dumps, NESTED))
    chunk = read(path, text, "user.id", "events.item", "events.tags")
    assert open_row_file(path).lists_of_objects == ("events",)
    assert [tuple(row.values()) for row in chunk.table.to_pylist()] == [
        *(("7", "1", ["a"]), ("7", "b", []), (None, None, None)),
        *((None, "2", None), (None, None, None), (None, None, None)),
    ]
    assert chunk.broken == {2: "events not a list", 4: "no object in events", 5: "events.tags not a list"}
    assert chunk.lines.tolist() == [1, 1, 3, 4, 4, 4]
    assert (chunk.show(1), chunk.show(2)) == (b'{"item":"b","tags":[]}', text.encode().split(b"\n")[2])


@pytest.mark.parametrize("value", ["0", "false", '""', "{}"])
def test_what_is_no_list_of_objects_is_bad_even_if_it_is_nothing(tmp_path: Path, value: str) -> None:
    text = f'{{"u": 1, "e": [{{"i": 1}}]}}\n{{"u": 2, "e": {value}}}\n'
    text += '{"u": 3, "e": null}\n{"u": 4}\n{"u": 5, "e": []}\n'
    chunk = read(tmp_path / "log", text, "u", "e.i")
    assert chunk.table.to_pylist() == [{"u": "1", "e.i": "1"}, {"u": None, "e.i": None}]
    assert chunk.broken == {1: "e not a list"}


def test_lost_objects_are_not_measured_by_the_rows_of_the_others(runner: Runner) -> None:
    columns = ColumnsConfig(user="u", item="e.i", timestamp="e.t")
    sessions = [{"u": u, "e": [{"i": n, "t": 1_600_000_000 + n} for n in range(20)]} for u in range(8)]
    bad_event = {"u": 8, "e": [{"i": 1, "t": "x"}, {"i": 1, "t": 1_600_000_000}]}
    got = runner.table(lines(*sessions, bad_event, "{"), columns, max_bad_share=0.1)
    assert (got.report.lines, got.report.kept, got.report.rejected["not JSON"]) == (163, 161, 1)
    with pytest.raises(DataError) as caught:  # 2 of 163 rows are bad, but 2 of 10 sessions are lost
        runner.table(lines(*sessions, '{"u": 9, "e": [{"i"', "{"), columns, max_bad_share=0.1)
    assert "2 of 10 objects cannot be read (not JSON: 2), whose rows are lost, more than the 1 that" in str(
        caught.value
    )


def test_rows_are_those_of_one_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"columns of several lists of objects are named \(a, b\)"):
        read(tmp_path / "log", '{"a": [{"x": 1}], "b": [{"y": 1}]}', "a.x", "b.y")


def test_the_keys_of_a_dictionary_are_no_columns(tmp_path: Path) -> None:
    chunk = read(tmp_path / "log", json.dumps({"u": 1, "counts": {f"k{n}": n for n in range(51)}}))
    assert chunk.table.schema.names == ["u", "counts"]


def test_bad_lines_have_a_reason_and_only_wanted_keys_count(tmp_path: Path) -> None:
    text = '{"u": 1, "h": ["a"], "x": "\\u0000"}\n{"u": 0, "h": []}\n{"u": 2, "h": 5}\nno\n[1]\n'
    text += '{"u": 3, "u": 4}\n{"u": "a\\u0000"}\n{"u": 6, "x": "\\ud800"}\n{"u": 7}\n'
    whole = read(tmp_path / "log", text.encode() + b'{"u": "\xff"}\n', "u", "h")
    assert whole.table["u"].to_pylist() == ["1", "0", None, None, None, None, None, None, "7", None]
    assert whole.broken == {
        2: "h not a list",
        3: "not JSON",
        4: "not a JSON object",
        5: "u given twice",
        6: "NUL character",
        7: "not JSON",
        9: "invalid UTF-8",
    }
    assert 2 not in read(tmp_path / "log", text, "u").broken


@pytest.mark.parametrize("block", [3, 50, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, indent: int | None) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", block)
    values = [{"u": f"é{n}", "h": [f'a], {{"{n}', "b"], "t": n * 10} for n in range(20)]
    content = " \n" + json.dumps(values, indent=indent, ensure_ascii=False) + "\n"
    chunk = read(tmp_path / "log.json", content)
    assert open_row_file(tmp_path / "log.json").form == "a JSON array"
    assert chunk.table.to_pylist() == [each | {"t": str(each["t"])} for each in values]
    assert chunk.lines.tolist() == ([2] * 20 if indent is None else [3 + 8 * n for n in range(20)])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"u": 1},\n{"u": 2}', ":2: its JSON array has no end"),
        ('[{"u": 1},\n{"u" 2}]', ":2: not JSON, expected an array of objects"),
        ('[{"u": 1}\n{"u": 2}]', r":2: '{' in its JSON array, expected , or \]"),
        ('[{"u": 1}]\n[', r":2: '\[' in its JSON array, expected end"),
        ("[]", "begins like JSON, but has no JSON object"),
        ("{'u': 1}\n{'u': 2}", "begins like JSON, but has no JSON object"),
    ],
)
def test_no_json(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read(tmp_path / "log", content)


def test_elements_that_are_no_objects_are_bad_rows(tmp_path: Path) -> None:
    chunk = read(tmp_path / "log", '[{"u": 1}, 5, {"u": 2}, "x", [{"u": 3}]]')
    assert (chunk.table["u"].to_pylist(), chunk.broken) == (
        ["1", None, "2", None, None],
        dict.fromkeys((1, 3, 4), "not a JSON object"),
    )

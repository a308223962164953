"""Rows to score become samples: ids, histories and context as preparation would have made them; bad rows say why."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import Event, make_config, prepare_events, read_samples, read_values, write_table

from din_train.dataset.names import read_names
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.errors import ConfigError
from din_train.logs.row_files import open_row_file
from din_train.predict.input_columns import doubt_header, find_input_columns, open_input, parse_columns
from din_train.predict.input_rows import InputParser, InputRows

DAY = 86_400
START = 1_600_000_000
EVENTS: list[Event] = [
    *(("ann", item, "c", START + DAY * day) for day, item in enumerate("abcdea")),
    *(("bob", item, "c", START + DAY * day) for day, item in enumerate("edc")),
    ("bob", "b", "c", START + DAY * 2),  # at the same time as c, after it
]


def parse(
    data: PreparedData, folder: Path, rows: pa.Table | str, *columns: str, most: int = 100, changes: Any = None
) -> InputRows:
    path = folder / "rows"
    if isinstance(rows, str):
        path.write_text(rows)
    else:
        pq.write_table(rows, path)
    config = make_config(folder, **(changes or {})).data
    file = open_input(path, config.format)
    found = find_input_columns(file, config, parse_columns(columns))
    parser = InputParser(data, found, most)
    (chunk,) = file.read_chunks(1_000, lambda _: None, found.taken)
    return parser.parse(chunk)


def read_histories(data: PreparedData, parsed: InputRows) -> list[str]:
    """One text a row, of raw ids; `?` for an unknown item."""
    names = read_names(data).items.to_pylist()
    starts, lengths = parsed.samples.history_start, parsed.samples.history_length
    return [
        "".join(names[each] or "?" for each in parsed.event_item_ids[start : start + length])
        for start, length in zip(starts, lengths, strict=True)
    ]


def read_targets(data: PreparedData, parsed: InputRows) -> list[tuple[str | None, str | None]]:
    names = read_names(data)
    users, items = parsed.samples.user_ids.tolist(), parsed.samples.target_item_ids.tolist()
    return [(names.users[u].as_py(), names.items[i].as_py()) for u, i in zip(users, items, strict=True)]


def test_all_stored_events_the_newest_of_them(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    text = "item,user\nb,bob\nzzz,ann\na,nobody\n"
    parsed = parse(data, tmp_path, text)
    assert read_targets(data, parsed) == [("bob", "b"), ("ann", None), (None, "a")]
    assert read_histories(data, parsed) == ["edcb", "abcdea", ""]
    assert parsed.samples.target_item_ids[1] == parsed.samples.user_ids[2] == 1  # the trained unknown row
    assert read_histories(data, parse(data, tmp_path, text, most=2)) == ["cb", "ea", ""]


def test_stored_events_strictly_before_the_timestamp(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    times = [0, START, START + 1, START + 2 * DAY, START + 2 * DAY + 1, START + 99 * DAY]
    text = "user,item,time\n" + "".join(f"bob,a,{time}\n" for time in times) + f"ann,a,{START + 3 * DAY}\n"
    assert read_histories(data, parse(data, tmp_path, text)) == ["", "", "e", "ed", "edcb", "edcb", "abc"]
    assert read_histories(data, parse(data, tmp_path, text, most=1)) == ["", "", "e", "d", "b", "b", "c"]
    assert read_histories(data, parse(data, tmp_path, text, "timestamp="))[0] == "edcb"


@pytest.mark.parametrize("ticks", [10**3, 10**6, 10**9])
def test_times_in_any_unit_and_of_arrow_s_type(tmp_path: Path, ticks: int) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    at = (START + 2 * DAY) * ticks
    assert read_histories(data, parse(data, tmp_path, f"user,item,time\nbob,a,{at}\nbob,a,{at + ticks}\n")) == [
        "ed", "edcb",
    ]  # fmt: skip
    kind = pa.timestamp({10**3: "ms", 10**6: "us", 10**9: "ns"}[ticks], tz="UTC")
    table = pa.table({"user": ["bob"], "item": ["a"], "time": pa.array([at]).cast(kind)})
    assert read_histories(data, parse(data, tmp_path, table)) == ["ed"]


def test_times_and_ids_of_other_forms_are_those_of_the_log(tmp_path: Path) -> None:
    rows = [("1001", item, "c", day) for day, item in enumerate(("7", "8", "9"), 20231115)]
    data, _ = prepare_events(tmp_path, rows)
    texts = ["20231116", "2023-11-17", "2023-11-17T00:00:01Z", "1700179200", "1700179201000"]
    text = "user,item,time\n" + "".join(f"1001,7,{time}\n" for time in texts)
    histories = [["7"], ["7", "8"], ["7", "8", "9"], ["7", "8"], ["7", "8", "9"]]
    assert read_histories(data, parse(data, tmp_path, text)) == ["".join(each) for each in histories]
    typed = pa.table({"user": [1001.0], "item": [7.0], "time": pa.array([19_678], pa.date32())})  # 2023-11-17
    parsed = parse(data, tmp_path, typed)
    assert (read_targets(data, parsed), read_histories(data, parsed)) == ([("1001", "7")], ["78"])


def test_times_that_are_counters(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, [("ann", item, "c", time) for time, item in enumerate("abcde", 5)])
    assert read_histories(data, parse(data, tmp_path, "user,item,time\nann,a,8\n")) == ["abc"]
    table = pa.table({"user": ["ann"], "item": ["a"], "time": pa.array([8]).cast(pa.timestamp("s"))})
    with pytest.raises(ConfigError, match="are no unix times"):
        parse(data, tmp_path, table)


@pytest.mark.parametrize("as_list", [True, False])
def test_histories_as_given(tmp_path: Path, as_list: bool) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    given = [["c", "zzz", "a"], [], ["d"], ["b", "", "c"], ["a", "b", "c", "d"]]
    column: Any = pa.array(given) if as_list else pa.array(["^".join(each) for each in given])
    table = pa.table({"user": ["ann", "nobody", "bob", "bob", "ann"], "item": list("aaaaa"), "history": column})
    parsed = parse(data, tmp_path, table, most=3)
    assert read_histories(data, parsed) == ["c?a", "", "d", "bcd"]
    assert parsed.rows.tolist() == [0, 1, 2, 4]
    assert parsed.bad == {3: "empty id in history"}


def test_bad_rows_say_why_and_the_others_are_scored(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    text = (
        f"user,item,time\n,a,{START}\nann,,{START}\nann,a\nann,a,soon\nann,a,-3\nann,a,\nann,a,9999999999\n"
        f"ann,b,{START + DAY}.0\n"
    )
    parsed = parse(data, tmp_path, text)
    assert parsed.bad == {
        0: "empty user",
        1: "empty item",
        2: "wrong number of fields",
        3: "timestamp not a number or a date",
        4: "negative timestamp",
        5: "no timestamp",
        6: "timestamp in no unit of unix times",
    }
    assert parsed.rows.tolist() == [7]
    assert read_targets(data, parsed) == [("ann", "b")]
    assert read_histories(data, parsed) == ["a"]
    nulls = pa.table({"user": [None, "ann", "ann"], "item": ["a", None, "a"], "time": pa.array([1, 1, -1])})
    assert parse(data, tmp_path, nulls).bad == {0: "no user", 1: "no item", 2: "negative timestamp"}


def test_context_is_what_preparation_makes_of_the_same_rows(tmp_path: Path) -> None:
    header = ["user", "item", "category", "time", "device"]
    times = [START + DAY * step * step // 2 + 3_700 * step for step in range(9)]
    rows = [("ann", "abcdefghi"[n], "c", time, ["tv", "phone", ""][n % 3]) for n, time in enumerate(times)]
    others = [("bob", item, "c", START, "tv") for item in "xy"]  # something to draw negatives from
    write_table(tmp_path / "log.tsv", header, [*rows, *others])
    changes = {"data": {"context_fields": ["weekday", "device", "days_since_last", "hour"]}}
    config = make_config(tmp_path, **changes)
    config = make_config(tmp_path, data={**config.data.model_dump(mode="json", exclude_none=True), "protocol": "user",
                         "user_split": {"validation": 0, "test": 2}})  # fmt: skip
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    split = Split.TEST
    stored = data.samples(split, 100)
    of_ann = [row for row in read_samples(data, split) if row["label"] and row["user"] == "ann"]
    kept = [n for n, row in enumerate(read_samples(data, split)) if row["label"] and row["user"] == "ann"]
    assert len(kept) == 8
    write_table(tmp_path / "new.tsv", header, rows[1:])
    parsed = parse(data, tmp_path, (tmp_path / "new.tsv").read_text(), changes=changes)
    assert [row["history"] for row in of_ann] == [list(text) for text in read_histories(data, parsed)]
    assert list(parsed.samples.context) == list(data.context_fields)
    for name, ids in parsed.samples.context.items():
        assert ids.tolist() == stored.context[name][kept].tolist(), name
    values = read_values(data, "device")
    assert [values.get(each) for each in parsed.samples.context["device"].tolist()[:3]] == ["phone", None, "tv"]


def test_ready_made_samples_have_the_longest_history(tmp_path: Path) -> None:
    header = "label,user_id,item_id,cate_id,item_history,cate_history\n"
    (tmp_path / "train.csv").write_text(
        header + "1,ann,c,x,a^b,x^x\n0,ann,d,x,a^b,x^x\n1,bob,a,x,d^c,x^x\n1,bob,b,x,c,x\n1,cat,a,x,,\n"
    )
    (tmp_path / "test.csv").write_text(header + "1,ann,d,x,a^b^c,x^x^x\n0,cat,d,x,,\n")
    changes: dict[str, Any] = {
        "data": {"source": "x1", "train": "train.csv", "test": "test.csv", "events": None, "columns": None}
    }
    for key in ("train", "test"):
        changes["data"][key] = str(tmp_path / f"{key}.csv")
    config = make_config(tmp_path, **changes)
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    text = "user_id,item_id\nann,a\nbob,a\ncat,a\ndan,a\n"
    assert read_histories(data, parse(data, tmp_path, text, changes=changes)) == ["abc", "dc", "", ""]
    given = parse(data, tmp_path, (tmp_path / "test.csv").read_text(), changes=changes)
    assert read_histories(data, given) == ["abc", ""]
    with pytest.raises(ConfigError, match="has no times, so no history ends before one"):
        parse(data, tmp_path, "user_id,item_id,at\nann,a,3\n", "timestamp=at", changes=changes)


def read_sequence(data: PreparedData, parsed: InputRows, name: str) -> list[list[str | None]]:
    """The raw ids of each row."""
    names = read_names(data).items.to_pylist()
    starts, lengths = parsed.samples.sequences[name]
    return [
        [names[each] for each in parsed.event_item_ids[start : start + length]]
        for start, length in zip(starts, lengths, strict=True)
    ]


CLICKS, CARTS = [["7", "8"], [], ["9"]], [["8", "9"], ["7"], []]
AS_GIVEN = [(clicks, [*reversed(carts), "0"]) for clicks, carts in zip(CLICKS, CARTS, strict=True)]
# Of a Parquet list: what its values are made by.
LISTS: dict[Any, Any] = {
    pa.list_(pa.string()): str,
    pa.list_(pa.int64()): int,
    pa.list_(pa.float64()): float,
    pa.large_list(pa.decimal128(9, 1)): Decimal,
    pa.list_(pa.dictionary(pa.int32(), pa.string())): str,
}


def write_lists(kind: Any) -> pa.Table:
    clicks, carts = (pa.array([[LISTS[kind](x) for x in row[n]] for row in AS_GIVEN], kind) for n in (0, 1))
    return pa.table({"u": ["1"] * 3, "i": ["7"] * 3, "h": clicks, "c": carts})


def write_text(click: str, cart: str, form: str = '1,7,"{}","{}"') -> str:
    return "u,i,h,c\n" + "".join(form.format(click.join(h), cart.join(c)) + "\n" for h, c in AS_GIVEN)


def write_json(write: Any) -> str:
    return "".join(json.dumps({"u": 1, "i": 7, "h": write(h, "^"), "c": write(c, "|")}) + "\n" for h, c in AS_GIVEN)


SEQUENCE_FORMS: dict[str, Any] = {
    **{str(kind): write_lists(kind) for kind in LISTS},
    "separators": write_text("^", "|"),
    "blanks beside separators": write_text(" ^ ", " | "),
    "brackets": write_text(" ", ", ", '1,7,"[{}]","[{}]"'),
    "JSON lists": write_json(lambda ids, _: [int(each) for each in ids]),
    "texts in JSON": write_json(lambda ids, sign: sign.join(ids)),
}


@pytest.fixture(scope="module")
def two_sequences(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedData, dict[str, Any]]:
    """A data set of rows with clicks and carts, and the changes of its config."""
    folder = tmp_path_factory.mktemp("rows")
    rows = [{"u": "1", "i": "7", "y": label, "h": ["7", "8", "9"], "c": ["9", "8", "0"]} for label in (0, 1)]
    files = {}
    for name, user in (("train", "1"), ("test", "2")):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({**row, "u": user}) + "\n" for row in rows))
        files[name] = str(path)
    carts = {"item": "c", "separator": "|", "padding": "0", "order": "newest_first"}
    columns = {"user": "u", "item": "i", "label": "y"}
    sequences = {"clicks": {"item": "h"}, "carts": carts}
    changes = {"data": {"source": "rows", "events": None, "columns": columns, "sequences": sequences, **files}}
    config = make_config(folder, **changes)
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared), changes


@pytest.mark.parametrize("form", SEQUENCE_FORMS)
def test_every_form_of_a_further_sequence(two_sequences: Any, tmp_path: Path, form: str) -> None:
    (data, changes), rows = two_sequences, SEQUENCE_FORMS[form]
    parsed = parse(data, tmp_path, rows, changes=changes)
    assert parsed.bad == {}
    assert read_histories(data, parsed) == ["".join(each) for each in CLICKS]
    assert read_sequence(data, parsed, "carts") == CARTS
    newest = parse(data, tmp_path, rows, changes=changes, most=1)
    assert read_histories(data, newest) == ["8", "", "9"]
    assert read_sequence(data, newest, "carts") == [["9"], ["7"], []]


def test_further_sequences_by_position(two_sequences: Any, tmp_path: Path) -> None:
    data, changes = two_sequences
    carts = {**changes["data"]["sequences"]["carts"], "item": 4}
    by_position = {"columns": {"user": 1, "item": 2, "label": 5}, "sequences": {"clicks": {"item": 3}, "carts": carts}}
    lines = SEQUENCE_FORMS["brackets"].splitlines(keepends=True)
    for rows in ("".join(lines), "".join(lines[1:])):
        parsed = parse(data, tmp_path, rows, changes={"data": {**changes["data"], **by_position}})
        assert read_histories(data, parsed) == ["".join(each) for each in CLICKS]
        assert read_sequence(data, parsed, "carts") == CARTS


def test_histories_and_further_sequences_are_read_as_those_of_the_run_s_rows(tmp_path: Path) -> None:
    """One column per behaviour, the newest first, places filled with 0; a second sequence in brackets."""
    header = "u,i,y,h_1,h_2,h_10,cart\n"
    (tmp_path / "train.csv").write_text(
        header + "ann,a,1,c,b,a,['d' 'e']\nann,e,0,c,b,a,\nbob,b,1,d,0,,e\nbob,c,0,0,,,\n"
    )
    (tmp_path / "test.csv").write_text(header + "ann,b,1,d,b,a,\nann,d,0,d,b,a,\n")
    files: dict[str, Any] = {key: str(tmp_path / f"{key}.csv") for key in ("train", "test")}
    sequences = {"clicks": {"item": "h_*", "padding": "0", "order": "newest_first"}, "carts": {"item": "cart"}}
    columns = {"user": "u", "item": "i", "label": "y"}
    changes = {"data": {"source": "rows", "events": None, "columns": columns, "sequences": sequences, **files}}
    config = make_config(tmp_path, **changes)
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    parsed = parse(data, tmp_path, header + "ann,a,1,e,d,c,['a' 'b' 'x']\nbob,b,1,0,d,,\n", most=2, changes=changes)
    assert read_histories(data, parsed) == ["de", "d"]
    names, (starts, lengths) = read_names(data).items.to_pylist(), parsed.samples.sequences["carts"]
    carts = [parsed.event_item_ids[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    assert [[names[each] for each in row] for row in carts] == [["b", None], []]
    assert parsed.matches["data.sequences.carts"] == (3, 1, "['a' 'b' 'x']")


BY_POSITION = {"user": 1, "item": 2, "timestamp": "file-order"}


def test_text_is_written_as_the_run_s_log_and_a_doubtful_first_line_is_said(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    rows = "ann;e,x\nbob;d,y\n"  # by its content between commas, with a header
    known: dict[str, Any] = {"columns": BY_POSITION, "format": {"header": False, "delimiter": ";"}}
    parsed = parse(data, tmp_path, rows.replace(",x", "").replace(",y", ""), changes={"data": known})
    assert read_targets(data, parsed) == [("ann", "e"), ("bob", "d")]

    def doubt(content: str, columns: Any, format: Any = None, **given: str) -> str:
        (tmp_path / "rows").write_text(content)
        config = make_config(tmp_path, data={"columns": columns, "format": format}).data
        said = doubt_header(open_input(tmp_path / "rows", config.format), config, given)
        return "" if said is None else said

    text = rows.replace(";", "\t")
    assert "its first line is taken for a header, ann, e,x, and is not scored" in doubt(text, BY_POSITION)
    assert "--set data.format.header=false" in doubt(text, BY_POSITION)
    assert doubt(text, BY_POSITION, user="ann") == ""  # a name is a header's
    assert doubt("1,2,\n3,4,5\n", BY_POSITION) == ""  # no header
    assert doubt("user,item\nu,i\n", {"user": "user", "item": "item", "timestamp": "file-order"}) == ""
    assert "may be a header, but is scored as a row" in doubt("user,item\n1,2\n", BY_POSITION, {"header": False})
    assert doubt("3,4\n1,2\n", BY_POSITION, {"header": False}) == ""
    assert doubt("user,item\n1,2\n", BY_POSITION, {"header": True}) == ""


def test_json_is_read_though_the_run_s_log_has_a_delimiter(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    changes = {"data": {"format": {"delimiter": "\t", "header": True}}}
    parsed = parse(data, tmp_path, '{"user": "ann", "item": "e"}\n', changes=changes)
    assert read_targets(data, parsed) == [("ann", "e")]


def test_the_objects_of_a_list_are_rows_if_a_column_is_inside(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    rows = [
        {"user": "ann", "shown": [{"item": "e"}, {"item": "a"}], "history": ["b", "c"], "tags": [{"x": 1}]},
        {"user": "bob", "shown": [{"item": "d"}], "history": []},
    ]
    text = "\n".join(map(json.dumps, rows))
    parsed = parse(data, tmp_path, text, "item=shown.item")
    assert read_targets(data, parsed) == [("ann", "e"), ("ann", "a"), ("bob", "d")]
    assert read_histories(data, parsed) == ["bc", "bc", ""]
    with pytest.raises(ConfigError, match=r"columns of several lists of objects are used \(shown, tags\)"):
        parse(data, tmp_path, text, "item=shown.item,category=tags.x")


def test_a_category_by_position_is_one_of_the_items_file(tmp_path: Path) -> None:
    (tmp_path / "items").write_text("e,c\n")
    (tmp_path / "rows").write_text("ann,e,x\nbob,d,y\n")
    columns = {**BY_POSITION, "category": 2}
    data = make_config(tmp_path, data={"columns": columns, "items": str(tmp_path / "items")}).data
    found = find_input_columns(open_row_file(tmp_path / "rows"), data, {})
    assert (found.user, found.item, dict(found.item_fields)) == ("ann", "e", {})


@pytest.mark.parametrize(
    ("header", "columns", "changes", "expected"),
    [
        ("uid,item", (), {}, "--columns user=: no column 'user' in the header"),
        ("user,item", ("history=clicks",), {}, "--columns history=: no column 'clicks' in the header"),
        ("user,item", (), {"data": {"context_fields": ["device"]}}, "data.context_fields.device: no column 'device'"),
        ("user,item", (), {"data": {"context_fields": ["hour"]}}, "no column 'time', from which the run's context"),
        (
            "user,item,time,history",
            (),
            {"data": {"context_fields": ["days_since_last"]}},
            "needs the times of the history, which column 'history' does not have",
        ),
        ("user,item,logit", (), {}, "has a column 'logit' already"),
        ("user,item", ("users=u",), {}, "expected ROLE=COLUMN with a role of user, item, history, timestamp"),
        ("user,item", ("user=",), {}, "expected ROLE=COLUMN"),
        (
            "a,b",
            (),
            {"data": {"columns": {"user": 1, "item": 3, "timestamp": 2}}},
            "has no item: the run's log has it in",
        ),
    ],
)
def test_wrong_columns(
    tmp_path: Path, header: str, columns: tuple[str, ...], changes: dict[str, Any], expected: str
) -> None:
    (tmp_path / "rows.csv").write_text(f"{header}\n")
    with pytest.raises(ConfigError) as error:
        find_input_columns(
            open_row_file(tmp_path / "rows.csv"), make_config(tmp_path, **changes).data, parse_columns(columns)
        )
    (problem,) = error.value.problems
    assert expected in problem


def test_columns_of_a_wrong_type(tmp_path: Path) -> None:
    table = pa.table({"user": [True], "item": [3], "history": [[False]], "time": [True]})
    pq.write_table(table, tmp_path / "rows.parquet")
    data = make_config(tmp_path).data
    with pytest.raises(ConfigError) as error:
        find_input_columns(open_row_file(tmp_path / "rows.parquet"), data, {})
    assert [problem.partition("column ")[2] for problem in error.value.problems] == [
        "'user' is of type bool, expected text or whole numbers; convert the column, or name another",
        "'history' is of type list<element: bool>, expected ids joined by a separator, or a list of them; convert the "
        "column, or name another",
    ]
    with pytest.raises(ConfigError, match="'time' is of type bool, expected numbers, timestamps, dates"):
        find_input_columns(open_row_file(tmp_path / "rows.parquet"), data, {"user": "history", "history": ""})


def test_names_of_columns_may_have_commas() -> None:
    assert parse_columns(["user=a,b,item=c=d", "timestamp="]) == {"user": "a,b", "item": "c=d", "timestamp": ""}


# With items that ann has not chosen: a target without a negative is no sample.
MORE_EVENTS: list[Event] = [*EVENTS, *(("cat", item, "c", START + DAY * day) for day, item in enumerate("xyz"))]


def test_rows_of_the_log_have_the_history_and_the_fields_of_their_samples(tmp_path: Path) -> None:
    changes = {"data": {"context_fields": ["days_since_last"]}}
    data, _ = prepare_events(tmp_path, MORE_EVENTS, **changes)
    text = "user,item,row\nbob,b,9\nann,a,5\nann,zzz,4\n"
    parsed = parse(data, tmp_path, text, "event=row", changes=changes)
    assert read_histories(data, parsed) == ["edc", "abcde", "abcd"]  # c, of b's own time, stands above it in the file
    stored = {
        int(event): int(ids)
        for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)
        for event, ids in zip(
            data.samples(split, 9).events, data.samples(split, 9).context["days_since_last"], strict=True
        )
    }
    assert parsed.samples.context["days_since_last"].tolist() == [stored[event] for event in (9, 5, 4)]
    assert read_histories(data, parse(data, tmp_path, text, "event=row", most=2, changes=changes)) == ["dc", "de", "cd"]


def test_rows_that_are_no_samples_are_bad(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, MORE_EVENTS)
    text = "user,item,row\nann,a,0\nann,a,9\nann,a,99\nann,a,\nann,a,x\nann,a,5\n"
    parsed = parse(data, tmp_path, text, "event=row")
    assert parsed.bad == {
        0: "no sample of that event",  # the first of a user has no history
        1: "event of another user",
        2: "no sample of that event",
        3: "no event",
        4: "event not a whole number",
    }
    assert read_histories(data, parsed) == ["abcde"]


def test_an_event_and_another_history_exclude_each_other(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, MORE_EVENTS)
    with pytest.raises(ConfigError, match=r"--columns event=row: says the history and the time, and so does history=h"):
        parse(data, tmp_path, "user,item,row,h\nann,a,5,a\n", "event=row,history=h")


def test_rows_with_stored_events_at_their_own_time_are_counted(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    text = "user,item,time\n" + "".join(f"{u},a,{START + s}\n" for u, s in (("bob", 2 * DAY), ("bob", 1), ("zed", 0)))
    assert parse(data, tmp_path, text).at_stored_time == 1
    assert parse(data, tmp_path, text, "timestamp=").at_stored_time == 0


def test_the_lag_of_a_log_of_impressions_is_the_new_rows_too(tmp_path: Path) -> None:
    rows = [("u", item, START + 10 * n, int(n < 4)) for n, item in enumerate("abcde")]
    write_table(tmp_path / "log.tsv", ["user", "item", "time", "label"], rows)
    columns = {"user": "user", "item": "item", "timestamp": "time", "label": "label", "category": None}
    changes = {"data": {"columns": columns, "history_lag": 15}}
    config = make_config(tmp_path, **changes)
    prepare_data(config, force=True, progress=lambda _: None)
    data = open_store(config.data.prepared)
    text = "user,item,time\n" + "".join(f"u,a,{START + s}\n" for s in (15, 16, 35, 36))
    assert read_histories(data, parse(data, tmp_path, text, changes=changes)) == ["", "a", "ab", "abc"]


@pytest.mark.parametrize(
    ("of_log", "of_rows"),
    [
        (lambda day: 20231115 + day, 1_700_000_000_000),
        (lambda day: 1 + day, 20231116),
        (lambda day: START + day * 60, START - 99),
    ],
)
def test_times_of_another_kind_are_counted(tmp_path: Path, of_log: Any, of_rows: int) -> None:
    data, _ = prepare_events(tmp_path, [(*event[:3], of_log(place)) for place, event in enumerate(EVENTS)])
    text = f"user,item,time\nann,a,{of_rows}\nann,a,{of_log(5)}\n"
    assert parse(data, tmp_path, text).matches["timestamp"] == (2, 1, str(of_rows))


@pytest.mark.parametrize("mark", ["|", " ", "::"])
def test_histories_joined_by_something_else_are_counted(tmp_path: Path, mark: str) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    table = pa.table({"user": ["ann"] * 3, "item": ["a"] * 3, "history": [f"a{mark}b", "a^zz", "b"]})
    matches = parse(data, tmp_path, table).matches
    assert matches["history"] == (4, 2, f"a{mark}b")
    assert matches["history separator"] == (3, 1, f"a{mark}b")

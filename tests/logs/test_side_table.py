"""Item, user and context fields of a table: columns of the events, or of tables beside them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import Outcome, Runner

from din_train.errors import DataError

COLUMNS = {"user": "u", "item": "i", "timestamp": "t"}
EVENTS = b"u,i,t,brand,age,page\nu,a,1,B,30,home\nv,b,2,,,\n"


def read(runner: Runner, events: Path | bytes = EVENTS, columns: dict[str, Any] = COLUMNS, **values: Any) -> Outcome:
    return runner.source("table", events=events, columns=columns, **values)


def write_parquet(folder: Path, **columns: Any) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "table.parquet")
    return folder / "table.parquet"


@pytest.mark.parametrize("odd", [b"", b"u,a,oops,B,30,home\n"], ids=["fast", "slow"])
def test_fields_that_are_columns_of_the_events(runner: Runner, odd: bytes) -> None:
    fields = {"item_fields": ["brand"], "user_fields": ["age"], "context_fields": ["page", "hour"]}
    got = read(runner, EVENTS + odd, **fields)
    assert got.events == [("u", "a", 1, "B", "30", "home", 0), ("v", "b", 2, None, None, None, 1)]
    assert pq.read_schema(got.log.events).names == [
        *("user", "item", "timestamp", "field brand", "field age", "field page", "ordinal"),
    ]
    assert (got.log.items, got.log.users) == (None, None)


def test_fields_in_parquet_may_be_numbers(runner: Runner) -> None:
    path = write_parquet(
        runner.folder,
        u=["u"] * 3,
        i=["a", "b", "c"],
        t=[1, 2, 3],
        price=[9.99, float("nan"), None],
        narrow=pa.array([0.1, 2.0, None], pa.float32()),
        stock=[7, None, 2**60],
        new=[True, False, None],
        exact=pa.array(["1.50", None, "2.00"]).cast(pa.decimal128(9, 2)),
    )
    got = read(runner, path, item_fields=["price", "narrow", "stock", "new", "exact"])
    assert [row[3:-1] for row in got.events] == [
        ("9.99", "0.1", "7", "true", "1.50"),
        (None, "2", None, "false", None),
        (None, None, str(2**60), None, "2.00"),
    ]


def test_a_field_of_a_type_that_will_not_do(runner: Runner) -> None:
    path = write_parquet(runner.folder, u=["u"], i=["a"], t=[1], tags=[["x", "y"]])
    with pytest.raises(DataError) as caught:
        read(runner, path, item_fields=["tags"])
    assert str(caught.value) == (
        f"{path}: data.item_fields.tags: column 'tags' is of type list<element: string>, expected text, numbers, or "
        "true and false; convert the column, or name another"
    )


ITEMS = b"brand\ti\tc\nB\ta\tC\n\tb\t\nX\tzoo\tZ\n"


def test_tables_of_items_and_users(runner: Runner) -> None:
    columns = {**COLUMNS, "category": "c"}
    users = write_parquet(runner.folder / "day=3", u=["v", "007"], age=[30, None], day=["mon", "tue"])
    values = {"items": ITEMS, "users": users, "item_fields": ["brand"], "user_fields": ["day", "age"]}
    got = read(runner, b"u,i,t\nu,a,1\n", columns, **values)
    assert got.events == [("u", "a", 1, 0)]
    assert got.log.items is not None
    assert pq.read_schema(got.log.items).names == ["item", "category", "field brand"]
    assert got.items == [("a", "C", "B"), ("b", None, None), ("zoo", "Z", "X")]
    assert got.users == [("v", "mon", "30"), ("007", "tue", None)]  # and not the `day=3` of the folder's name
    assert [(report.lines, report.kept) for report in got.log.reports] == [(1, 1), (3, 3), (2, 2)]


def test_what_a_table_lacks_is_taken_from_the_log(runner: Runner) -> None:
    columns = {**COLUMNS, "category": "page"}
    got = read(runner, columns=columns, items=b"i,size\na,9\n", item_fields=["brand", "size"])
    assert got.events == [("u", "a", 1, "home", "B", 0), ("v", "b", 2, None, None, 1)]
    assert pq.read_schema(got.log.events).names[3:5] == ["category", "field brand"]
    assert got.items == [("a", "9")]
    labelled = b"u,i,t,page\nu,a,1,0\nv,b,2,1\n"
    with pytest.raises(DataError, match=r"data\.item_fields\.page: no column 'page' in the header, which has i, size"):
        read(runner, labelled, {**COLUMNS, "label": "page"}, items=b"i,size\na,9\n", item_fields=["page"])


def test_a_column_with_a_role_is_no_field_however_it_is_named(runner: Runner) -> None:
    events = b"u,i,t,page\nu,a,1,0\nv,b,2,1\n"
    with pytest.raises(DataError) as caught:
        read(runner, events, {"user": 2, "item": "i", "timestamp": "t", "label": 4}, context_fields=["page"])
    path = runner.folder / "input-1"
    assert caught.value.problems == (
        f"{path}: data.columns.item: 'i' is the column of data.columns.user already; name another one",
        f"{path}: data.context_fields.page: 'page' is the column of data.columns.label already; name another one",
    )


def test_an_id_given_again_fills_in_what_its_first_row_lacks(runner: Runner) -> None:
    items = b"i,brand,size\na,B,\nb,,\na,C,9\n"
    got = read(runner, items=items, item_fields=["brand", "size"])
    assert got.items == [("a", "B", "9"), ("b", None, None)]
    report = got.log.reports[1]
    assert (report.lines, report.kept, report.notes) == (3, 2, {"duplicate item": 1})


@pytest.mark.parametrize("form", ["text", "parquet"])
def test_bad_rows_of_a_table_of_items(runner: Runner, form: str) -> None:
    good, nul, nameless = ("a b,é", 'B"'), ("b", "x\0"), ("", "y")
    if form == "text":
        items: Path | bytes = "\n".join(["i\tbrand", *map("\t".join, (good, nul, nameless)), "z", ""]).encode()
    else:
        rows = [good, nul, nameless, (None, "z")]
        items = write_parquet(runner.folder, **dict(zip(("i", "brand"), zip(*rows, strict=True), strict=True)))
    got = read(runner, items=items, item_fields=["brand"], max_bad_share=0.9)
    assert got.items == [good]
    assert got.log.reports[1].rejected == {
        "NUL character": 1,
        **({"empty id": 1, "wrong number of fields": 1} if form == "text" else {"empty id": 1, "no id": 1}),
    }
    first = 3 if form == "text" else 2  # a line of text, a row of Parquet
    assert [(row["line"], row["reason"]) for row in got.rejected][:2] == [
        (first, "NUL character"), (first + 1, "empty id"),
    ]  # fmt: skip


def test_bytes_that_are_no_text_in_a_table_of_items(runner: Runner) -> None:
    offsets = pa.array([0, 1, 2], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a\xff")])
    got = read(runner, items=write_parquet(runner.folder, i=broken, brand=["A", "B"]), item_fields=["brand"])
    assert (got.items, got.log.reports[1].rejected) == ([("a", "A")], {"invalid UTF-8": 1})


def test_a_table_of_nothing(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        read(runner, items=b"i,brand\n", item_fields=["brand"])
    assert str(caught.value) == f"{runner.folder / 'input-2'}: no item in its 0 lines; check data.items"
    with pytest.raises(DataError, match="input-4: is empty, expected a header and rows"):
        read(runner, items=b"\n\n", item_fields=["brand"])


def test_a_column_that_a_table_lacks(runner: Runner) -> None:
    path = runner.folder / "input-2"
    with pytest.raises(DataError) as caught:
        read(runner, b"u,i,t\nu,a,1\n", items=b"i,brnd,x\na,B,1\n", item_fields=["brand", "size"])
    assert caught.value.problems == (
        f"{path}: data.item_fields.brand: no column 'brand' in the header, which has i, brnd, x; did you mean 'brnd'? "
        "(read as comma-separated)",
        f"{path}: data.item_fields.size: no column 'size' in the header, which has i, brnd, x; its first line must be "
        "a header; name one of these columns (read as comma-separated)",
    )
    users = write_parquet(runner.folder, user=["u"], age=[3])
    with pytest.raises(DataError, match=r"data\.columns\.user: no column 'u' in the header, which has user, age; "):
        read(runner, users=users, user_fields=["age"])


def test_ids_in_a_table_are_text_or_whole_numbers(runner: Runner) -> None:
    items = write_parquet(runner.folder, i=[True], brand=["B"])
    with pytest.raises(DataError, match=r"data\.columns\.item: column 'i' is of type bool, expected text or whole"):
        read(runner, items=items, item_fields=["brand"])
    items = write_parquet(runner.folder, i=[7], brand=["B"])
    assert read(runner, items=items, item_fields=["brand"]).items == [("7", "B")]
    items = write_parquet(runner.folder, i=[7.0, None, 7.5, 8.0, 9.0, 10.0], brand=["B", "C", "D", "E", "F", "G"])
    got = read(runner, items=items, item_fields=["brand"])
    assert got.items == [("7", "B"), ("8", "E"), ("9", "F"), ("10", "G")]
    assert got.log.reports[1].rejected == {"no id": 1, "id not a whole number": 1}


def test_a_table_with_a_key_of_its_own(runner: Runner) -> None:
    users = b"userid,age ,new_user \nu,30,1\n"
    got = read(runner, users={"path": runner.file(users), "key": "userid"}, user_fields=["age", "new_user"])
    assert got.users == [("u", "30", "1")]
    got = read(runner, items={"path": runner.file(b"B;a\nC;b\n"), "key": 2, "format": {"header": False}},
               item_fields=["1"])  # fmt: skip
    assert got.items == [("a", "B"), ("b", "C")]
    with pytest.raises(DataError, match=r"input-\d: data\.users\.key: no column 'uid' in the header, .* mean 'userid'"):
        read(runner, users={"path": runner.file(users), "key": "uid"}, user_fields=["age"])


def test_recboles_atomic_files(runner: Runner) -> None:
    events = b"user_id:token\titem_id:token\ttimestamp:float\nu\ta\t978300760.0\nv\tb\t978300761\n"
    items = b"item_id:token\tgenre:token_seq\nb\tWar Drama\n"
    columns = {"user": "user_id", "item": "item_id", "timestamp": "timestamp"}
    fields = {"item_fields": ["genre"], "list_fields": {"genre": {"separator": " "}}}
    got = read(runner, events, columns, items=items, **fields)
    assert got.events == [("u", "a", 978300760, 0), ("v", "b", 978300761, 1)]
    assert got.items == [("b", ["War", "Drama"])]
    columns = {"user": "user_id:token", "item": "item_id:token", "timestamp": "timestamp:float"}
    assert len(read(runner, events, columns).events) == 2

"""Rows of any file, a number at a time: none lost between blocks, broken ones in their place, memory bounded."""

import datetime
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from din_train.errors import DataError
from din_train.logs.lines import BLOCK_BYTES
from din_train.logs.row_files import Chunk, open_row_file


def read(path: Path, rows: int) -> list[Chunk]:
    reported: list[int] = []
    chunks = list(open_row_file(path).read_chunks(rows, reported.append))
    assert sum(reported) == path.stat().st_size
    return chunks


def to_rows(chunks: list[Chunk]) -> list[dict[str, object]]:
    return [row for chunk in chunks for row in chunk.table.to_pylist()]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz"])
def test_every_row_of_several_blocks_once_and_in_order(tmp_path: Path, suffix: str) -> None:
    delimiter = "\t" if suffix == "tsv" else ","
    rows = [(f"u{n}", f"i{n % 7}", "x" * 90) for n in range(30_000)]
    text = "".join(delimiter.join(row) + "\n" for row in [("user", "item", "note"), *rows]).encode()
    assert len(text) > 2 * BLOCK_BYTES
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    chunks = read(path, 7_000)
    assert [chunk.table.num_rows for chunk in chunks] == [7_000, 7_000, 7_000, 7_000, 2_000]
    assert [tuple(row.values()) for row in to_rows(chunks)] == rows
    assert all(not chunk.broken for chunk in chunks)


def test_broken_rows_are_null_in_their_place_and_blank_lines_are_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'user,item\nu0,i0\nu1\n\nu2,i2,more\n"u3,i3\nu\xff,i4\n"u,5",i5\n')
    chunks = read(path, 4)
    assert to_rows(chunks) == [
        {"user": "u0", "item": "i0"},
        *[{"user": None, "item": None}] * 4,
        {"user": "u,5", "item": "i5"},
    ]
    assert chunks[0].broken == {1: "wrong number of fields", 2: "wrong number of fields", 3: "broken quotes"}
    assert chunks[1].broken == {0: "invalid UTF-8"}


def test_parquet_keeps_its_types_across_row_groups(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user": pa.array(["a", "b", "a", None, "c"]).dictionary_encode(),
            "at": pa.array([datetime.datetime(2020, 1, day) for day in range(1, 6)], pa.timestamp("ms")),
            "history": pa.array([["x"], [], None, ["y", "z"], []], pa.list_(pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    file = open_row_file(tmp_path / "rows.parquet")
    assert file.schema.types == table.schema.types
    chunks = read(tmp_path / "rows.parquet", 3)
    assert [chunk.table.num_rows for chunk in chunks] == [3, 2]
    assert to_rows(chunks) == table.to_pylist()


@pytest.mark.parametrize("is_file", [True, False])
def test_arrow_files_and_streams(tmp_path: Path, is_file: bool) -> None:
    table = pa.table({"user": ["a", "b", None], "history": [["x"], [], ["y", "z"]], "at": [1, 2, 3]})
    path = tmp_path / "rows"
    with (pa.ipc.new_file if is_file else pa.ipc.new_stream)(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert open_row_file(path).schema == table.schema
    assert to_rows(read(path, 2)) == table.to_pylist()
    chunk = next(open_row_file(path).read_chunks(5, lambda _: None, ["at", "user"]))
    assert (chunk.table, chunk.lines.tolist()) == (table.select(["at", "user"]), [1, 2, 3])
    whole = path.read_bytes()
    for length in range(8, len(whole) - 12, 40):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            list(open_row_file(path).read_chunks(5, lambda _: None))


def test_folders_are_columns(tmp_path: Path) -> None:
    folder = tmp_path / "log" / "day=2020-01-01" / "what%20for=a%2Fb" / "user=x" / "none=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    (folder / "part-0.csv").write_text("user,item\nu,i\nv\n")
    pq.write_table(pa.table({"user": ["u"], "item": ["i"]}), folder / "part-1.parquet")
    more = {"day": "2020-01-01", "what for": "a/b", "none": None}
    for name in ("part-0.csv", "part-1.parquet"):
        file = open_row_file(folder / name)
        assert file.schema.names == ["user", "item", *more]
        assert to_rows(read(folder / name, 5))[0] == {"user": "u", "item": "i", **more}
    (chunk,) = open_row_file(folder / "part-0.csv").read_chunks(5, lambda _: None, ["day"])
    assert chunk.table.to_pylist() == [{"day": "2020-01-01"}] * 2
    assert chunk.broken == {1: "wrong number of fields"}


def test_columns_by_position_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("user,item,user\nu,i,v\n")
    file = open_row_file(path)
    assert (file.resolve(2), file.resolve("item")) == ("item", "item")
    for column, message in (
        (4, "data.columns: no column 4; it has 3"),
        (3, "has the column 'user' 2 times"),
        ("itme", "did you mean 'item'"),
    ):
        with pytest.raises(DataError, match=message):
            file.resolve(column)
    (chunk,) = file.read_chunks(5, lambda _: None, ["item"])  # the others have one name, but are not wanted
    assert chunk.table.to_pylist() == [{"item": "i"}]
    path.write_text("u,i,5\nv,j,6\n")
    file = open_row_file(path)
    assert (file.resolve(3), file.resolve("3"), file.form) == ("3", "3", "comma-separated, without a header")
    with pytest.raises(DataError, match="no column 'user', since its first line looks like the others"):
        file.resolve("user")


def test_no_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("user,item\n")
    assert to_rows(read(tmp_path / "rows.csv", 3)) == []
    pq.write_table(pa.table({"user": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    assert to_rows(read(tmp_path / "rows.parquet", 3)) == []


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (b"", "is empty, expected a header and rows"),
        (b"user,item,user\n", "has the column 'user' more than once"),
        (b'"user,item\n', "its first line is no header"),
        (b"PAR1 not really", "cannot be read as Parquet"),
        (b"ARROW1 not really", "cannot be read as Arrow"),
        (b"\xff\xff\xff\xff\x10\0\0\0 not really", "cannot be read as Arrow"),
        (gzip.compress(b"user,item\nu0,i0\n" * 50, mtime=0)[:-20], "the gzip stream ends early"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, contents: bytes, expected: str) -> None:
    (tmp_path / "rows").write_bytes(contents)
    with pytest.raises(DataError, match=expected):
        list(open_row_file(tmp_path / "rows").read_chunks(5, lambda _: None))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    def measure(rows: int) -> int:
        path = tmp_path / f"{rows}.{form}"
        if form == "csv":
            path.write_text("user,item\n" + "".join(f"user{n:040},item{n:040}\n" for n in range(rows)))
        else:
            table = pa.table({name: [f"{name}{n:040}" for n in range(rows)] for name in ("user", "item")})
            pq.write_table(table, path, row_group_size=5_000)
            del table
        before = pa.default_memory_pool()
        pool = pa.proxy_memory_pool(pa.system_memory_pool())
        pa.set_memory_pool(pool)
        try:
            total = sum(chunk.table.num_rows for chunk in open_row_file(path).read_chunks(5_000, lambda _: None))
        finally:
            pa.set_memory_pool(before)
        assert total == rows
        return int(pool.max_memory())

    small, large = measure(50_000), measure(400_000)  # 5 and 40 MB
    assert small > 1_000_000
    assert large < 1.5 * small

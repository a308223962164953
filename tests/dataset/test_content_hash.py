"""The hash of rows against its formula in whole numbers, and what it notices."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from din_train.dataset import content_hash
from din_train.dataset.content_hash import RowsHash, hash_columns, hash_table

SCHEMA = pa.schema(
    [
        *(("a", pa.int32()), ("b", pa.int32()), ("label", pa.int8()), ("time", pa.int64())),
        *(("weight", pa.float32()), ("tags", pa.list_(pa.int32(), 2))),
    ]
)
M = 1 << 64


def make_columns(rows: int) -> dict[str, Any]:
    generator = np.random.default_rng(3)
    return {
        "a": np.sort(generator.integers(2, 50, rows)).astype(np.int32),
        "b": generator.integers(2, 9, rows).astype(np.int32),
        "label": generator.integers(0, 2, rows).astype(np.int8),
        "time": generator.integers(-(2**40), 2**40, rows),
        "weight": generator.random(rows).astype(np.float32),
        "tags": generator.integers(0, 5, (rows, 2)).astype(np.int32),
    }


def mix(value: int) -> int:
    """Of splitmix64."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % M
    value = (value ^ value >> 27) * 0x94D049BB133111EB % M
    return value ^ value >> 31


def hash_plainly(columns: dict[str, Any], rows: int) -> str:
    def draw(name: str) -> tuple[int, int]:
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") | 1, int.from_bytes(digest[8:16], "big")

    sums = [0, 0]
    for row in range(rows):
        values = {
            "a.0:int32": int(columns["a"][row]),
            "b.0:int32": int(columns["b"][row]),
            "label.0:int8": int(columns["label"][row]),
            "time.0:int64": int(columns["time"][row]),
            "weight.0:float": int.from_bytes(columns["weight"][row].tobytes(), "little"),
            "tags.0:int32[2]": int(columns["tags"][row, 0]),
            "tags.1:int32[2]": int(columns["tags"][row, 1]),
        }
        hashed = mix(sum(draw(name)[0] * value + draw(name)[1] for name, value in values.items()) % M)
        sums[0] += hashed * 0x9E3779B97F4A7C15**row
        sums[1] += mix(hashed) * 0xD1342543DE82EF95**row
    return f"{rows}:{sums[0] % M:016x}{sums[1] % M:016x}"


def test_the_formula() -> None:
    assert str(hash_columns(make_columns(5), SCHEMA)) == hash_plainly(make_columns(5), 5)
    assert hash_columns(make_columns(0), SCHEMA) == RowsHash()


@pytest.mark.parametrize("chunk", [1, 7, 1 << 14])
def test_any_cutting_gives_one_hash(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    columns = make_columns(100)
    whole = hash_columns(columns, SCHEMA)
    monkeypatch.setattr(content_hash, "_CHUNK_ROWS", chunk)
    content_hash._compute_powers.cache_clear()
    parts = [
        hash_columns({name: column[begin:end] for name, column in columns.items()}, SCHEMA)
        for begin, end in ((0, 3), (3, 3), (3, 64), (64, 100))
    ]
    content_hash._compute_powers.cache_clear()
    assert sum(parts, RowsHash()) == whole
    assert (parts[0] + (parts[1] + (parts[2] + parts[3]))) == whole
    assert sum(parts[::-1], RowsHash()) != whole


def test_more_rows_than_are_hashed_at_once() -> None:
    columns = make_columns(40_000)
    halves = [{name: column[part] for name, column in columns.items()} for part in (slice(9), slice(9, None))]
    assert hash_columns(halves[0], SCHEMA) + hash_columns(halves[1], SCHEMA) == hash_columns(columns, SCHEMA)


def test_a_column_is_cast_to_its_type() -> None:
    columns = make_columns(10)
    wider = {name: column.astype(np.int64) if name in "ab" else column for name, column in columns.items()}
    assert hash_columns(wider, SCHEMA) == hash_columns(columns, SCHEMA)


def swap(columns: dict[str, Any], first: int, second: int) -> dict[str, Any]:
    order = np.arange(len(columns["a"]))
    order[[first, second]] = second, first
    return {name: column[order] for name, column in columns.items()}


def add_one(name: str, row: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(columns: dict[str, Any]) -> dict[str, Any]:
        values = columns[name].copy()
        values[row] += 1
        return {**columns, name: values}

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(add_one(name, row) for name in SCHEMA.names for row in (0, 63, 99)),
        lambda columns: swap(columns, 0, 1),
        lambda columns: swap(columns, 1, 65),  # 2^6 apart: the powers of an odd number differ by a multiple of it
        lambda columns: {**columns, "a": columns["b"], "b": columns["a"]},
        lambda columns: {**columns, "tags": columns["tags"][:, ::-1]},
        lambda columns: {**columns, "weight": -columns["weight"]},
        lambda columns: {name: column[1:] for name, column in columns.items()},
        lambda columns: {name: column[:-1] for name, column in columns.items()},
        lambda columns: {name: np.delete(column, 50, 0) for name, column in columns.items()},
        lambda columns: {name: np.concatenate([column[:1] * 0, column]) for name, column in columns.items()},
    ],
)
def test_what_changes_a_hash(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    columns = make_columns(100)
    changed, before = hash_columns(change(columns), SCHEMA), hash_columns(columns, SCHEMA)
    assert all(own != other for own, other in zip(changed.sums, before.sums, strict=True))


def test_names_and_types_count_even_where_all_is_0() -> None:
    zeros = {"a": np.zeros(4, np.int32), "b": np.zeros(4, np.int32)}
    schemas = [
        pa.schema([("a", pa.int32())]),
        pa.schema([("b", pa.int32())]),
        pa.schema([("a", pa.int64())]),
        pa.schema([("a", pa.int32()), ("b", pa.int32())]),
    ]
    assert len({hash_columns(zeros, schema) for schema in schemas}) == 4


TABLE = pa.table(
    {
        "id": pa.array([2, 3, 4], pa.int32()),
        "name": ["ab", None, "c"],
        "tags": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
        "words": [["x", "yz"], ["x"], None],
        "vector": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        "price": [1.5, None, 0.0],
        "known": [True, None, False],
        "nothing": pa.nulls(3),
    }
)


def change_column(name: str, column: Any) -> pa.Table:
    values = pa.array(column) if isinstance(column, list) else column
    return TABLE.set_column(TABLE.column_names.index(name), name, values)


def test_equal_tables_have_one_hash_however_they_are_kept(tmp_path: Any) -> None:
    pq.write_table(TABLE, tmp_path / "table.parquet", compression="zstd")
    others = {
        "chunks": pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 0), TABLE.slice(1, 2)]),
        "slice": pa.concat_tables([TABLE, TABLE]).combine_chunks().slice(3, 3),
        "file": pq.read_table(tmp_path / "table.parquet"),
        "codes": change_column("name", TABLE["name"].dictionary_encode()),
        "large": change_column("name", TABLE["name"].cast(pa.large_string())),
        "large list": change_column("words", TABLE["words"].cast(pa.large_list(pa.large_string()))),
        "metadata": TABLE.replace_schema_metadata({"a": "b"}),
    }
    assert {name: hash_table(table) for name, table in others.items()} == dict.fromkeys(others, hash_table(TABLE))
    assert hash_table(TABLE.slice(0, 0)) == hash_table(TABLE.schema.empty_table())


@pytest.mark.parametrize(
    "changed",
    [
        change_column("id", pa.array([2, 3, 5], pa.int32())),
        change_column("id", pa.array([2, 3, 4], pa.int64())),
        change_column("name", ["a", None, "bc"]),
        change_column("name", ["ab", "", "c"]),
        change_column("name", [None, "ab", "c"]),
        change_column("tags", pa.array([[1], [2], None], pa.list_(pa.int32()))),
        change_column("tags", pa.array([[1, 2], None, []], pa.list_(pa.int32()))),
        change_column("words", [["xy", "z"], ["x"], None]),
        change_column("vector", pa.array([[1.0, 2.0], None, [4.0, 3.0]], pa.list_(pa.float32(), 2))),
        change_column("price", [1.5, 0.0, None]),
        change_column("known", [True, None, True]),
        TABLE.take([1, 0, 2]),
        TABLE.slice(0, 2),
        TABLE.drop(["nothing"]),
        TABLE.rename_columns({"tags": "other"}),
    ],
)
def test_what_changes_a_table(changed: pa.Table) -> None:
    assert hash_table(changed) != hash_table(TABLE)

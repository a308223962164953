"""Files with the same content are refused, whatever their names and packing."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import Runner

from din_train.errors import DataError
from din_train.logs.equal_files import check_contents_differ

CONTENT = b"u,i,t\n" + b"".join(b"u%d,i,%d\n" % (n, n) for n in range(20_000))
TABLE = {"source": "table", "columns": {"user": "u", "item": "i", "timestamp": "t"}}


@pytest.mark.parametrize("packed", [False, True])
def test_a_copy(tmp_path: Path, packed: bool) -> None:
    one, two = tmp_path / "events.csv", tmp_path / "events (1).csv"
    one.write_bytes(CONTENT)
    two.write_bytes(gzip.compress(CONTENT[:70_000]) + gzip.compress(CONTENT[70_000:]) if packed else CONTENT)
    with pytest.raises(DataError) as caught:
        check_contents_differ([one, two])
    assert str(caught.value).startswith(f"{two}: has the same content as {one}")
    two.write_bytes(CONTENT + b"u,i,9\n")  # which begins alike
    check_contents_differ([one, two])


def test_parts_without_a_row_and_damaged_ones_are_none_of_its_business(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abcd"]
    for path in paths:
        path.write_bytes(b"u,i,t\n")
    check_contents_differ(paths)
    for path in paths:
        pq.write_table(pa.table({"u": pa.array([], pa.string())}), path)
    check_contents_differ(paths)
    for path in paths:
        path.write_bytes(gzip.compress(CONTENT)[:-9])
    check_contents_differ(paths)


def test_copies_in_other_partitions_are_other_rows(tmp_path: Path) -> None:
    paths = [tmp_path / f"day={day}" / "part-0" for day in (1, 2)]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(CONTENT)
    check_contents_differ(paths)
    (again := paths[0].with_name("part-1.zst")).write_bytes(pa.Codec("zstd").compress(CONTENT, asbytes=True))
    with pytest.raises(DataError, match=r"part-1\.zst: has the same content as"):
        check_contents_differ([*paths, again])


def test_parquet_twice(tmp_path: Path) -> None:
    for name in "ab":
        pq.write_table(pa.table({"u": ["x"]}), tmp_path / name)
    with pytest.raises(DataError, match="has the same content as"):
        check_contents_differ([tmp_path / "a", tmp_path / "b"])


def test_a_log_and_its_packed_copy(runner: Runner) -> None:
    folder = runner.folder / "log"
    folder.mkdir()
    (folder / "events.csv").write_bytes(CONTENT)
    (folder / "events.csv.gz").write_bytes(gzip.compress(CONTENT))
    with pytest.raises(DataError, match=r"events\.csv\.gz: has the same content as .*events\.csv, so every row would"):
        runner.source("table", events=folder, columns=TABLE["columns"])


def test_the_test_file_is_the_training_file(runner: Runner) -> None:
    rows = b"label,user_id,item_id,cate_id,item_history,cate_history\n1,u,i,c,a,x\n"
    with pytest.raises(DataError, match="has the same content as"):
        runner.ready_made(rows, rows)

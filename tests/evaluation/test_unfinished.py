"""Chunks of a table that is not yet whole: counted, checked, kept from other requests and other processes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from din_train.errors import ConfigError, RunError
from din_train.evaluation.unfinished import open_unfinished

REQUEST = {"input": "one", "chunk_rows": 2}
CHUNKS = [pa.table({"a": [1, 2]}), pa.table({"a": [3]})]


def write_chunks(output: Path) -> Path:
    with open_unfinished(output, REQUEST, overwrite=False) as unfinished:
        for number, table in enumerate(CHUNKS):
            unfinished.write_chunk(number, table, {"rows": table.num_rows})
    return unfinished.folder


def test_chunks_are_kept_and_put_together(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    write_chunks(output)
    schema = CHUNKS[0].schema.with_metadata({"made": "here"})
    with open_unfinished(output, REQUEST, overwrite=False) as unfinished:
        assert unfinished.count_chunks() == 2
        assert unfinished.read_summary(1) == {"rows": 1}
        unfinished.publish(output, schema, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    with pq.ParquetFile(output) as file:
        assert file.read().to_pydict() == {"a": [1, 2, 3]}
        assert file.num_row_groups == 2
        assert file.schema_arrow.metadata[b"made"] == b"here"
        assert b"din-train summary" not in file.schema_arrow.metadata


def test_a_damaged_chunk_and_those_after_it_do_not_count(tmp_path: Path) -> None:
    folder = write_chunks(tmp_path / "out.parquet")
    chunk = folder / "chunk-0000000.arrow"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with open_unfinished(tmp_path / "out.parquet", REQUEST, overwrite=False) as unfinished:
        assert unfinished.count_chunks() == 0


def test_another_request_is_refused_unless_it_may_overwrite(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    write_chunks(output)
    other = {**REQUEST, "chunk_rows": 3}
    with (
        pytest.raises(ConfigError, match=r"unfinished: begun with another chunk rows, so it cannot go on"),
        open_unfinished(output, other, overwrite=False),
    ):
        pass
    with open_unfinished(output, REQUEST, overwrite=False) as unfinished:
        assert unfinished.count_chunks() == 2
    with open_unfinished(output, other, overwrite=True) as unfinished:
        assert unfinished.count_chunks() == 0


def test_one_process_at_a_time(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    with (
        open_unfinished(output, REQUEST, overwrite=False),
        pytest.raises(RunError, match="another din-train is at work on"),
        open_unfinished(output, REQUEST, overwrite=False),
    ):
        pass


def test_nothing_is_left_where_no_chunk_was_finished(tmp_path: Path) -> None:
    with open_unfinished(tmp_path / "out.parquet", REQUEST, overwrite=False):
        pass
    assert list(tmp_path.iterdir()) == []

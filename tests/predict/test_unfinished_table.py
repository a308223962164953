"""Chunks of a table that is not yet whole: counted, checked, kept from other requests and other processes."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from din_train.errors import ConfigError, DamagedError, RunError
from din_train.predict.unfinished_table import open_unfinished

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
        assert unfinished.read_summary(1) == {"rows": 1}
        assert unfinished.read_summary(2) is None
        unfinished.publish(output, schema, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    with pq.ParquetFile(output) as file:
        assert file.read().to_pydict() == {"a": [1, 2, 3]}
        assert file.num_row_groups == 2
        assert file.schema_arrow.metadata[b"made"] == b"here"
        assert b"din-train summary" not in file.schema_arrow.metadata


def test_no_flipped_bit_of_a_chunk_is_believed(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    chunk = write_chunks(output) / "chunk-0000000.arrow"
    whole = chunk.read_bytes()
    with open_unfinished(output, REQUEST, overwrite=False) as unfinished:
        for bit in range(0, 8 * len(whole), 37):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            chunk.write_bytes(damaged)
            with pytest.raises(DamagedError, match=r"chunk-0000000\.arrow: damaged or changed"):
                unfinished.read_summary(0)
        with pytest.raises(DamagedError):
            unfinished.publish(output, CHUNKS[0].schema, 2)
        assert not output.exists()
        assert unfinished.read_summary(1) == {"rows": 1}  # the others stay good


@pytest.mark.parametrize("contents", [b"[1]", b"{", b"null", b'{"input": 5, "chunk_rows": {}, "more": 1}'])
def test_a_request_that_is_damaged_is_no_request(tmp_path: Path, contents: bytes) -> None:
    output = tmp_path / "out.parquet"
    (write_chunks(output) / "checksums.json").write_bytes(contents)
    with (
        pytest.raises(ConfigError, match=r"without the checksums\.json that it was begun with, so it cannot go on"),
        open_unfinished(output, REQUEST, overwrite=False),
    ):
        pass
    with open_unfinished(output, REQUEST, overwrite=True) as unfinished:
        assert not unfinished.has_chunks()


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
        assert unfinished.read_summary(1) == {"rows": 1}
    with open_unfinished(output, other, overwrite=True) as unfinished:
        assert not unfinished.has_chunks()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    with (
        open_unfinished(output, REQUEST, overwrite=False),
        pytest.raises(ConfigError, match=rf"out\.parquet: in use by process {os.getpid()};"),
        open_unfinished(output, REQUEST, overwrite=False),
    ):
        pass


def test_nothing_is_left_where_no_chunk_was_finished(tmp_path: Path) -> None:
    with open_unfinished(tmp_path / "out.parquet", REQUEST, overwrite=False):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["thesis.txt", "whole.parquet", "chunk-0000000.arrow", "checksums.json"])
def test_a_folder_that_only_has_the_name_is_left_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out.parquet.unfinished"
    folder.mkdir()
    (folder / name).write_text("mine")
    with (
        pytest.raises(RunError, match=r"out\.parquet\.unfinished: in the way, and not made by din-train"),
        open_unfinished(tmp_path / "out.parquet", REQUEST, overwrite=True),
    ):
        pass
    assert [(each.name, each.read_text()) for each in folder.iterdir()] == [(name, "mine")]


def test_what_somebody_put_among_the_chunks_stays(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    folder = write_chunks(output)
    (folder / "notes.txt").write_text("mine")
    with open_unfinished(output, REQUEST, overwrite=False) as unfinished:
        unfinished.publish(output, CHUNKS[0].schema, 2)
    assert sorted(each.name for each in folder.iterdir()) == [".din-train", "notes.txt"]
    with open_unfinished(output, REQUEST, overwrite=False) as unfinished:  # and blocks nothing
        assert not unfinished.has_chunks()

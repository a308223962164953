"""Parts of a log: what is copied of each kind of file, and how much of it that is."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import make_config, write_table

from din_train.errors import DataError
from din_train.plan.log_sample import write_log_sample

HEADER = ["user", "item", "category", "time"]
ROWS = [(f"u{n:05}", f"i{n:05}", "c", 10_000 + n) for n in range(8_000)]  # all lines but the header have 21 bytes


def read(path: Path | None) -> list[str]:
    assert path is not None
    return path.read_text().splitlines()


def test_plain_text_gives_its_header_and_whole_lines_from_eight_places(tmp_path: Path) -> None:
    write_table(tmp_path / "log.tsv", HEADER, ROWS)
    sample = write_log_sample(make_config(tmp_path).data, tmp_path / "part", 17_500)
    header, *lines = read(sample.data.events)
    assert header == "\t".join(HEADER)
    numbers = [int(line[1:6]) for line in lines]
    assert [lines[place] for place in (0, -1)] == ["\t".join(map(str, ROWS[each])) for each in (0, numbers[-1])]
    begins = [now for before, now in zip([-2, *numbers], numbers, strict=False) if now != before + 1]
    assert [round(each / 1_000) for each in begins] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert sample.bytes == (tmp_path / "log.tsv").stat().st_size
    assert sample.share == pytest.approx(len(lines) / len(ROWS), rel=0.02)
    assert sample.share == pytest.approx(0.1, rel=0.03)


def test_a_small_log_is_taken_whole(tmp_path: Path) -> None:
    write_table(tmp_path / "log.tsv", HEADER, ROWS)
    sample = write_log_sample(make_config(tmp_path).data, tmp_path / "part", 10**9)
    assert sample.share == 1.0
    assert read(sample.data.events) == read(tmp_path / "log.tsv")


def test_packed_text_gives_its_head(tmp_path: Path) -> None:
    write_table(tmp_path / "plain.tsv", HEADER, [(*row, "x" * 500) for row in ROWS])
    with gzip.open(tmp_path / "log.tsv", "wb", compresslevel=0) as file:  # as many bytes as unpacked
        file.write((tmp_path / "plain.tsv").read_bytes())
    sample = write_log_sample(make_config(tmp_path).data, tmp_path / "part", 2_000_000)
    lines = read(sample.data.events)
    assert lines == read(tmp_path / "plain.tsv")[: len(lines)]
    assert sample.share == pytest.approx(len(lines) / len(ROWS), rel=0.1)
    assert 0.4 < sample.share < 0.75  # of 4.2 MB, in blocks of a megabyte


def test_parquet_gives_rows_of_row_groups_spread_over_it(tmp_path: Path) -> None:
    columns = zip(*ROWS, strict=True)
    table = pa.table(dict(zip(HEADER, map(list, columns), strict=True)))
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=500)
    data = make_config(tmp_path, data={"events": str(tmp_path / "log.parquet")}).data
    size = (tmp_path / "log.parquet").stat().st_size
    sample = write_log_sample(data, tmp_path / "part", size // 10)
    rows = pq.read_table(str(sample.data.events))
    assert rows.schema.equals(table.schema)
    assert rows["time"].to_pylist() == [10_000 + first + n for first in range(0, 8_000, 1_000) for n in range(100)]
    assert sample.share == pytest.approx(0.1, rel=0.01)


def test_files_of_a_folder_keep_their_places_in_it(tmp_path: Path) -> None:
    for day in ("day=1", "day=2"):
        (tmp_path / "log" / day).mkdir(parents=True)
        write_table(tmp_path / "log" / day / "part.tsv", HEADER, ROWS)
    sample = write_log_sample(
        make_config(tmp_path, data={"events": str(tmp_path / "log")}).data, tmp_path / "part", 35_000
    )
    assert sample.data.events == tmp_path / "part" / "events"
    assert len(read(sample.data.events / "day=1" / "part.tsv")) == len(read(sample.data.events / "day=2" / "part.tsv"))
    assert sample.share == pytest.approx(0.1, rel=0.03)


def test_large_tables_beside_the_log_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "log.tsv", HEADER, ROWS)
    write_table(tmp_path / "items.tsv", ["item", "category"], [("i1", "c")])
    monkeypatch.setattr("din_train.plan.log_sample._MOST_SIDE_BYTES", 10)
    data = make_config(tmp_path, data={"items": str(tmp_path / "items.tsv")}).data
    with pytest.raises(DataError, match=r"have 19 bytes.*run `din-train prepare` first"):
        write_log_sample(data, tmp_path / "part", 1_000)

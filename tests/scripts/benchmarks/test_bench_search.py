"""The benchmark of long histories: the log that it generates; what it measures is too slow for a test."""

from pathlib import Path

import pyarrow.parquet as pq
from scripts_factory import load_script


def test_every_user_has_the_behaviours_and_two_held_out_events(tmp_path: Path) -> None:
    script = load_script("bench_search")
    script.write_log(tmp_path / "log.parquet", 7)
    rows = pq.read_table(tmp_path / "log.parquet").to_pylist()
    assert [(row["user"], row["time"]) for row in rows] == [(user, time) for user in range(64) for time in range(9)]
    assert all(row["category"] == row["item"] % 50 for row in rows)
    assert len({row["item"] for row in rows}) > 500

"""The measuring script at a tiny size: what it counts and reports, never how fast anything is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from scripts_factory import REPOSITORY, SCRIPTS

SCRIPT = SCRIPTS / "benchmarks" / "bench_prepare.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)


def test_electronics_counts_the_same_both_ways(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "data" / "sample", tmp_path / "sample")
    done = run("electronics", "--folder", tmp_path, "--preset=sample", "--json", tmp_path / "figures.jsonl")
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "figures.jsonl").read_text().splitlines()
    assert done.stdout.splitlines()[-1] == line  # printed too
    figures = json.loads(line)
    assert figures["events"] == 24_000
    assert figures["samples"] == figures["plain_samples"] == 2 * (24_000 - 2_000)
    assert figures["padded_mb"] == pytest.approx(44_000 * 100 * 2 * 4 / 1e6)
    stored = sum(path.stat().st_size for path in (tmp_path / "prepared-sample").iterdir())
    assert figures["store_mb"] == pytest.approx(stored / 1e6, abs=0.001)
    assert figures["speed_ratio"] == pytest.approx(figures["plain_seconds"] / figures["seconds"], abs=0.01)
    assert figures["peak_ratio"] == pytest.approx(figures["plain_peak_mb"] / figures["peak_mb"], abs=0.001)


def test_feature_rows_keep_their_lists(tmp_path: Path) -> None:
    done = run("rows", "--folder", tmp_path, "--rows=1000", "--json", tmp_path / "figures.jsonl")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.jsonl").read_text())
    assert (figures["samples"], figures["rows"]) == (1000, 1000)
    lists = pq.read_table(tmp_path / "rows-1000" / "train.parquet", columns=["user_id", "clicked_items"]).to_pylist()
    different = {(row["user_id"], *row["clicked_items"]) for row in lists}
    assert figures["events"] == 50 * len(different)


def test_nothing_to_read_ends_in_one_line(tmp_path: Path) -> None:
    done = run("read", "--folder", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: {tmp_path}/prepared-electronics: no prepared data set; run the part electronics first, or --prepared\n"
    )

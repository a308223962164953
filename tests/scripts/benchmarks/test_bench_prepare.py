"""The measuring script at tiny sizes: what it counts and reports, never how fast anything is."""

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from scripts_factory import REPOSITORY, SCRIPTS

SCRIPT = SCRIPTS / "benchmarks" / "bench_prepare.py"
EVENTS = 20_000


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder that has the shipped sample for its Amazon log."""
    path = tmp_path_factory.mktemp("bench")
    shutil.copytree(REPOSITORY / "data" / "sample", path / "sample")
    return path


@pytest.fixture(scope="module")
def parts(folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of `all`, by part."""
    path = folder / "figures.jsonl"
    done = run("all", "--folder", folder, "--preset=sample", f"--events={EVENTS}", "--batch-size=100", "--json", path)
    assert done.returncode == 0, done.stderr
    lines = path.read_text().splitlines()
    assert done.stdout.splitlines()[-3:] == lines  # printed too
    return {figures["part"]: figures for figures in map(json.loads, lines)}


def test_electronics_counts_the_same_both_ways(parts: dict[str, dict[str, Any]], folder: Path) -> None:
    figures = parts["electronics"]
    assert set(figures) == {
        *("part", "events", "samples", "plain_samples", "seconds", "peak_mb", "plain_seconds", "plain_peak_mb"),
        *("speed_ratio", "peak_ratio", "store_mb", "padded_mb", "targets"),
    }
    assert figures["events"] == 24_000
    assert figures["samples"] == figures["plain_samples"] == 2 * (24_000 - 2_000)
    assert figures["padded_mb"] == pytest.approx(44_000 * 100 * 2 * 4 / 1e6)
    stored = sum(path.stat().st_size for path in (folder / "prepared-sample").iterdir())
    assert figures["store_mb"] == pytest.approx(stored / 1e6, abs=0.001)
    assert figures["speed_ratio"] == pytest.approx(figures["plain_seconds"] / figures["seconds"], abs=0.01)
    assert figures["peak_ratio"] == pytest.approx(figures["plain_peak_mb"] / figures["peak_mb"], abs=0.001)
    assert len(figures["targets"]) == 4


def test_read_sees_every_training_sample(parts: dict[str, dict[str, Any]]) -> None:
    figures = parts["read"]
    assert set(figures) == {
        *("part", "batch_size", "samples", "batches", "open_seconds", "first_batch_seconds", "epoch_seconds"),
        *("samples_per_second", "dataset_epoch_seconds", "dataset_samples_per_second", "peak_mb", "targets"),
    }
    assert figures["samples"] == 2 * (24_000 - 2 * 2_000)
    assert figures["batches"] == 400
    assert figures["open_seconds"] <= figures["first_batch_seconds"]
    assert len(figures["targets"]) == 2


def test_taobao_keeps_every_event(parts: dict[str, dict[str, Any]]) -> None:
    figures = parts["taobao"]
    assert set(figures) == {
        *("part", "events", "users", "items", "samples", "log_mb", "memory_limit", "seconds", "events_per_second"),
        *("peak_mb", "store_mb", "targets"),
    }
    assert figures["events"] == EVENTS
    assert figures["users"] == 197
    assert figures["samples"] == 2 * (EVENTS - figures["users"])
    assert list(figures["targets"]) == ["peak below 4 GB"]


def test_the_taobao_log_has_the_shape_of_the_real_one(parts: dict[str, dict[str, Any]], folder: Path) -> None:
    del parts
    with (folder / f"taobao-{EVENTS}" / "UserBehavior.csv").open(newline="") as file:
        rows = [(user, item, category, kind, int(time)) for user, item, category, kind, time in csv.reader(file)]
    assert len(rows) == EVENTS
    users = [(user, [row[4] for row in group]) for user, group in groupby(rows, key=lambda row: row[0])]
    assert len(users) == len({user for user, _ in users}) == 197  # in one piece each
    assert all(times == sorted(times) for _, times in users)
    assert 0 < max(row[4] for row in rows) - min(row[4] for row in rows) < 9 * 86_400
    kinds = Counter(row[3] for row in rows)
    assert kinds.keys() == {"pv", "cart", "fav", "buy"}
    assert kinds["pv"] / EVENTS == pytest.approx(0.895, abs=0.01)
    assert kinds["buy"] / EVENTS == pytest.approx(0.021, abs=0.005)
    assert len({(row[1], row[2]) for row in rows}) == len({row[1] for row in rows})  # an item has one category
    popularity = sorted(Counter(row[1] for row in rows).values(), reverse=True)
    assert popularity[0] > 2 * popularity[len(popularity) // 2]


def test_nothing_to_read_ends_in_one_line(tmp_path: Path) -> None:
    done = run("read", "--folder", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: {tmp_path}/prepared-electronics: no prepared data set; run the part electronics first, or --prepared\n"
    )

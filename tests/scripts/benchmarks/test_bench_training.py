"""The training benchmark's command line; what it measures is too slow for a test."""

import subprocess
import sys
from pathlib import Path

from scripts_factory import REPOSITORY, SCRIPTS

SCRIPT = SCRIPTS / "benchmarks" / "bench_training.py"


def test_an_unknown_part_is_refused_before_any_work(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    command = [sys.executable, str(SCRIPT), "--parts", "growth,grow", "--folder", str(folder)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)

    assert done.returncode == 2
    assert "received 'grow', expected speed, sharing, scoring, fit, growth" in done.stderr
    assert not folder.exists()

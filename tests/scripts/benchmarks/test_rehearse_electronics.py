"""The rehearsal on a tiny log: the figures it writes, and the projection by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scripts_factory import SCRIPTS, load_script

COSTS = {"lr": 0.4, "base": 0.6, "wide-deep": 0.7, "pnn": 0.6, "deepfm": 0.7}


def test_the_projection_of_seven_models_and_five_seeds() -> None:
    rehearsal = load_script("rehearse_electronics")
    cells = {"base": {"seconds_with_all_epochs": 600.0}, "din-dice": {"seconds_with_all_epochs": 900.0}}
    projection = rehearsal.project(cells)
    assert projection["minutes_a_run"] == pytest.approx(
        {**{key: 10 * cost / 0.6 for key, cost in COSTS.items()}, "din": 15, "din-dice": 15}
    )
    assert projection["hours"] == pytest.approx(5 * (10 * 3.0 / 0.6 + 30) / 60)


def test_a_tiny_rehearsal(tmp_path: Path) -> None:
    command = [
        sys.executable,
        SCRIPTS / "benchmarks" / "rehearse_electronics.py",
        "--folder",
        "work",
        "--json",
        "figures.json",
    ]
    sizes = ["--users", "100", "--reviews", "1500", "--items", "900"]
    done = subprocess.run([*command, *sizes], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    base, dice = figures["cells"]
    assert (base["model"], dice["model"]) == ("base", "din-dice")
    assert figures["samples"]["test"] == 2 * 100
    for cell in (base, dice):
        name = f"rehearsal-ours-{cell['model']}-seed1"
        cost = json.loads((tmp_path / "work" / "out" / "cells" / f"{name}.cost.json").read_text())
        assert cell["seconds"] == cost["seconds"]
        assert cell["peak_mb"] == cost["peak_bytes"] / 1e6 > 100
        assert cell["epochs_allowed"] == 16
        assert cell["epochs"] in (3, 4)  # one or two chosen of two, and as many again
        assert cell["seconds_with_all_epochs"] == pytest.approx(cell["seconds"] * 16 / cell["epochs"])
    minutes = dice["seconds"] * 16 / dice["epochs"] / 60
    assert figures["projection"]["minutes_a_run"]["din-dice"] == pytest.approx(minutes)
    assert f"one DIN run, all epochs: {minutes:.1f} min (aim 20)" in done.stdout

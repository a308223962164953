"""The rehearsal's projection, by hand; the runs that it projects from are too slow for a test."""

import pytest
from scripts_factory import load_script

COSTS = {"lr": 0.4, "base": 0.6, "wide-deep": 0.7, "pnn": 0.6, "deepfm": 0.7}


def test_the_projection_of_seven_models_and_five_seeds() -> None:
    rehearsal = load_script("rehearse_electronics")
    cells = {"base": {"seconds_with_all_epochs": 600.0}, "din-dice": {"seconds_with_all_epochs": 900.0}}
    projection = rehearsal.project(cells)
    assert projection["minutes_a_run"] == pytest.approx(
        {**{key: 10 * cost / 0.6 for key, cost in COSTS.items()}, "din": 15, "din-dice": 15}
    )
    assert projection["hours"] == pytest.approx(5 * (10 * 3.0 / 0.6 + 30) / 60)

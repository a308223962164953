"""A finished run that all tests of audits share; none of them changes its files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from audit_runs import train


@pytest.fixture(scope="session")
def trained_run(build_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The run directory of DIN under `holdout`."""
    return build_once("audited", lambda folder: train(folder, "holdout", "din", training={"epochs": 1})) / "run"

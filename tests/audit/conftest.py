"""A finished run that all tests of audits share; none of them changes its files."""

from pathlib import Path

import pytest
from audit_runs import train


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of DIN under `holdout`."""
    return train(tmp_path_factory.mktemp("trained") / "din", "holdout", "din", training={"epochs": 1})

"""Fixtures for every test."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_logs() -> Path:
    """The folder of real logs; the test is skipped, saying so, where it is missing."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DIN_TRAIN_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"no real logs in {folder}; set DIN_TRAIN_DATA to their folder")
    return folder

"""Trials are run by `fake_fit.py`."""

import sys
from pathlib import Path

import fake_fit
import pytest

from din_train import sweep
from din_train.tune import study


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "FIT", (sys.executable, fake_fit.__file__))
    monkeypatch.setattr(study, "POLL_SECONDS", 0.02)
    monkeypatch.setenv("PYTHONPATH", str(Path(fake_fit.__file__).parent), prepend=":")

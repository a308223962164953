"""TensorFlow started once; two data sets with fields of every kind, for all tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served_runs import LOG, ServedRuns, prepare_everything

from din_train.tensorflow_setup import start_tensorflow

start_tensorflow("cpu")


@pytest.fixture(scope="session")
def runs(build_once: Callable[[str, Callable[[Path], None]], Path]) -> ServedRuns:
    """Runs on rows with two sequences, or with the history alone."""
    padded = {**LOG["sequences"]["clicks"], "padding": "7"}  # which is an item, too
    one: dict[str, Any] = {"sequences": {"clicks": padded}}
    return ServedRuns(
        build_once("served", lambda folder: prepare_everything(folder, {})),
        build_once("served-history-alone", lambda folder: prepare_everything(folder, one)),
        one,
    )

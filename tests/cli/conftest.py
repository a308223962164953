"""A workplace, and TensorFlow started once, as the commands start it."""

from pathlib import Path

import pytest
from log_factory import write_log
from workplace import EVENTS, Workplace

from din_train.tensorflow_setup import start_tensorflow

start_tensorflow("cpu")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "log.tsv", EVENTS)
    workplace = Workplace(tmp_path)
    workplace.write_config()
    return workplace

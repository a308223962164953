"""A log of twelve users over nine days, on each of which two items are new."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from log_factory import Event, write_log

from din_train.backtest.steps import Step, StepConfigs, prepare_steps

DAY, START = 86_400, 1_400_025_600  # 2014-05-14
CONFIG = """
name: past
data:
  source: table
  events: {folder}/log.tsv
  columns: {{user: user, item: item, category: category, timestamp: time}}
  prepared: unused
model: {{name: din}}
training: {{epochs: 2, select_on: none}}
negatives: {{evaluation_per_positive: 3}}
metrics: {{resamples: 50}}
"""


def list_events(day: int) -> list[Event]:
    """Each user has two events a day."""
    events: list[Event] = []
    for user in range(12):
        for place in range(2):
            item = (day * 5 + user * 3 + place * 7) % (8 + 2 * day)
            events.append((f"u{user}", f"i{item}", f"c{item % 3}", START + day * DAY + 60 * user + place))
    return events


def make_steps(first: int, number: int) -> list[Step]:
    return [Step(each, START + (first + each) * DAY, START + (first + each + 1) * DAY) for each in range(number)]


def write(folder: Path, days: range, text: str) -> Path:
    write_log(folder / "log.tsv", [event for day in days for event in list_events(day)])
    (folder / "past.yaml").write_text(text.format(folder=folder))
    return folder / "past.yaml"


@pytest.fixture(scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets of two steps, the first of which is day 4."""
    folder = tmp_path_factory.mktemp("past")
    file = write(folder, range(9), CONFIG)
    prepare_steps(StepConfigs.of(file, [], [], START + 4 * DAY, DAY, folder), make_steps(4, 2))
    return folder / "prepared"


@pytest.fixture
def write_config(tmp_path: Path, prepared: Path) -> Callable[..., Path]:
    """Writes the log, and a config that reads it; `out` has its data sets already."""
    shutil.copytree(prepared, tmp_path / "out/prepared")
    return lambda days=range(9), text=CONFIG: write(tmp_path, days, text)

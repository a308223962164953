"""A log of twelve users over nine days, on each of which two items are new."""

from collections.abc import Callable
from pathlib import Path

import pytest
from log_factory import Event, write_log

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


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes the log, and a config that reads it."""

    def write(days: range = range(9), text: str = CONFIG) -> Path:
        write_log(tmp_path / "log.tsv", [event for day in days for event in list_events(day)])
        (tmp_path / "past.yaml").write_text(text.format(folder=tmp_path))
        return tmp_path / "past.yaml"

    return write

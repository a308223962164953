"""A smallest config to change one thing in at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from din_train.config import Config, load_config
from din_train.errors import ConfigError

SMALLEST = """\
name: small
data:
  source: table
  events: events.csv
  columns: {user: u, item: i, timestamp: t}
  prepared: prepared/small
model: {name: din}
training: {epochs: 3}
"""

Load = Callable[..., Config]
Problems = Callable[..., list[str]]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALLEST, encoding="utf-8")
    return path


@pytest.fixture
def load(config_file: Path) -> Load:
    """Load the smallest config with overrides."""
    return lambda *overrides: load_config(config_file, overrides)


@pytest.fixture
def problems(config_file: Path) -> Problems:
    """The lines that loading `text` (the smallest config if not given) with overrides ends with, without the path."""

    def collect(*overrides: str, text: str | bytes = SMALLEST) -> list[str]:
        config_file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError) as caught:
            load_config(config_file, overrides)
        assert caught.value.exit_code == 2
        return [line.removeprefix(f"{config_file}").removeprefix(": ") for line in caught.value.problems]

    return collect

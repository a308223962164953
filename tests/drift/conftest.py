"""What drift scores by in its tests, in place of a model."""

from collections.abc import Callable

import pytest
from drift_runs import score_by_number

from din_train.config import Config
from din_train.drift import measured_drift


@pytest.fixture
def scored_by_number(monkeypatch: pytest.MonkeyPatch) -> Callable[[Config], None]:
    """Let drift score by `score_by_number` with a config."""

    def patch(config: Config) -> None:
        monkeypatch.setattr(
            measured_drift, "score_on", lambda _, data, split, __=(): score_by_number(config, data, split)
        )

    return patch

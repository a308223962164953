"""Targets that the history holds already, against a plain reading."""

from pathlib import Path

import numpy as np
import pytest

from din_train.config import DataConfig
from din_train.dataset import log_checks as repeats
from din_train.dataset.log_checks import check_weights, count_seen_targets
from din_train.errors import DataError
from din_train.logs.log import Measures, RawLog


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize("with_start", [True, False])
def test_against_a_plain_reading(monkeypatch: pytest.MonkeyPatch, block: int, with_start: bool) -> None:
    monkeypatch.setattr(repeats, "_BLOCK_EVENTS", block)
    generator = np.random.default_rng(5)
    users = np.sort(generator.integers(2, 12, 300)).astype(np.int32)
    events = {"user_id": users, "item_id": generator.integers(1, 9, 300).astype(np.int32)}
    starts = np.searchsorted(users, np.arange(13))
    of_user = generator.integers(2, 13, 200)  # 12 has no event
    most = np.bincount(users, minlength=13)[of_user]
    offset = generator.integers(0, most + 1) if with_start else np.zeros(200, np.int64)
    samples = {
        "user_id": of_user.astype(np.int32),
        "target_item_id": generator.integers(1, 9, 200).astype(np.int32),
        "history_length": generator.integers(0, most - offset + 1).astype(np.int32),
        "label": generator.integers(0, 2, 200).astype(np.int8),
    }
    if with_start:
        samples["history_start"] = 1000 + starts[of_user] + offset
    expected = 0
    for row in range(200):
        start = starts[of_user[row]] + offset[row]
        history = events["item_id"][start : start + samples["history_length"][row]]
        target = samples["target_item_id"][row]
        expected += bool(samples["label"][row] and target != 1 and target in history)
    assert expected > 20
    first, rest = ({name: column[part] for name, column in samples.items()} for part in (slice(80), slice(80, 200)))
    of_first, of_rest = count_seen_targets(events, [first, rest], starts[2:], first_user=2, first_event=1000)
    assert of_first + of_rest == expected
    assert count_seen_targets(events, [samples], starts[2:], first_user=2, first_event=1000) == [expected]


def test_weights_that_are_all_0(tmp_path: Path) -> None:
    columns = {"user": "u", "item": "i", "timestamp": "t", "weight": "w"}
    data = DataConfig.model_validate(
        {"source": "table", "events": str(tmp_path / "log"), "columns": columns, "prepared": str(tmp_path)}
    )
    for weights in ([0.0, 0.5], [0.0, 0.0]):
        measures = Measures(2, {"weight": (min(weights), max(weights))})
        log = RawLog(tmp_path, None, None, tmp_path, (), labelled=False, ticks=1, measures=measures)
        if weights[1]:
            check_weights(data, log)
    with pytest.raises(DataError, match="each of 2 rows has the weight 0 in 'w', so nothing counts"):
        check_weights(data, log)

"""metrics.json is read as it was written, and a file without a key says so in one line."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from record_factory import METRICS

from din_train.checksums import indexed_file
from din_train.errors import RunError
from din_train.run_directory import RunDirectory


@pytest.mark.parametrize("protocol", ["holdout", "user"])
def test_metrics_are_read_as_they_were_written(tmp_path: Path, protocol: str) -> None:
    run, metrics = RunDirectory(tmp_path), replace(METRICS, protocol=protocol)
    run.write_metrics(metrics)
    assert run.read_metrics() == metrics
    keys = list(orjson.loads(run.metrics_file().read_bytes()))
    assert ("gauc_by_history" in keys) == (protocol == "user")
    assert keys[:6] == ["model", "protocol", "split", "selected_on", "auc", "gauc"]
    assert keys[-3:] == ["rows_sha256", "metric_definition", "slices"]


def test_a_key_that_is_missing_is_named_and_one_too_many_is_left_out(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with indexed_file(run.metrics_file()) as temporary:
        temporary.write_bytes(orjson.dumps({**METRICS.to_json(), "another": 1}))
    assert run.read_metrics() == METRICS
    with indexed_file(run.metrics_file()) as temporary:
        temporary.write_bytes(orjson.dumps({**METRICS.to_json(), "protocol": "user"}))
    with pytest.raises(RunError, match=r"metrics\.json: without gauc_by_history; train the run again"):
        run.read_metrics()

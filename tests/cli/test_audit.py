"""`din-train audit`: a trained run passes; one that was tampered with fails in one line for each check, exit code 1."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import orjson
import pytest
from workplace import Workplace

from din_train.checksums import indexed_file
from din_train.files import compute_sha256

METRICS = "runs/small/metrics.json"
WEIGHTS = "runs/small/checkpoints/best.weights.h5"


def change_weights(folder: Path) -> None:
    """Every table and kernel a little."""

    def change(_: str, values: Any) -> None:
        if isinstance(values, h5py.Dataset) and values.ndim == 2:
            values[...] *= 1.1

    with h5py.File(folder / WEIGHTS, "r+") as file:
        file.visititems(change)


def test_a_trained_run_passes_and_is_written_down(fitted: Workplace) -> None:
    result = fitted.run("audit")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    written = fitted.read_json("runs/small/audit.json")
    assert written["passed"] is True
    assert written["counts"].get("failed", 0) == 0
    assert written["counts"]["passed"] >= 8
    assert (written["model"], written["protocol"]) == ("din", "holdout")
    assert (written["rows"], written["rows_audited"]) == (80, 80)
    for check in written["checks"]:
        assert check["name"] in result.stdout
        assert check["finding"]
    assert "all 80 test rows" in result.stdout
    *_, first, second = result.stdout.splitlines()
    assert first.startswith("Not covered: that a score depends on its row alone")
    assert second.endswith("docs/audit.md says more.")
    again = fitted.run("audit", "--run-dir", "runs/small", "--json")
    assert orjson.loads(again.stdout) == written == fitted.read_json("runs/small/audit.json")


def test_a_few_rows_of_many(fitted: Workplace) -> None:
    result = fitted.run("audit", "--rows", "10", "--seed", "3")
    assert result.exit_code == 0, result.output
    written = fitted.read_json("runs/small/audit.json")
    assert (written["rows"], written["rows_audited"], written["seed"]) == (80, 10, 3)
    assert "10 of 80 test rows (whole users, drawn with seed 3)" in result.stdout


def test_an_edited_metric_fails_in_one_line(fitted: Workplace) -> None:
    metrics = fitted.read_json(METRICS)
    with indexed_file(fitted.folder / METRICS) as temporary:
        temporary.write_bytes(orjson.dumps({**metrics, "gauc": 0.8818}))
    result = fitted.run("audit")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: runs/small: audit: metrics: recomputed: ")
    assert f"gauc 0.8818 there, {metrics['gauc']} here" in line
    assert "failed" in result.stdout
    assert fitted.read_json("runs/small/audit.json")["counts"]["failed"] == 1


def test_changed_weights_fail(fitted: Workplace) -> None:
    change_weights(fitted.folder)
    result = fitted.run("audit")
    assert result.exit_code == 1
    assert "best.weights.h5: missing or damaged" in result.stderr
    record = fitted.folder / "runs/small/checkpoints/best.json"
    forged = {**json.loads(record.read_text()), "sha256": compute_sha256(fitted.folder / WEIGHTS)}
    with indexed_file(record, fitted.folder / "runs/small") as temporary:
        temporary.write_text(json.dumps(forged))
    result = fitted.run("audit")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "audit: parity: stored scores: " in line


def test_a_data_set_that_was_changed_fails(fitted: Workplace) -> None:
    path = fitted.folder / "prepared/small/samples.test.arrow"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    result = fitted.run("audit")
    assert result.exit_code == 1
    assert "samples.test.arrow: missing or changed since it was prepared" in result.stderr


def hide_scores(workplace: Workplace) -> None:
    (workplace.folder / "runs/small/scores.test.parquet").unlink()


def hide_run(workplace: Workplace) -> None:
    (workplace.folder / "runs/small/config.yaml").unlink()


def hide_metrics(workplace: Workplace) -> None:
    (workplace.folder / METRICS).unlink()


@pytest.mark.parametrize(
    ("hide", "exit_code", "said"),
    [
        (hide_scores, 0, "the run has no scores.test.parquet; `din-train eval` writes it"),
        (hide_run, 2, "runs/latest: no run yet"),
        (hide_metrics, 1, "the run has not finished"),
    ],
)
def test_what_is_missing_is_said(
    fitted: Workplace, hide: Callable[[Workplace], None], exit_code: int, said: str
) -> None:
    hide(fitted)
    result = fitted.run("audit")
    assert result.exit_code == exit_code
    assert said in " ".join(result.output.replace("│", " ").split())

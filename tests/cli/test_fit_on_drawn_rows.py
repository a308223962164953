"""A run on ready-made rows whose negatives are drawn anew, with leave-one-out histories and spectral tables."""

from contextlib import chdir
from pathlib import Path

import orjson
import pytest
from audit_runs import EVENTS_A_USER, USERS, configure, find_failed, open_subject

from din_train.audit.audit import run_checks
from din_train.evaluation.display import describe_negatives
from din_train.fit import fit


def test_every_output_says_that_the_files_negatives_are_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(
        tmp_path,
        "presampled",
        "base",
        negatives={"resample": "epoch", "per_positive": 3, "evaluation_per_positive": 1},
        training={"leave_one_out": 0.5, "refit": True},
        metrics={"resamples": 0},
    )
    model = config.model.model_copy(update={"embedding_initializer": "spectral"})
    run = tmp_path / "run"
    with chdir(tmp_path):
        fit(config.model_copy(update={"model": model}), run_dir=run)
    said = "drawn anew every epoch from the training file's items, in place of the negatives in that file"
    output = capsys.readouterr()
    assert f"training: 3 negative(s) per positive, {said}\n" in output.out + output.err  # of prepare
    assert "training negatives" in output.out  # of the table, whose lines are cut at any width
    assert "3 per positive" in output.out
    metrics = orjson.loads((run / "metrics.json").read_bytes())
    assert metrics["negatives"] == {
        "per_positive": 3,
        "evaluation_per_positive": "in the log",
        "distribution": "uniform",
        "exclude": "all",
        "resample": "epoch",
        "seed": 1,
    }
    assert describe_negatives(metrics["negatives"], "evaluation_per_positive") == "the log's own negatives"
    assert said in " ".join((run / "report.html").read_text().replace("&#39;", "'").split())
    assert metrics["num_samples"] == 2 * USERS  # the test file's rows
    history = [orjson.loads(line) for line in (run / "history.jsonl").read_bytes().splitlines()]
    assert [each.get("phase") for each in history][-metrics["best_epoch"] :] == ["refit"] * metrics["best_epoch"]

    checks = run_checks(open_subject(run))
    assert find_failed(checks) == {}
    (drawn,) = (each for each in checks if each.name == "training: drawn rows")
    assert drawn.measured["rows"] == 2 * 4 * USERS * (EVENTS_A_USER - 2)  # two epochs of the refit

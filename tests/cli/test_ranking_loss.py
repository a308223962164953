"""A run of a ranking loss: calibrated on validation rows, by every command alike; and what is refused.

And one whose clicked rows weigh more, which must not show in its probabilities.
"""

import math
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import read_samples
from workplace import EVENTS, QUICK, Workplace

from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.evaluation.calibration import fit_calibration
from din_train.evaluation.metrics import compute_gauc
from din_train.evaluation.scores import read_scores

RUN = Path("runs/small")
SOFTMAX = ("--set", "training.loss.name=softmax")


def run(workplace: Workplace, *arguments: str) -> str:
    result = workplace.run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def write_test_rows() -> None:
    """The rows of the test split, as `predict` takes them."""
    rows, last = read_samples(open_store(Path("prepared/small")), Split.TEST), {user: t for user, _, _, t in EVENTS}
    columns = {"user": "user", "item": "target", "history": "history"}
    table = {name: [row[key] for row in rows] for name, key in columns.items()}
    pq.write_table(pa.table({**table, "time": [last[row["user"]] for row in rows]}).drop(["time"]), "rows.parquet")


def test_every_command_shows_calibrated_probabilities_and_ranks_by_scores(workplace: Workplace) -> None:
    workplace.write_config(
        negatives={"per_positive": 2, "resample": "epoch"},
        training={"epochs": 1, "batch_size": 64, "loss": {"name": "softmax"}},
    )
    said = workplace.fit()
    assert said.exit_code == 0, said.output
    assert "calibrated on the validation rows (platt), trained with loss softmax" in " ".join(said.output.split())
    metrics, kept = workplace.read_json(f"{RUN}/metrics.json"), workplace.read_json(f"{RUN}/calibration.json")
    assert (metrics["loss"], metrics["calibration"]) == ("softmax", "platt")
    (epoch,) = [orjson.loads(line) for line in (RUN / "history.jsonl").read_bytes().splitlines()]
    assert "validation_gauc" in epoch
    assert "validation_logloss" not in epoch  # of scores that are no probabilities yet

    rows = read_scores(RUN / "scores.test.parquet")
    log_odds = kept["slope"] * rows.logit.astype(np.float64) + kept["intercept"]
    assert rows.log_odds == pytest.approx(log_odds)
    logloss = np.mean(np.log1p(np.exp(np.where(rows.label == 1, -log_odds, log_odds))))
    assert metrics["logloss"] == pytest.approx(logloss)
    assert metrics["gauc"] == compute_gauc(rows.user_id, rows.label, rows.logit).value

    assert "flatter" not in run(workplace, "eval", "--split", "test")
    output = " ".join(run(workplace, "eval", "--split", "validation").split())
    assert "calibrated on the validation rows, so their logloss, normalised entropy, PCOC and ECE flatter it" in output
    validation = read_scores(RUN / "scores.validation.parquet")
    again = fit_calibration("platt", validation.label, validation.logit)
    assert (again.slope, again.intercept) == pytest.approx((kept["slope"], kept["intercept"]))
    assert (kept["rows"], kept["positive_share"]) == (len(validation), 0.5)

    write_test_rows()
    output = run(workplace, "predict", "--input", "rows.parquet", "--output", "a.parquet")
    assert "calibrated by platt to the validation rows, of which 50.0000% are positives" in " ".join(output.split())
    run(workplace, "predict", "--input", "rows.parquet", "--output", "b.parquet", "--positive-share", "0.02")
    probabilities = 1 / (1 + np.exp(-log_odds))
    corrected = 1 / (1 + np.exp(-(log_odds + math.log(0.02 / 0.98))))  # the share was one half
    for name, expected in (("a", probabilities), ("b", corrected)):
        table = pq.read_table(f"{name}.parquet")
        assert table["click_probability"].to_numpy() == pytest.approx(expected, rel=1e-5)
        assert table["logit"].to_numpy() == pytest.approx(rows.logit, abs=1e-6)

    row = int(np.flatnonzero(rows.label == 1)[0])
    of_log = pq.read_table("rows.parquet").slice(row, 1).to_pylist()[0]
    explained = orjson.loads(run(workplace, "explain", "--user", of_log["user"], "--item", of_log["item"], "--json"))
    assert explained["candidate"]["click_probability"] == pytest.approx(probabilities[row], abs=1e-6)
    assert explained["probabilities"].startswith("calibrated on the validation rows (platt)")
    page = " ".join((RUN / "report.html").read_text(encoding="utf-8").split())
    assert "Logloss, normalised entropy, PCOC and ECE are of these; AUC and GAUC rank by the scores." in page
    run(workplace, "audit")


def test_a_refit_keeps_the_first_trainings_calibration_and_compare_says_whose_probabilities(
    workplace: Workplace,
) -> None:
    for name, more in (("first", []), ("refitted", ["training.refit=true"]), ("bare", ["training.calibration=none"])):
        options = [word for each in more for word in ("--set", each)]
        result = workplace.fit(*QUICK, *SOFTMAX, "--run-dir", f"runs/{name}", *options)
        assert result.exit_code == 0, result.output
    first, refitted = (Path(f"runs/{name}/calibration.json").read_bytes() for name in ("first", "refitted"))
    assert first == refitted
    assert not Path("runs/bare/calibration.json").exists()
    output = " ".join(run(workplace, "compare", "runs/first", "runs/bare", "--report", "page.html").split())
    for sentence in (
        "first: Probabilities: calibrated on the validation rows (platt), trained with loss softmax.",
        "bare: Probabilities: none: scores of loss softmax are not calibrated, and 0.5 means nothing. Logloss, "
        "normalised entropy, PCOC and ECE mean nothing; AUC and GAUC rank by the scores.",
    ):
        assert sentence in output
        assert sentence in " ".join(Path("page.html").read_text(encoding="utf-8").split())
    write_test_rows()
    refused = workplace.run(
        *("predict", "--run-dir", "runs/bare", "--input", "rows.parquet", "--output", "a.parquet"),
        *("--positive-share", "0.1"),
    )
    assert refused.exit_code == 2
    assert "trained with loss 'softmax' and not calibrated, so it has no probabilities to correct" in refused.output


def test_lists_of_one_row_and_missing_validation_rows_are_one_line(workplace: Workplace) -> None:
    lines = [f"{user}\t{item}\t{category}\t{time}\t{time % 3 == 0:d}" for user, item, category, time in EVENTS]
    (workplace.folder / "log.tsv").write_text("\n".join(["user\titem\tcategory\ttime\tlabel", *lines]) + "\n")
    result = workplace.fit(*QUICK, *SOFTMAX, "--set", "data.columns.label=label", "--set", "training.select_on=none")
    assert result.exit_code == 2
    (line,) = [each for each in result.output.splitlines() if "training.loss.name" in each]
    assert "received 'softmax', which compares the rows of a list, but none of the" in line
    assert "use logloss" in line
    result = workplace.fit(
        *QUICK, "--set", "training.calibration=platt", "--set", "training.select_on=none",
        "--set", "data.protocol=user", "--set", "data.user_split.validation=0", "--set", "data.prepared=prepared/user",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "which is fitted on validation rows, but prepared/user has 0 of them, 0 clicked" in result.output
    assert not Path("runs").exists() or not RUN.exists()


def test_a_weight_of_clicked_rows_leaves_probabilities_as_they_are(workplace: Workplace) -> None:
    """One row in four is clicked; with the weight it would be three in four by weight, and three in four predicted."""
    workplace.write_config(
        negatives={"per_positive": 3, "evaluation_per_positive": 3},
        training={"batch_size": 64, "loss": {"positive_weight": 9.0}, "optimizer": {"learning_rate": 0.05}},
    )
    result = workplace.fit("--set", "model.name=lr")
    assert result.exit_code == 0, result.output
    assert workplace.read_json(f"{RUN}/metrics.json")["pcoc"] == pytest.approx(1.0, abs=0.2)
    write_test_rows()
    for name, share in (("a", ()), ("b", ("--positive-share", "0.25"))):
        output = run(workplace, "predict", "--input", "rows.parquet", "--output", f"{name}.parquet", *share)
        assert "25.0000%" in output
    plain, same = (pq.read_table(f"{name}.parquet")["click_probability"].to_numpy() for name in ("a", "b"))
    assert same.tolist() == plain.tolist()
    logits = read_scores(RUN / "scores.test.parquet").logit
    assert plain == pytest.approx(1 / (1 + np.exp(-logits)), rel=1e-5)

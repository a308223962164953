"""The main job on a small log: fit's files and numbers, eval's equal ones, selection, seeds, overwriting."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from log_factory import write_log
from workplace import QUICK, Workplace

from din_train.config import load_config
from din_train.evaluation.metrics import compute_gauc
from din_train.evaluation.scores import read_scores


def read_history(workplace: Workplace, run: str = "runs/small") -> list[dict[str, float]]:
    return [orjson.loads(line) for line in (workplace.folder / run / "history.jsonl").read_bytes().splitlines()]


def test_fit_leaves_a_run_directory(workplace: Workplace) -> None:
    result = workplace.fit()
    assert result.exit_code == 0, result.output
    files = workplace.list_files()
    events = [path for path in files if path.startswith("runs/small/tensorboard/train/events.out.tfevents.")]
    assert len(events) == 1
    plots = [path for path in files if path.startswith("runs/small/plots/")]
    assert {"runs/small/plots/roc.svg", "runs/small/plots/roc.png", "runs/small/plots/attention-1.svg"} <= set(plots)
    assert [path for path in files if path not in events + plots and "/replaced-" not in path] == [
        "log.tsv",
        "prepared/small/events.arrow",
        "prepared/small/items.parquet",
        "prepared/small/manifest.json",
        "prepared/small/rejected.jsonl",
        *(f"prepared/small/samples.{split}.arrow" for split in ("test", "train", "validation")),
        *(f"prepared/small/{name}.parquet" for name in ("users", "vocabularies")),
        "runs/small/attention.json",
        "runs/small/checkpoints/best.json",
        "runs/small/checkpoints/best.weights.h5",
        *(f"runs/small/checkpoints/state-{epoch}-0.{suffix}" for epoch in (1, 2) for suffix in ("json", "npz")),
        "runs/small/checksums.json",
        "runs/small/config.yaml",
        "runs/small/environment.json",
        "runs/small/history.jsonl",
        "runs/small/metrics.json",
        "runs/small/report.html",
        "runs/small/scores.test.parquet",
        "small.yaml",
    ]
    assert (workplace.folder / "runs/latest").readlink() == Path("small")
    assert load_config(Path("runs/small/config.yaml")) == load_config(Path("small.yaml"))
    metrics = workplace.read_json("runs/small/metrics.json")
    assert metrics["protocol"] == "holdout"
    assert metrics["split"] == "test"
    assert metrics["selected_on"] == "validation"
    assert (metrics["num_samples"], metrics["num_positives"]) == (80, 40)
    assert (metrics["gauc_users"], metrics["gauc_users_skipped"]) == (40, 0)
    assert 0 <= metrics["gauc"] <= 1
    assert f"{metrics['gauc']:.6f}" in (workplace.folder / "runs/small/report.html").read_text(encoding="utf-8")
    # tables of 97 + 2 items and 5 + 2 categories, 4 wide each; unit 32 -> 8 -> 1 and MLP 16 -> 8 -> 1, Dice of 8 each
    assert metrics["parameters"] == (99 + 7) * 4 + (32 * 8 + 8 + 8 + 8 + 1) + (16 * 8 + 8 + 8) + (8 + 1)
    history = read_history(workplace)
    assert [each["epoch"] for each in history] == [1, 2]
    assert history[1]["loss"] < history[0]["loss"]
    assert all(0 <= each["input_wait"] <= 1 and each["samples_per_second"] > 0 for each in history)
    best = max(history, key=lambda each: each["validation_gauc"])
    assert metrics["best_epoch"] == best["epoch"]


def test_fit_in_a_new_process_says_its_own_lines_and_nothing_else(workplace: Workplace) -> None:
    command = [sys.executable, "-m", "din_train", "fit", "--config", "small.yaml", "--set", "model.name=lr"]
    done = subprocess.run(command, cwd=workplace.folder, capture_output=True, text=True, check=True)
    expected = (
        r"prepared/small: prepared, because there was none",
        r"plan: [\d,]+ training rows, 97 items; weights and slots .* kB \(table of item .* kB\) of .* this machine has",
        r"plan: runs/small takes at most .* kB of .* free on its disk; `din-train plan` estimates the time",
        r"epoch 1/2  loss 0\.\d{4}  [\d.]+ s  [\d,]+ samples/s  validation AUC 0\.\d{4}  validation GAUC 0\.\d{4}",
        r"epoch 2/2  loss .*",
        r"run directory: runs/small \(report: runs/small/report\.html\)",
    )
    lines = done.stderr.splitlines()
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_eval_in_a_new_process_gives_the_same_numbers(fitted: Workplace) -> None:
    command = [sys.executable, "-m", "din_train", "eval", "--json"]
    result = subprocess.run(command, capture_output=True, check=True)
    printed = orjson.loads(result.stdout)
    assert printed == fitted.read_json("runs/small/metrics.json")
    assert printed == fitted.read_json("runs/small/metrics.test.json")
    assert result.stderr == b""


def test_eval_of_the_validation_split_gives_the_chosen_epochs_numbers(fitted: Workplace) -> None:
    result = fitted.run("eval", "--run-dir", "runs/small", "--split", "validation", "--json")
    metrics = orjson.loads(result.stdout)
    chosen = read_history(fitted)[metrics["best_epoch"] - 1]
    assert {key: metrics[key] for key in ("auc", "gauc", "logloss")} == {
        key: chosen[f"validation_{key}"] for key in ("auc", "gauc", "logloss")
    }
    assert metrics == fitted.read_json("runs/small/metrics.validation.json")


def test_eval_prints_a_table_for_people(fitted: Workplace) -> None:
    result = fitted.run("eval")
    assert f"{fitted.read_json('runs/small/metrics.json')['gauc']:.6f}" in result.stdout
    assert "protocol holdout" in result.stdout


def test_same_seed_same_bits(workplace: Workplace) -> None:
    for name in ("one", "two"):
        workplace.fit("--set", f"name={name}", "--set", "model.name=base", "--set", "model.mlp.dropout=0.2")
    assert workplace.read_json("runs/one/metrics.json") == workplace.read_json("runs/two/metrics.json")
    losses = [[each["loss"] for each in read_history(workplace, f"runs/{name}")] for name in ("one", "two")]
    assert losses[0] == losses[1]


def test_early_stopping_keeps_the_best_epochs_weights(workplace: Workplace) -> None:
    # A rate this high overfits 40 users within a few epochs.
    result = workplace.fit(
        "--set", "model.name=base", "--set", "training.epochs=60", "--set", "training.optimizer.learning_rate=0.05",
        "--set", "training.early_stopping={metric: logloss, patience: 2}",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    history = read_history(workplace)
    best = min(history, key=lambda each: each["validation_logloss"])
    assert len(history) == best["epoch"] + 2 < 60
    assert workplace.read_json("runs/small/metrics.json")["best_epoch"] == best["epoch"]
    validation = orjson.loads(workplace.run("eval", "--split", "validation", "--json").stdout)
    assert validation["logloss"] == best["validation_logloss"]


def test_paper_selects_nothing_unless_asked_and_says_so(workplace: Workplace) -> None:
    workplace.write_config(data={"protocol": "paper"}, model={"name": "lr"})
    workplace.fit()
    metrics = workplace.read_json("runs/small/metrics.json")
    assert (metrics["protocol"], metrics["selected_on"], metrics["best_epoch"]) == ("paper", "none", 2)
    assert not any(key.startswith(("test", "validation")) for key in read_history(workplace)[0])
    workplace.fit("--set", "training.select_on=test", "--set", "name=selected")
    assert workplace.read_json("runs/selected/metrics.json")["selected_on"] == "test"
    assert "test_gauc" in read_history(workplace, "runs/selected")[0]
    result = workplace.run("eval", "--split", "validation")
    assert result.exit_code == 2
    assert "protocol 'paper' gives it no sample" in result.stderr


def test_holdout_without_selection_records_validation_and_keeps_the_last_epoch(workplace: Workplace) -> None:
    workplace.write_config(model={"name": "lr"})
    workplace.fit("--set", "training.select_on=none", "--set", "training.optimizer.learning_rate=0.05")
    assert workplace.read_json("runs/small/metrics.json")["best_epoch"] == 2
    assert "validation_gauc" in read_history(workplace)[1]


def test_users_without_a_validation_split_train_where_nothing_is_chosen_by_it(workplace: Workplace) -> None:
    workplace.write_config(data={"protocol": "user", "user_split": {"validation": 0, "test": 10}}, model={"name": "lr"})
    assert workplace.fit("--set", "training.select_on=none").exit_code == 0
    assert not any(key.startswith("validation") for key in read_history(workplace)[0])
    assert workplace.read_json("runs/small/metrics.json")["best_epoch"] == 2
    result = workplace.fit("--set", "name=choosing", "--set", "training.select_on=validation")
    assert result.exit_code != 0
    assert not (workplace.folder / "runs/choosing").exists()


def test_a_used_run_directory_is_refused_and_overwritten_when_asked(fitted: Workplace) -> None:
    before = fitted.read_json("runs/small/metrics.json")
    result = fitted.fit("--set", "seed=2")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: runs/small: already used; give --resume to go on with it, --overwrite to replace it, or another name "
        "(--set name=..., --run-dir)"
    ]
    assert fitted.read_json("runs/small/metrics.json") == before
    assert fitted.fit("--set", "seed=2", "--overwrite", *QUICK).exit_code == 0
    assert fitted.read_json("runs/small/metrics.json")["seed"] == 2


def test_overwrite_leaves_a_folder_that_is_no_run(workplace: Workplace) -> None:
    (workplace.folder / "mine").mkdir()
    (workplace.folder / "mine/thesis.txt").write_text("x")
    result = workplace.fit("--run-dir", "mine", "--overwrite")
    assert result.exit_code == 2
    assert "not a run directory" in result.stderr
    assert (workplace.folder / "mine/thesis.txt").exists()


def test_overwrite_leaves_what_is_not_the_runs_own_alone(fitted: Workplace) -> None:
    (fitted.folder / "runs/small/notes.txt").write_text("x")
    result = fitted.fit("--overwrite")
    assert result.exit_code == 2
    assert "holds 'notes.txt', which is not a run's" in result.stderr
    assert (fitted.folder / "runs/small/metrics.json").exists()


@pytest.mark.parametrize("prepared", ["runs/small", "runs/small/prepared", "runs"])
def test_run_and_prepared_data_may_not_lie_in_each_other(workplace: Workplace, prepared: str) -> None:
    result = workplace.fit("--set", f"data.prepared={prepared}")
    assert result.exit_code == 2
    assert "overlap: one is, or lies inside, the other" in result.stderr
    assert workplace.list_files() == ["log.tsv", "small.yaml"]


def test_several_seeds(workplace: Workplace) -> None:
    result = workplace.fit("--seeds", "1,2", "--run-dir", "elsewhere/run", *QUICK)
    assert result.exit_code == 0, result.output
    gaucs = [workplace.read_json(f"elsewhere/run-seed{seed}/metrics.json")["gauc"] for seed in (1, 2)]
    assert f"GAUC mean {np.mean(gaucs):.6f}, sd {np.std(gaucs, ddof=1):.6f}" in result.stderr
    assert (workplace.folder / "runs/latest").resolve() == workplace.folder / "elsewhere/run-seed2"


def test_users_who_have_every_item_leave_nothing_to_train_on(workplace: Workplace) -> None:
    """There is nothing to sample as a negative."""
    write_log(workplace.folder / "log.tsv", [(f"u{n % 9}", f"i{n // 9}", "c", n) for n in range(45)])
    result = workplace.fit("--seeds", "1,2", "--set", "training.select_on=none")
    assert result.exit_code == 1
    assert "leaves no training sample; 36 positives have no item left that their user has not chosen" in result.stderr
    assert not Path("runs/small").exists()


def test_prepare_then_fit_prepares_once(workplace: Workplace) -> None:
    result = workplace.run("prepare", "--config", "small.yaml")
    assert "prepared, because there was none" in result.stderr
    assert "600 lines, 600 kept" in result.stdout
    assert "prepared/small: up to date" in workplace.run("prepare", "--config", "small.yaml").stderr
    assert "prepared/small: up to date" in workplace.fit(*QUICK).stderr


def test_eval_refuses_another_data_set(fitted: Workplace) -> None:
    write_log(fitted.folder / "log.tsv", [("u0", "i0", "c0", n) for n in range(9)] + [("u1", "i1", "c1", 1)] * 3)
    fitted.run("prepare", "--config", "small.yaml")
    result = fitted.run("eval")
    assert result.exit_code == 1
    assert "not the data set this run was trained on" in result.stderr


def test_compare_puts_runs_side_by_side(fitted: Workplace) -> None:
    fitted.fit("--set", "name=base", *QUICK)
    result = fitted.run("compare", "runs/base", "runs/small")
    assert result.exit_code == 0
    for name in ("base", "small"):
        assert f"{fitted.read_json(f'runs/{name}/metrics.json')['gauc']:.6f}" in result.stdout
    compared = orjson.loads(fitted.run("compare", "runs/base", "runs/small", "--json").stdout)
    assert [run["name"] for run in compared["runs"]] == ["runs/base", "runs/small"]
    (gauc,) = (each for each in compared["differences"] if each["metric"] == "gauc")
    metrics = [fitted.read_json(f"runs/{name}/metrics.json")["gauc"] for name in ("small", "base")]
    assert gauc["value"] == pytest.approx(metrics[0] - metrics[1], abs=1e-12)
    assert gauc["sentence"] in result.stdout
    fitted.fit("--set", "data.protocol=paper", "--set", "name=paper", *QUICK)
    refused = fitted.run("compare", "runs/base", "runs/paper")
    assert refused.exit_code == 2
    assert "their numbers do not compare" in refused.stderr
    forced = fitted.run("compare", "runs/base", "runs/paper", "--force")
    assert forced.exit_code == 0
    assert "warning: forced: runs/paper: protocol is 'paper', but 'holdout' in runs/base" in forced.stderr
    assert orjson.loads(fitted.run("compare", "runs/base", "runs/paper", "--force", "--json").stdout)["warnings"]


def test_a_run_on_other_negatives_does_not_compare_though_its_protocol_is_the_same(fitted: Workplace) -> None:
    fitted.fit("--set", "negatives.seed=2", "--set", "data.prepared=prepared/other", "--set", "name=other", *QUICK)
    refused = fitted.run("compare", "runs/small", "runs/other")
    assert refused.exit_code == 2
    assert "runs/other: hash of the scored rows is " in refused.stderr


def test_a_run_keeps_its_scores_and_eval_writes_the_same(fitted: Workplace) -> None:
    rows = read_scores(Path("runs/small/scores.test.parquet"))
    metrics = fitted.read_json("runs/small/metrics.json")
    assert compute_gauc(rows.user_id, rows.label, rows.logit).value == metrics["gauc"]
    assert metrics["num_samples"] == len(rows)
    before = Path("runs/small/scores.test.parquet").read_bytes()
    assert fitted.run("eval").exit_code == 0
    assert Path("runs/small/scores.test.parquet").read_bytes() == before
    assert fitted.read_json("runs/small/metrics.test.json") == metrics
    low, high = metrics["intervals"]["gauc"]
    assert low < metrics["gauc"] < high
    for parts in metrics["slices"].values():
        assert sum(each["num_samples"] for each in parts) == len(rows)


def test_eval_weighs_users_as_asked_and_says_so(fitted: Workplace) -> None:
    result = fitted.run("eval", "--set", "metrics.gauc_weighting=uniform", "--set", "metrics.resamples=0", "--json")
    got, before = orjson.loads(result.stdout), fitted.read_json("runs/small/metrics.json")
    assert (got["gauc_weighting"], got["intervals"]) == ("uniform", None)
    assert got["metric_definition"] != before["metric_definition"]
    assert got["auc"] == before["auc"]


def test_intervals_are_of_the_confidence_asked_for(fitted: Workplace) -> None:
    wide, narrow = (
        orjson.loads(fitted.run("eval", "--set", f"metrics.confidence={each}", "--json").stdout)["intervals"]
        for each in (0.95, 0.5)
    )
    assert (wide["confidence"], narrow["confidence"]) == (0.95, 0.5)
    for metric in ("auc", "gauc"):
        assert wide[metric][0] < narrow[metric][0] < narrow[metric][1] < wide[metric][1]


def test_eval_finds_the_data_set_where_it_is_said_to_be(fitted: Workplace) -> None:
    (fitted.folder / "prepared").rename(fitted.folder / "moved")
    assert fitted.run("eval").exit_code == 1
    result = fitted.run("eval", "--set", "data.prepared=moved/small")
    assert result.exit_code == 0
    assert fitted.read_json("runs/small/metrics.test.json") == fitted.read_json("runs/small/metrics.json")


def test_fresh_negatives_reach_training_from_the_second_epoch_on(workplace: Workplace) -> None:
    workplace.write_config(model={"name": "lr"})

    def read_losses(resample: str) -> list[float]:
        assert workplace.fit("--set", f"negatives.resample={resample}", "--run-dir", f"runs/{resample}").exit_code == 0
        return [record["loss"] for record in read_history(workplace, f"runs/{resample}")]

    stored, fresh = read_losses("never"), read_losses("epoch")
    assert stored[0] == fresh[0]  # the first epoch's are the stored ones
    assert stored[1] != fresh[1]
    metrics = [workplace.read_json(f"runs/{each}/metrics.json") for each in ("never", "epoch")]
    assert metrics[0]["data_fingerprint"] == metrics[1]["data_fingerprint"]


def test_an_empty_split_is_refused_before_anything_is_written(workplace: Workplace) -> None:
    result = workplace.fit("--set", "data.protocol=user", "--set", "data.user_split.validation=0")
    assert result.exit_code == 2
    assert "split 'validation': protocol 'user' gives it no sample" in result.stderr
    assert not (workplace.folder / "runs/small").exists()

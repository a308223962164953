"""What --resume refuses, what it starts anew, and what it leaves as it is."""

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
import tensorflow as tf
from log_factory import write_log
from workplace import EVENTS, QUICK, Workplace


def stop_after_an_epoch(workplace: Workplace, run: str = "runs/small") -> None:
    """As if killed after the first epoch."""
    path = workplace.folder / run
    for name in ("metrics.json", "report.html"):
        (path / name).unlink(missing_ok=True)
    for state in (path / "checkpoints").glob("state-2-*"):
        state.unlink()


def test_overwrite_and_resume_exclude_each_other(workplace: Workplace) -> None:
    result = workplace.fit("--overwrite", "--resume")
    assert result.exit_code == 2
    assert "--overwrite and --resume exclude each other" in result.stderr


def test_another_config_is_refused_with_the_keys_that_differ(fitted: Workplace) -> None:
    before = fitted.list_files()
    result = fitted.fit(
        "--resume", "--set", "training.epochs=3", "--set", "model.mlp.dropout=0.5",
        "--set", "data.max_history_length=9", "--set", "training.checkpoint_steps=4",
    )  # fmt: skip
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: runs/small: trained with another config, so --resume cannot go on with it: data.max_history_length: "
        "100 there, 9 here; model.mlp.dropout: 0.0 there, 0.5 here; training.epochs: 2 there, 3 here (and 1 more); "
        "resume with --config runs/small/config.yaml, or give --overwrite to train anew"
    ]
    assert fitted.list_files() == before


def test_a_finished_run_shows_its_metrics_and_is_left_alone(fitted: Workplace) -> None:
    (fitted.folder / "log.tsv").unlink()  # nothing is read, prepared or trained
    before = {path: (fitted.folder / path).read_bytes() for path in fitted.list_files()}
    result = fitted.fit("--resume", "--set", "tracking.mlflow=http://localhost:1")  # which is not of the training
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == ["runs/small: finished before, so there is nothing to resume; its metrics:"]
    assert f"{fitted.read_json('runs/small/metrics.json')['gauc']:.6f}" in result.stdout
    assert {path: (fitted.folder / path).read_bytes() for path in fitted.list_files()} == before


def test_a_folder_with_nothing_but_a_temporary_file_begins(workplace: Workplace) -> None:
    run = workplace.folder / "runs/small"
    run.mkdir(parents=True)
    (run / ".123-config.yaml").write_text("name: sm")
    result = workplace.fit("--resume", *QUICK)
    assert result.exit_code == 0, result.output
    assert "runs/small: no saved state, so training begins" in result.stderr
    assert workplace.read_json("runs/small/metrics.json")["best_epoch"] == 1
    assert not (run / ".123-config.yaml").exists()


def test_changed_data_are_refused_and_the_same_again_taken(fitted: Workplace) -> None:
    stop_after_an_epoch(fitted)
    (fitted.folder / "runs/small/notes.txt").write_text("x")
    history = (fitted.folder / "runs/small/history.jsonl").read_bytes()
    write_log(fitted.folder / "log.tsv", [*EVENTS, ("u0", "i0", "c0", 1000)])
    result = fitted.fit("--resume")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "error: prepared/small: no longer the data set that runs/small was trained on, so it cannot go on; bring the "
        "log back as it was, or train anew with --overwrite"
    )
    assert (fitted.folder / "runs/small/history.jsonl").read_bytes() == history
    write_log(fitted.folder / "log.tsv", EVENTS)
    again = fitted.fit("--resume")
    assert again.exit_code == 0, again.output
    assert "runs/small: going on after epoch 1" in again.stderr
    assert (fitted.folder / "runs/small/notes.txt").exists()


def test_what_is_no_run_is_refused(workplace: Workplace) -> None:
    (workplace.folder / "mine").mkdir()
    (workplace.folder / "mine/thesis.txt").write_text("x")
    result = workplace.fit("--run-dir", "mine", "--resume")
    assert result.exit_code == 2
    assert "mine: not a run directory (no config.yaml), so there is nothing to --resume" in result.stderr


@pytest.mark.parametrize("lost", ["checkpoints", "records of the states", "whole states"])
def test_a_run_without_a_whole_state_is_not_begun_anew(fitted: Workplace, lost: str) -> None:
    run = fitted.folder / "runs/small"
    (run / "metrics.json").unlink()
    (run / "notes.txt").write_text("x")
    if lost == "checkpoints":
        shutil.rmtree(run / "checkpoints")
    for state in (run / "checkpoints").glob("state-*.json" if lost == "records of the states" else "state-*.npz"):
        state.unlink()
    before = {path: (fitted.folder / path).read_bytes() for path in fitted.list_files()}
    result = fitted.fit("--resume")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "error: runs/small: has no whole saved state to go on from, so --resume leaves it as it is; give --overwrite "
        "to train anew in its place, or another name (--set name=..., --run-dir)"
    )
    assert {path: (fitted.folder / path).read_bytes() for path in fitted.list_files()} == before


def test_a_run_killed_before_its_first_state_begins_again_and_keeps_what_is_not_its_own(fitted: Workplace) -> None:
    run = fitted.folder / "runs/small"
    expected = fitted.read_json("runs/small/metrics.json")
    for name in ("metrics.json", "scores.test.parquet", "attention.json", "report.html"):
        (run / name).unlink()
    shutil.rmtree(run / "plots")
    for state in (run / "checkpoints").glob("state-*.json"):
        state.unlink()
    first = (run / "history.jsonl").read_bytes().splitlines()[0]
    (run / "history.jsonl").write_bytes(first + b"\n")
    record = run / "checkpoints/best.json"
    record.write_bytes(orjson.dumps({**orjson.loads(record.read_bytes()), "epoch": 1}))
    (run / "notes.txt").write_text("x")
    result = fitted.fit("--resume")
    assert result.exit_code == 0, result.output
    assert "runs/small: no saved state, so training begins" in result.stderr
    assert fitted.read_json("runs/small/metrics.json") == expected
    assert len((run / "history.jsonl").read_bytes().splitlines()) == 2
    assert (run / "notes.txt").exists()


def test_finished_seeds_are_skipped_and_count(two_runs: Workplace) -> None:
    runs = two_runs.folder / "runs"
    for seed, name in ((1, "small"), (2, "other")):
        (runs / name).rename(runs / f"small-seed{seed}")
    gaucs = [two_runs.read_json(f"runs/small-seed{seed}/metrics.json")["gauc"] for seed in (1, 2)]
    stop_after_an_epoch(two_runs, "runs/small-seed2")
    finished = (runs / "small-seed1/metrics.json").stat().st_mtime_ns
    result = two_runs.fit("--seeds", "1,2", "--resume")
    assert result.exit_code == 0, result.output
    assert "runs/small-seed1: finished before" in result.stderr
    assert "runs/small-seed2: going on after epoch 1" in result.stderr
    mean, deviation = np.mean(gaucs), np.std(gaucs, ddof=1)
    assert f"GAUC mean {mean:.6f}, sd {deviation:.6f}" in result.stderr.splitlines()[-1]
    assert (runs / "small-seed1/metrics.json").stat().st_mtime_ns == finished
    assert (runs / "latest").readlink() == Path("small-seed2")


def test_the_line_that_says_how_to_go_on_names_folder_and_seeds(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from din_train import fit

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "score_samples", stop)
    result = workplace.fit("--seeds", "1,2", "--run-dir", "my runs/a", *QUICK)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        "interrupted; training stopped by Ctrl-C: state saved in my runs/a-seed1 after epoch 1, step 15; go on with "
        "`din-train fit --config 'my runs/a-seed1/config.yaml' --run-dir 'my runs/a' --seeds 1,2 --resume`"
    )
    monkeypatch.undo()
    monkeypatch.chdir(workplace.folder)
    again = workplace.run(
        *("fit", "--config", "my runs/a-seed1/config.yaml", "--run-dir", "my runs/a", "--seeds", "1,2", "--resume")
    )
    assert again.exit_code == 0, again.output
    assert "my runs/a-seed1: going on after epoch 1, step 15" in again.stderr
    assert "my runs/a-seed2: no saved state, so training begins" in again.stderr


def test_history_tensorboard_and_eval_of_a_refit(workplace: Workplace) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    workplace.fit("--set", "model.name=lr", "--set", "training.refit=true", "--set", "training.epochs=3")
    lines = (workplace.folder / "runs/small/history.jsonl").read_bytes().splitlines()
    history = [orjson.loads(line) for line in lines]
    for phase, folder in ((None, "train"), ("refit", "refit")):
        records = [record for record in history if record.get("phase") == phase]
        events = EventAccumulator(str(workplace.folder / "runs/small/tensorboard" / folder)).Reload()
        assert set(events.Tags()["tensors"]) == records[0].keys() - {"epoch", "phase"}
        assert {"learning_rate", "embedding_norm"} <= records[0].keys()
        for tag in events.Tags()["tensors"]:
            shown = {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)}
            assert shown == {record["epoch"]: pytest.approx(record[tag], rel=1e-6) for record in records}
    metrics = workplace.read_json("runs/small/metrics.json")
    assert metrics["refit"] is True
    assert orjson.loads(workplace.run("eval", "--json").stdout) == metrics
    said = workplace.run("eval", "--split", "validation").stderr
    assert "refitted on training and validation rows" in said


def test_paper_has_no_rows_to_refit_on(workplace: Workplace) -> None:
    result = workplace.fit("--set", "training.refit=true", "--set", "data.protocol=paper")
    assert result.exit_code == 2
    assert "training.refit: received true, but protocol 'paper' has no validation rows" in result.stderr


def test_a_run_whose_config_names_a_preset_is_resumed_with_it(workplace: Workplace) -> None:
    workplace.write_config(preset="din", training={"epochs": 1})
    assert workplace.fit().exit_code == 0
    result = workplace.fit("--resume")
    assert result.exit_code == 0, result.output
    assert "nothing to resume" in result.stderr

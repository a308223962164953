"""A run whose rows have clicks and carts: fit, resume, refit, eval, audit, explain and predict."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from workplace import Workplace

from din_train.run_directory import RunDirectory

SEQUENCES = {  # a helper sorts the names
    "a_clicks": {"item": "hist"},
    "carts": {"item": "cart", "separator": "|", "padding": "0", "order": "newest_first"},
}


def make_rows(seed: int, users: range) -> list[dict[str, Any]]:
    random, rows = np.random.default_rng(seed), []
    for user in users:
        clicks = [f"i{n}" for n in random.integers(0, 20, 6)]
        for request in range(3):
            carts = [f"i{n}" for n in random.integers(0, 20, random.integers(0, 4))]
            at, cart = 1_600_000_000 + 1_000 * request + user, "|".join([*reversed(carts), "0"])
            rows += [
                {"u": f"u{user}", "i": f"i{item}", "y": label, "at": at, "hist": clicks[: 3 + request], "cart": cart}
                for label, item in enumerate(random.integers(0, 20, 2))
            ]
    return rows


def write_rows(path: str, rows: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def several(workplace: Workplace) -> Workplace:
    rows = make_rows(1, range(40))
    write_rows("train.jsonl", rows)
    write_rows("test.jsonl", make_rows(2, range(40)))
    data: dict[str, Any] = {"source": "rows", "events": None, "train": "train.jsonl", "test": "test.jsonl"}
    data |= {"columns": {"user": "u", "item": "i", "label": "y", "timestamp": "at"}, "sequences": SEQUENCES}
    training = {"refit": True, "deterministic": True, "checkpoint_steps": 1, "epochs": 2}
    workplace.write_config(data=data, training=training)
    return workplace


def read_logits(path: str) -> list[float]:
    logits: list[float] = pq.read_table(path)["logit"].to_pylist()
    return logits


def test_the_whole_job(several: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    appended: list[Any] = []
    append = RunDirectory.append_history

    def stop(run: RunDirectory, record: Any) -> None:
        append(run, record)
        appended.append(record)
        if len(appended) == 3:  # in the refit
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_history", stop)
        assert several.fit().exit_code == 130
        result = several.fit("--resume")
    assert result.exit_code == 0, result.output
    assert "going on after" in result.stderr
    scores = read_logits("runs/small/scores.test.parquet")
    metrics = several.read_json("runs/small/metrics.json")
    assert metrics["refit"] is True
    assert several.run("eval", "--run-dir", "runs/small", "--split", "test").exit_code == 0
    assert several.read_json("runs/small/metrics.json") == metrics
    assert several.run("report", "--run-dir", "runs/small").exit_code == 0
    audited = json.loads(several.run("audit", "--run-dir", "runs/small", "--json").stdout)
    statuses = {each["name"]: each["status"] for each in audited["checks"]}
    assert statuses["parity: stored scores"] == statuses["test rows: the same"] == "passed"

    predict = ("predict", "--run-dir", "runs/small", "--output", "out.parquet")
    result = several.run(*predict, "--input", "test.jsonl")
    assert result.exit_code == 0, result.output
    assert "a row's history is column 'hist', its carts those of 'cart'" in result.stderr
    assert read_logits("out.parquet") == pytest.approx(scores, abs=1e-6)
    rows = make_rows(2, range(40))
    write_rows("emptied.jsonl", [{**row, "cart": ""} for row in rows])
    assert several.run(*predict, "--input", "emptied.jsonl", "--overwrite").exit_code == 0
    assert np.max(np.abs(np.subtract(read_logits("out.parquet"), scores))) > 1e-6
    for left_out, expected in {
        "cart": "data.sequences.carts.item: no column 'cart'",
        "hist": "has no column 'hist', and the run's rows have several sequences (the history, carts)",
    }.items():
        write_rows("lacking.jsonl", [{key: row[key] for key in row if key != left_out} for row in rows])
        result = several.run(*predict, "--input", "lacking.jsonl", "--overwrite")
        assert result.exit_code == 2
        assert expected in result.stderr
    write_rows("unknown.jsonl", [{**row, "cart": "j1|j2"} for row in rows])
    result = several.run(*predict, "--input", "unknown.jsonl", "--overwrite")
    assert result.exit_code == 1
    assert "ids of data.sequences.carts is known: a list is 'j1|j2'" in result.stderr

    row = rows[-1]
    result = several.run("explain", "--run-dir", "runs/small", "--user", row["u"], "--item", row["i"], "--json")
    assert result.exit_code == 0, result.output
    explained = json.loads(result.stdout)
    assert [each["item"] for each in explained["behaviours"]] == row["hist"]
    carts = [each for each in reversed(row["cart"].split("|")) if each != "0"]
    assert explained["history"].endswith(f"; the score also takes the row's carts ({len(carts)})")
    assert [each["item"] for each in explained["sequences"]["carts"]["behaviours"]] == carts

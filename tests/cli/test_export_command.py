"""`din-train export`: what it writes scores as `predict` does, or nothing is written."""

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from workplace import Workplace

from din_train.export import served_model
from din_train.export.export import Artefact
from din_train.export.request import Vocabulary

EXPORT = ("export", "--output", "served", "--format", "savedmodel")


def list_beside(workplace: Workplace) -> list[str]:
    return sorted(path.name for path in workplace.folder.iterdir() if "served" in path.name)


def test_a_savedmodel_scores_as_predict(fitted: Workplace) -> None:
    result = fitted.run(*EXPORT, "--positive-share", "0.05", "--activation-weights")
    assert result.exit_code == 0, result.output
    assert list_beside(fitted) == ["served"]
    rows = [
        {"user": "u1", "item": item, "history": history}
        for history in (["i1", "i9", "no such item"], [f"i{n}" for n in range(97)] * 2, [])
        for item in ("i3", "i4", "no such item")
    ]
    pq.write_table(pa.Table.from_pylist(rows), "rows.parquet")
    scored = fitted.run("predict", "--input", "rows.parquet", "--output", "out.parquet", "--positive-share", "0.05")
    assert scored.exit_code == 0, scored.output
    expected = pq.read_table("out.parquet")
    signatures = tf.saved_model.load("served/1").signatures
    for start in range(0, len(rows), 3):
        history = rows[start]["history"]
        items = tf.constant([row["item"] for row in rows[start : start + 3]])
        nothing = tf.constant([""])
        user = tf.constant(["u1"])
        outputs = signatures["rank"](
            item=items, user=user, history=tf.constant(history, tf.string, [len(history)]), item_category=nothing
        )
        for name in ("logit", "click_probability"):
            assert outputs[name].numpy() == pytest.approx(expected[name].to_numpy()[start : start + 3], abs=1e-5)
        assert outputs["activation_weights"].shape == (3, len(history))
    check_record(fitted)


def check_record(fitted: Workplace) -> None:
    record = fitted.read_json("served/export.json")
    files = {path.relative_to("served").as_posix(): path for path in Path("served").rglob("*") if path.is_file()}
    del files["export.json"]
    assert record["files"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert {"README.md", "1/saved_model.pb", "1/assets/item.txt"} <= files.keys()
    assert [each["name"] for each in record["inputs"]] == ["item", "user", "history", "item_category"]
    assert record["prior_shift"] == pytest.approx(
        -2.944439, abs=1e-5
    )  # log(0.05 / 0.95), of as many positives as negatives
    assert record["training_positive_share"] == 0.5
    assert record["largest_difference"] <= 1e-5
    names = [each["name"] for each in record["golden"]]
    assert {"empty history", "over-long history", "odd ids"} <= {*names}
    users = {user for each in record["golden"] for user in each["inputs"]["user"]}
    assert users.isdisjoint(f"u{n}" for n in range(40))  # made up
    readme = Path("served/README.md").read_text()
    (request,) = (orjson.loads(line) for line in readme.splitlines() if line.startswith('{"signature_name"'))
    assert request["inputs"] == {
        **record["golden"][0]["inputs"],
        "history": record["golden"][0]["inputs"]["history"][0],
    }


def test_what_is_there_is_kept(fitted: Workplace) -> None:
    Path("served").mkdir()
    Path("served/mine.txt").write_text("mine")
    result = fitted.run(*EXPORT, "--overwrite")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no export" in result.stderr
    Path("served/export.json").write_text("{}")
    result = fitted.run(*EXPORT)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--overwrite" in result.stderr
    assert Path("served/mine.txt").read_text() == "mine"
    for arguments in (["--format", "pickle"], ["--positive-share", "1"]):
        assert fitted.run(*EXPORT, *arguments).exit_code == 2


def test_a_table_in_another_order_is_found_and_nothing_is_published(
    fitted: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = served_model._build_table

    def build_wrong(name: str, vocabulary: Vocabulary, folder: Path) -> Any:
        return build(name, Vocabulary(vocabulary.texts[::-1]), folder)

    monkeypatch.setattr(served_model, "_build_table", build_wrong)
    result = fitted.run(*EXPORT)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "requests are not scored as `predict` scores them" in result.stderr
    assert list_beside(fitted) == []


def test_ctrl_c_leaves_nothing(fitted: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: Artefact, folder: Path, *__: object) -> None:
        (folder / "1").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(Artefact, "write", stop)
    assert fitted.run(*EXPORT).exit_code == 130
    assert list_beside(fitted) == []

"""`din-train export`: what it writes scores as `predict` does, or nothing is written."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from workplace import Workplace

from din_train.export import artefact, dice_folding, export, id_model, text_model
from din_train.export.artefact import Artefact
from din_train.export.request import Vocabulary
from din_train.scoring import build_configured_model, open_run
from din_train.serve.exported_model import ExportedModel

EXPORT = ("export", "--output", "served", "--format", "savedmodel")


def list_beside(workplace: Workplace) -> list[str]:
    return sorted(path.name for path in workplace.folder.iterdir() if "served" in path.name)


def test_what_is_exported_scores_as_predict(fitted: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "_find_titles", lambda _: {"i3": "A title"})  # which this log has none of
    result = fitted.run("export", "--output", "served", "--positive-share", "0.05", "--activation-weights")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(
        "served: written as savedmodel and onnx; new processes scored 15 golden requests and 97"
    )
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
    rank = tf.saved_model.load("served/1").signatures["rank"]
    session = onnxruntime.InferenceSession("served/onnx/model.onnx", providers=["CPUExecutionProvider"])
    ExportedModel(Path("served"), threads=1)  # `din-train serve` scores the golden requests when it starts
    names = [each.name for each in session.get_outputs()]
    for start in range(0, len(rows), 3):
        history = np.array(rows[start]["history"], object)
        sent = {"user": ["u1"], "item": [row["item"] for row in rows[start : start + 3]], "item_category": [""]}
        texts = {name: np.array(each, object) for name, each in sent.items()}
        of_rank = {name: tf.constant(each) for name, each in texts.items()}
        of_rank["history"] = tf.constant(history.tolist(), tf.string, [len(history)])
        by_onnx = dict(zip(names, session.run(names, {**texts, "history": history[None]}), strict=True))
        for outputs in (rank(**of_rank), by_onnx):
            for name in ("logit", "click_probability"):
                scores = expected[name].to_numpy()[start : start + 3]
                assert np.asarray(outputs[name]) == pytest.approx(scores, abs=1e-5)
            assert outputs["activation_weights"].shape == (3, len(history))
    check_record(fitted)


def check_record(fitted: Workplace) -> None:
    record = fitted.read_json("served/export.json")
    files = {path.relative_to("served").as_posix(): path for path in Path("served").rglob("*") if path.is_file()}
    del files["export.json"]
    assert record["files"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert {
        "README.md",
        "1/saved_model.pb",
        "1/assets/item.txt",
        "onnx/model.onnx",
        "triton/din/config.pbtxt",
        "titles.json",
    } <= files.keys()
    assert fitted.read_json("served/titles.json") == {"i3": "A title"}
    assert [each["name"] for each in record["inputs"]] == ["item", "user", "history", "item_category"]
    assert record["prior_shift"] == pytest.approx(
        -2.944439, abs=1e-5
    )  # log(0.05 / 0.95), of as many positives as negatives
    assert record["training_positive_share"] == 0.5
    assert record["largest_difference"] <= 1e-5 == record["tolerance"]
    assert record["folds_dice"]
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


def test_what_is_there_is_kept_and_what_cannot_be_is_refused(fitted: Workplace) -> None:
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
    build = text_model._build_table

    def build_wrong(name: str, vocabulary: Vocabulary, folder: Path) -> Any:
        return build(name, Vocabulary(vocabulary.texts[::-1]), folder)

    monkeypatch.setattr(text_model, "_build_table", build_wrong)
    result = fitted.run(*EXPORT)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "the SavedModel: does not score as `predict` does" in result.stderr
    assert list_beside(fitted) == []


def test_a_run_in_bfloat16_is_exported_in_float32(fitted: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_rounded(*given: Any) -> Any:
        """As if it had been trained so; the weights of both are float32."""
        opened = open_run(*given)
        training = opened.config.training.model_copy(update={"precision": "bfloat16"})
        config = opened.config.model_copy(update={"training": training})
        rounded = build_configured_model(config, opened.data)
        rounded.set_weights(opened.model.get_weights())
        return replace(opened, config=config, model=rounded)

    monkeypatch.setattr(export, "open_run", open_rounded)
    result = fitted.run("export", "--output", "served", "--format", "onnx")
    assert result.exit_code == 0, result.output
    record = fitted.read_json("served/export.json")
    assert record["largest_difference"] <= 1e-5 == record["tolerance"]
    assert 1e-5 < record["largest_difference_of_bfloat16"] < 0.1
    assert result.stderr.splitlines()[1].startswith("served: computes in float32, and was checked so; `predict`")
    assert "The run was trained in bfloat16." in Path("served/README.md").read_text()


def test_folded_dice_that_rounds_to_too_much_is_left_out(fitted: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = dice_folding._Folding.list_values

    def fold_roughly(self: Any) -> Any:
        return [(variable, value + np.float32(1e-3)) for variable, value in fold(self)]

    monkeypatch.setattr(dice_folding._Folding, "list_values", fold_roughly)
    result = fitted.run("export", "--output", "served", "--format", "onnx")
    assert result.exit_code == 0, result.output
    record = fitted.read_json("served/export.json")
    assert (record["folds_dice"], record["tolerance"]) == (False, 1e-5)
    assert record["largest_difference"] <= 1e-5


def test_a_difference_of_1e_4_is_a_fault(fitted: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    correct = id_model.IdModel._correct

    def correct_wrongly(self: Any, logit: tf.Tensor) -> dict[str, tf.Tensor]:
        return correct(self, logit + 1e-4)

    monkeypatch.setattr(id_model.IdModel, "_correct", correct_wrongly)
    result = fitted.run("export", "--output", "served", "--format", "onnx")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "the ONNX file: does not score as `predict` does" in result.stderr
    assert list_beside(fitted) == []


def test_ctrl_c_leaves_nothing(fitted: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: Artefact, folder: Path, *__: object) -> None:
        (folder / "1").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(Artefact, "write", stop)
    assert fitted.run(*EXPORT).exit_code == 130
    assert list_beside(fitted) == []

"""An exported folder is opened: what it scores, and every way in which it is refused."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from fake_export import EXAMPLE, EXAMPLE_LOGITS, write_export

from din_train.errors import DamagedError, RunError
from din_train.serve.exported_model import ExportedModel, build_tensor
from din_train.serve.served_request import Limits, build_arrays


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_export(tmp_path / "export")


def change(folder: Path, **changes: Any) -> None:
    path = folder / "export.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **changes}))


def test_rows_are_scored_with_one_history(folder: Path) -> None:
    model = ExportedModel(folder, threads=1)
    arrays = build_arrays(
        [build_tensor(each, EXAMPLE[each.name]) for each in model.inputs.values()], model.inputs, Limits(10, 10)
    )
    scored = model.score(arrays, ["activation_weights"])
    np.testing.assert_allclose(scored["logit"], EXAMPLE_LOGITS, rtol=1e-6)
    np.testing.assert_allclose(scored["click_probability"], 1 / (1 + np.exp(-np.array(EXAMPLE_LOGITS))), rtol=1e-6)
    np.testing.assert_array_equal(scored["activation_weights"], [[2, 0, 0], [0, 0, 0]])
    assert scored["known"].tolist() == [True, False]
    assert scored["behaviours"].tolist() == [2]
    assert scored["known_behaviours"].tolist() == [1]


def test_titles_are_read_if_the_export_has_them(folder: Path, tmp_path: Path) -> None:
    assert ExportedModel(folder, threads=1).read_titles() == {}
    titled = write_export(tmp_path / "titled", titles={"a": "A title", "ü x": "Ein Titel"})
    assert ExportedModel(titled, threads=1).read_titles() == {"a": "A title", "ü x": "Ein Titel"}
    (titled / "titles.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"titles\.json: its SHA-256 is not the one in export\.json"):
        ExportedModel(titled, threads=1)


def test_an_id_with_nul_is_not_the_id_before_it(folder: Path) -> None:
    model = ExportedModel(folder, threads=1)
    values = {**EXAMPLE, "item": ["a", "a\0b"]}
    tensors = [build_tensor(each, values[each.name]) for each in model.inputs.values()]
    assert model.score(build_arrays(tensors, model.inputs, Limits(10, 10)))["known"].tolist() == [True, False]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"export\.json: no such file; give the folder that `din-train export` wrote"):
        ExportedModel(tmp_path, threads=1)


def test_a_model_that_changed(folder: Path) -> None:
    with (folder / "onnx/model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DamagedError, match=r"its SHA-256 is not the one in export\.json"):
        ExportedModel(folder, threads=1)


def test_a_file_that_is_missing(folder: Path) -> None:
    (folder / "onnx/model.onnx").unlink()
    with pytest.raises(DamagedError, match=r"model\.onnx: no such file, and export\.json lists it"):
        ExportedModel(folder, threads=1)


def test_another_model_with_the_same_inputs(tmp_path: Path) -> None:
    golden = [{"name": "usual", "inputs": EXAMPLE, "logit": [EXAMPLE_LOGITS[0], EXAMPLE_LOGITS[1] + 0.001]}]
    with pytest.raises(DamagedError, match=r"golden row 'usual' has the logit .* not the model that was exported"):
        ExportedModel(write_export(tmp_path / "export", golden=golden), threads=1)


def test_a_golden_row_that_is_no_request(folder: Path) -> None:
    change(folder, golden=[{"name": "odd", "inputs": {**EXAMPLE, "item": [5]}, "logit": [1.0]}])
    with pytest.raises(DamagedError, match=r"golden row 'odd' is no request \(item: data\[0\] is 5"):
        ExportedModel(folder, threads=1)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"format": 2}, "format 2, expected 1; export the run with this din-train"),
        ({"files": {}}, "lists no onnx/model.onnx; export the run with --format onnx"),
        ({"inputs": [{"name": "item"}]}, r"damaged \(KeyError: 'datatype'\)"),
        ({"inputs": []}, "its inputs are not those of export.json"),
        ({"golden": []}, "holds no golden rows"),
        ({"golden": [5]}, "damaged"),
        ({"golden": 5}, "damaged"),
    ],
)
def test_a_wrong_description(folder: Path, changes: dict[str, Any], line: str) -> None:
    change(folder, **changes)
    with pytest.raises(RunError, match=line):
        ExportedModel(folder, threads=1)


def test_a_description_cut_short(folder: Path) -> None:
    path = folder / "export.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedError, match=r"export\.json: damaged \(JSONDecodeError"):
        ExportedModel(folder, threads=1)


def test_a_file_that_is_no_onnx(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export")
    (folder / "onnx/model.onnx").write_bytes(b"no model")
    change(folder, files={"onnx/model.onnx": hashlib.sha256(b"no model").hexdigest()})
    with pytest.raises(DamagedError, match="onnxruntime cannot load it"):
        ExportedModel(folder, threads=1)

"""The Triton folder without Triton: its texts, its files, and model.py with a stand-in for the backend's module."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from din_train.export.triton import write_triton_repository

RECORD = {
    "name": "din",
    "inputs": [
        {"name": "item", "datatype": "BYTES", "shape": ["rows"]},
        {"name": "history", "datatype": "BYTES", "shape": ["rows or 1", "positions"]},
        {"name": "age", "datatype": "FP64", "shape": ["rows or 1"]},
    ],
    "outputs": [{"name": "logit", "datatype": "FP32", "shape": ["rows"]}],
}
CONFIG = """\
# din-train's model din for Triton. Requests are those of export.json; ../../README.md shows one.
# The Python backend needs numpy and onnxruntime in its Python.
name: "din"
backend: "python"
max_batch_size: 0  # the first axis is part of each shape: one row may stand for all candidates
input [
  { name: "item" data_type: TYPE_STRING dims: [ -1 ] },
  { name: "history" data_type: TYPE_STRING dims: [ -1, -1 ] },
  { name: "age" data_type: TYPE_FP64 dims: [ -1 ] }
]
output [
  { name: "logit" data_type: TYPE_FP32 dims: [ -1 ] }
]
instance_group [ { count: 1 kind: KIND_CPU } ]
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
"""


@dataclass
class Tensor:
    """As in the backend's module."""

    own_name: str
    values: Any

    def name(self) -> str:
        return self.own_name

    def as_numpy(self) -> Any:
        return self.values


@dataclass
class Response:
    """As in the backend's module."""

    tensors: Sequence[Tensor] = ()
    error: str | None = None


@dataclass
class Request:
    """As in the backend's module."""

    tensors: Sequence[Tensor]
    wanted: list[str] = field(default_factory=lambda: ["logit"])

    def inputs(self) -> Sequence[Tensor]:
        return self.tensors

    def requested_output_names(self) -> list[str]:
        return self.wanted


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export whose model adds the id of the item (a 5, b 7, all others 1), of all behaviours, and the age."""
    keys = {
        "domain": "ai.onnx.ml",
        "keys_strings": ["", "a", "b \u00fc"],
        "values_int64s": [0, 5, 7],
        "default_int64": 1,
    }
    nodes = [
        helper.make_node("LabelEncoder", ["item"], ["item_id"], **keys),
        helper.make_node("LabelEncoder", ["history"], ["history_ids"], **keys),
        helper.make_node("ReduceSum", ["history_ids", "last_axis"], ["behaviours"], keepdims=0),
        helper.make_node("Add", ["item_id", "behaviours"], ["ids"]),
        helper.make_node("Cast", ["age"], ["years"], to=TensorProto.INT64),
        helper.make_node("Add", ["ids", "years"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["logit"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "din",
        [
            helper.make_tensor_value_info("item", TensorProto.STRING, ["rows"]),
            helper.make_tensor_value_info("history", TensorProto.STRING, ["rows or 1", "positions"]),
            helper.make_tensor_value_info("age", TensorProto.DOUBLE, ["rows or 1"]),
        ],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["rows"])],
        [helper.make_tensor("last_axis", TensorProto.INT64, [1], [1])],
    )
    versions = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 2)]
    (tmp_path / "onnx").mkdir()
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=10), tmp_path / "onnx/model.onnx")
    (tmp_path / "onnx/model.onnx.data").write_bytes(b"weights past 2 GB")
    write_triton_repository(tmp_path, RECORD)
    return tmp_path


def load_model(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`TritonPythonModel` of 1/model.py, initialized as Triton does."""
    backend = ModuleType("triton_python_backend_utils")
    vars(backend).update(Tensor=Tensor, InferenceResponse=Response, TritonError=str)
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    spec = importlib.util.spec_from_file_location("model_of_triton", repository / "1/model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = {"parameters": {"intra_op_thread_count": {"string_value": "1"}}}
    model = module.TritonPythonModel()
    model.initialize({"model_config": json.dumps(config), "model_repository": str(repository), "model_version": "1"})
    return model


def as_bytes(values: Any) -> Any:
    return np.vectorize(lambda text: text.encode(), otypes=[object])(np.array(values, object))


def test_the_configs(export: Path) -> None:
    folder = export / "triton/din"
    assert (folder / "config.pbtxt").read_text() == CONFIG
    native = (folder / "configs/onnxruntime.pbtxt").read_text().splitlines()
    changed = [line for line in native if line not in CONFIG.splitlines()]
    assert changed[1:] == ['backend: "onnxruntime"']
    assert changed[0].startswith("# ")


def test_a_copy_of_the_folder_holds_the_model(export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(export / "triton/din", copy)
    shutil.rmtree(export / "onnx")
    shutil.rmtree(export / "triton")
    assert (copy / "1/model.onnx.data").read_bytes() == b"weights past 2 GB"
    model = load_model(copy, monkeypatch)
    tensors = [
        Tensor("item", as_bytes(["a", "b \u00fc", "c"])),
        Tensor("history", as_bytes([["b \u00fc", "c", ""]])),
        Tensor("age", np.array([30.0])),
    ]
    (answer,) = model.execute([Request(tensors)])
    assert [(each.own_name, each.values.tolist()) for each in answer.tensors] == [("logit", [43.0, 45.0, 39.0])]


def test_no_hard_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr("din_train.export.triton.os", SimpleNamespace(link=refuse))
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(b"model")
    write_triton_repository(tmp_path, RECORD)
    assert (tmp_path / "triton/din/1/model.onnx").read_bytes() == b"model"


def test_bad_requests_get_one_line_and_the_others_are_answered(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(export / "triton/din", monkeypatch)
    item, history, age = Tensor("item", as_bytes(["a"])), Tensor("history", as_bytes([["a"]])), np.zeros(1)
    good = [item, history, Tensor("age", age)]
    no_utf8 = [Tensor("item", np.array([b"\xff"], object)), *good[1:]]
    two_users = [Tensor("item", as_bytes(["a", "b", "c"])), history, Tensor("age", np.zeros(2))]
    bad = [no_utf8, two_users, good[:2]]
    answers = model.execute([Request(each) for each in (*bad, good)])
    assert answers[0].error.startswith("item: expected UTF-8 text")
    assert all(each.error and "\n" not in each.error for each in answers[:3])
    assert answers[3].error is None
    assert answers[3].tensors[0].values.tolist() == [10.0]

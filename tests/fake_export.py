"""A small exported model, written by hand: its logits can be computed by hand too.

logit = weight of the candidate + weights of the behaviours + timestamp mod 7 / 10 + price (0 if NaN) + hash(device)
Weights: unknown 0, a 1, b 2, "ü x" 4. The activation weight of a behaviour is its weight times the candidate's.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
from onnx import TensorProto, helper, numpy_helper

ITEMS = {"": 0, "a": 2, "b": 3, "ü x": 4}
WEIGHTS = [0.0, 0.0, 1.0, 2.0, 4.0]
BUCKETS = 5
EXAMPLE = {
    "item": ["a", "new"],
    "user": ["someone"],
    "history": [["b", "", "gone"]],
    "timestamp": [10],
    "price": [None],
    "device": [0],
}
EXAMPLE_LOGITS = [1 + 2 + 0.3, 0 + 2 + 0.3]


def write_export(folder: Path, titles: dict[str, str] | None = None, **changes: Any) -> Path:
    """titles: of items. changes: of keys of `export.json`."""
    (folder / "onnx").mkdir(parents=True)
    path = folder / "onnx/model.onnx"
    path.write_bytes(_build_model().SerializeToString())
    about = {
        "format": 1,
        "name": "din",
        "model": "din",
        "created": "2026-01-01T00:00:00+00:00",
        "files": {"onnx/model.onnx": hashlib.sha256(path.read_bytes()).hexdigest()},
        "inputs": [
            _describe("item", "BYTES", ["rows"], "a", vocabulary="item"),
            _describe("user", "BYTES", ["rows or 1"], "someone", vocabulary="user"),
            _describe("history", "BYTES", ["rows or 1", "positions"], ["a"], vocabulary="item"),
            _describe("timestamp", "INT64", ["rows or 1"], 1_700_000_000),
            _describe("price", "FP64", ["rows or 1"], 1.0),
            _describe("device", "INT64", ["rows or 1"], 2, hash={"sha256_buckets": BUCKETS}),
        ],
        "golden": [
            {"name": "unknown ids", "inputs": EXAMPLE, "logit": EXAMPLE_LOGITS},
            {"name": "empty history", "inputs": {**EXAMPLE, "history": [[]]}, "logit": [1.3, 0.3]},
        ],
        **changes,
    }
    if titles is not None:
        (folder / "titles.json").write_bytes(orjson.dumps(titles))
        about["files"]["titles.json"] = hashlib.sha256((folder / "titles.json").read_bytes()).hexdigest()
    (folder / "export.json").write_bytes(orjson.dumps(about))
    return folder


def _describe(name: str, datatype: str, shape: list[str], example: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "meaning": name, "example": example, **more}


def _build_model() -> onnx.ModelProto:
    nodes = []

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def number(name: str) -> str:
        return add(
            "LabelEncoder",
            [name],
            f"{name}_id",
            domain="ai.onnx.ml",
            keys_strings=list(ITEMS),
            values_int64s=list(ITEMS.values()),
            default_int64=1,
        )

    add("Gather", ["weights", number("item")], "item_weight")  # [M]
    add("Gather", ["weights", number("history")], "behaviour_weights")  # [M or 1, T]
    add("ReduceSum", ["behaviour_weights", "last"], "history_weight", keepdims=0)
    add("Identity", ["user"], "user_copy")
    add("Cast", [add("Mod", ["timestamp", "seven"], "day")], "day_number", to=TensorProto.FLOAT)
    add("Mul", ["day_number", "tenth"], "day_weight")
    add("Cast", ["price"], "price_float", to=TensorProto.FLOAT)
    add("Where", [add("IsNaN", ["price_float"], "no_price"), "zero", "price_float"], "price_weight")
    add("Cast", ["device"], "device_weight", to=TensorProto.FLOAT)
    add("Sum", ["item_weight", "history_weight", "day_weight", "price_weight", "device_weight"], "logit")
    add("Sigmoid", ["logit"], "click_probability")
    add("Unsqueeze", ["item_weight", "last"], "item_column")
    add("Mul", ["item_column", "behaviour_weights"], "activation_weights")
    add("Greater", ["item_id", "one"], "known")
    for name, least in (("behaviours", "nothing"), ("known_behaviours", "one")):
        add("Cast", [add("Greater", ["history_id", least], f"{name}_mask")], f"{name}_number", to=TensorProto.INT64)
        add("ReduceSum", [f"{name}_number", "last"], name, keepdims=0)
    constants = {
        "weights": np.array(WEIGHTS, np.float32),
        "last": np.array([-1]),
        "seven": np.array(7),
        "tenth": np.array(0.1, np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array(1),
        "nothing": np.array(0),
    }
    text, whole, real, boolean = TensorProto.STRING, TensorProto.INT64, TensorProto.FLOAT, TensorProto.BOOL
    graph = helper.make_graph(
        nodes,
        "din",
        [
            helper.make_tensor_value_info("item", text, ["M"]),
            helper.make_tensor_value_info("user", text, ["U"]),
            helper.make_tensor_value_info("history", text, ["H", "T"]),
            helper.make_tensor_value_info("timestamp", whole, ["S"]),
            helper.make_tensor_value_info("price", TensorProto.DOUBLE, ["P"]),
            helper.make_tensor_value_info("device", whole, ["D"]),
        ],
        [
            helper.make_tensor_value_info("click_probability", real, ["M"]),
            helper.make_tensor_value_info("logit", real, ["M"]),
            helper.make_tensor_value_info("activation_weights", real, ["M", "T"]),
            helper.make_tensor_value_info("known", boolean, ["M"]),
            helper.make_tensor_value_info("behaviours", whole, ["H"]),
            helper.make_tensor_value_info("known_behaviours", whole, ["H"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return model

"""The exported model in the layout of a Triton model repository.

triton/din/config.pbtxt               Triton's Python backend: runs wherever Python has onnxruntime
triton/din/configs/onnxruntime.pbtxt  Triton's own ONNX backend, by `--model-config-name=onnxruntime`
triton/din/1/model.py                 what the Python backend runs: triton_model.py
triton/din/1/model.onnx               the same file as onnx/model.onnx
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

_TYPES = {"BYTES": "TYPE_STRING", "INT64": "TYPE_INT64", "FP64": "TYPE_FP64", "FP32": "TYPE_FP32", "BOOL": "TYPE_BOOL"}
_PACKAGE = files("din_train.export")


def write_triton_repository(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `folder/triton` for the model in `folder/onnx`.

    `folder/triton` can be copied without the rest of the export.

    Args:
        folder: the export.
        record: what its export.json says; `name`, `inputs` and `outputs` are used.
    """
    model = folder / "triton" / record["name"]
    version = model / "1"
    version.mkdir(parents=True)
    (model / "configs").mkdir()
    python = _render_config(record, "python", "The Python backend needs numpy and onnxruntime in its Python.")
    (model / "config.pbtxt").write_text(python, encoding="utf-8")
    native = _render_config(record, "onnxruntime", "Used with --model-config-name=onnxruntime; 1/model.py is ignored.")
    (model / "configs/onnxruntime.pbtxt").write_text(native, encoding="utf-8")
    (version / "model.py").write_text((_PACKAGE / "triton_model.py").read_text(encoding="utf-8"), encoding="utf-8")
    for file in (folder / "onnx").glob("model.onnx*"):  # past 2 GB the weights are in a file beside it
        _link_or_copy(file, version / file.name)


def _render_config(record: Mapping[str, Any], backend: str, comment: str) -> str:
    template = jinja2.Template(
        (_PACKAGE / "templates/config.pbtxt.jinja").read_text(encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    inputs, outputs = _describe(record["inputs"]), _describe(record["outputs"])
    return str(template.render(name=record["name"], backend=backend, comment=comment, inputs=inputs, outputs=outputs))


def _describe(tensors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Triton's name of the type, and one -1 for each axis: all axes vary."""
    return [
        {
            "name": tensor["name"].replace("\\", "\\\\").replace('"', '\\"'),
            "type": _TYPES[tensor["datatype"]],
            "dims": ", ".join(["-1"] * len(tensor["shape"])),
        }
        for tensor in tensors
    ]


def _link_or_copy(source: Path, target: Path) -> None:
    """One copy on the disk if the file system has hard links. A copy of the folder holds the file either way."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

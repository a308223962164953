"""The folder that `din-train export` wrote, opened to be served: checked files, an ONNX session, and its golden rows.

`export.json` describes the model; of the files only those in `onnx/` are read, and the titles for the page. All
requests share one session, so the model is in memory once.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson
from numpy.typing import NDArray

from din_train.errors import DamagedError, RunError
from din_train.serve.served_request import BadRequest, Limits, SentTensor, ServedInput, build_arrays

FORMAT = 1
ONNX_FILE, TITLES_FILE = "onnx/model.onnx", "titles.json"
ANSWER = ("click_probability", "logit")
COUNTS = ("known", "behaviours", "known_behaviours")

# A golden row was scored to 1e-5 where the export was made; another processor rounds in another order.
_TOLERANCE = 1e-4
_ADVICE = "export the run again, or copy the whole folder again"
_DTYPES = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(string)": object,
}


class ExportedModel:
    """Scores arrays by input. about: what `export.json` says."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Raises RunError if the folder cannot be served, DamagedError if it is not as it was written."""
        self.about = _read_about(folder)
        self.name: str = self.about["name"]
        self.inputs = {
            each["name"]: ServedInput(
                each["name"],
                each["datatype"],
                tuple(each["shape"]),
                (each.get("hash") or {}).get("sha256_buckets"),
            )
            for each in self.about["inputs"]
        }
        self._folder = folder
        _check_files(folder, self.about["files"])
        self._session = _open_session(folder / ONNX_FILE, threads)
        self._dtypes = {each.name: _DTYPES.get(each.type, object) for each in self._session.get_inputs()}
        if {*self._dtypes} != {*self.inputs}:
            raise DamagedError(f"{folder / ONNX_FILE}: its inputs are not those of export.json; {_ADVICE}")
        self._graph_outputs = {each.name: each for each in self._session.get_outputs()}
        self._count_names = [name for name in COUNTS if name in self._graph_outputs]
        self._check_golden(folder)

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """Name, datatype and shape of all that a client can ask for; -1 is any size."""
        datatypes = {
            "tensor(float)": "FP32",
            "tensor(double)": "FP64",
            "tensor(int64)": "INT64",
            "tensor(bool)": "BOOL",
        }
        return [
            {"name": each.name, "datatype": datatypes[each.type], "shape": [-1] * len(each.shape)}
            for each in self._graph_outputs.values()
        ]

    def score(self, arrays: Mapping[str, NDArray[Any]], also: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
        """click_probability and logit [M], the counts of known ids, and the outputs that are named."""
        names = list(dict.fromkeys((*ANSWER, *self._count_names, *also)))
        feed = {name: values.astype(self._dtypes[name], copy=False) for name, values in arrays.items()}
        scored = dict(zip(names, self._session.run(names, feed), strict=True))
        if not np.isfinite(scored["logit"]).all():
            raise RunError(f"{self.name}: a logit is not a finite number")
        return scored

    def read_titles(self) -> dict[str, str]:
        """Raw item id -> title, of the items that have one."""
        titles: dict[str, str] = {}
        if TITLES_FILE in self.about["files"]:
            titles = orjson.loads((self._folder / TITLES_FILE).read_bytes())
        return titles

    def _check_golden(self, folder: Path) -> None:
        """The rows that `export` scored must have the same logits here."""
        if not self.about["golden"]:
            raise DamagedError(
                f"{folder / 'export.json'}: holds no golden rows, so the model cannot be checked; {_ADVICE}"
            )
        for row in self.about["golden"]:
            try:
                tensors = [build_tensor(each, row["inputs"][each.name]) for each in self.inputs.values()]
                logits = self.score(build_arrays(tensors, self.inputs, Limits(1 << 30, 1 << 30)))["logit"]
            except (BadRequest, KeyError) as error:
                raise DamagedError(f"{folder}: golden row '{row['name']}' is no request ({error}); {_ADVICE}") from None
            expected = np.asarray(row["logit"], np.float32)
            if logits.shape != expected.shape or not np.allclose(logits, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
                raise DamagedError(
                    f"{folder}: golden row '{row['name']}' has the logit {logits.ravel()[:1]}, and export.json says "
                    f"{expected.ravel()[:1]}: this is not the model that was exported; {_ADVICE}"
                )


def build_tensor(served: ServedInput, value: Any) -> SentTensor:
    """A golden row's nested list of one input, as a client sends it."""
    shape = [*np.array(value, object).shape]
    shape += [0] * (len(served.shape) - len(shape))  # the values of no behaviour
    return SentTensor(served.name, served.datatype, shape, value)


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "export.json"
    if not path.is_file():
        raise RunError(f"{path}: no such file; give the folder that `din-train export` wrote")
    try:
        about: dict[str, Any] = orjson.loads(path.read_bytes())
        if about["format"] != FORMAT:
            raise RunError(f"{path}: format {about['format']}, expected {FORMAT}; export the run with this din-train")
        if ONNX_FILE not in about["files"]:
            raise RunError(f"{path}: lists no {ONNX_FILE}; export the run with --format onnx")
        for each in about["inputs"]:
            _ = each["name"], each["datatype"], [*each["shape"]]
        for row in about["golden"]:
            _ = row["name"], {**row["inputs"]}, [*row["logit"]]
        _ = {"name": about["name"]}
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise DamagedError(f"{path}: damaged ({type(error).__name__}: {error}); {_ADVICE}") from None
    return about


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, sha256 in files.items():
        path = folder / name
        if not name.startswith("onnx/") and name != TITLES_FILE:
            continue
        if not path.is_file():
            raise DamagedError(f"{path}: no such file, and export.json lists it; {_ADVICE}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise DamagedError(f"{path}: its SHA-256 is not the one in export.json; {_ADVICE}")


def _open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # requests differ in shape
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common class of their own
        reason = " ".join(str(error).split())[:300]
        raise DamagedError(f"{path}: onnxruntime cannot load it ({reason}); {_ADVICE}") from None

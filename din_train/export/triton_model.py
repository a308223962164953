"""din-train's model in Triton's Python backend: model.onnx beside this file, run by onnxruntime.

It needs numpy and onnxruntime in the Python of the backend. No part of din-train is needed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


def read_tensor(tensor: "pb_utils.Tensor") -> Any:
    """The values of an input; texts arrive as UTF-8 bytes."""
    values = tensor.as_numpy()
    if values.dtype != np.object_:
        return values
    try:
        texts = [value.decode("utf-8") if isinstance(value, bytes) else value for value in values.ravel()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{tensor.name()}: expected UTF-8 text ({error})") from error
    return np.array(texts, dtype=np.object_).reshape(values.shape)


class TritonPythonModel:
    """What the Python backend calls: `initialize` once, `execute` for the requests that wait."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model with as many threads as config.pbtxt says."""
        parameters = json.loads(args["model_config"]).get("parameters", {})
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["intra_op_thread_count"]["string_value"])
        options.log_severity_level = 4  # a bad request is answered, and needs no line in the log
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list["pb_utils.InferenceRequest"]) -> list["pb_utils.InferenceResponse"]:
        """One response for each request; a request that the model refuses gets its error."""
        return [self.answer(request) for request in requests]

    def answer(self, request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
        """The outputs that the request asks for."""
        names = list(request.requested_output_names())
        try:
            values = self.session.run(names, {tensor.name(): read_tensor(tensor) for tensor in request.inputs()})
        except Exception as error:  # any: one bad request must not end the model for the others
            message = str(error).partition("\n")[0]
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
        return pb_utils.InferenceResponse([pb_utils.Tensor(*each) for each in zip(names, values, strict=True)])

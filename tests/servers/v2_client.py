"""A client of the Open Inference Protocol (V2) over HTTP, of the standard library alone."""

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def build_request(inputs: Sequence[Mapping[str, Any]], values: Mapping[str, Any], outputs: Sequence[str] = ()) -> bytes:
    """The body of a request.

    Args:
        inputs: those of export.json.
        values: for each input a list, or a list of equally long lists.
        outputs: their names; all of them if there is none.
    """
    tensors = []
    for each in inputs:
        data = values[each["name"]]
        nested = len(each["shape"]) == 2
        shape = [len(data), len(data[0])] if nested else [len(data)]
        flat = [value for row in data for value in row] if nested else data
        tensors.append({"name": each["name"], "shape": shape, "datatype": each["datatype"], "data": flat})
    wanted = {"outputs": [{"name": name} for name in outputs]} if outputs else {}
    return json.dumps({"inputs": tensors, **wanted}).encode()


@dataclass(frozen=True)
class Scored:
    """A request's body with the logits that `predict` gives for its rows."""

    body: bytes
    logit: Floats


class Client:
    """One connection to a server, which stays open."""

    def __init__(self, port: int, model: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._path = f"/v2/models/{model}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        return response.status, response.read()

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of a request to the model."""
        self._connection.request("POST", f"{self._path}/infer", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return response.status, response.read()

    def infer(self, body: bytes) -> dict[str, Floats]:
        """The outputs by name."""
        status, answer = self.post(body)
        assert status == 200, (status, answer[:500])
        return {each["name"]: np.asarray(each["data"], float) for each in json.loads(answer)["outputs"]}

    def describe(self) -> dict[str, Any]:
        """The model's metadata."""
        status, answer = self.get(self._path)
        assert status == 200, (status, answer[:500])
        metadata: dict[str, Any] = json.loads(answer)
        return metadata

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

"""Scores requests with a SavedModel and compares the results, in a process of its own: CHECK MODEL EXPECTED.json.

Neither din-train nor Keras can be imported here, as on a server. The last line of output is JSON: the largest
difference in logits of each request, and what is wrong with it.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

_DTYPES: dict[str, Any] = {"BYTES": object, "INT64": np.int64, "FP64": np.float64}


def hide_packages() -> None:
    """As if neither din-train nor Keras were installed. TensorFlow looks for Keras: it must find none, not an error."""
    sys.modules.update(dict.fromkeys(("din_train", "keras", "tf_keras")))  # type: ignore[arg-type]


def to_array(values: Any, datatype: str) -> Any:
    """Nested lists of one length -> an array."""
    return np.array(values, _DTYPES[datatype])


def find_problem(expected: Mapping[str, Any], outputs: Mapping[str, Any], tolerance: float) -> tuple[str | None, float]:
    """Why outputs are wrong, or None; and the largest difference in logits.

    Where a logit is beyond 1, the tolerance grows with it, as the steps of float32 do.

    Args:
        expected: `logit`, and the `lowest` and `highest` probability, a number per candidate; `counts` by their names;
            and `activation_weights`, which are compared if they are an output.
    """
    logit, probability = (np.asarray(outputs[name], np.float64) for name in ("logit", "click_probability"))
    wanted, low, high = (np.array(expected[name], np.float64) for name in ("logit", "lowest", "highest"))
    if not logit.shape == probability.shape == wanted.shape:
        return f"expected {wanted.size} rows, received logits {logit.shape}, probabilities {probability.shape}", np.inf
    difference = np.abs(logit - wanted)
    largest = float(difference.max(initial=0.0))
    row = int((difference / np.maximum(np.abs(wanted), 1.0)).argmax())
    if not difference[row] <= tolerance * max(abs(wanted[row]), 1.0):  # nor is NaN
        return f"logit {row}: expected {wanted[row]:.7g}, received {logit[row]:.7g}", largest
    beyond = np.maximum(low - probability, probability - high)  # 0 or less between the two
    row = int(beyond.argmax())
    if not beyond[row] <= tolerance:
        expected_range = f"expected {low[row]:.7g} to {high[row]:.7g}"
        return f"click_probability {row}: {expected_range}, received {probability[row]:.7g}", largest
    for name, numbers in expected["counts"].items():
        if (received := np.asarray(outputs[name]).tolist()) != numbers:
            return f"{name}: expected {numbers}, received {received}"[:500], largest
    if "activation_weights" in outputs:
        weights, explained = (np.asarray(each["activation_weights"], np.float64) for each in (outputs, expected))
        if weights.shape != explained.shape:
            return f"activation_weights: expected {explained.shape}, received {weights.shape}", largest
        apart = np.abs(weights - explained) / np.maximum(np.abs(explained), 1.0)
        if not apart.max(initial=0.0) <= tolerance:
            return f"activation_weights: up to {apart.max():.1e} from those of `explain`", largest
    return None, largest


def main(model: str, expected_file: str) -> None:
    """Print the differences."""
    hide_packages()
    import tensorflow as tf

    with open(expected_file, encoding="utf-8") as file:  # noqa: PTH123
        expected = json.load(file)
    signatures = tf.saved_model.load(model).signatures
    datatypes = {each["name"]: each["datatype"] for each in expected["inputs"]}
    of_one_user = [each["name"] for each in expected["inputs"] if each["of_one_user"]]

    def score(signature: str, inputs: Mapping[str, Any]) -> Any:
        tensors = {}
        for name, spec in signatures[signature].structured_input_signature[1].items():
            array = to_array(inputs[name], datatypes[name])
            array = array[0] if spec.shape.rank < array.ndim else array
            is_empty = spec.dtype == tf.string and not array.size  # TensorFlow cannot tell what it is
            tensors[name] = tf.constant(np.zeros(array.shape, "S1") if is_empty else array, spec.dtype)
        return signatures[signature](**tensors)

    result = {}
    for request in expected["requests"]:
        is_of_one = {len(request["inputs"][name]) for name in of_one_user} == {1}
        for signature in ("serving_default", "rank") if is_of_one else ("serving_default",):
            problem, largest = find_problem(request, score(signature, request["inputs"]), expected["tolerance"])
            result[f"{request['name']} ({signature})"] = {"problem": problem, "largest": largest}
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Scores requests with an ONNX file in onnxruntime, and compares the results as `check_saved_model.py` does.

CHECK MODEL EXPECTED.json, in a process of its own, without TensorFlow.
"""

import json
import runpy
import sys
from pathlib import Path


def main(model: str, expected_file: str) -> None:
    """Print the differences."""
    check = runpy.run_path(str(Path(__file__).with_name("check_saved_model.py")))
    check["hide_packages"]()
    import onnxruntime

    with open(expected_file, encoding="utf-8") as file:  # noqa: PTH123
        expected = json.load(file)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    datatypes = {each["name"]: each["datatype"] for each in expected["inputs"]}
    names = [each.name for each in session.get_outputs()]
    result = {}
    for request in expected["requests"]:
        arrays = {name: check["to_array"](values, datatypes[name]) for name, values in request["inputs"].items()}
        outputs = dict(zip(names, session.run(names, arrays), strict=True))
        problem, largest = check["find_problem"](request, outputs, expected["tolerance"])
        result[request["name"]] = {"problem": problem, "largest": largest}
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])

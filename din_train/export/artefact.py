"""What `din-train export` writes of a run, and how it is checked in new processes."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from din_train.dataset.names import Names, read_names
from din_train.errors import RunError
from din_train.export.expected_scores import TOLERANCE, ScoredRequest, find_tolerance, score_requests
from din_train.export.golden import build_golden, build_unpublished
from din_train.export.readme import render_readme
from din_train.export.request import OUTPUTS, RequestInput, is_of_one_user, list_inputs, read_vocabularies
from din_train.files import compute_sha256
from din_train.scoring import OpenedRun, build_configured_model

EXPORT_FILE, TITLES_FILE = "export.json", "titles.json"

# What servers call the model.
SERVED_NAME = "din"

_LIBRARIES = ("din-train", "keras", "numpy", "tensorflow", "onnx", "onnxruntime", "tf2onnx")


@dataclass
class Artefact:
    """What is written of a run.

    golden: published. others: for the check alone, the first one with the vocabularies' values. score: what `predict`
    gives for both, with bounds for a tolerance. titles: of items. tolerance: what is allowed, see `find_tolerance`.
    largest: difference in logits that the checks found. folds_dice: whether the ONNX file has Dice in the layers around
    it. rounded: how far the logits of a run that computes in bfloat16 are from these in float32; None of others.
    """

    opened: OpenedRun
    prior_shift: float
    model: Any  # IdModel; importing it here would start TensorFlow
    vocabularies: Mapping[str, Any]
    golden: list[ScoredRequest]
    others: list[ScoredRequest]
    score: Callable[[float], list[ScoredRequest]]
    titles: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    largest: float = 0.0
    folds_dice: bool = False
    rounded: float | None = None

    @property
    def inputs(self) -> tuple[RequestInput, ...]:
        inputs: tuple[RequestInput, ...] = self.model.inputs
        return inputs

    def write(self, folder: Path, scratch: Path, formats: Collection[str]) -> None:
        """Write each format, and check it in a new process.

        Raises:
            RunError: see `export`.
        """
        if "savedmodel" in formats:
            from din_train.export.text_model import TextModel

            TextModel(self.model, self.vocabularies, scratch).save(folder / "1")
            self._check("the SavedModel", "check_saved_model.py", folder / "1", scratch)
        if "onnx" in formats:
            self._write_onnx(folder / "onnx" / "model.onnx", scratch)

    def _write_onnx(self, path: Path, scratch: Path) -> None:
        """With folded Dice, which is quicker, if that rounds to no more than is allowed."""
        from din_train.export.onnx_model import write_onnx

        self.folds_dice = write_onnx(self.model, self.vocabularies, path)
        if self.folds_dice:
            if not self._find_problems("check_onnx.py", path, scratch):
                return
            self.folds_dice = False
            shutil.rmtree(path.parent)
            write_onnx(self.model, self.vocabularies, path, folds_dice=False)
        self._check("the ONNX file", "check_onnx.py", path, scratch)

    def _check(self, what: str, script: str, model: Path, scratch: Path) -> None:
        """Allow more than usual only if the model's own rounding is more.

        Raises:
            RunError: see `export`.
        """
        problems = self._find_problems(script, model, scratch)
        if problems and self.tolerance == TOLERANCE:
            self.tolerance = find_tolerance(self.opened, lambda: self.score(TOLERANCE))
            if self.tolerance > TOLERANCE:
                scored = self.score(self.tolerance)
                self.golden, self.others = scored[: len(self.golden)], scored[len(self.golden) :]
                problems = self._find_problems(script, model, scratch)
        if problems:
            raise RunError(
                f"{what}: does not score as `predict` does, in {len(problems)} requests; the first: {problems[0]} "
                f"({self.tolerance:g} is allowed); nothing was published, and this is a bug in din-train: report it"
            )

    def _find_problems(self, script: str, model: Path, scratch: Path) -> list[str]:
        """What a new process finds wrong.

        Raises:
            RunError: if it cannot score with the model.
        """
        expected = scratch / "expected.json"
        expected.write_text(json.dumps(self._describe_expected()), encoding="utf-8")  # which has NaN
        # not the script's folder, whose modules have names of packages; the user's packages may be the ones needed
        command = [sys.executable, "-P", str(Path(__file__).with_name(script)), str(model), str(expected)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
        lines = ended.stdout.splitlines()
        if ended.returncode or not lines:
            reason = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
            if ended.returncode < 0:
                reason = f"ended by signal {-ended.returncode}, as when memory runs out"
            raise RunError(f"{script}: a new process cannot score with the model ({reason}); nothing was published")
        found = orjson.loads(lines[-1])
        problems = [f"{name}: {each['problem']}" for name, each in found.items() if each["problem"] is not None]
        if not problems:
            self.largest = max(self.largest, *(each["largest"] for each in found.values()))
        return problems

    def _describe_expected(self) -> dict[str, Any]:
        """What the check takes: see `check_saved_model.py`."""
        return {
            "tolerance": self.tolerance,
            "inputs": [
                {"name": each.name, "datatype": each.datatype, "shape": each.shape, "of_one_user": is_of_one_user(each)}
                for each in self.inputs
            ],
            "requests": [
                {"inputs": each.request.encode(self.inputs), **describe_expected(each)}
                for each in (*self.golden, *self.others)
            ],
        }

    def say_tolerance(self) -> str:
        """What is allowed, if that is more than usual."""
        if self.tolerance == TOLERANCE:
            return ""
        return f"; {self.tolerance:.1e} is allowed, since float32 rounds this model's logits to more than {TOLERANCE:g}"

    def describe(self, folder: Path, training_share: float) -> None:
        """Write `README.md` and `export.json`, which comes last, since it has the hashes of all other files."""
        opened, config = self.opened, self.opened.config
        golden = [
            {
                "name": each.request.name,
                "inputs": each.request.encode(self.inputs),
                "logit": each.logit.tolist(),
                "click_probability": each.click_probability.tolist(),
            }
            for each in self.golden
        ]
        said: dict[str, Any] = {
            "format": 1,
            "name": SERVED_NAME,
            "model": config.model.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "run": str(opened.run.path),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
            "weights_sha256": opened.checkpoint.sha256,
            "data_fingerprint": opened.data.fingerprint,
            "calibration": opened.calibration.method,
            "prior_shift": self.prior_shift,
            "training_positive_share": training_share,
            "max_history_length": config.data.max_history_length,
            "vocabularies": {name: len(each.texts) for name, each in self.vocabularies.items()},
            "inputs": [each.to_json() for each in self.inputs],
            "outputs": list_outputs(activation_weights=self.model.activation_weights),
            "folds_dice": self.folds_dice,
            "tolerance": self.tolerance,
            "largest_difference": self.largest,
            "largest_difference_of_bfloat16": self.rounded,
        }
        formats = {"savedmodel": (folder / "1").is_dir(), "onnx": (folder / "onnx").is_dir()}
        if formats["onnx"]:
            from din_train.export.triton import write_triton_repository

            write_triton_repository(folder, said)
        if self.titles:
            (folder / TITLES_FILE).write_bytes(orjson.dumps(self.titles))
        example = self.golden[0].request.encode(self.inputs)
        readme = render_readme(said, self.inputs, example, formats, has_titles=bool(self.titles))
        (folder / "README.md").write_text(readme, encoding="utf-8")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        said["files"] = {path.relative_to(folder).as_posix(): compute_sha256(path) for path in files}
        contents = orjson.dumps({**said, "golden": golden}, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
        (folder / EXPORT_FILE).write_bytes(contents + b"\n")


def describe_expected(scored: ScoredRequest) -> dict[str, Any]:
    """What a check compares outputs with."""
    low, high = scored.probability_bounds
    return {
        "name": scored.request.name,
        "logit": scored.logit.tolist(),
        "lowest": low.tolist(),
        "highest": high.tolist(),
        "counts": {name: values.tolist() for name, values in scored.counts.items()},
        "activation_weights": None if scored.activation_weights is None else scored.activation_weights.tolist(),
    }


def compute_in_float32(opened: OpenedRun) -> OpenedRun:
    """The run with a model of the same weights, which are float32 in any case, that computes in float32.

    In bfloat16 scores change with the order of sums by so much that no server's could be checked.
    """
    if opened.config.training.precision == "float32":
        return opened
    training = opened.config.training.model_copy(update={"precision": "float32"})
    config = opened.config.model_copy(update={"training": training})
    model = build_configured_model(config, opened.data)
    model.set_weights(opened.model.get_weights())
    return replace(opened, config=config, model=model)


def score_difference(first: Artefact, second: Artefact) -> float:
    """The largest difference in logits, of all requests."""
    pairs = zip([*first.golden, *first.others], [*second.golden, *second.others], strict=True)
    return max(float(np.abs(one.logit - other.logit).max()) for one, other in pairs)


def build_artefact(opened: OpenedRun, prior_shift: float, *, activation_weights: bool = False) -> Artefact:
    """What is to be written, and what `predict` gives for the requests that it is checked with."""
    from din_train.export.id_model import IdModel

    names = read_names(opened.data)
    inputs = list_inputs(opened.config, opened.data, names)
    vocabularies = read_vocabularies(opened.config, opened.data, names, inputs)
    longest = opened.config.data.max_history_length
    requests, unpublished = (build(inputs, vocabularies, longest) for build in (build_golden, build_unpublished))
    score = partial(score_requests, opened, names, prior_shift, inputs, [*requests, *unpublished])
    scored = score(TOLERANCE)
    model = IdModel(
        opened.model,
        opened.config,
        opened.data,
        inputs,
        opened.calibration,
        prior_shift,
        activation_weights=activation_weights,
        paddings={each.name: vocabularies["item"].find(each.padding) for each in inputs if each.padding is not None},
    )
    golden, others = scored[: len(requests)], scored[len(requests) :]
    return Artefact(opened, prior_shift, model, vocabularies, golden, others, score, _find_titles(names))


def _find_titles(names: Names) -> dict[str, str]:
    """Raw item id -> title, of the items that have one."""
    pairs = zip(names.items.to_pylist(), names.titles.to_pylist(), strict=True)
    return {item: title for item, title in pairs if item is not None and title}


def list_outputs(*, activation_weights: bool) -> list[dict[str, Any]]:
    """The outputs, as `export.json` has them."""
    return [
        {"name": name, "datatype": datatype, "shape": list(shape)}
        for name, (datatype, shape) in OUTPUTS.items()
        if activation_weights or name != "activation_weights"
    ]

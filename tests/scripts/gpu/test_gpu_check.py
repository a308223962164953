"""The check of a GPU, run on the CPU: what it compares, refuses and writes, never how fast anything is."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from scripts_factory import REPOSITORY, load_script
from tensorflow.python.framework.config import disable_op_determinism

from din_train.model.local_activation_unit import LocalActivationUnit

CONFIG = REPOSITORY / "configs" / "bench_electronics.yaml"
KINDS = {
    ("unit", "flat, inference", "float64"),
    ("unit", "flat, inference", "float32"),
    ("unit", "flat, training", "float64"),
    ("unit", "flat, training", "float32"),
    ("unit", "padded, training", "float64"),
    ("unit", "padded, training", "float32"),
    ("loss after three steps", "padded against flat", "float32"),
    ("weights after three steps", "padded against flat", "float32"),
    ("widest intermediate", "textbook", "float32"),
    ("widest intermediate", "flat", "float32"),
    ("widest intermediate", "padded", "float32"),
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("gpu_check")


@pytest.fixture(scope="module")
def checks(script: ModuleType) -> SimpleNamespace:
    """The modules beside the script, which can be imported once it is."""
    del script
    names = ("comparison", "model_checks", "run_check", "scope", "synthetic_data", "unit_checks")
    return SimpleNamespace(**{name: importlib.import_module(name) for name in names})


@pytest.fixture
def without_determinism() -> None:
    """Another test may have turned it on, which is for the whole process, and Keras then refuses XLA."""
    disable_op_determinism()


@pytest.fixture
def small_config(tmp_path: Path) -> Path:
    """The timed model with one layer in each place: what is timed takes less than to trace and compile all layers."""
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG.read_text(encoding="utf-8").replace("hidden_units: [80, 40]", "hidden_units: [8]"))
    assert path.read_text().count("[8]") == 2
    return path


@pytest.mark.parametrize(("device", "code"), [("auto", 0), ("gpu", 2)])
def test_without_a_gpu_one_line_says_what_to_install(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, code: int
) -> None:
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _kind: [])
    done = CliRunner().invoke(script.main, ["--device", device, "--json", str(tmp_path / "gpu.json")])
    assert (done.exit_code, done.stderr) == (code, "")
    (line,) = done.stdout.splitlines()
    assert "din-train[gpu]" in line
    assert "driver" in line
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_determinism")
def test_on_the_cpu_all_passes_and_is_written(
    script: ModuleType, small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "CONFIG", small_config)
    path = tmp_path / "new" / "gpu.json"
    arguments = ("--device", "cpu", "--quick", "--steps", "2", "--batch-size", "32", "--json", str(path))
    done = CliRunner().invoke(script.main, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "All checks passed."

    report = json.loads(path.read_text())
    assert set(report) == {
        *("device", "device_type", "tensorflow", "keras", "cuda", "cudnn", "tensor_float_32"),
        *("quick", "steps", "passed", "checks", "benchmarks"),
    }
    assert (report["device_type"], report["tensorflow"], report["passed"]) == ("cpu", tf.__version__, True)
    checks = report["checks"]
    assert {(check["what"], check["form"], check["dtype"]) for check in checks} == KINDS
    for check in checks:
        assert check["passed"], check
        if check["max_error"] is not None:
            assert 0 <= check["max_error"] <= check["tolerance"]
    widths = [check["subject"] for check in checks if check["what"] == "widest intermediate"]
    assert [int(subject.split()[0]) for subject in widths] == [512, 256, 256]

    rows = report["benchmarks"]
    assert [(row["form"], row["optimizer"], row["batch_size"]) for row in rows] == [
        (form, "adam", 32) for form in ("textbook", "flat", "padded")
    ]
    assert [row["xla_programs"] for row in rows] == [0, 0, 1]
    for row in rows:
        assert row["samples_per_second"] > 0
        assert row["first_step_seconds"] > 0
        assert row["samples_per_second_ratio"] == pytest.approx(
            row["samples_per_second"] / rows[0]["samples_per_second"]
        )


@pytest.mark.slow
@pytest.mark.usefixtures("without_determinism")
def test_a_wrong_unit_fails_the_checks(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is wrong by a thousandth in both forms: they agree with each other, not with the textbook."""
    call = LocalActivationUnit.call

    def scale(
        self: Any, candidate: Any, behaviours: Any, positions: Any, pairs: Any = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        return 1.001 * call(self, candidate, behaviours, positions, pairs, training)

    monkeypatch.setattr(LocalActivationUnit, "call", scale)
    monkeypatch.setattr(script, "QUICK", replace(script.QUICK, lengths=("B=1",)))
    monkeypatch.setattr(script, "check_model", lambda *_: ())
    path = tmp_path / "gpu.json"
    done = CliRunner().invoke(script.main, ["--device", "cpu", "--quick", "--steps", "0", "--json", str(path)])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.output.splitlines()[-1] == "Some checks failed."
    assert "failed: unit, padded, training, float64, din-blog-3, B=1: error 0.00" in done.output
    report = json.loads(path.read_text())
    assert (report["passed"], report["benchmarks"]) == (False, [])
    assert {check["what"] for check in report["checks"] if not check["passed"]} == {"unit"}
    assert all(not check["passed"] for check in report["checks"] if check["what"] == "unit")


def test_forms_that_differ_fail_the_check_of_the_model(checks: SimpleNamespace) -> None:
    flat = {"loss": np.array([0.7])}, {"trained 0": np.array([0.003, -0.001]), "not trained 1": np.array([1.0])}
    other = {"loss": np.array([0.7])}, {"trained 0": np.array([0.003, -0.00097]), "not trained 1": np.array([1.0])}
    forms = {False: flat, True: other}
    assert checks.model_checks.measure_model("loss", lambda padded: forms[padded]) == 0
    assert checks.model_checks.measure_model("weights", lambda padded: forms[padded]) == pytest.approx(0.01)


def test_what_tensorflow_refuses_is_a_failed_check(checks: SimpleNamespace) -> None:
    def refuse() -> float:
        raise tf.errors.ResourceExhaustedError(None, None, "no memory\nand more")

    check = checks.comparison.compare("unit", "din, mixed", "padded", "float32", 1.0, refuse)
    assert (check.passed, check.max_error) == (False, None)
    assert check.problem == "ResourceExhaustedError: no memory"
    of_function = 'Graph execution error:\n\nDetected at node Step\n  File "a.py", line 1\n\nno kernel\n\t [[Step]]'
    assert checks.comparison.first_line(tf.errors.NotFoundError(None, None, of_function)) == "NotFoundError: no kernel"
    assert not checks.comparison.compare("unit", "din, mixed", "padded", "float32", 1.0, lambda: float("nan")).passed


def test_errors_are_relative_to_large_values_only(checks: SimpleNamespace) -> None:
    expected = {"large": np.array([100.0, -200.0]), "small": np.array([0.5])}
    values = {"large": np.array([100.0, -198.0]), "small": np.array([0.496])}
    assert checks.comparison.compute_error(values, expected) == pytest.approx(2 / 200)
    assert checks.comparison.compute_error({**values, "large": expected["large"]}, expected) == pytest.approx(0.004)
    assert np.isnan(checks.comparison.compute_error({**values, "small": np.array([np.nan])}, expected))


def test_lengths_are_as_electronics_has_them(checks: SimpleNamespace) -> None:
    lengths = checks.synthetic_data.draw_lengths(np.random.default_rng(0), 200_000)
    assert (lengths.min(), lengths.max()) == (1, 100)
    assert np.quantile(lengths, [0.5, 0.9, 0.99]).tolist() == [4, 15, pytest.approx(58, abs=1)]
    assert lengths.mean() == pytest.approx(7.7, abs=0.7)


@pytest.mark.parametrize("sizes", ["", "0", "1024,", "big", "-1"])
def test_a_bad_batch_size_is_refused(script: ModuleType, sizes: str) -> None:
    done = CliRunner().invoke(script.main, ["--batch-size", sizes])
    assert done.exit_code == 2
    assert f"received '{sizes}', expected numbers of samples such as 1024,8192" in done.output


def test_every_preset_is_checked(checks: SimpleNamespace) -> None:
    presets = REPOSITORY / "din_train" / "config" / "presets"
    assert checks.scope.FULL.presets == tuple(sorted(path.stem for path in presets.iterdir()))
    assert set(checks.scope.FULL.lengths) == set(checks.unit_checks.build_lengths())


def test_a_run_that_fails_is_a_failed_check_with_its_line(checks: SimpleNamespace) -> None:
    (check,) = checks.run_check.check_run("cpu", print, "training.epochs=none")
    assert not check.passed
    assert "training.epochs" in check.problem


@pytest.mark.slow
def test_a_run_on_the_device_is_compared_with_one_on_the_cpu(
    checks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (same,) = checks.run_check.check_run("cpu", print, "training.epochs=1")
    assert (same.passed, same.max_error) == (True, 0)
    train = checks.run_check.train
    worse = iter(([], ["training.optimizer.learning_rate=1e-9"]))  # the second one learns nothing
    monkeypatch.setattr(checks.run_check, "train", lambda run, *settings: train(run, *settings, *next(worse)))
    (other,) = checks.run_check.check_run("cpu", print, "training.epochs=2")
    assert not other.passed
    assert other.max_error > other.tolerance

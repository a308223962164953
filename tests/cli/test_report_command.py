"""report.html, plots/ and environment.json of real runs, and `din-train report`, which makes the first two again."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson
import pytest
from workplace import QUICK, Workplace

from din_train.checksums import indexed_file
from din_train.dataset.manifest import read_manifest, write_manifest
from din_train.environment import describe_command
from din_train.files import make_marked_folder

RUN = Path("runs/small")


@pytest.mark.figures
def test_fit_writes_the_page_and_report_writes_the_same_again(workplace: Workplace) -> None:
    assert workplace.fit("--set", "training.epochs=1").exit_code == 0
    page = (RUN / "report.html").read_bytes()
    plots = {each.name: each.read_bytes() for each in (RUN / "plots").iterdir()}
    names = re.findall(r'<figure id="figure-([\w-]+)">', page.decode())
    assert len(names) >= 10
    assert sorted(plots) == sorted(f"{name}.{suffix}" for name in names for suffix in ("png", "svg"))
    assert all(len(contents) > 1000 for contents in plots.values())
    shutil.rmtree(RUN / "plots")
    (RUN / "report.html").unlink()
    result = workplace.run("report")
    assert result.exit_code == 0
    assert "report: runs/small/report.html (plots: runs/small/plots)" in result.stderr
    assert (RUN / "report.html").read_bytes() == page
    assert {each.name: each.read_bytes() for each in (RUN / "plots").iterdir()} == plots


def test_the_page_and_the_terminal_show_the_metrics(fitted: Workplace) -> None:
    metrics = fitted.read_json("runs/small/metrics.json")
    page = (RUN / "report.html").read_text()
    shown = fitted.run("report", "--run-dir", "runs/small").stdout
    for key in ("auc", "gauc", "logloss", "normalised_entropy", "pcoc", "ece"):
        assert f'data-metric="{key}">{metrics[key]:.6f}<' in page
        assert f"{metrics[key]:.6f}" in shown
    low, high = metrics["intervals"]["gauc"]
    assert f"{low:.4f} to {high:.4f}" in page
    assert f"{low:.4f} to {high:.4f}" in shown
    for name in (each["name"] for each in metrics["slices"]["history_length"]):
        assert f"history length: {name} " in shown
    assert "din-train fit --config runs/small/config.yaml --run-dir runs/small-again" in page


def test_report_needs_neither_tensorflow_nor_the_data(fitted: Workplace) -> None:
    shutil.rmtree("prepared")
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from pathlib import Path; from din_train.report.report import report; report(Path('runs/small'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (RUN / "report.html").read_text()
    assert "prepared/small: the prepared data set is no longer there" in page
    assert f"{fitted.read_json('runs/small/metrics.json')['gauc']:.6f}" in page


def test_other_data_than_the_run_was_trained_on_are_not_shown(fitted: Workplace) -> None:
    folder = Path("prepared/small")
    write_manifest(folder, replace(read_manifest(folder), fingerprint="another"))
    assert fitted.run("report").exit_code == 0
    assert "no longer the data set that this run was trained on" in (RUN / "report.html").read_text()


@pytest.mark.parametrize("damage", ["missing", "damaged", "[1]"])
def test_a_lacking_file_leaves_out_its_part_and_is_named(fitted: Workplace, damage: str) -> None:
    files = ("scores.test.parquet", "environment.json", "attention.json")
    for name in files:
        if damage == "missing":
            (RUN / name).unlink()
        else:
            (RUN / name).write_text(damage)
    result = fitted.run("report")
    assert result.exit_code == (0 if damage == "missing" else 1), result.output
    page = (RUN / "report.html").read_text()
    for name in files:
        assert damage == "missing" or f"error: runs/small/{name}: damaged or changed" in result.stderr
        assert re.search(rf"<p>runs/small/{name}: (no such file|damaged)", page), name
    assert 'id="figure-loss"' in page
    assert not re.search(r'id="figure-(roc|reliability|history-length|attention-1)"', page)


def test_an_unfinished_or_missing_run_is_one_line(fitted: Workplace) -> None:
    (RUN / "metrics.json").unlink()
    for folder, exit_code in (("runs/small", 1), ("runs/other", 2)):
        result = fitted.run("report", "--run-dir", folder)
        assert result.exit_code == exit_code
        assert len(result.stderr.splitlines()) == 1


def test_environment(fitted: Workplace) -> None:
    environment = fitted.read_json("runs/small/environment.json")
    assert set(environment) == {
        "din_train", "python", "tensorflow", "keras", "numpy", "platform", "cpu_cores", "device", "command", "started",
        "seconds", "run_directory", "prepared",
    }  # fmt: skip
    assert environment["tensorflow"] == version("tensorflow")
    assert environment["python"] == sys.version.split()[0]
    assert environment["device"] == "CPU"
    assert environment["cpu_cores"] > 0
    started = datetime.fromisoformat(environment["started"])
    assert started.utcoffset() == UTC.utcoffset(None)
    assert 0 <= (datetime.now(UTC) - started).total_seconds() < 3600
    assert environment["seconds"] > 0
    assert environment["run_directory"] == str(Path.cwd() / "runs/small")
    assert environment["prepared"] == str(Path.cwd() / "prepared/small")


def leave_half_written_plots() -> None:
    """As a killed process does; they stop nothing."""
    make_marked_folder(RUN / ".plots.tmp")
    (RUN / ".plots.tmp/loss.svg").write_text("half")


def test_a_run_that_goes_on_keeps_its_start_and_adds_its_seconds(fitted: Workplace) -> None:
    path = RUN / "environment.json"
    first = orjson.loads(path.read_bytes())
    begun = {"started": "2020-01-02T03:04:05+00:00", "command": "din-train fit --config first.yaml", "seconds": 1000.0}
    with indexed_file(path) as temporary:
        temporary.write_bytes(orjson.dumps({**first, **begun, "din_train": "0.0.0"}))
    (RUN / "metrics.json").unlink()
    leave_half_written_plots()
    assert fitted.fit("--resume").exit_code == 0
    assert not (RUN / ".plots.tmp").exists()
    resumed = orjson.loads(path.read_bytes())
    assert {key: resumed[key] for key in ("started", "command")} == {key: begun[key] for key in ("started", "command")}
    assert 1000 < resumed["seconds"] < 1000 + 3600
    assert resumed["din_train"] == version("din-train")
    leave_half_written_plots()
    assert fitted.fit("--overwrite", *QUICK).exit_code == 0
    assert orjson.loads(path.read_bytes())["started"] > "2021"


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/usr/bin/din-train", "fit", "--set", "name=a b"], "din-train fit --set 'name=a b'"),
        (["/x/din_train/__main__.py", "fit"], "din-train fit"),
        (["/x/own.py", "1"], "own.py 1"),
    ],
)
def test_the_command_as_one_would_type_it(arguments: list[str], command: str) -> None:
    assert describe_command(arguments) == command


def test_a_comparison_page(fitted: Workplace) -> None:
    fitted.fit("--set", "name=lr", *QUICK)
    result = fitted.run("compare", "runs/lr", "runs/small", "--json", "--report", "pages/new/comparison.html")
    assert result.exit_code == 0
    compared = orjson.loads(result.stdout)
    page = Path("pages/new/comparison.html").read_text()
    assert [each.name for each in Path("pages/new").iterdir()] == ["comparison.html"]
    for difference in compared["differences"]:
        assert f"<li>{difference['sentence']}.</li>" in page
    for name in ("lr", "small"):
        assert f"{fitted.read_json(f'runs/{name}/metrics.json')['gauc']:.6f}" in page
    assert re.search(r"model\.name</th><td>lr</td><td>din</td>", page)
    refused = fitted.run("compare", "runs/lr", "runs/small", "--report", "log.tsv/page.html")
    assert refused.exit_code == 1
    assert "log.tsv is a file" in refused.stderr

"""What the wheel says and holds, read from pyproject.toml and from the package as it is installed."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib.metadata import entry_points, version
from importlib.resources import files
from pathlib import Path

import din_train
from din_train.cli.init import STARTERS

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_said_once() -> None:
    assert din_train.__version__ == version("din-train") == PYPROJECT["project"]["version"]


def test_the_console_script() -> None:
    (script,) = entry_points(group="console_scripts", name="din-train")
    assert script.value == "din_train.cli:main"


def test_starter_configs_are_package_data() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["din_train"]
    for name in STARTERS.values():
        assert any(fnmatch(f"config/{name}", pattern) for pattern in patterns)
        assert (files("din_train.config") / name).is_file()


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in (REPOSITORY / "din_train").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def read_lock(name: str) -> tuple[list[str], dict[str, str]]:
    """The lines, and the version of each package."""
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    return lines, dict(line.split("==") for line in lines if line and not line.lstrip().startswith("#"))


def test_the_servers_packages_are_not_those_of_its_tests() -> None:
    server, tests = (read_lock(f"requirements-serving{kind}.lock")[1] for kind in ("", "-test"))
    assert {"kserve", "onnxruntime", "click"} <= {*server}
    assert {"pytest", "onnx", "tensorflow", "keras"}.isdisjoint(server)
    assert {"pytest", "onnx"} <= {*tests}
    assert {name: tests[name] for name in tests.keys() & server.keys()}.items() <= server.items()


def test_the_lock_pins_every_dependency_and_names_no_index() -> None:
    lines, pins = read_lock("requirements.lock")
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    for requirement in (*project["dependencies"], *extras["dev"], *extras["docs"]):
        name = requirement.split(">=")[0].split("[")[0].lower()
        assert name in pins, f"{name}: not in requirements.lock; run `make lock`"
    assert [line for line in lines if "://" in line or line.startswith("-")] == []


def test_a_wheel_writes_a_starter_config(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "din_train", source / "din_train", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, capture_output=True)
    shutil.rmtree(source)
    (wheel,) = tmp_path.glob("din_train-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    command = [sys.executable, "-P", "-m", "din_train"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    where = [sys.executable, "-P", "-c", "import din_train; print(din_train.__file__)"]
    found = subprocess.run(where, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(tmp_path)
    for arguments in (["init", "mine.yaml"], ["config", "validate", "mine.yaml"]):
        done = subprocess.run([*command, *arguments], env=environment, cwd=tmp_path, capture_output=True, check=True)
        assert done.stderr == b""
    assert (tmp_path / "mine.yaml").read_text(encoding="utf-8").startswith("# A starter config")

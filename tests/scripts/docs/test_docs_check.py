"""`make docs-check`: passes on what is committed, and fails on whatever is changed in a document or a result."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from scripts_factory import load_script

REPOSITORY = Path(__file__).parents[3]
RESULT = """\
command: make speed
date: 2026-01-31
machine: two cores
values:
  ours: 58164.2
  textbook: 2860
  shares: [0.4627, 0.0817]
"""
DOCUMENT = """\
document: docs/speed.md
results: ["speed.*"]
published: {".8698": "the authors' README, 2020"}
stated: [batch 1024, "12"]
"""
TEXT = """\
# Speed

At batch
1024 it trains 58,164 samples a second, the textbook 2.86 k; waiting takes 8.2 %.
They report .8698, with 12 workers, on `11` machines and 3 seeds.

| Bound |
|---|
| 46 % |
"""

Check = Callable[[], Result]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("docs_check")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of one page."""
    (tmp_path / "docs/results/documents").mkdir(parents=True)
    (tmp_path / "README.md").write_text("No figures, but 2 cores.\n")
    (tmp_path / "docs/speed.md").write_text(TEXT)
    (tmp_path / "docs/results/speed.yaml").write_text(RESULT)
    (tmp_path / "docs/results/documents/speed.yaml").write_text(DOCUMENT)
    return tmp_path


@pytest.fixture
def check(script: ModuleType, root: Path) -> Check:
    return lambda: CliRunner().invoke(script.main, ["--root", str(root)])


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_committed_documents_pass(script: ModuleType) -> None:
    assert list(script.find_problems(REPOSITORY)) == []


def test_what_agrees_passes(check: Check) -> None:
    result = check()
    assert (result.exit_code, result.output) == (0, "Every figure in the documents is in a result file.\n")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("58,164", "58,163", 4),
        ("2.86 k", "2.87 k", 4),
        ("8.2 %", "8.1 %", 4),
        ("46 %", "47 %", 9),
        (".8698", ".8699", 5),
        ("12 workers", "13 workers", 5),
        ("1024", "1,024", 4),
        ("3 seeds", "3 % of seeds", 5),
    ],
)
def test_a_changed_figure_is_found(check: Check, root: Path, old: str, new: str, line: int) -> None:
    change(root / "docs/speed.md", old, new)
    result = check()
    assert result.exit_code == 1
    figure = new.removesuffix(" workers").removesuffix(" of seeds")
    assert f"docs/speed.md:{line}: '{figure}' is in no result file listed for it, and not stated" in result.output


def test_a_figure_whose_own_value_is_gone_is_found_though_it_shows_another(check: Check, root: Path) -> None:
    change(root / "docs/speed.md", "2.86 k", "58,164")
    assert "speed.md shows 2860 0 times, expected 1: speed.textbook;" in check().output


def test_equal_values_need_a_figure_each(check: Check, root: Path) -> None:
    change(root / "docs/results/speed.yaml", "0.0817]", "0.0817, 0.4627]")
    assert "shows 0.4627 1 times, expected 2: speed.shares.0, speed.shares.2;" in check().output


@pytest.mark.parametrize(("old", "new"), [("58164.2", "58165"), ("0.4627", "0.4727"), ("2860", "2870")])
def test_a_changed_value_is_found(check: Check, root: Path, old: str, new: str) -> None:
    change(root / "docs/results/speed.yaml", old, new)
    result = check()
    assert result.exit_code == 1
    assert "docs/speed.md:" in result.output
    assert f"shows {new} 0 times, expected 1" in result.output


def test_a_missing_result_file_is_found(check: Check, root: Path) -> None:
    (root / "docs/results/speed.yaml").unlink()
    result = check()
    assert result.exit_code == 1
    assert "docs/results/documents/speed.yaml: 'speed.*' names no value of docs/results" in result.output
    assert "docs/speed.md:4: '58,164' is in no result file" in result.output


def test_a_document_without_its_file_is_found(check: Check, root: Path) -> None:
    (root / "docs/results/documents/speed.yaml").unlink()
    assert "docs/speed.md: has figures and no docs/results/documents/speed.yaml;" in check().output


def test_a_file_without_its_document_is_found(check: Check, root: Path) -> None:
    (root / "docs/speed.md").unlink()
    result = check()
    assert "docs/results/documents/speed.yaml: docs/speed.md is not there" in result.output
    assert result.exit_code == 1


def test_values_that_no_document_shows_are_found(check: Check, root: Path) -> None:
    change(root / "docs/results/documents/speed.yaml", '"speed.*"', "speed.ours, speed.textbook, speed.shares.1")
    change(root / "docs/speed.md", "46 %", "none")
    result = check()
    assert result.output.splitlines()[0] == (
        "docs/results: no document shows speed.shares.0; remove it, or list it for one that does"
    )
    assert result.exit_code == 1


def test_a_statement_that_is_gone_is_found(check: Check, root: Path) -> None:
    change(root / "docs/speed.md", "batch\n1024", "batch size 12")
    assert "stated 'batch 1024' is not in docs/speed.md with a figure in it" in check().output


def test_a_statement_covers_whole_numbers_only(check: Check, root: Path) -> None:
    change(root / "docs/speed.md", "12 workers", "12 workers, 12.5 or 512 or 12,000 or .12")
    output = check().output
    for figure in ("12.5", "512", "12,000", ".12"):
        assert f"'{figure}' is in no result file" in output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("command: make speed\n", "", "command: expected the command, or else no_command"),
        ("command: make speed\n", "command: a\nno_command: b\n", "command: expected the command"),
        ("date: 2026-01-31", "date: soon", "date: "),
        ("machine: two cores\n", "", "machine: missing"),
        ("ours: 58164.2", "ours: fast", "values.ours: received 'fast', expected a number"),
        ("ours: 58164.2", "ours: null", "values.ours: received None, expected a number"),
        ("ours: 58164.2", "ours: .nan", "values.ours: received nan, expected a number"),
        ("textbook: 2860", "ours: 2860", "key 'ours' given twice"),
        ("machine:", "engine:", "engine: unknown key"),
    ],
)
def test_a_result_file_that_cannot_be_used_is_named(check: Check, root: Path, old: str, new: str, message: str) -> None:
    change(root / "docs/results/speed.yaml", old, new)
    result = check()
    assert result.exit_code == 1
    assert f"docs/results/speed.yaml: {message}" in result.output.replace("not valid YAML: ", "")


def test_results_may_be_json(check: Check, root: Path) -> None:
    path = root / "docs/results/speed.yaml"
    path.unlink()
    path.with_suffix(".json").write_text(
        '{"command": "make speed", "date": "2026-01-31", "machine": "two cores", '
        '"values": {"ours": 58164.2, "textbook": 2860, "shares": [0.4627, 0.0817]}}'
    )
    assert check().exit_code == 0, check().output


def test_a_translation_has_the_figures_of_its_original(check: Check, root: Path) -> None:
    (root / "README.md").write_text("It has 1.69 million rows, 2 cores, 58,164 samples/s.\n")
    (root / "README.zh-CN.md").write_text("共 169 万行，每秒 58,164 个样本。\n")
    folder = root / "docs/results/documents"
    (folder / "README.yaml").write_text("document: README.md\nresults: [speed.ours]\nstated: [1.69 million]\n")
    (folder / "README.zh-CN.yaml").write_text("document: README.zh-CN.md\ntranslation_of: README.md\n")
    assert check().exit_code == 0, check().output
    change(root / "README.zh-CN.md", "58,164", "58,146")
    assert check().output.splitlines()[:2] == [
        "README.zh-CN.md:1: '58,146' is not in README.md, which it translates",
        "README.zh-CN.md: has no '58,164', which is in README.md:1",
    ]


def test_a_generated_document_is_left_to_its_own_test(check: Check, root: Path) -> None:
    (root / "docs/made.md").write_text("Default 12, 13 or 14.\n")
    (root / "docs/results/documents/made.yaml").write_text("document: docs/made.md\ngenerated_by: make made\n")
    assert check().exit_code == 0


def test_a_stub_states_every_figure_of_a_new_page(script: ModuleType, root: Path, check: Check) -> None:
    shutil.copy(root / "docs/speed.md", root / "docs/new.md")
    result = CliRunner().invoke(script.main, ["--root", str(root), "--stub", str(root / "docs/new.md")])
    assert result.exit_code == 0, result.output
    (root / "docs/results/documents/new.yaml").write_text(result.output)
    assert check().exit_code == 0, check().output
    assert "\n  - '58,164'   # 1024 it trains 58,164 samples" in result.output

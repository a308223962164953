"""`make docs` and `make docs-check`: what is generated comes from the result files, and whatever differs is named."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from scripts_factory import REPOSITORY, load_script

RESULT = """\
command: make bench
date: 2026-01-31
machine: two cores
values:
  share: 0.0817
  rows: {ours: {name: ours, speed: 58164.2, ratio: 20.3}, textbook: {name: textbook, speed: 2860}}
tables:
  speed:
    rows: rows
    columns: {Name: "{name}", Samples/s: "{speed:,.0f}", Ratio: "{ratio:.1f}"}
"""
TEXT = """\
# Speed

<!-- table: speed.speed -->

| Name | Samples/s | Ratio |
| --- | --- | --- |
| ours | 58,164 | 20.3 |
| textbook | 2,860 |  |

<!-- end -->

Waiting takes <!-- figure: speed.share:.1% -->8.2%<!-- end -->, and `<!-- table: FILE.TABLE -->` is an example.
"""

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("write_docs")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of one page."""
    (tmp_path / "docs/results").mkdir(parents=True)
    (tmp_path / "docs/speed.md").write_text(TEXT)
    (tmp_path / "docs/results/speed.yaml").write_text(RESULT)
    return tmp_path


@pytest.fixture
def run(script: ModuleType, root: Path) -> Run:
    return lambda *options: CliRunner().invoke(script.main, [*options, "--root", str(root)])


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_committed_pages_are_what_would_be_written(script: ModuleType) -> None:
    assert list(script.update(REPOSITORY, write=False)) == []


def test_pages_that_agree_pass(run: Run) -> None:
    assert (run("--check").exit_code, run().exit_code) == (0, 0)


@pytest.mark.parametrize(
    ("old", "new", "line", "marker"),
    [
        ("8.2%", "8.1%", 12, "figure: speed.share:.1%"),
        ("58,164", "58,163", 3, "table: speed.speed"),
        ("| textbook | 2,860 |  |\n", "", 3, "table: speed.speed"),
        ("-->8.2%<", "--><", 12, "figure: speed.share:.1%"),
    ],
)
def test_a_changed_page_is_named_and_written_anew(
    run: Run, root: Path, old: str, new: str, line: int, marker: str
) -> None:
    change(root / "docs/speed.md", old, new)
    changed = (root / "docs/speed.md").read_text()
    result = run("--check")
    assert result.exit_code == 1
    assert f"docs/speed.md:{line}: marker `{marker}` differs from docs/results; run `make docs`" in result.output
    assert (root / "docs/speed.md").read_text() == changed
    assert run().exit_code == 0
    assert (root / "docs/speed.md").read_text() == TEXT


def test_a_changed_value_is_found_and_written(run: Run, root: Path) -> None:
    change(root / "docs/results/speed.yaml", "58164.2", "60000")
    assert run("--check").exit_code == 1
    assert run().exit_code == 0
    assert "| ours | 60,000 | 20.3 |" in (root / "docs/speed.md").read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("speed.md", "speed.share", "speed.shares", "no 'shares' in the result file"),
        ("speed.md", "table: speed.speed", "table: speed.sped", "no 'sped' in the result file"),
        ("speed.md", "speed.share", "sped.share", "docs/results/sped.yaml is not there"),
        ("speed.md", "share:.1%", "share:.1z", "cannot be written as '.1z'"),
        ("speed.md", "Waiting takes <!--", "Waiting takes\n<!--", "a figure's marker cannot begin a line"),
        ("speed.md", "|  |\n\n<!-- end -->", "|  |\n", "no <!-- end --> before the next marker"),
        ("speed.md", "8.2%<!-- end -->", "8.2%", "docs/speed.md:12: a marker has no <!-- end -->"),
        ("results/speed.yaml", "{ratio:.1f}", "{ration:.1f}", "column 'Ratio' of docs/results/speed.yaml has no value"),
        ("results/speed.yaml", "{name}", "{name:.1f}", "'{name:.1f}' does not fit"),
        ("results/speed.yaml", "command: make bench\n", "", "docs/results/speed.yaml needs `command` or `no_command`"),
        ("results/speed.yaml", "machine: two cores\n", "", "docs/results/speed.yaml needs `command` or `no_command`"),
    ],
)
def test_what_cannot_be_used_is_named_and_left(
    run: Run, root: Path, file: str, old: str, new: str, message: str
) -> None:
    change(root / "docs" / file, old, new)
    before = (root / "docs/speed.md").read_text()
    for options in (["--check"], []):
        result = run(*options)
        assert result.exit_code == 1
        assert message in result.output
        assert "docs/speed.md:" in result.output
    assert (root / "docs/speed.md").read_text() == before

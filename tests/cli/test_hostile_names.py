"""Ids, titles, columns, files and runs whose names control a terminal: shown as text wherever they are shown."""

from pathlib import Path

import orjson
import pytest
import yaml
from log_factory import write_log
from workplace import EVENTS, Workplace

from din_train.printable import make_lines_printable

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b2J:smile:[red]<b>`|"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\u202e\x9b2J:smile:[red]<b>`|"


def is_harmless(text: str) -> bool:
    return make_lines_printable(text) == text


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("evil")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_log(folder / "log.tsv", [(f"{u}{EVIL}", f"{i}{EVIL}", f"{c}{EVIL}", t) for u, i, c, t in EVENTS])
        workplace = Workplace(folder)
        workplace.write_config(training={"epochs": 1})
        result = workplace.fit("--run-dir", f"runs/a{EVIL}")
        assert result.exit_code == 0, result.output
        assert is_harmless(result.output)
        assert f"run directory: runs/a{SHOWN}" in result.stderr
    return workplace


@pytest.fixture
def workplace(evil: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(evil.folder)
    return evil


@pytest.mark.figures
def test_explain(workplace: Workplace) -> None:
    pair = ("--run-dir", f"runs/a{EVIL}", "--user", f"u1{EVIL}", "--item", f"i1{EVIL}")
    result = workplace.run("explain", *pair, "--output", "x.html")
    assert result.exit_code == 0, result.output
    assert is_harmless(result.output)
    assert SHOWN in result.stdout
    page = Path("x.html").read_text()
    assert is_harmless(page)
    assert r"\x1b]0;owned\x07" in page
    assert "<b>" not in page
    assert workplace.run("explain", *pair, "--output", "x.svg").exit_code == 0
    assert is_harmless(Path("x.svg").read_text())
    as_json = workplace.run("explain", *pair, "--json").stdout
    assert is_harmless(as_json)
    assert orjson.loads(as_json)["user"] == f"u1{EVIL}"


@pytest.mark.figures
def test_compare_report_and_audit(workplace: Workplace) -> None:
    run = f"runs/a{EVIL}"
    for command in (
        ("compare", run, "--report", "x.html"),
        ("compare", run, "--json"),
        ("report", "--run-dir", run),
        ("eval", "--run-dir", run, "--json"),
        ("audit", "--run-dir", run),
        ("eval", "--run-dir", f"runs/none{EVIL}"),
        ("explain", "--run-dir", run, "--user", EVIL, "--item", EVIL),
    ):
        result = workplace.run(*command)
        assert is_harmless(result.output), command
        assert "a bug in din-train" not in result.output, command
        assert SHOWN[:20] in result.output.replace("\n", "") or "--json" in command, command
    for page in (Path("x.html"), Path(run) / "report.html"):
        assert is_harmless(page.read_text())
        assert "<b>`" not in page.read_text()


def test_inspect_writes_a_config_that_loads(workplace: Workplace) -> None:
    name = f"{EVIL.replace('/', '')}.csv"
    Path(name).write_text(f'user\u202e,"item{EVIL}",time\x9b\n' + "".join(f"u{n},i{n},{n}\n" for n in range(20)))
    result = workplace.run("data", "inspect", name)
    assert result.exit_code == 0, result.output
    assert is_harmless(result.output)
    config = yaml.safe_load(result.stdout)
    assert config["data"]["events"] == name
    assert SHOWN in result.stdout

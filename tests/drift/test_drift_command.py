"""`din-train drift` on logs with a planted change, each of which the right figure notices, and on one without."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from drift_runs import ALL_DAYS, DAY, FIRST_DAY, HEADER, KNOWN_DAYS, Row, draw_rows, make_run
from log_factory import write_table

from din_train.checksums import indexed_file
from din_train.cli import cli
from din_train.config import Config
from din_train.report.report import report
from din_train.run_directory import RunDirectory

USERS = range(80)
LABELLED = {"columns": {"user": "user", "item": "item", "category": "category", "timestamp": "time", "label": "label"}}
FIELDS = {"item_fields": ["brand"], "context_fields": ["hour", "weekday"]}
LIMITS = ("--max-unknown", "0.02", "--max-psi", "0.2", "--max-gauc-drop", "0.05")

Patch = Callable[[Config], None]
Measure = Callable[..., tuple[Result, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drift")


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    """A run on nine days of a log with labels; three days come after."""
    return make_run(folder, draw_rows(1, range(KNOWN_DAYS), USERS), data={**LABELLED, **FIELDS})


@pytest.fixture
def measure(folder: Path, config: Config, scored_by_number: Patch) -> Measure:
    scored_by_number(config)

    def run(rows: Sequence[Sequence[object]], *options: str) -> tuple[Result, Any]:
        """The result, and drift.json."""
        log = write_table(folder / "new.tsv", HEADER, rows)
        result = CliRunner().invoke(cli, ["drift", "--run-dir", str(folder / "run"), "--input", str(log), *options])
        written = folder / "run/drift.json"
        return result, orjson.loads(written.read_bytes()) if written.exists() else None

    return run


def change(rows: Sequence[Row], **values: Callable[[Any], Any]) -> list[list[object]]:
    """The log with other values in columns of its new rows."""
    cut = FIRST_DAY + KNOWN_DAYS * DAY
    return [
        [
            values.get(name, lambda value: value)(value) if row[4] >= cut else value
            for name, value in zip(HEADER, row, strict=True)
        ]
        for row in rows
    ]


ROWS = draw_rows(1, range(KNOWN_DAYS), USERS) + draw_rows(2, range(KNOWN_DAYS, ALL_DAYS), USERS)


def find(written: Any, key: str, name: str) -> Any:
    return next(each for each in written[key] if each["name"] == name)


def list_exceeded(result: Result) -> list[str]:
    """What stands in each line of an error before the figure."""
    return [line.rpartition("drift: ")[2].partition(":")[0] for line in result.stderr.splitlines()]


def test_rows_of_the_same_distribution_pass_all_limits(measure: Measure, folder: Path) -> None:
    result, written = measure(ROWS, *LIMITS)
    assert (result.exit_code, written["exceeded"]) == (0, [])
    assert written["targets"] == 2 * 3 * len(USERS)
    assert [each["name"] for each in written["periods"]] == ["2020-09-22", "2020-09-23", "2020-09-24"]
    compared = {each["name"]: (each["psi"], each["by_chance"]) for each in written["distributions"]}
    assert list(compared) == [*("history length", "item popularity", "category", "brand", "hour", "weekday", "score")]
    assert compared.pop("weekday") == (None, None)
    assert find(written, "distributions", "weekday")["not_compared"] == "the new rows span less than a week"
    assert {name: psi for name, (psi, by_chance) in compared.items() if psi > by_chance + 0.06} == {}
    unknown = {each["name"]: each["measured"] for each in written["unknown"] if each["measured"]}
    assert unknown == {"user": 1 / len(USERS)}  # with too few clicks for a sample in the first nine days
    assert "Labels are the log's own, so PCOC is calibration" in result.stdout
    page = (folder / "run/drift.html").read_text()
    assert "No limit was passed" in page
    assert "Bins of hour" in page


def test_each_change_is_noticed_by_its_own_figure(measure: Measure) -> None:
    rows = change(
        [[*row[:3], "", *row[4:]] for row in ROWS],
        user=str.upper,
        time=lambda time: time + 4 * 3600,
        label=lambda label: 1 - label,
    )
    result, written = measure(rows, *LIMITS)
    assert result.exit_code == 1
    assert find(written, "unknown", "user")["unknown_share"] == 1.0
    brand = find(written, "unknown", "brand")
    assert (brand["missing_share"], brand["earlier_missing"], brand["measured"]) == (1.0, 0.0, 1.0)
    before, now = written["test"]["gauc"], written["new"]["gauc"]
    assert before > 0.7
    assert now < 0.3
    assert written["gauc_drop"] == pytest.approx(before - now)
    exceeded = list_exceeded(result)[1:]
    assert exceeded == [
        "share of rows whose user is unknown",
        "share of brand that is unknown or missing more often than in training",
        "PSI of history length against the latest clicks",
        "PSI of brand against the training rows",
        "PSI of hour against the training rows",
        "drop of GAUC from the run's test split",
    ]


def test_ids_and_values_that_silently_become_unknown(measure: Measure) -> None:
    # What pandas makes of a column of whole numbers that has an empty cell, and a brand written otherwise.
    result, written = measure(change(ROWS, item=lambda item: f"{item}.0", brand=str.upper), "--max-unknown", "0.2")
    item, brand = find(written, "unknown", "item"), find(written, "unknown", "brand")
    assert (item["unknown_share"], item["distinct"], item["distinct_unknown"]) == (1.0, 24, 24)
    assert (brand["unknown_share"], brand["distinct_unknown"]) == (1.0, 3)
    assert find(written, "unknown", "category")["unknown_share"] == 0.0
    assert find(written, "distributions", "item popularity")["psi"] > 1
    assert list_exceeded(result)[1:] == [
        "share of rows whose item is unknown",
        "share of brand that is unknown",
    ]
    assert result.stderr.splitlines()[1].endswith("unknown: 1.0000, --max-unknown is 0.2")


def test_times_in_another_unit(measure: Measure) -> None:
    result, written = measure([[*row[:4], row[4] * 1000, row[5]] for row in ROWS])
    new = [row[4] for row in ROWS if row[4] >= FIRST_DAY + KNOWN_DAYS * DAY]
    assert result.exit_code == 0
    assert (written["first"], written["last"], written["targets"]) == (min(new), max(new), len(new))


def test_a_log_without_new_events(measure: Measure) -> None:
    result, _ = measure(ROWS[:400])
    assert result.exit_code == 2
    assert "new.tsv: no event is after 2020-09-21" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_only_new_events_and_a_page_elsewhere(measure: Measure, folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "run").iterdir()}
    result, _ = measure(ROWS[2 * KNOWN_DAYS * len(USERS) :], "--out", str(folder / "out/today.html"), "--json")
    assert result.exit_code == 0
    written = orjson.loads(result.stdout)
    assert written == orjson.loads((folder / "out/today.json").read_bytes())
    assert any("histories hold only what is in the input" in each for each in written["notes"])
    assert "no earlier events" in find(written, "distributions", "history length")["not_compared"]
    assert (folder / "out/today.html").exists()
    assert {path: path.read_bytes() for path in (folder / "run").iterdir()} == before


def test_a_page_has_the_name_of_one(measure: Measure) -> None:
    result, _ = measure(ROWS[:1], "--out", "today.txt")
    assert (result.exit_code, "ends in .html" in result.stderr) == (2, True)


def test_a_day_of_a_backtest_has_no_test_split_of_its_own(folder: Path, config: Config, tmp_path: Path) -> None:
    assert config.data.prepared.exists()
    run = RunDirectory(Path(shutil.copytree(folder / "run", tmp_path / "step1-cold-seed1")))
    run.checkpoints.mkdir()
    with indexed_file(run.checkpoints / "best.json", run.path) as temporary:
        temporary.write_text('{"data_fingerprint": "of step1"}')
    log = str(folder / "log.tsv")
    result = CliRunner().invoke(cli, ["drift", "--run-dir", str(run.path), "--input", log])
    assert result.exit_code == 2
    assert "scored on another data set than it was trained on, as a day of a backtest is" in result.output
    run.write_metrics(replace(run.read_metrics(), data_fingerprint="of day1"))
    report(run.path)
    assert "This run scored another data set than it was trained on" in run.report_file.read_text()

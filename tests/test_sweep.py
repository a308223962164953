"""A sweep of ordinary configs: its cells and their files, what fails, what the folder has, and the plan by hand."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from record_factory import MANIFEST as DESCRIBED
from record_factory import METRICS

from din_train import sweep_plan
from din_train.config import load_config
from din_train.config.model import ModelName
from din_train.errors import RunError
from din_train.plan.probe import Probe
from din_train.run_directory import RunDirectory
from din_train.sweep import Cell, Cost, build_cell, find_cells, only_one_at_a_time, run_cells
from din_train.sweep_plan import build_sweep_plan, build_sweep_table, by_cost, estimate_seconds
from din_train.terminal import format_seconds

CONFIG = """
name: grid
preset: din
data: {source: table, events: log.tsv, columns: {user: u, item: i, category: c, timestamp: t}, prepared: prepared}
model: {name: din}
training: {epochs: 8, refit: true}
"""
ROWS = {"train": 1_000, "validation": 100, "test": 200}
MANIFEST = replace(DESCRIBED, samples=ROWS, bytes=5_000_000, fingerprint="f")
PROBE = Probe(samples_per_second=100.0, parameters=1_000, peak_bytes=2_000_000_000)


def build(out: Path, name: str, *overrides: str, seed: int = 1) -> Cell:
    """The cell at `name`, with its config file as a sweep writes it."""
    (out / "grid.yaml").write_text(CONFIG)
    cell = build_cell(out, tuple(name.split("-", 1)), seed, load_config(out / "grid.yaml", overrides))
    cell.write_config()
    return cell


def finish(cell: Cell) -> None:
    cell.run.path.mkdir(parents=True)
    cell.run.write_metrics(METRICS)


def test_a_cell_is_an_ordinary_config_with_overrides_a_name_and_a_seed(tmp_path: Path) -> None:
    cell = build(tmp_path, "log-wide-deep", "model.name=wide_deep", "training.epochs=2", seed=3)
    assert (cell.name, cell.place) == ("log-wide-deep-seed3", ("log", "wide-deep"))
    assert cell.run == RunDirectory(tmp_path / "runs" / "log-wide-deep-seed3")
    config = load_config(cell.file("yaml"))
    assert (config.name, config.seed, config.model.name) == (cell.name, 3, "wide_deep")
    assert config.training.epochs == 2
    assert config.training.batch_size == 1024  # the preset's


def test_costs_of_several_processes_are_added_and_damage_is_nothing(tmp_path: Path) -> None:
    cell = build(tmp_path, "log-din")
    assert cell.read_cost() is None
    cell.add_cost(Cost(10.0, 500))
    cell.add_cost(Cost(5.0, 400))
    assert cell.read_cost() == Cost(15.0, 500)
    cell.file("cost.json").write_text("{")
    assert cell.read_cost() is None


def test_a_cell_that_fails_leaves_the_others_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [build(tmp_path, name, f"data.events={tmp_path / 'none.tsv'}") for name in ("log-din", "log-lr")]
    finish(cells[1])  # by nobody knows which config
    calls: list[list[str | None]] = []
    with only_one_at_a_time(tmp_path) as lock:
        failures = run_cells(
            cells,
            {cell.name: 60.0 for cell in cells},
            lock,
            how_to_go_on="...",
            changed=lambda: calls.append([cell.read_failure() for cell in cells]),
        )
    assert "none.tsv: no such file" in failures["log-din-seed1"]
    assert "none.tsv: no such file" in cells[0].file("log").read_text()
    assert "damaged" in failures["log-lr-seed1"]
    first, second = failures.values()
    assert calls == [[None, None], [first, None], [first, second]]
    cost = cells[0].read_cost()
    assert cost is not None
    assert cost.seconds > 0
    assert cost.peak_bytes > 10_000_000
    assert not any(cell.is_measured for cell in cells)
    assert "log-din-seed1: failed: " in capsys.readouterr().err


def test_cells_of_earlier_sweeps_are_found_but_for_those_by_another_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = build(tmp_path, "log-din")
    finish(build(tmp_path, "log-din", "data.events=elsewhere.tsv", "data.prepared=there", seed=2))
    finish(build(tmp_path, "log-din", "training.epochs=7", seed=3))
    build(tmp_path, "log-wide-deep").record_failure("no room")
    build(tmp_path, "log-pnn")  # planned, and never begun
    for name in ("log-base-seed1", "latest"):  # which no sweep has described
        (tmp_path / "runs" / name).mkdir(parents=True)
    found = find_cells(tmp_path, [planned], axes=2)
    assert [cell.name for cell in found] == ["log-din-seed1", "log-din-seed2", "log-wide-deep-seed1"]
    assert found[2].place == ("log", "wide-deep")
    assert "seed3: trained by another config than seed 1 is now; not in the tables" in capsys.readouterr().err


def test_selection_on_validation_and_a_refit_are_estimated(tmp_path: Path) -> None:
    base, din = build(tmp_path, "log-base", "model.name=base"), build(tmp_path, "log-din")
    # 8 epochs of 1,000 rows, each with 100 scored at 0.4; a refit of 8 x 1,100; 200 scored at the end
    work = 8 * (1_000 + 0.4 * 100) + 8 * 1_100 + 0.4 * 200
    assert work == 17_200
    assert estimate_seconds(din, MANIFEST, "din", PROBE) == pytest.approx(12 + 172)
    assert estimate_seconds(base, MANIFEST, "din", PROBE) == pytest.approx(12 + 172 * 0.6)
    assert estimate_seconds(din, MANIFEST, "base", PROBE) == pytest.approx(12 + 172 / 0.6)


def test_fresh_negatives_are_estimated_in_place_of_the_files_own(tmp_path: Path) -> None:
    """500 positives of 1,000 training rows, each with 7 fresh negatives; 50 and their negatives more in the refit."""
    fresh = build(tmp_path, "log-fresh", "negatives.resample=epoch", "negatives.per_positive=7")
    manifest = replace(MANIFEST, negatives="in the log", positives_share={"train": 0.5, "validation": 0.5, "test": 0.5})
    work = 8 * (500 * 8 + 0.4 * 100) + 8 * (500 * 8 + 50 * 8) + 0.4 * 200
    assert estimate_seconds(fresh, manifest, "din", PROBE) == pytest.approx(12 + work / 100)
    assert estimate_seconds(fresh, replace(manifest, negatives="sampled"), "din", PROBE) == pytest.approx(12 + 172)


def test_every_model_has_a_cost() -> None:
    assert set(sweep_plan.RELATIVE_COST) == set(get_args(ModelName))


def test_protocol_paper_scores_at_the_end_or_the_test_split_after_every_epoch(tmp_path: Path) -> None:
    settings = ("preset=din-paper", "data.protocol=paper", "training.refit=false")
    last = build(tmp_path, "log-last", *settings)
    best = build(tmp_path, "log-best", *settings, "training.select_on=test")
    assert estimate_seconds(last, MANIFEST, "din", PROBE) == pytest.approx(12 + (8 * 1_000 + 80) / 100)
    assert estimate_seconds(best, MANIFEST, "din", PROBE) == pytest.approx(12 + (8 * (1_000 + 80) + 80) / 100)


def test_totals_leave_out_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_plan, "run_probe", lambda _: PROBE)
    cells = [
        build(tmp_path, f"log-{name}", f"model.name={name}", seed=seed) for seed in (1, 2) for name in ("base", "din")
    ]
    finish(cells[0])
    plan = build_sweep_plan(cells, {Path("prepared"): MANIFEST})
    assert plan.finished == {"log-base-seed1"}
    assert plan.seconds_left == pytest.approx(2 * (12 + 172) + 12 + 172 * 0.6)
    assert (plan.memory_bytes, plan.prepared_bytes) == (2_000_000_000, 5_000_000)
    assert plan.disk_bytes == 4 * 28_000  # 7 numbers of 4 bytes for each parameter
    assert str(plan).startswith("4 cells, 1 of them done; the others take at most 8 min by a short probe")


def count_probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cells that are probed from now on; one fails whose name has `huge`."""
    probed: list[str] = []

    def run(path: Path) -> Probe:
        probed.append(path.stem)
        if "huge" in path.stem:
            raise RunError(f"{path.stem}: no memory")
        rows_per_second = 100.0 * load_config(path).training.batch_size / 1024
        return replace(PROBE, samples_per_second=rows_per_second, parameters=1_000 * len(probed))

    monkeypatch.setattr(sweep_plan, "run_probe", run)
    return probed


def test_a_probe_of_din_is_kept_until_the_data_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probed = count_probes(monkeypatch)
    cells = [
        build(tmp_path, f"{log}-{name}", f"model.name={name}", f"data.prepared={log}")
        for log in ("a", "b")
        for name in ("base", "din")
    ]
    manifests = {Path(log): replace(MANIFEST, fingerprint=log) for log in ("a", "b")}
    for _ in range(2):
        build_sweep_plan(cells, manifests)
    assert probed == ["a-din-seed1", "b-din-seed1"]
    build_sweep_plan(cells, {**manifests, Path("b"): replace(MANIFEST, fingerprint="another")})
    assert probed[2:] == ["b-din-seed1"]
    build_sweep_plan([build(tmp_path, "a-din", "model.mlp.hidden_units=[8]", "data.prepared=a")], manifests)
    assert probed[3:] == ["a-din-seed1"]  # the same name, another model


def test_points_of_another_cost_have_probes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probed = count_probes(monkeypatch)
    points = {
        "one": ("model.name=base",),
        "two": (),
        "three": ("training.optimizer.learning_rate=0.5", "training.epochs=4"),
        "half": ("training.batch_size=512",),
        "wide": ("model.item_embedding_size=32",),
        "huge": ("training.batch_size=2048",),
    }
    cells = [build(tmp_path, name, *keys, seed=seed) for seed in (1, 2) for name, keys in points.items()]
    plan = build_sweep_plan(cells, {Path("prepared"): MANIFEST}, by_cost)
    assert probed == ["two-seed1", "half-seed1", "wide-seed1", "huge-seed1"]
    seconds = {name: plan.seconds[f"{name}-seed2"] - 12 for name in points}
    assert seconds == pytest.approx(
        {"one": 172 * 0.6, "two": 172, "three": (4 * 2_140 + 80) / 100, "half": 2 * 172, "wide": 172, "huge": -12}
    )
    assert plan.disk_bytes == 2 * 28 * (3 * 1_000 + 2_000 + 3_000)
    assert plan.unknown == {"huge-seed1", "huge-seed2"}
    assert str(plan).endswith("; not counted: 2 cells whose probe failed")
    assert "warning: huge-seed1: no memory" in capsys.readouterr().err
    assert list(build_sweep_table(plan, ("point",)).columns[3].cells)[-2:] == ["3 min", "unknown"]
    with pytest.raises(RunError, match="huge-seed1: no memory"):
        build_sweep_plan([cells[5]], {Path("prepared"): MANIFEST}, by_cost)


def test_times_are_readable() -> None:
    assert [format_seconds(each) for each in (45, 91, 3_600, 11_100)] == ["45 s", "2 min", "60 min", "3 h 05 min"]

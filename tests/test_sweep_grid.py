"""A grid of config keys: its points, their data sets, and their differences from the first by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from record_factory import METRICS
from scored_rows import make_rows

from din_train.config import load_config
from din_train.errors import ConfigError
from din_train.evaluation.metrics import compute_auc, compute_gauc
from din_train.evaluation.scores import write_scores
from din_train.sweep import Cell
from din_train.sweep_grid import build_points, build_points_table, describe_points, parse_grid

CONFIG = """
name: grid
data: {source: table, events: log.tsv, columns: {user: u, item: i, category: c, timestamp: t}, prepared: prepared}
model: {name: din}
training: {epochs: 2}
metrics: {resamples: 200}
"""
USERS = 60


def build(folder: Path, *grid: str, seeds: tuple[int, ...] = (1,)):
    (folder / "grid.yaml").write_text(CONFIG)
    return build_points(folder / "grid.yaml", [], parse_grid(grid), seeds, folder)


def test_every_combination_is_a_point_in_the_order_of_the_axes(tmp_path: Path) -> None:
    points = build(tmp_path, "model.name=din,base", "model.mlp.hidden_units=[8],[8,4]", seeds=(1, 3))
    assert [point.name for point in points] == ["din_8", "din_8_4", "base_8", "base_8_4"]
    assert points[1].values == ('model.name="din"', "model.mlp.hidden_units=[8,4]")
    cell = points[3].cells[1]
    assert (cell.name, cell.config.model.name, cell.config.model.mlp.hidden_units) == ("base_8_4-seed3", "base", (8, 4))
    assert cell.config.seed == 3
    assert {cell.config.data.prepared for point in points for cell in point.cells} == {Path("prepared")}
    names = [point.name for point in build(tmp_path, "training.optimizer.learning_rate=0.1,0.20,1e-3")]
    assert names == ["0.1", "0.2", "0.001"]


def test_points_of_other_data_have_data_sets_of_their_own(tmp_path: Path) -> None:
    points = build(tmp_path, "negatives.per_positive=1,4", "model.name=din,base")
    assert [point.cells[0].config.data.prepared for point in points] == [
        Path("prepared"),
        Path("prepared"),
        tmp_path / "prepared" / "4_din",
        tmp_path / "prepared" / "4_din",
    ]


@pytest.mark.parametrize(
    ("grid", "problem"),
    [
        ("model.name", "expected key=value,value, such as model.name=din,base"),
        ("=1,2", "expected key=value,value"),
        ("model.name=[din", "expected key=value,value"),
        ("model.name=", "expected key=value,value"),
        ("seed=1,2", "the sweep sets this key itself; leave it out"),
        ("model.nam=1,2", "model.nam: unknown key, did you mean 'name'?"),
    ],
)
def test_what_is_no_grid_is_refused(tmp_path: Path, grid: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(tmp_path, grid)
    assert problem in caught.value.problems[0]
    with pytest.raises(ConfigError, match="the key is given twice"):
        parse_grid(["model.name=din", "model.name=base"])
    with pytest.raises(ConfigError, match="a value stands there twice"):
        parse_grid(["model.name=din,base,din"])


def finish(cell: Cell, right: int, rows_sha256: str = "abc") -> float:
    """The run of a model that orders the first `right` users' pairs right: its GAUC is their share."""
    label = np.tile(np.array([1, 0], np.int8), USERS)
    logit = np.where(np.repeat(np.arange(USERS) < right, 2), label, 1 - label).astype(np.float32)
    user = np.repeat(np.arange(2, USERS + 2, dtype=np.int32), 2)
    rows = make_rows(user_id=user, label=label, logit=logit)
    cell.run.path.mkdir(parents=True)
    auc, gauc = compute_auc(label, logit), compute_gauc(user, label, logit).value
    cell.run.write_metrics(replace(METRICS, auc=auc, gauc=gauc, seed=cell.seed, rows_sha256=rows_sha256))
    write_scores(cell.run.scores_file("test"), rows)
    return right / USERS


def test_means_deviations_and_paired_differences_are_those_by_hand(tmp_path: Path) -> None:
    points = build(tmp_path, "model.name=din,base,lr", seeds=(1, 2))
    for cell, right in zip([each for point in points[:2] for each in point.cells], (30, 36, 45, 57), strict=True):
        finish(cell, right)
    finish(points[2].cells[0], 30)  # whose other seed has not finished
    results = describe_points("grid", points)
    first, second, third = results["points"]
    assert first["metrics"]["gauc"] == {
        "by_seed": {"1": 0.5, "2": 0.6},
        "mean": pytest.approx(0.55),
        "sd": pytest.approx(0.1 / 2**0.5),
    }
    assert first["differences"] == {}
    gauc = second["differences"]["gauc"]
    assert gauc["by_seed"] == {"1": pytest.approx(0.25), "2": pytest.approx(0.35)}
    assert (gauc["mean"], gauc["sd"]) == (pytest.approx(0.3), pytest.approx(0.1 / 2**0.5))
    assert (gauc["above_zero"], gauc["below_zero"]) == (2, 0)
    low, high = gauc["intervals"]["1"]  # of the mean of 60 differences, 15 of which are 1
    assert (low, high) == (pytest.approx(0.25 - 1.96 * 0.0559, abs=0.03), pytest.approx(0.25 + 1.96 * 0.0559, abs=0.03))
    assert third["metrics"]["gauc"]["sd"] is None
    assert third["differences"]["gauc"]["by_seed"] == {"1": 0.0}
    rows = list(zip(*(column.cells for column in build_points_table(results).columns), strict=True))
    assert rows[1][:4] == ("base", "2 of 2", "0.850000", "0.141421")
    assert rows[1][6:] == ("+0.300000", "0.070711", "2, 0")
    assert rows[2][1] == "1 of 2"


def test_points_with_other_test_rows_have_no_difference_and_say_why(tmp_path: Path) -> None:
    points = build(tmp_path, "model.name=din,base")
    finish(points[0].cells[0], 30)
    finish(points[1].cells[0], 40, rows_sha256="other")
    results = describe_points("grid", points)
    assert results["points"][1]["differences"] == {}
    assert results["warnings"] == ["base-seed1: hash of the scored rows is 'other', but 'abc' in din-seed1"]


def test_each_point_says_why_it_has_no_difference(tmp_path: Path) -> None:
    points = build(tmp_path, "model.item_embedding_size=8,64,6", seeds=(1, 2))
    for cell in (cell for point in points for cell in point.cells):
        finish(cell, 30, rows_sha256="abc" if cell.place == ("8",) else "other")
    points[1].cells[0].run.scores_file("test").unlink()
    results = describe_points("grid", points)
    assert [each["differences"] for each in results["points"]] == [{}, {}, {}]
    first, second = results["warnings"]
    assert first.startswith(f"{tmp_path}/runs/64-seed1/scores.test.parquet: no such file")
    assert second == "6-seed1: hash of the scored rows is 'other', but 'abc' in 8-seed1"


def test_a_run_has_no_place_for_a_sweep(tmp_path: Path) -> None:
    from din_train.sweep_grid import sweep

    (tmp_path / "grid.yaml").write_text(CONFIG)
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match="a run's directory; give the sweep another name"):
        sweep(tmp_path / "grid.yaml", [], ["model.name=din,lr"], None, out=tmp_path, plan_only=True, as_json=False)
    assert load_config(tmp_path / "grid.yaml").name == "grid"

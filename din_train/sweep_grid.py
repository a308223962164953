"""`din-train sweep`: a grid of config keys, each point trained with every seed, and all points against the first.

OUT/sweep.json      test metrics of every run; means, standard deviations and differences of every point
OUT/prepared/...    data sets of points that need another one than the first point's

A difference is paired: runs of one seed are compared by `compare`, on the same resampled users, and the mean and the
standard deviation are over the seeds.
"""

import itertools
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml
from rich.markup import escape
from rich.table import Table

from din_train.compare.compare import compare_runs
from din_train.config import load_config
from din_train.config.yaml_text import parse_yaml
from din_train.dataset.manifest import Manifest
from din_train.dataset.prepare import describe_recipe, prepare
from din_train.errors import ConfigError, RunError
from din_train.evaluation.display import format_metric
from din_train.evaluation.scores import read_scores
from din_train.files import write_text
from din_train.printable import dump_printable_json
from din_train.scoring import place_data
from din_train.sweep import Cell, build_cell, only_one_at_a_time, run_cells
from din_train.sweep_command import choose_folder, describe_command, join_experiment, list_seeds
from din_train.sweep_plan import SweepPlan, build_sweep_plan, build_sweep_table, by_cost
from din_train.terminal import say, show_json, show_table

Axes = list[tuple[str, list[str]]]  # key, and its values as JSON texts

_METRICS = ("gauc", "auc", "logloss")
_REFUSED = ("name", "seed", "data.prepared")  # which the sweep sets itself


@dataclass(frozen=True)
class GridPoint:
    """One point of the grid, in each seed: its `key=value` texts, and its cells."""

    values: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        return self.cells[0].place[0]


def sweep(
    config_file: Path,
    overrides: Sequence[str],
    grid: Sequence[str],
    seeds: Sequence[int] | None,
    *,
    out: Path | None,
    plan_only: bool,
    as_json: bool,
) -> None:
    """Plan the runs, train those that are not done, and show the points side by side.

    Args:
        grid: `key=a,b` of each axis. seeds: of each point; None: the config's. out: the folder of the sweep.

    Raises:
        ConfigError: if a point has no valid config.
        RunError: if a run failed, after all others have ended.
    """
    config = load_config(config_file, overrides)
    out = choose_folder(out, config, "sweep")
    overrides = join_experiment(config, overrides)
    points = build_points(config_file, overrides, parse_grid(grid), seeds or (config.seed,), out)
    if plan_only:
        _plan(points)
        return
    options = (("--set", overrides), ("--grid", grid), ("--seeds", list_seeds(seeds)), ("--out", [out]))
    with only_one_at_a_time(out) as lock:
        plan = _plan(points)
        failures = run_cells(
            plan.cells,
            plan.seconds,
            lock,
            how_to_go_on=describe_command("sweep", config_file, *options),
            changed=lambda: None,
        )
        results = describe_points(config.name, points)
        write_text(out / "sweep.json", dump_printable_json(results) + "\n")
    if as_json:
        show_json(results)
    else:
        show_table(build_points_table(results))
        for line in results["warnings"]:
            say(f"warning: {line}")
        say(f"the numbers: {out / 'sweep.json'}")
    if failures:
        logs = {cell.name: cell.file("log") for cell in plan.cells}
        raise RunError([f"{name}: {line} (see {logs[name]})" for name, line in failures.items()])


def parse_grid(grid: Sequence[str]) -> Axes:
    """`key=a,b` -> the key, and each value as a JSON text.

    Raises:
        ConfigError: if an axis is not of this form.
    """
    axes: Axes = []
    for axis in grid:
        key, equals, text = axis.partition("=")
        try:
            values = parse_yaml(f"[{text}]")
        except yaml.YAMLError:
            values = None
        if not equals or not key or not isinstance(values, list) or not values:
            raise ConfigError(f"--grid {axis}: expected key=value,value, such as model.name=din,base")
        if key in dict(axes):
            raise ConfigError(f"--grid {axis}: the key is given twice; give all its values at once")
        if key in _REFUSED:
            raise ConfigError(f"--grid {axis}: the sweep sets this key itself; leave it out (seeds go into --seeds)")
        texts = [orjson.dumps(each).decode() for each in values]
        if len(set(texts)) < len(texts):
            raise ConfigError(f"--grid {axis}: a value stands there twice; remove one")
        axes.append((key, texts))
    return axes


def build_points(
    config_file: Path,
    overrides: Sequence[str],
    axes: Sequence[tuple[str, Sequence[str]]],
    seeds: Sequence[int],
    out: Path,
) -> list[GridPoint]:
    """Every combination of the axes' values, in their order; points that need other data have a folder of their own.

    Raises:
        ConfigError: if a combination is no valid config.
    """
    recipes: dict[str, Path] = {}
    points: list[GridPoint] = []
    for values in itertools.product(*([f"{key}={value}" for value in texts] for key, texts in axes)):
        name = _name_point(values)
        name = f"{name}-{len(points) + 1}" if name in {point.name for point in points} else name
        config = load_config(config_file, [*overrides, *values])
        recipe = orjson.dumps(describe_recipe(config), option=orjson.OPT_SORT_KEYS).decode()
        prepared = recipes.setdefault(recipe, out / "prepared" / name if recipes else config.data.prepared)
        cells = tuple(build_cell(out, (name,), seed, place_data(config, prepared)) for seed in seeds)
        points.append(GridPoint(values, cells))
    return points


def _name_point(values: Sequence[str]) -> str:
    """`model.name="din"`, `seed=1` -> `din_1`, which a folder and a config may be called."""
    texts = [value.partition("=")[2] for value in values]
    name = re.sub(r"[^A-Za-z0-9.]+", "_", "_".join(texts)).strip("_.")
    return name[:60] if name[:1].isalnum() else f"point_{name[:60]}"


def _plan(points: Sequence[GridPoint]) -> SweepPlan:
    """Prepare the data sets, and show what is to be run: first every point with the first seed."""
    cells = sorted((cell for point in points for cell in point.cells), key=lambda cell: _find_place(points, cell))
    manifests: dict[Path, Manifest] = {}
    for cell in cells:
        if cell.config.data.prepared not in manifests:
            manifests[cell.config.data.prepared] = prepare(cell.config)
    plan = build_sweep_plan(cells, manifests, by_cost)
    show_table(build_sweep_table(plan, ("point",)))
    say(str(plan))
    return plan


def _find_place(points: Sequence[GridPoint], cell: Cell) -> int:
    return next(point.cells.index(cell) for point in points if cell in point.cells)


def describe_points(name: str, points: Sequence[GridPoint]) -> dict[str, Any]:
    """What `sweep.json` holds: of each point its runs, their means, and its differences from the first point."""
    base, *_ = points
    warnings: list[str] = []
    described = []
    for point in points:
        metrics = {cell.seed: cell.run.read_metrics() for cell in point.cells if cell.is_measured}
        values = {key: {seed: getattr(each, key) for seed, each in metrics.items()} for key in _METRICS}
        described.append(
            {
                "point": point.name,
                "values": {key: orjson.loads(text) for key, _, text in (each.partition("=") for each in point.values)},
                "runs": {str(cell.seed): str(cell.run.path) for cell in point.cells},
                "metrics": {key: _summarize(each) for key, each in values.items()},
                "differences": {} if point is base else _compare(base, point, warnings),
            }
        )
    return {"name": name, "split": "test", "base": base.name, "points": described, "warnings": warnings}


def _summarize(values: Mapping[int, float | None]) -> dict[str, Any]:
    """By seed, mean and standard deviation of those that are defined."""
    known = [value for value in values.values() if value is not None]
    return {
        "by_seed": {str(seed): value for seed, value in values.items()},
        "mean": statistics.mean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
    }


def _compare(base: GridPoint, point: GridPoint, warnings: list[str]) -> dict[str, Any]:
    """Metric -> differences from the base, of the seeds that both have; with `compare`'s intervals."""
    pairs = [pair for pair in zip(base.cells, point.cells, strict=True) if all(cell.is_measured for cell in pair)]
    found: dict[str, dict[int, dict[str, float]]] = {"gauc": {}, "auc": {}}
    for first, second in pairs:
        runs = {cell.name: cell.run for cell in (first, second)}
        try:
            metrics = {name: run.read_metrics() for name, run in runs.items()}
            rows = {name: read_scores(run.scores_file("test")) for name, run in runs.items()}
            comparison = compare_runs(metrics, rows, first.config.metrics)
        except (ConfigError, RunError) as error:
            warnings += [line.partition("; ")[0] for line in error.problems]
            return {}
        for each in comparison.differences:
            found[each.metric][second.seed] = {"value": each.value, "low": each.low, "high": each.high}
    return {
        metric: {
            **_summarize({seed: each["value"] for seed, each in by_seed.items()}),
            "intervals": {str(seed): [each["low"], each["high"]] for seed, each in by_seed.items()},
            "above_zero": sum(each["low"] > 0 for each in by_seed.values()),
            "below_zero": sum(each["high"] < 0 for each in by_seed.values()),
        }
        for metric, by_seed in found.items()
        if by_seed
    }


def build_points_table(results: Mapping[str, Any]) -> Table:
    """One row for each point: means over seeds, and the paired difference of GAUC from the first point."""
    titles = ("point", "seeds", "GAUC", "sd", "AUC", "logloss", "GAUC - first", "sd", "intervals above, below 0")
    table = Table(
        *titles, title=f"test split, means over seeds; differences are paired by seed, from {results['base']}"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for point in results["points"]:
        gauc, difference = point["metrics"]["gauc"], point["differences"].get("gauc")
        table.add_row(
            escape(point["point"]),
            f"{len(gauc['by_seed'])} of {len(point['runs'])}",
            format_metric(gauc["mean"]),
            _format_sd(gauc["sd"]),
            *(format_metric(point["metrics"][key]["mean"]) for key in ("auc", "logloss")),
            f"{difference['mean']:+.6f}" if difference else "",
            _format_sd(difference["sd"]) if difference else "",
            f"{difference['above_zero']}, {difference['below_zero']}" if difference else "",
        )
    return table


def _format_sd(sd: float | None) -> str:
    return "" if sd is None else f"{sd:.6f}"

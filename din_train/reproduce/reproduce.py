"""`din-train reproduce`: find the logs, prepare them, plan the paper's cells, run them, write the tables."""

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from din_train.dataset.manifest import Manifest
from din_train.dataset.prepare import prepare
from din_train.errors import ConfigError, RunError
from din_train.printable import make_lines_printable
from din_train.reproduce.paper_page import write_paper
from din_train.reproduce.paper_suites import (
    ReproduceOptions,
    build_paper_cells,
    find_logs,
    load_paper_config,
    load_suite,
)
from din_train.sweep import Cell, only_one_at_a_time, run_cells
from din_train.sweep_plan import SweepPlan, build_sweep_plan, build_sweep_table
from din_train.terminal import say, show_table


def reproduce(options: ReproduceOptions, out: Path, *, plan_only: bool) -> None:
    """Plan the cells, run those that are not done, and write the tables, after each cell and at the end.

    The folder is locked meanwhile, except for a plan alone, which changes nothing that another reproduction reads.

    Raises:
        DataError: if logs are missing.
        RunError: if a cell failed, after all others have run.
    """
    if plan_only:
        _plan(options, out)
        return
    command = f"{options.command} --out {shlex.quote(str(out))}"
    with only_one_at_a_time(out, "reproduction") as lock:
        plan = _plan(options, out)
        changed = partial(write_paper, out, plan.cells)
        failures = run_cells(
            plan.cells, plan.seconds, lock, called="reproduction", how_to_go_on=command, changed=changed
        )
    for path in (out / f"{name}.md" for name in ("table3", "table4", "leaderboard") if name in options.suites):
        if path.exists():
            print(make_lines_printable(path.read_text(encoding="utf-8")))
    say(f"the page: {out / 'index.html'}")
    if failures:
        raise RunError(_describe_failures(failures, plan.cells, command))


def _plan(options: ReproduceOptions, out: Path) -> SweepPlan:
    """Prepare the data sets, and show what is to be run."""
    files = find_logs(out, options)
    row = load_suite(options.suites[0]).rows[0]  # any, since all rows share the recipe's data set
    cells: list[Cell] = []
    manifests: dict[Path, Manifest] = {}
    for data in options.datasets:
        for recipe in options.choose_recipes(data):
            config = load_paper_config(out, data, recipe, files[data], row)
            if config.data.prepared not in manifests:
                manifests[config.data.prepared] = prepare(config)
        cells += build_paper_cells(out, options, data, files[data], manifests)
    if not cells:
        raise ConfigError(
            f"--recipes {','.join(options.recipes)}: suite {','.join(options.suites)} on {','.join(options.datasets)} "
            "has no cell by it; add ours, or leave --models out"
        )
    plan = build_sweep_plan(cells, manifests)
    show_table(build_sweep_table(plan, ("data", "recipe", "model")))
    say(str(plan))
    return plan


def _describe_failures(failures: Mapping[str, str], cells: Sequence[Cell], command: str) -> list[str]:
    logs = {cell.name: cell.file("log") for cell in cells}
    return [
        *(f"{name}: {line} (see {logs[name]})" for name, line in failures.items()),
        f"{len(failures)} of {len(cells)} cells failed; the others are in the tables. Run the failed ones again with "
        f"`{command}`",
    ]

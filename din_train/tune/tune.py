"""`din-train tune`: a search on the validation split, then a refit of the winner, scored on the test split once.

OUT/base.yaml       the config that the study began with
OUT/study.json      trials, winner, and the winner's test metrics; study.html shows them
OUT/winner.yaml     the winner's config, to copy
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from din_train.config import Config, dump_config, list_values, load_config
from din_train.dataset.prepare import prepare
from din_train.errors import ConfigError, RunError
from din_train.files import hold, make_folder, write_text
from din_train.printable import dump_printable_json
from din_train.sweep import Cell, run_cells
from din_train.sweep_command import choose_folder, describe_command, join_experiment
from din_train.terminal import say, show_table
from din_train.tune.space import check_space, read_space

if TYPE_CHECKING:
    from din_train.tune.study import Search

# Keys that may differ when a study goes on: trials compare all the same.
_FREE = ("name", "data.prepared", "training.device", "tracking.")


def tune(
    config_file: Path,
    overrides: Sequence[str],
    space_file: Path,
    *,
    trials: int,
    workers: int,
    out: Path | None,
    search_only: bool,
) -> None:
    """Search, and score the winner.

    Args:
        trials: of the whole study, those of earlier starts included. workers: trials at once. out: the study's folder.
        search_only: neither refit nor score the winner.

    Raises:
        ConfigError: if nothing can be chosen by this config, the space does not suit it, the study was begun otherwise,
            or its winner is scored and there are more trials to run.
        RunError: if no trial is complete, or the winner's training failed.
    """
    config = load_config(config_file, overrides)
    space = read_space(space_file)
    if config.training.select_on != "validation":
        raise ConfigError(
            f"training.select_on: received '{config.training.select_on}', but trials are compared on validation rows; "
            "use validation, with a protocol that has such rows"
        )
    overrides = join_experiment(config, overrides)
    check_space(space, config_file, overrides, config)
    out = choose_folder(out, config, "study")
    try:
        from din_train.tune.study import Objective, Search
    except ModuleNotFoundError as error:
        raise ConfigError(f"tune: needs Optuna ({error}); install din-train[tune]") from None

    manifest = prepare(config)
    if not manifest.samples["test"] and not search_only:
        raise ConfigError(f"{config.data.prepared}: has no test row to score the winner on; give --no-test")
    facts: dict[str, dict[str, Any]] = {
        "data set": {"fingerprint": manifest.fingerprint},
        "space": space.to_json(),
        "config": {key: value for key, value in list_values(config) if not key.startswith(_FREE)},
    }
    objective = Objective(config.training.early_stopping.metric)
    base = out / "base.yaml"

    def configure(kind: str, values: Sequence[str]) -> Config:
        return load_config(base, [*overrides, *values, f"training.refit={'true' if kind == 'winner' else 'false'}"])

    make_folder(out)
    search = Search(out, space, objective, configure, base=config, facts=facts)
    write_text(base, config_file.read_text(encoding="utf-8"))  # so that later trials do not depend on the file
    options = (("--space", [space_file]), ("--set", overrides), ("--trials", [trials]), ("--workers", [workers]))
    command = describe_command("tune", config_file, *options, ("--out", [out]))
    changed = partial(write_study, search, config)
    try:
        search.run(trials, workers, command, changed=changed)
    finally:
        changed()
    if not search_only:
        _score_winner(search, command)
        changed()
    from din_train.tune.study_page import build_trials_table

    show_table(build_trials_table(describe_study(search, config)))
    say(f"the study: {out / 'study.html'}")


def _score_winner(search: "Search", command: str) -> None:
    cell = _find_winner(search)
    if cell is None:
        failures = [each.user_attrs["failure"] for each in search.trials if "failure" in each.user_attrs]
        why = f"; the last failure: {failures[-1]}" if failures else ""
        raise RunError(f"{search.out}: none of {len(search.trials)} trials is complete, so there is no winner{why}")
    with hold(search.out / "winner", wait=say) as lock:
        failed = run_cells([cell], {cell.name: 1.0}, lock, called="study", how_to_go_on=command, changed=lambda: None)
    if failed:
        raise RunError(f"{cell.name}: {failed[cell.name]} (see {cell.file('log')}); go on with `{command}`")


def _find_winner(search: "Search") -> Cell | None:
    best = search.best
    return None if best is None else search.build_cell("winner", best)


def describe_study(search: "Search", config: Config) -> dict[str, Any]:
    """What `study.json` holds."""
    winner, best = _find_winner(search), search.best
    scored = winner.run if winner and winner.run.is_finished else None
    return {
        "name": config.name,
        "metric": search.objective.metric,
        "split": "validation",
        "direction": search.objective.direction,
        "space": search.study.user_attrs["space"],
        "data_fingerprint": search.study.user_attrs["data set"]["fingerprint"],
        "trials": [search.describe_trial(each) for each in search.trials],
        "winner": None if best is None else search.describe_trial(best),
        "winner_run": None if scored is None else str(scored.path),
        "test": None if scored is None else asdict(scored.read_metrics()),
    }


def write_study(search: "Search", config: Config) -> None:
    """`study.json`, `study.html` and `winner.yaml`, as the study is now."""
    from din_train.tune.study_page import build_study_page

    study = describe_study(search, config)
    winner = _find_winner(search)
    text = None
    if winner is not None:
        text = dump_config(winner.config.model_copy(update={"name": f"{config.name}-winner"}))
        write_text(search.out / "winner.yaml", text)
    write_text(search.out / "study.json", dump_printable_json(study) + "\n")
    write_text(search.out / "study.html", build_study_page(study, search.compute_importance(), text))

"""The run that a warm start begins from: whether it fits, and what it gives (see `training/warm_start.py`)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from din_train import terminal
from din_train.checksums import read_indexed
from din_train.config import Config, find_differences
from din_train.dataset.base_vocabulary import find_base_fingerprint
from din_train.dataset.store import PreparedData, open_store
from din_train.errors import ConfigError, RunError
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.scoring import build_configured_model, find_prepared

if TYPE_CHECKING:
    from din_train.model.ranking_model import RankingModel
    from din_train.training.warm_start import EarlierModel

# Keys that decide which weights a model has, and what they mean.
_OF_WEIGHTS = (
    *("model.", "vocabulary.hash_buckets", "data.item_fields", "data.user_fields", "data.context_fields"),
    *("data.behaviour_fields", "data.numeric_fields", "data.num_buckets", "data.standardized_fields"),
    *("data.list_fields", "data.item_vectors", "data.sequences"),
)
_HARMLESS = ("model.embedding_initializer", ".dropout", ".path", ".auxiliary_weight")


def set_warm_start(run_dir: Path) -> list[str]:
    """The overrides that `fit --warm-start` stands for; the run by its own name, if the path is a link such as latest.

    Raises:
        ConfigError: if there is no run.
        DataError: if its prepared data set is gone, whose ids are to be kept.
        RunError: if it has not finished.
    """
    run, config = open_run_directory(run_dir, otherwise="name another run with --warm-start")
    prepared, _ = find_prepared(run, config, read_data_fingerprint(run))
    values = {"training.warm_start.run": run.path, "vocabulary.base": prepared}
    return [f"{key}={json.dumps(str(path))}" for key, path in values.items()]


def check_warm_start(config: Config, run_dir: Path) -> None:
    """Refuse, before any work, a run whose weights do not fit the configured model.

    Args:
        run_dir: of the new run, which may take the place of what is there.

    Raises:
        ConfigError: if they do not, `vocabulary.base` is not the data set that it was trained on, or the new run would
            take its place.
        RunError: if it has not finished.
    """
    warm_start = config.training.warm_start
    if warm_start is None:
        return
    if warm_start.run.resolve() == run_dir.resolve():
        raise ConfigError(
            f"training.warm_start.run: {warm_start.run} is this run's own directory, so its weights would be gone "
            "before they are read; choose another name (--set name=..., --run-dir)"
        )
    run, earlier = open_run_directory(warm_start.run, otherwise="name another run in training.warm_start.run")
    keys = (*_OF_WEIGHTS, *(("training.optimizer.name",) if warm_start.optimizer == "keep" else ()))
    differences = [
        each
        for each in find_differences(earlier, config)
        if each[0].startswith(keys) and not each[0].endswith(_HARMLESS)
    ]
    if differences:
        shown = "; ".join(f"{key} {there} there, {here} here" for key, there, here in differences[:3])
        more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
        reset = ", set training.warm_start.optimizer to reset" if differences[0][0] == keys[-1] else ""
        raise ConfigError(
            f"training.warm_start.run: {warm_start.run} does not fit: {shown}{more}; a warm start needs the same "
            f"model: bring the keys back{reset}, or train without a warm start"
        )
    if find_base_fingerprint(config.vocabulary.base) != read_data_fingerprint(run):
        raise ConfigError(
            f"vocabulary.base: {config.vocabulary.base}: not the data set that {warm_start.run} was trained on, whose "
            "rows are carried over; give `fit --warm-start`, which sets both keys"
        )


def read_data_fingerprint(run: RunDirectory) -> str:
    """Of the data set that a finished run was trained on; a day of a backtest is scored on another one.

    Raises:
        RunError: if it has not finished.
    """
    scored = run.read_metrics().data_fingerprint
    try:
        return str(orjson.loads(read_indexed(run.checkpoints / "best.json", run.again, run.path))["data_fingerprint"])
    except FileNotFoundError:  # which is said when the weights are read
        return scored


def open_earlier_model(config: Config, model: "RankingModel", data: PreparedData) -> "EarlierModel | None":
    """What the model takes over from the run in `training.warm_start`; None if there is none.

    Raises:
        RunError: if the run's weights do not fit, or are damaged, or have no optimiser's state beside them.
    """
    from din_train.training.checkpoint import load_weights, read_optimizer
    from din_train.training.warm_start import EarlierModel, EarlierOptimizer, match_ids

    warm_start, base = config.training.warm_start, config.vocabulary.base
    if warm_start is None or base is None:
        return None
    run, earlier_config = open_run_directory(warm_start.run)
    earlier_data = open_store(base, temp_folder=config.data.temp_folder)
    earlier = build_configured_model(earlier_config, earlier_data)
    checkpoint = load_weights(run.checkpoints, earlier)
    said = data.manifest.base or {}
    if not earlier_data.fingerprint == said.get("fingerprint") == checkpoint.data_fingerprint:
        raise RunError(f"{warm_start.run}: has changed since this command began; run the command again")
    optimizer, state = None, "reset"
    if warm_start.optimizer == "keep":
        saved = read_optimizer(run.checkpoints, checkpoint)
        if saved is None:
            raise RunError(
                f"training.warm_start.optimizer: {run.checkpoints} has no whole saved state, whose moments are to be "
                "kept; set it to reset"
            )
        optimizer = EarlierOptimizer(saved[1], earlier_config.training.optimizer.learning_rate)
        state = f"as after {saved[0]}"
    sources = match_ids(earlier_data, data)
    known = int(np.count_nonzero(sources["item_id"] >= 0)) - 2
    terminal.say(
        f"warm start from {warm_start.run}, epoch {checkpoint.epoch}: {known:,} of {data.num_items:,} items are known, "
        f"the others begin by new_rows: {warm_start.new_rows}; optimiser {state}"
    )
    return EarlierModel.of(str(warm_start.run), earlier, model, sources, optimizer)

"""`din-train fit`: train, keep the chosen epoch's weights, score the test split once."""

import shlex
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

import numpy as np

from din_train import terminal
from din_train.config import Config
from din_train.dataset.manifest import read_any_manifest
from din_train.dataset.prepare import prepare
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.environment import recorded_environment
from din_train.errors import ConfigError, DataError, Interrupted
from din_train.evaluation.metric_tables import show_metrics
from din_train.explain.weights import write_attention
from din_train.files import check_can_be_folder, follow_links
from din_train.report.report import write_report
from din_train.run_directory import (
    RUNS,
    RunDirectory,
    check_run_directory,
    create_run_directory,
    hold_run_directory,
    reopen_run_directory,
)
from din_train.scoring import (
    Metrics,
    Scored,
    build_configured_model,
    build_evaluation_batches,
    place_data,
    read_training_samples,
    score_split,
)
from din_train.signals import interrupted_exit_code, received_signal
from din_train.tensorflow_setup import start_tensorflow, strategy_scope, uses_xla

if TYPE_CHECKING:
    from din_train.batches import TrainingBatches
    from din_train.dataset.store import Samples
    from din_train.model.ranking_model import RankingModel
    from din_train.training.recorder import Watched
    from din_train.training.state import State
    from din_train.training.trainer import Refit


def fit(
    config: Config,
    *,
    run_dir: Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    seeds: Sequence[int] | None = None,
) -> list[Metrics]:
    """Train, keep the chosen epoch's weights, score the test split once; once a seed where several are given.

    Args:
        resume: go on with what an earlier `fit` with the same config left; a finished run only shows its metrics.

    Raises:
        ConfigError: see `hold_run_directory` and `check_run_directory`.
    """
    folder = run_dir or RUNS / config.name
    configs = [config.model_copy(update={"seed": seed}) for seed in seeds] if seeds else [config]
    names = [folder.with_name(f"{folder.name}-seed{each.seed}") if seeds else folder for each in configs]
    for each in names:
        check_can_be_folder(each)
    folders = [follow_links(each) for each in names]
    with ExitStack() as held:
        for path in folders:
            held.enter_context(hold_run_directory(path))
        results = _fit_all(configs, folders, overwrite=overwrite, resume=resume, named=folder, seeds=seeds)
    gaucs = [metrics["gauc"] for metrics in results if metrics["gauc"] is not None]
    if len(gaucs) > 1:
        terminal.say(f"{len(gaucs)} seeds: GAUC mean {statistics.mean(gaucs):.6f}, sd {statistics.stdev(gaucs):.6f}")
    return results


def _fit_all(
    configs: Sequence[Config],
    folders: Sequence[Path],
    *,
    overwrite: bool,
    resume: bool,
    named: Path,
    seeds: Sequence[int] | None,
) -> list[Metrics]:
    """Each config in its folder, which this process holds.

    Args:
        named, seeds: as the user gave them.
    """
    config = configs[0]
    for path, each in zip(folders, configs, strict=True):
        check_run_directory(path, each, overwrite=overwrite, resume=resume)
        _check_apart(path, config.data.prepared)
        if resume:
            _check_can_go_on(RunDirectory(path))
    finished = [resume and RunDirectory(path).is_finished for path in folders]
    if not all(finished):
        places = RunDirectory(folders[0]).list_prepared(config) if resume else []  # also from another folder
        prepared = next((each for each in places if read_any_manifest(each) is not None), config.data.prepared)
        manifest = prepare(place_data(config, prepared))
        data = open_store(prepared, checked=manifest)
        start_tensorflow(config.training.device, deterministic=config.training.deterministic)
    results = []
    for each, path, is_finished in zip(configs, folders, finished, strict=True):
        if is_finished:
            results.append(_show_finished(RunDirectory(path)))
            continue
        try:
            with strategy_scope(each.training.strategy):
                results.append(_fit_one(each, data, path, overwrite=overwrite, resume=resume))
        except KeyboardInterrupt:
            if not RunDirectory(path).config_file.exists():
                raise
            how = _describe_resuming(config, RunDirectory(path), named, seeds)
            raise Interrupted(how, interrupted_exit_code()) from None
    return results


def _check_can_go_on(run: RunDirectory) -> None:
    """Refuse to begin anew in the place of what was trained; damaged states are found later, when they are read."""
    if run.config_file.exists() and not (run.is_finished or run.has_state or run.is_barely_begun):
        raise ConfigError(_describe_no_state(run))


def _describe_no_state(run: RunDirectory) -> str:
    return (
        f"{run.path}: has no whole saved state to go on from, so --resume leaves it as it is; give --overwrite to "
        "train anew in its place, or another name (--set name=..., --run-dir)"
    )


def _show_finished(run: RunDirectory) -> Metrics:
    metrics = run.read_metrics()
    terminal.say(f"{run.path}: finished before, so there is nothing to resume; its metrics:")
    show_metrics(metrics)
    return metrics


def _check_apart(run_dir: Path, prepared: Path) -> None:
    """Each of the two is replaced as a whole, so neither may lie in the other."""
    check_can_be_folder(prepared)
    run, data = run_dir.resolve(), prepared.resolve()
    if run.is_relative_to(data) or data.is_relative_to(run):
        raise ConfigError(
            f"data.prepared: {prepared} and the run directory {run_dir} lie one in the other; choose another path"
        )


def _fit_one(config: Config, data: PreparedData, folder: Path, *, overwrite: bool, resume: bool) -> Metrics:
    training = read_training_samples(config, data, refit=False)
    if not len(training):
        without = data.manifest["dropped"].get("positives_without_a_negative", 0)
        why = (
            f"{without:,} positives have no item left that their user has not chosen, use a log with more items or "
            "negatives.exclude=history"
            if without
            else "every user has too few events, use a longer log"
        )
        raise DataError(f"{config.data.prepared}: protocol '{config.data.protocol}' leaves no training sample; {why}")
    watched = _find_watched_split(config, data)
    for split in (watched, Split.TEST):
        if split is not None:
            samples, _ = build_evaluation_batches(config, data, split)  # refuses an empty one, before any is written
            if split is watched and config.training.select_on != "none":
                _check_selection(config, split, samples)
    run, state = _open_run(config, data, folder, overwrite=overwrite, resume=resume)
    with recorded_environment(run, data.folder):
        scored = _train_and_score(config, data, run, training, state)
    write_report(run, config, scored.metrics)
    run.write_metrics(scored.metrics)  # last: what says that the run is finished
    show_metrics(scored.metrics)
    terminal.say(f"run directory: {run.path} (report: {run.report_file})")
    return scored.metrics


def _check_selection(config: Config, split: Split, samples: "Samples") -> None:
    """Before an epoch is trained that nothing could choose.

    Raises:
        DataError: if the metric that selects is undefined on the split.
    """
    from din_train.evaluation.metrics import compute_auc, compute_gauc

    metric, logits = config.training.early_stopping.metric, np.zeros(len(samples), np.float32)
    if metric == "auc" and compute_auc(samples.labels, logits) is None:
        lacks = "rows of both classes, clicked and not clicked"
    elif metric == "gauc" and not compute_gauc(samples.user_ids, samples.labels, logits, "impressions").users:
        lacks = "user with rows of both classes, clicked and not clicked"
    else:
        return
    raise DataError(
        f"{config.data.prepared}: its {split.name.lower()} split has no {lacks} ({len(samples):,} rows, "
        f"{int(samples.labels.sum()):,} of them clicked, of {len(np.unique(samples.user_ids)):,} users), so {metric}, "
        "which chooses the epoch, is undefined on it; use a longer log, or training.select_on=none"
    )


def _train_and_score(
    config: Config, data: PreparedData, run: RunDirectory, training: "Samples", state: "State | None"
) -> Scored:
    """Train what is still to train, score the test split with the weights that were kept, and write the scores."""
    from din_train.evaluation.scores import write_scores
    from din_train.training.checkpoint import load_weights, read_checkpoint
    from din_train.training.trainer import Refit

    of_refit = state if state and state.position.phase == "refit" else None
    model = None
    if of_refit is None and not (state and state.done):
        model = _train(config, data, run, training, state=state)
    if config.training.refit and not (of_refit and of_refit.done):
        plateau = config.training.optimizer.schedule.name == "plateau"
        epochs = read_checkpoint(run.checkpoints).epoch
        rates = tuple(each["learning_rate"] for each in run.read_history()[:epochs]) if plateau else None
        joined = read_training_samples(config, data, refit=True)
        model = _train(config, data, run, joined, refit=Refit(epochs, rates), state=of_refit)
    if model is None:
        model = build_configured_model(config, data)
    checkpoint = load_weights(run.checkpoints, model)
    scored = score_split(model, config, data, Split.TEST, checkpoint)
    write_scores(run.scores_file("test"), scored.rows)
    write_attention(run, config, data, model, scored.rows.logit)
    return scored


def _train(
    config: Config,
    data: PreparedData,
    run: RunDirectory,
    samples: "Samples",
    *,
    refit: "Refit | None" = None,
    state: "State | None",
) -> "RankingModel":
    """A new model, fitted to the samples; the run's best weights are in its checkpoints."""
    from din_train.training.regularization import build_regularizer
    from din_train.training.trainer import fit_model

    model = build_configured_model(config, data)
    fit_model(
        model,
        build_training_batches(config, data, samples),
        config,
        run,
        watched=None if refit else _watch(model, config, data),
        data_fingerprint=data.fingerprint,
        regularizer=build_regularizer(
            config.training.regularization, model, data, samples, unknown_rate=config.vocabulary.unknown_rate
        ),
        refit=refit,
        state=state,
    )
    return model


def _open_run(
    config: Config, data: PreparedData, folder: Path, *, overwrite: bool, resume: bool
) -> "tuple[RunDirectory, State | None]":
    """A run directory to train in, and where to go on, if there is a place.

    Raises:
        ConfigError: if there is a run to go on with, and no whole state of it.
        DataError: if the prepared data set is no longer the one trained on.
    """
    from din_train.training.checkpoint import remove_best
    from din_train.training.state import read_newest_state

    run = RunDirectory(folder)
    state = read_newest_state(run.checkpoints, report=terminal.say) if resume else None
    if state is None and resume:
        if run.config_file.exists() and not run.is_barely_begun:
            raise ConfigError(_describe_no_state(run))
        terminal.say(f"{folder}: no saved state, so training begins")
        if run.config_file.exists():
            reopen_run_directory(folder)
            remove_best(run.checkpoints)
            run.history_file.unlink(missing_ok=True)
            return run, None
    if state is None:
        return create_run_directory(folder, config, overwrite=overwrite), None
    if state.data_fingerprint != data.fingerprint:
        raise DataError(
            f"{config.data.prepared}: no longer the data set that {folder} was trained on, so it cannot go on; bring "
            "the log back as it was, or train anew with --overwrite"
        )
    run = reopen_run_directory(folder)
    run.write_history(state.history)
    terminal.say(f"{folder}: going on after {state.position}")
    return run, state


def build_training_batches(config: Config, data: PreparedData, samples: "Samples") -> "TrainingBatches":
    """The batches that the config trains on."""
    from din_train.batches import TrainingBatches

    return TrainingBatches(
        data,
        samples,
        batch_size=config.training.batch_size,
        max_history_length=config.data.max_history_length,
        unknown_rate=config.vocabulary.unknown_rate,
        seed=config.seed,
        resampled=config.negatives if config.negatives.resample == "epoch" else None,
        padded=uses_xla(config.training),
    )


def _describe_resuming(config: Config, run: RunDirectory, folder: Path, seeds: Sequence[int] | None) -> str:
    from din_train.training.state import find_newest_position

    signal = received_signal()
    by = signal.name if signal and signal != SIGINT else "Ctrl-C"
    position = find_newest_position(run.checkpoints)
    kept = f"state saved in {run.path} after {position}" if position else "no state saved yet"
    command = ["din-train", "fit", "--config", str(run.config_file)]
    command += [] if folder == RUNS / config.name else ["--run-dir", str(folder)]
    command += ["--seeds", ",".join(map(str, seeds))] if seeds else []
    return f"training stopped by {by}: {kept}; go on with `{shlex.join(command)} --resume`"


def _watch(model: "RankingModel", config: Config, data: PreparedData) -> "Watched | None":
    """The split scored after every epoch: validation where the protocol has one, test only if selection asks for it."""
    from din_train.evaluation.evaluate import compute_metrics, compute_scores
    from din_train.evaluation.scores import ScoredRows
    from din_train.training.recorder import Watched

    split = _find_watched_split(config, data)
    if split is None:
        return None
    samples, batches = build_evaluation_batches(config, data, split)
    return Watched(
        split,
        evaluate=lambda: compute_metrics(ScoredRows.of(samples, compute_scores(model, batches)), config.metrics),
        select=config.training.select_on != "none",
    )


def _find_watched_split(config: Config, data: PreparedData) -> Split | None:
    if config.training.select_on == "test":
        return Split.TEST
    if config.training.select_on == "none" and not data.manifest["samples"]["validation"]:
        return None  # nothing to watch, and nothing is chosen by it
    return None if config.data.protocol == "paper" else Split.VALIDATION

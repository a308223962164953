"""`din-train fit`: train, keep the chosen epoch's weights, score the test split once."""

import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

from din_train.config import Config
from din_train.errors import ConfigError, DataError, Interrupted
from din_train.report import terminal
from din_train.run_directory import (
    RUNS,
    RunDirectory,
    check_run_directory,
    create_run_directory,
    reopen_run_directory,
)
from din_train.samples.split import Split
from din_train.samples.store import PreparedData, open_store
from din_train.signals import interrupted_exit_code, received_signal
from din_train.tensorflow_setup import start_tensorflow, strategy_scope, uses_xla
from din_train.workflow.attention import write_attention
from din_train.workflow.environment import recorded_environment
from din_train.workflow.prepare import prepare
from din_train.workflow.report import write_report
from din_train.workflow.scoring import (
    Metrics,
    Scored,
    build_configured_model,
    build_evaluation_batches,
    read_training_samples,
    score_split,
)

if TYPE_CHECKING:
    from din_train.batches import TrainingBatches
    from din_train.model.ranking_model import RankingModel
    from din_train.samples.store import Samples
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
    """
    folder = run_dir or RUNS / config.name
    configs = [config.model_copy(update={"seed": seed}) for seed in seeds] if seeds else [config]
    folders = [folder.with_name(f"{folder.name}-seed{each.seed}") if seeds else folder for each in configs]
    for path, each in zip(folders, configs, strict=True):
        check_run_directory(path, each, overwrite=overwrite, resume=resume)
        _check_apart(path, config.data.prepared)
    finished = [resume and RunDirectory(path).is_finished for path in folders]
    if not all(finished):
        prepare(config)
        data = open_store(config.data.prepared)
        start_tensorflow(config.training.device, deterministic=config.training.deterministic)
    results = []
    for each, path, is_finished in zip(configs, folders, finished, strict=True):
        if is_finished:
            results.append(_show_finished(RunDirectory(path)))
            continue
        try:
            with strategy_scope(each.training.strategy):
                results.append(_fit_one(each, data, path, resume=resume))
        except KeyboardInterrupt:
            if not RunDirectory(path).config_file.exists():
                raise
            how = _describe_resuming(config, RunDirectory(path), folder, seeds)
            raise Interrupted(how, interrupted_exit_code()) from None
    gaucs = [metrics["gauc"] for metrics in results if metrics["gauc"] is not None]
    if len(gaucs) > 1:
        terminal.say(f"{len(gaucs)} seeds: GAUC mean {statistics.mean(gaucs):.6f}, sd {statistics.stdev(gaucs):.6f}")
    return results


def _show_finished(run: RunDirectory) -> Metrics:
    metrics = run.read_metrics()
    terminal.say(f"{run.path}: finished before, so there is nothing to resume; its metrics:")
    terminal.show_metrics(metrics)
    return metrics


def _check_apart(run_dir: Path, prepared: Path) -> None:
    """Each of the two is replaced as a whole, so neither may lie in the other."""
    run, data = run_dir.resolve(), prepared.resolve()
    if run.is_relative_to(data) or data.is_relative_to(run):
        raise ConfigError(
            f"data.prepared: {prepared} and the run directory {run_dir} lie one in the other; choose another path"
        )


def _fit_one(config: Config, data: PreparedData, folder: Path, *, resume: bool) -> Metrics:
    training = read_training_samples(config, data, refit=False)
    if not len(training):
        raise DataError(
            f"{config.data.prepared}: protocol '{config.data.protocol}' leaves no training sample; every user has "
            "too few events, use a longer log"
        )
    for split in (_find_watched_split(config, data), Split.TEST):
        if split is not None:
            build_evaluation_batches(config, data, split)  # refuses an empty split before anything is written
    run, state = _open_run(config, data, folder, resume=resume)
    with recorded_environment(run):
        scored = _train_and_score(config, data, run, training, state)
    write_report(run, config, scored.metrics)
    run.write_metrics(scored.metrics)  # last: what says that the run is finished
    terminal.show_metrics(scored.metrics)
    terminal.say(f"run directory: {run.path} (report: {run.report_file})")
    return scored.metrics


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


def _open_run(config: Config, data: PreparedData, folder: Path, *, resume: bool) -> "tuple[RunDirectory, State | None]":
    """A run directory to train in, and where to go on, if there is a place.

    Raises:
        DataError: if the prepared data set is no longer the one trained on.
    """
    from din_train.training.state import read_newest_state

    state = read_newest_state(RunDirectory(folder).checkpoints, report=terminal.say) if resume else None
    if state is None:
        if resume:
            check_run_directory(folder, config, overwrite=True, resume=False)  # it is replaced
            terminal.say(f"{folder}: no saved state, so training begins")
        return create_run_directory(folder, config), None
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
    from din_train.batches import Parts, TrainingBatches, choose_parts

    padded = uses_xla(config.training)
    whole = config.training.strategy == "mirrored"  # replicas each take a share of the rows
    return TrainingBatches(
        data,
        samples,
        batch_size=config.training.batch_size,
        max_history_length=config.data.max_history_length,
        unknown_rate=config.vocabulary.unknown_rate,
        seed=config.seed,
        resampled=config.negatives if config.negatives.resample == "epoch" else None,
        parts=Parts() if whole else choose_parts(config.training.batch_size, padded=padded),
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

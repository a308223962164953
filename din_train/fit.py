"""`din-train fit`, top to bottom: prepare the data, train, keep the chosen epoch's weights, score the test split once.

Several seeds are several runs, one after another. With `training.refit` a run trains twice: the first training chooses
the number of epochs, the second one trains for that many on training and validation rows.
"""

import shlex
import statistics
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from din_train import terminal
from din_train.config import Config
from din_train.dataset.manifest import read_any_manifest
from din_train.dataset.prepare import prepare
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.earlier_run import check_warm_start, open_earlier_model
from din_train.environment import recorded_environment
from din_train.errors import ConfigError, DataError, Interrupted
from din_train.evaluation.calibration import fit_calibration, read_calibration, write_calibration
from din_train.evaluation.display import show_metrics
from din_train.evaluation.evaluate import compute_metrics, find_groups
from din_train.evaluation.metrics import compute_auc, compute_gauc
from din_train.evaluation.scores import ScoredRows, write_scores
from din_train.files import check_can_be_folder, follow_links
from din_train.plan.plan import summarize
from din_train.run_directory import (
    RUNS,
    RunDirectory,
    check_run_directory,
    create_run_directory,
    hold_run_directory,
    name_run_directories,
    reopen_run_directory,
)
from din_train.run_metrics import Metrics, RunMetrics
from din_train.scoring import (
    build_configured_model,
    build_training_batches,
    list_prepared,
    place_data,
    read_split_samples,
    read_training_samples,
    score_samples,
    score_split,
)
from din_train.signals import interrupted_exit_code, name_signal
from din_train.tensorflow_setup import start_tensorflow, strategy_scope, uses_xla
from din_train.tracking import tracked
from din_train.training.chief import call_aside, load_same_weights, open_told_data, open_told_state, tell
from din_train.training.workers import Workers, find_workers

if TYPE_CHECKING:
    from din_train.dataset.store import Samples
    from din_train.model.ranking_model import RankingModel
    from din_train.training.callbacks import Watched
    from din_train.training.checkpoint import Checkpoint, State
    from din_train.training.trainer import Refit
    from din_train.training.training_batches import TrainingBatches


def fit(
    config: Config,
    *,
    run_dir: Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    seeds: Sequence[int] | None = None,
    score_test: bool = True,
) -> list[RunMetrics]:
    """Train and score one run, or one run per seed if seeds are given.

    With `training.strategy: multi_worker` this is one of several workers: see `din_train.training.chief`.

    Args:
        resume: go on with what an earlier `fit` with the same config left; a finished run only shows its metrics.
        score_test: if not, no test row is read, and the run is not finished; a later `resume` scores the test split.

    Returns:
        The test split's metrics of each run whose test split is scored; of several workers only the chief has them.

    Raises:
        ConfigError: see `hold_run_directory`, `check_run_directory` and `find_workers`.
    """
    workers = find_workers(config.training)
    folder = run_dir or RUNS / config.name
    configs = [config.model_copy(update={"seed": seed}) for seed in seeds] if seeds else [config]
    names = name_run_directories(config, run_dir, seeds)
    for name in names:
        check_can_be_folder(name)
    runs = [RunDirectory(follow_links(name)) for name in names]
    results = []
    with ExitStack() as held:
        if workers.is_chief:
            for run in runs:
                held.enter_context(hold_run_directory(run.path))
            for run, each in zip(runs, configs, strict=True):
                check_request(run, each, overwrite=overwrite, resume=resume, score_test=score_test)
        else:
            terminal.mute()
        if workers.count > 1:
            _start(config, workers)  # first of all, so that the others need not wait for them longer than for a start
            held.enter_context(workers.ending_together())
        finished = tell(workers, lambda: [resume and run.is_finished for run in runs])
        data = None if all(finished) else _prepare_and_start(config, runs[0], workers, resume=resume)
        for run, each, is_finished in zip(runs, configs, finished, strict=True):
            if data is None or is_finished:
                if workers.is_chief:
                    terminal.say(f"{run.path}: finished before, so there is nothing to resume; its metrics:")
                    results.append(run.read_metrics())
                    show_metrics(results[-1])
                continue
            try:
                # A worker alone has nobody to meet, but it may have several GPUs.
                alone = workers.count == 1 and each.training.strategy == "multi_worker"
                told = tracked(run, each) if workers.is_chief else nullcontext(run)
                strategy = "mirrored" if alone else each.training.strategy
                with strategy_scope(strategy), told as tracked_run, workers.leaving():
                    metrics = _fit_one(
                        tracked_run, each, data, workers, overwrite=overwrite, resume=resume, score_test=score_test
                    )
                results += [] if metrics is None else [metrics]
            except KeyboardInterrupt:
                if not workers.is_chief:
                    raise Interrupted([], interrupted_exit_code()) from None  # the chief says what is saved
                if not run.config_file.exists():
                    raise
                stop = _describe_stop(run, config, folder, seeds, workers, score_test=score_test)
                raise Interrupted(stop, interrupted_exit_code()) from None
    gaucs = [metrics.gauc for metrics in results if metrics.gauc is not None]
    if len(gaucs) > 1:
        terminal.say(f"{len(gaucs)} seeds: GAUC mean {statistics.mean(gaucs):.6f}, sd {statistics.stdev(gaucs):.6f}")
    return results


def check_request(run: RunDirectory, config: Config, *, overwrite: bool, resume: bool, score_test: bool) -> None:
    """Refuse what cannot be done in this run directory, before any work is done.

    Damaged states are found later, when they are read.
    """
    check_run_directory(run.path, config, overwrite=overwrite, resume=resume)
    prepared = config.data.prepared
    check_can_be_folder(prepared)
    one, other = run.path.resolve(), prepared.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):  # each of the two is replaced as a whole
        raise ConfigError(
            f"data.prepared: {prepared} and the run directory {run.path} overlap: one is, or lies inside, the other; "
            "choose another path"
        )
    if not score_test and config.training.select_on == "test":
        raise ConfigError("training.select_on: received 'test', whose rows --no-test leaves unread; drop one")
    if not (resume and run.config_file.exists()):
        check_warm_start(config, run.path)
    elif not (run.is_finished or run.has_state or run.is_barely_begun):
        raise ConfigError(_describe_no_state(run))


def _start(config: Config, workers: Workers) -> None:
    connect = workers.connect if workers.count > 1 else None
    start_tensorflow(config.training.device, deterministic=config.training.deterministic, connect=connect)


def _prepare_and_start(config: Config, run: RunDirectory, workers: Workers, *, resume: bool) -> PreparedData:
    """Prepare the data set if it is missing or out of date, open it, and start TensorFlow if it has not been started.

    A run that is resumed finds its data set from any folder.
    """
    if not workers.is_chief:
        folder, fingerprint = tell(workers, lambda: ("", ""))
        return open_told_data(workers, Path(folder), fingerprint, config.data.temp_folder)
    places = list_prepared(run, config) if resume else []
    prepared = next((each for each in places if read_any_manifest(each) is not None), config.data.prepared)
    manifest = prepare(place_data(config, prepared))
    data = open_store(prepared, checked=manifest, temp_folder=config.data.temp_folder)
    if workers.count == 1:
        _start(config, workers)
    for line in call_aside(lambda: summarize(config, data, run.path, workers=workers.count_here)):
        terminal.say(line)
    tell(workers, lambda: (str(prepared), data.fingerprint))
    return data


def _fit_one(
    run: RunDirectory,
    config: Config,
    data: PreparedData,
    workers: Workers,
    *,
    overwrite: bool,
    resume: bool,
    score_test: bool,
) -> RunMetrics | None:
    """Train in one run directory, score the test split with the weights that were kept, and write the results.

    Returns:
        The metrics; None if this is not the chief, or the test split is not scored.
    """
    from din_train.explain.examples import write_attention
    from din_train.report.report import write_report

    samples = read_training_samples(config, data, refit=False)
    _check_samples(config, data, samples)
    if score_test:
        read_split_samples(config, data, Split.TEST)  # refuses an empty one before anything is written
    batches = build_training_batches(config, data, samples)
    _check_lists(config, batches.draw(0))
    state = _open_told_run(run, config, data, workers, overwrite=overwrite, resume=resume)
    with recorded_environment(run, data.folder, workers.count) if workers.is_chief else nullcontext():
        model, checkpoint = _train(run, config, data, samples, batches, state, workers)
        if not score_test:
            terminal.say(f"run directory: {run.path} (no test row was read)")
            return tell(workers, lambda: None)
        logits = score_samples(model, config, data, read_split_samples(config, data, Split.TEST), workers)
        if not workers.is_chief:
            return tell(workers, lambda: None)  # when the chief has written all
        calibration = read_calibration(run, config.training.calibration)
        metrics, rows = score_split(model, config, data, Split.TEST, checkpoint, calibration, logits)
        write_scores(run.scores_file("test"), rows)
        write_attention(run, config, data, model, rows.logit, calibration)
    write_report(run, config, metrics)
    run.write_metrics(metrics)  # last: this file says that the run is finished
    show_metrics(metrics)
    terminal.say(f"run directory: {run.path} (report: {run.report_file})")
    tell(workers, lambda: None)
    return metrics


def _check_samples(config: Config, data: PreparedData, samples: "Samples") -> None:
    """Refuse splits that cannot be trained on or selected by, before anything is written.

    Raises:
        ConfigError: if the watched split is empty.
        DataError: if there is no training sample, the metric that selects is undefined on the watched split, or the
            calibration has no validation rows of both classes.
    """
    if not len(samples):
        without = data.manifest.dropped.get("positives_without_a_negative", 0)
        why = (
            f"{without:,} positives have no item left that their user has not chosen, use a log with more items or "
            "negatives.exclude=history"
            if without
            else "no target is after the base's last event, use a later log or set data.since_base to false"
            if config.data.since_base
            else "every user has too few events, use a longer log"
        )
        raise DataError(f"{config.data.prepared}: protocol '{config.data.protocol}' leaves no training sample; {why}")
    _check_calibration(config, data)
    watched = _find_watched_split(config, data)
    if watched is not None:
        rows = read_split_samples(config, data, watched)
        if config.training.select_on != "none":
            _check_selection(config, data, watched, rows)


def _check_lists(config: Config, samples: "Samples") -> None:
    """Say how many lists a loss of lists leaves out; refuse a log of which it would leave out all.

    Args:
        samples: the first epoch's.
    """
    loss = config.training.loss
    if not loss.is_of_lists:
        return
    lists, compared = samples.find_lists(), samples.find_compared()
    sizes = np.bincount(lists)
    without = len(sizes) - len(np.unique(lists[compared]))
    if without == len(sizes):
        raise ConfigError(
            f"training.loss.name: received '{loss.name}', which compares the rows of a list, but none of the "
            f"{len(sizes):,} lists of {config.data.prepared} has a clicked row and another (a list is a positive with "
            "its negatives, or the rows of a request, see data.columns.request); use logloss"
        )
    if uses_xla(config.training) and len(np.unique(sizes)) > 1:
        raise ConfigError(
            f"training.jit_compile: XLA takes batches of one size, which would cut the lists that loss '{loss.name}' "
            "compares, since they have different numbers of rows; set it to off"
        )
    if without:
        terminal.say(
            f"loss {loss.name}: {without:,} of {len(sizes):,} lists of training rows have clicked rows only, or none, "
            "so nothing is learned from them"
        )


def _check_calibration(config: Config, data: PreparedData) -> None:
    if config.training.calibration == "none":
        return
    samples = data.samples(Split.VALIDATION, config.data.max_history_length)
    if 0 < int(samples.labels.sum()) < len(samples):
        return
    raise DataError(
        f"training.calibration: received '{config.training.calibration}', which is fitted on validation rows, but "
        f"{config.data.prepared} has {len(samples):,} of them, {int(samples.labels.sum()):,} clicked; use "
        "training.calibration=none, or a split with validation rows of both classes"
    )


def _check_selection(config: Config, data: PreparedData, split: Split, samples: "Samples") -> None:
    metric, logits = config.training.early_stopping.metric, np.zeros(len(samples), np.float32)
    rows = ScoredRows.of(samples, logits, find_groups(data, samples, config.metrics.group))
    if metric == "auc" and compute_auc(rows.label, logits, rows.weight) is None:
        lacks = "rows of both classes, clicked and not clicked"
    elif metric == "gauc" and not compute_gauc(rows.groups, rows.label, logits, weights=rows.weight).users:
        lacks = f"{config.metrics.group} with rows of both classes, clicked and not clicked"
    else:
        return
    raise DataError(
        f"{config.data.prepared}: its {split.name.lower()} split has no {lacks} ({len(samples):,} rows, "
        f"{int(samples.labels.sum()):,} of them clicked, of {len(np.unique(samples.user_ids)):,} users), so {metric}, "
        "which chooses the epoch, is undefined on it; use a longer log, or training.select_on=none"
    )


def _open_told_run(
    run: RunDirectory, config: Config, data: PreparedData, workers: Workers, *, overwrite: bool, resume: bool
) -> "State | None":
    """The state to go on from, on every worker; only the chief makes the run directory ready."""
    state = _open_run(run, config, data, overwrite=overwrite, resume=resume) if workers.is_chief else None
    if workers.count == 1:
        return state
    from din_train.training.checkpoint import Position

    identity, position = tell(workers, lambda: (run.compute_identity(), vars(state.position) if state else None))
    if workers.is_chief:
        return state
    return open_told_state(workers, run, identity, Position(**position) if position else None)


def _open_run(
    run: RunDirectory, config: Config, data: PreparedData, *, overwrite: bool, resume: bool
) -> "State | None":
    """Make the run directory ready to train in.

    Returns:
        The state to go on from; None if training begins.

    Raises:
        ConfigError: if there is a run to go on with, but no undamaged state of it.
        DataError: if the prepared data set is no longer the one that the run was trained on.
    """
    from din_train.training.checkpoint import read_newest_state, remove_best

    state = read_newest_state(run.checkpoints, report=terminal.say) if resume else None
    if state is not None:
        if state.data_fingerprint != data.fingerprint:
            raise DataError(
                f"{config.data.prepared}: no longer the data set that {run.path} was trained on, so it cannot go on; "
                "bring the log back as it was, or train anew with --overwrite"
            )
        reopen_run_directory(run.path)
        run.write_history(state.history)
        terminal.say(f"{run.path}: going on after {state.position}")
        return state
    begun = resume and run.config_file.exists()
    if begun and not run.is_barely_begun:
        raise ConfigError(_describe_no_state(run))
    if resume:
        terminal.say(f"{run.path}: no saved state, so training begins")
    if begun:
        reopen_run_directory(run.path)
        remove_best(run.checkpoints)
        run.history_file.unlink(missing_ok=True)
    else:
        create_run_directory(run.path, config, overwrite=overwrite)
    return None


def _train(
    run: RunDirectory,
    config: Config,
    data: PreparedData,
    samples: "Samples",
    batches: "TrainingBatches",
    state: "State | None",
    workers: Workers,
) -> "tuple[RankingModel, Checkpoint]":
    """Train what is still to train: the model, and its refit if one is configured.

    Returns:
        The model with the weights that were kept, and their record.
    """
    from din_train.training.checkpoint import read_checkpoint
    from din_train.training.trainer import Refit

    refit_state = state if state and state.position.phase == "refit" else None
    model = None
    if refit_state is None and not (state and state.done):
        model = _train_once(run, config, data, samples, batches, state=state, workers=workers)
    if refit_state is None and config.training.calibration != "none":
        model = model or build_configured_model(config, data)
        load_same_weights(workers, run.checkpoints, model)
        _calibrate(run, config, data, model, workers)
    if config.training.refit and not (refit_state and refit_state.done):
        epochs = tell(workers, lambda: read_checkpoint(run.checkpoints).epoch)
        is_plateau = config.training.optimizer.schedule.name == "plateau"
        records = tell(workers, lambda: run.read_history()[:epochs] if is_plateau else [])
        rates = tuple(each["learning_rate"] for each in records)
        refit = Refit(epochs, rates if is_plateau else None)
        joined = read_training_samples(config, data, refit=True)
        batches = build_training_batches(config, data, joined)
        model = _train_once(run, config, data, joined, batches, refit=refit, state=refit_state, workers=workers)
    if model is None:
        model = build_configured_model(config, data)
    return model, load_same_weights(workers, run.checkpoints, model)


def _calibrate(run: RunDirectory, config: Config, data: PreparedData, model: "RankingModel", workers: Workers) -> None:
    """Fit the calibration to the validation rows, which this model was not trained on, and keep it with the run."""
    samples = read_split_samples(config, data, Split.VALIDATION)
    logits = score_samples(model, config, data, samples, workers)
    if not workers.is_chief:
        return
    calibration = fit_calibration(config.training.calibration or "none", samples.labels, logits, samples.weights)
    if calibration.slope == 0:
        terminal.say(
            f"{run.path}: on the validation rows better scores are no likelier clicks, so every calibrated probability "
            f"is their share of clicks, {calibration.positive_share:.4%}"
        )
    write_calibration(run, calibration)


def _train_once(
    run: RunDirectory,
    config: Config,
    data: PreparedData,
    samples: "Samples",
    batches: "TrainingBatches",
    *,
    refit: "Refit | None" = None,
    state: "State | None",
    workers: Workers,
) -> "RankingModel":
    """A new model, fitted to the samples by their batches.

    It has the last epoch's weights; the run's checkpoints have the best ones.
    """
    from din_train.model.spectral import initialize_spectral
    from din_train.training.regularization import build_regularizer
    from din_train.training.trainer import fit_model
    from din_train.training.unmoved_rows import UnmovedRows
    from din_train.training.warm_start import find_carried_rows

    model = build_configured_model(config, data)
    if config.model.embedding_initializer == "spectral" and state is None:
        initialize_spectral(model.item_embedding, data, samples)
    warm_start = config.training.warm_start
    earlier = open_earlier_model(config, model, data) if state is None else None
    if earlier is not None and warm_start is not None:
        earlier.carry_weights(model, data, warm_start.new_rows)
    unknown_rate = config.vocabulary.unknown_rate
    fit_model(
        model,
        batches,
        config,
        run,
        watched=None if refit else _watch(model, config, data, workers),
        data_fingerprint=data.fingerprint,
        regularizer=build_regularizer(
            config.training.regularization,
            model,
            data,
            batches.draw(0),
            unknown_rate=unknown_rate,
            search=batches.search,
        ),
        unmoved_rows=UnmovedRows(
            data,
            batches,
            unknown_rate=unknown_rate,
            # DIEN's auxiliary loss learns from all histories
            compared_only=config.training.loss.is_of_lists and config.model.name != "dien",
            carried=find_carried_rows(model, data) if warm_start is not None else None,
        ),
        refit=refit,
        state=state,
        workers=workers,
        earlier=earlier,
    )
    return model


def _watch(model: "RankingModel", config: Config, data: PreparedData, workers: Workers) -> "Watched | None":
    """The split that is scored after every epoch, and how."""
    from din_train.training.callbacks import Watched

    split = _find_watched_split(config, data)
    if split is None:
        return None
    samples = read_split_samples(config, data, split)
    groups = find_groups(data, samples, config.metrics.group)

    def evaluate() -> Metrics:
        logits = score_samples(model, config, data, samples, workers)
        rows = ScoredRows.of(samples, logits, groups)
        return Metrics(**tell(workers, lambda: vars(compute_metrics(rows, config.metrics))))

    return Watched(
        split,
        evaluate=evaluate,
        selection_metric=None if config.training.select_on == "none" else config.training.early_stopping.metric,
        recorded=("auc", "gauc") if config.training.loss.is_of_lists else ("auc", "gauc", "logloss"),
    )


def _find_watched_split(config: Config, data: PreparedData) -> Split | None:
    """Validation if the protocol has such a split, test only if `training.select_on` asks for it."""
    if config.training.select_on == "test":
        return Split.TEST
    if config.training.select_on == "none" and not data.manifest.samples["validation"]:
        return None  # nothing to watch, and nothing is chosen by it
    return None if config.data.protocol == "paper" else Split.VALIDATION


def _describe_no_state(run: RunDirectory) -> str:
    return (
        f"{run.path}: has no whole saved state to go on from, so --resume leaves it as it is; give --overwrite to "
        "train anew in its place, or another name (--set name=..., --run-dir)"
    )


def _describe_stop(
    run: RunDirectory,
    config: Config,
    folder: Path,
    seeds: Sequence[int] | None,
    workers: Workers,
    *,
    score_test: bool,
) -> str:
    """Where the training stopped, and the command that goes on; folder and seeds as the user gave them."""
    from din_train.training.checkpoint import find_newest_position

    position = find_newest_position(run.checkpoints)
    kept = f"state saved in {run.path} after {position}" if position else "no state saved yet"
    if workers.count > 1:
        return f"training stopped by {name_signal()}: {kept}; start all workers again with --resume"
    command = ["din-train", "fit", "--config", str(run.config_file)]
    command += [] if folder == RUNS / config.name else ["--run-dir", str(folder)]
    command += ["--seeds", ",".join(map(str, seeds))] if seeds else []
    command += [] if score_test else ["--no-test"]
    return f"training stopped by {name_signal()}: {kept}; go on with `{shlex.join(command)} --resume`"

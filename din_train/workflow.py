"""The only place that wires the stages together: one function a command."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from din_train.config import Config, dump_config
from din_train.errors import ConfigError, DataError, Interrupted
from din_train.evaluation.compare import compare_metrics
from din_train.logs import input_files
from din_train.report import terminal
from din_train.run_directory import (
    RUNS,
    RunDirectory,
    check_run_directory,
    create_run_directory,
    open_run_directory,
)
from din_train.samples.prepare import prepare_data
from din_train.samples.split import Split
from din_train.samples.store import PreparedData, open_store
from din_train.signals import interrupted_exit_code, received_signal
from din_train.tensorflow_setup import start_tensorflow, uses_xla

if TYPE_CHECKING:
    from din_train.batches import EvaluationBatches
    from din_train.model.ranking_model import RankingModel
    from din_train.samples.store import Samples
    from din_train.training.trainer import Watched

Metrics = dict[str, Any]


def prepare(config: Config, *, force: bool = False) -> None:
    """Make the prepared data set where it is missing or does not match, and show what it holds."""
    total = sum(path.stat().st_size for path in input_files(config.data))
    with terminal.reading_progress(total) as progress:
        preparation = prepare_data(config, force=force, progress=progress)
    if preparation.reason is None:
        terminal.say(f"{config.data.prepared}: up to date")
    else:
        terminal.say(f"{config.data.prepared}: prepared, because {preparation.reason}")
        terminal.show_table(terminal.build_preparation_table(preparation.manifest))


def fit(
    config: Config, *, run_dir: Path | None = None, overwrite: bool = False, seeds: Sequence[int] | None = None
) -> list[Metrics]:
    """Train, keep the chosen epoch's weights, score the test split once; once a seed where several are given."""
    folder = run_dir or RUNS / config.name
    configs = [config.model_copy(update={"seed": seed}) for seed in seeds] if seeds else [config]
    folders = [folder.with_name(f"{folder.name}-seed{each.seed}") if seeds else folder for each in configs]
    for path in folders:
        check_run_directory(path, overwrite=overwrite)
        _check_apart(path, config.data.prepared)
    prepare(config)
    data = open_store(config.data.prepared)
    start_tensorflow(config.training.device)
    results = [_fit_one(each, data, path) for each, path in zip(configs, folders, strict=True)]
    gaucs = [metrics["gauc"] for metrics in results if metrics["gauc"] is not None]
    if len(gaucs) > 1:
        terminal.say(f"{len(gaucs)} seeds: GAUC mean {statistics.mean(gaucs):.6f}, sd {statistics.stdev(gaucs):.6f}")
    return results


def _check_apart(run_dir: Path, prepared: Path) -> None:
    """Each of the two is replaced as a whole, so neither may lie in the other."""
    run, data = run_dir.resolve(), prepared.resolve()
    if run.is_relative_to(data) or data.is_relative_to(run):
        raise ConfigError(
            f"data.prepared: {prepared} and the run directory {run_dir} lie one in the other; choose another path"
        )


def evaluate(run_dir: Path, *, split: str, as_json: bool) -> Metrics:
    """Score a run's weights on a split again, from its files alone."""
    run, config = open_run_directory(run_dir)
    start_tensorflow(config.training.device)
    from din_train.model.build import build_model
    from din_train.training.checkpoint import load_weights, read_checkpoint

    checkpoint = read_checkpoint(run.checkpoints)
    data = open_store(config.data.prepared)
    if data.fingerprint != checkpoint.data_fingerprint:
        raise DataError(
            f"{config.data.prepared}: not the data set this run was trained on; run `din-train prepare --force "
            f"--config {run.config_file}` to make that one again from the logs"
        )
    model = build_model(config.model, data, seed=config.seed, precision=config.training.precision)
    load_weights(run.checkpoints, model)
    metrics = _score(model, config, data, Split[split.upper()], best_epoch=checkpoint.epoch).metrics
    run.write_metrics(metrics, split)
    if as_json:
        print(orjson.dumps(metrics, option=orjson.OPT_INDENT_2).decode())
    else:
        terminal.show_table(terminal.build_metrics_table(metrics))
    return metrics


def compare(run_dirs: Sequence[Path], *, as_json: bool) -> None:
    """Finished runs side by side; the first is the base of RelaImpr."""
    metrics = {str(path): open_run_directory(path)[0].read_metrics() for path in run_dirs}
    comparison = compare_metrics(metrics)
    if as_json:
        print(comparison.reset_index(names="run").to_json(orient="records", indent=2))
    else:
        terminal.show_table(terminal.build_comparison_table(comparison))


def _fit_one(config: Config, data: PreparedData, folder: Path) -> Metrics:
    from din_train.batches import TrainingBatches, choose_parts
    from din_train.model.build import build_model
    from din_train.training.checkpoint import load_weights
    from din_train.training.regularization import build_regularizer
    from din_train.training.trainer import fit_model

    training = data.samples(Split.TRAIN, config.data.max_history_length)
    if not len(training):
        raise DataError(
            f"{config.data.prepared}: protocol '{config.data.protocol}' leaves no training sample; every user has "
            "too few events, use a longer log"
        )
    padded = uses_xla(config.training.jit_compile)
    batches = TrainingBatches(
        data,
        training,
        batch_size=config.training.batch_size,
        max_history_length=config.data.max_history_length,
        unknown_rate=config.vocabulary.unknown_rate,
        seed=config.seed,
        resampled=config.negatives if config.negatives.resample == "epoch" else None,
        parts=choose_parts(config.training.batch_size, padded=padded),
    )
    for split in (_find_watched_split(config), Split.TEST):
        if split is not None:
            _evaluation_batches(config, data, split)  # refuses an empty split before anything is written
    run = create_run_directory(folder, config)
    try:
        model = build_model(config.model, data, seed=config.seed, precision=config.training.precision, padded=padded)
        fit_model(
            model,
            batches,
            config,
            run,
            watched=_watch(model, config, data),
            data_fingerprint=data.fingerprint,
            regularizer=build_regularizer(config.training.regularization, model, data, training),
        )
        checkpoint = load_weights(run.checkpoints, model)
        scored = _score(model, config, data, Split.TEST, best_epoch=checkpoint.epoch)
        run.write_metrics(scored.metrics)
        _write_report(run, config, data, scored)
    except KeyboardInterrupt:
        raise Interrupted(_describe_what_is_kept(run), interrupted_exit_code()) from None
    terminal.show_table(terminal.build_metrics_table(scored.metrics))
    terminal.say(f"run directory: {run.path} (report: {run.report_file})")
    return scored.metrics


def _write_report(run: RunDirectory, config: Config, data: PreparedData, scored: "_Scored") -> None:
    from din_train.report.html import RunReport, build_html

    page = build_html(
        RunReport(
            name=run.path.name,
            metrics=scored.metrics,
            history=run.read_history(),
            labels=scored.labels,
            logits=scored.logits,
            manifest=data.manifest,
            config=dump_config(config),
        )
    )
    run.write_report(page)


def _describe_what_is_kept(run: RunDirectory) -> str:
    signal = received_signal()
    by = signal.name if signal and signal != SIGINT else "Ctrl-C"
    epochs = len(run.read_history())
    kept = (
        f"{epochs} finished epoch(s) kept in {run.path}; score them with `din-train eval --run-dir {run.path}`"
        if epochs
        else f"no epoch had finished; {run.path} holds the config only, --overwrite trains it again"
    )
    return f"training stopped by {by}: {kept}"


def _watch(model: "RankingModel", config: Config, data: PreparedData) -> "Watched | None":
    """The split scored after every epoch: validation where the protocol has one, test only if selection asks for it."""
    from din_train.evaluation.evaluate import compute_metrics, compute_scores
    from din_train.training.trainer import Watched

    split = _find_watched_split(config)
    if split is None:
        return None
    samples, batches = _evaluation_batches(config, data, split)
    return Watched(
        split,
        evaluate=lambda: compute_metrics(samples, compute_scores(model, batches)),
        select=config.training.select_on != "none",
    )


def _find_watched_split(config: Config) -> Split | None:
    if config.training.select_on == "test":
        return Split.TEST
    return None if config.data.protocol == "paper" else Split.VALIDATION


@dataclass(frozen=True)
class _Scored:
    """A split's metrics, as `metrics.json` has them, and the [S] labels and logits they come from."""

    metrics: Metrics
    labels: NDArray[np.int8]
    logits: NDArray[np.float32]


def _score(model: "RankingModel", config: Config, data: PreparedData, split: Split, *, best_epoch: int) -> _Scored:
    from din_train.evaluation.evaluate import compute_metrics, compute_scores

    samples, batches = _evaluation_batches(config, data, split)
    logits = compute_scores(model, batches)
    metrics = {
        "model": config.model.name,
        "protocol": config.data.protocol,
        "split": split.name.lower(),
        "selected_on": config.training.select_on,
        **asdict(compute_metrics(samples, logits)),
        "gauc_weighting": "impressions",
        "negatives": (
            config.negatives.model_dump(mode="json") if data.manifest["negatives"] == "sampled" else "in the log"
        ),
        "seed": config.seed,
        "best_epoch": best_epoch,
        "parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        "data_fingerprint": data.fingerprint,
    }
    return _Scored(metrics, samples.labels, logits)


def _evaluation_batches(config: Config, data: PreparedData, split: Split) -> "tuple[Samples, EvaluationBatches]":
    from din_train.batches import EvaluationBatches

    samples = data.samples(split, config.data.max_history_length)
    if not len(samples):
        raise ConfigError(
            f"split '{split.name.lower()}': protocol '{config.data.protocol}' gives it no sample in "
            f"{config.data.prepared}; choose another split or protocol"
        )
    batches = EvaluationBatches(
        data,
        samples,
        batch_size=config.training.evaluation_batch_size,
        max_history_length=config.data.max_history_length,
    )
    return samples, batches

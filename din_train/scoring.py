"""A run's model, its batches, and its scores on a split, which `fit` ends with and `eval` computes again."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from din_train import terminal
from din_train.config import Config
from din_train.dataset.category_search import CategorySearch
from din_train.dataset.manifest import Manifest, read_any_manifest, read_manifest
from din_train.dataset.names import hash_rows, read_names
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples, open_store
from din_train.dataset.training_rows import changes_between_epochs, describe_drawn, draw_epoch, read_rows
from din_train.errors import ConfigError, DataError, DinTrainError, RunError
from din_train.evaluation.calibration import UNCALIBRATED, Calibration, read_calibration
from din_train.evaluation.display import show_metrics
from din_train.evaluation.evaluate import (
    compute_candidate_gauc,
    compute_intervals,
    compute_metrics,
    compute_scores,
    compute_slice_metrics,
    find_groups,
    find_slices,
)
from din_train.evaluation.metrics import hash_definition
from din_train.evaluation.scores import ScoredRows, write_scores
from din_train.files import follow_links, hold
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.run_metrics import RunMetrics
from din_train.tensorflow_setup import start_tensorflow, uses_xla
from din_train.training.workers import Workers

if TYPE_CHECKING:
    from din_train.model.ranking_model import RankingModel
    from din_train.training.checkpoint import Checkpoint
    from din_train.training.training_batches import TrainingBatches


ALONE = Workers()


@dataclass(frozen=True)
class OpenedRun:
    """A run with its best weights loaded, and the data set it was trained on.

    identity: see `RunDirectory.compute_identity`. calibration: what turns its scores into probabilities.
    """

    run: RunDirectory
    identity: str
    config: Config
    data: PreparedData
    model: "RankingModel"
    checkpoint: "Checkpoint"
    calibration: Calibration


def open_run(run_dir: Path, overrides: Sequence[str] = ()) -> OpenedRun:
    """Open a run as `fit` left it, from its files alone.

    Args:
        overrides: see `open_run_directory`.

    Raises:
        ConfigError: see `open_run_directory`.
        DataError: if its prepared data set is missing, or has been replaced by another.
        RunError: if it has no weights, they are damaged, or another process replaces the run meanwhile.
    """
    identity = RunDirectory(follow_links(run_dir)).compute_identity()  # before anything of it is read
    run, config = open_run_directory(run_dir, overrides)
    start_tensorflow(config.training.device, deterministic=config.training.deterministic)
    from din_train.training.checkpoint import load_weights, read_record

    prepared, _ = find_prepared(run, config, read_record(run.checkpoints).data_fingerprint, overrides)
    config = place_data(config, prepared)
    data = open_store(prepared, temp_folder=config.data.temp_folder)
    model = build_configured_model(config, data)
    checkpoint = load_weights(run.checkpoints, model)
    calibration = read_calibration(run, config.training.calibration)
    if checkpoint.data_fingerprint != data.fingerprint or run.compute_identity() != identity:
        raise RunError(f"{run.path}: has changed while it was opened; run the command again")
    return OpenedRun(run, identity, config, data, model, checkpoint, calibration)


@contextmanager
def keep_in_run(run: RunDirectory, identity: str, what: str) -> Iterator[None]:
    """The body writes `what` into a run that was opened, which no other process may use or have changed meanwhile.

    Args:
        identity: of the run as it was opened.

    Raises:
        RunError: if it could not be kept, with the reason.
    """
    try:
        with hold(run.path):
            if run.compute_identity() != identity:
                raise RunError(f"{run.path}: another training has replaced it, or gone on with it, meanwhile")
            yield
    except (OSError, DinTrainError) as error:
        problems = error.problems if isinstance(error, DinTrainError) else [f"{error.filename}: {error.strerror}"]
        raise RunError(f"{run.path}: {what} could not be kept ({'; '.join(problems)})") from error


def place_data(config: Config, prepared: Path) -> Config:
    """The config with the prepared data set in this folder."""
    return config.model_copy(update={"data": config.data.model_copy(update={"prepared": prepared})})


def list_prepared(run: RunDirectory, config: Config) -> list[Path]:
    """Where the prepared data set may be: as the config says, where it was, or at the same path from the run."""
    places = [config.data.prepared]
    with suppress(RunError):
        environment = run.read_environment()
        prepared, before = (environment.get(key) for key in ("prepared", "run_directory"))
        if isinstance(prepared, str) and isinstance(before, str):
            places += [Path(prepared), run.path / os.path.relpath(prepared, before)]
    absolute = [Path(os.path.abspath(each)) for each in places]  # noqa: PTH100 - resolve would follow links
    return [each for number, each in enumerate(places) if absolute.index(absolute[number]) == number]


def find_prepared(
    run: RunDirectory, config: Config, fingerprint: str, overrides: Sequence[str] = ()
) -> tuple[Path, Manifest]:
    """The folder and the manifest of the data set that a run was trained on.

    Args:
        config: with the overrides applied.
        overrides: if one of them is `data.prepared=...`, only that folder is looked at.

    Raises:
        DataError: if no folder in question holds it.
    """
    is_given = any(each.partition("=")[0].strip() == "data.prepared" for each in overrides)
    places = [config.data.prepared] if is_given else list_prepared(run, config)
    others = []
    for place in places:
        manifest = read_manifest(place)
        if manifest is not None and manifest.fingerprint == fingerprint:
            return place, manifest
        others += [place] if read_any_manifest(place) is not None else []
    again = f"din-train prepare --config {run.config_file}"
    if others:
        raise DataError(
            f"{_name(others[:1])}: not the data set this run was trained on; say where that one is, with `--set "
            f"data.prepared=FOLDER`, or make it again from the logs: `{again} --force`"
        )
    raise DataError(
        f"{_name(places)}: no prepared data set here, and {run.path} was trained on one; say where it is, with `--set "
        f"data.prepared=FOLDER`, or make it again from the logs: `{again}`"
    )


def _name(places: Sequence[Path]) -> str:
    return ", ".join(os.path.abspath(each) for each in places)  # noqa: PTH100 - resolve would follow links


def score_split(
    model: "RankingModel",
    config: Config,
    data: PreparedData,
    split: Split,
    checkpoint: "Checkpoint",
    calibration: Calibration = UNCALIBRATED,
    logits: NDArray[np.float32] | None = None,
) -> tuple[RunMetrics, ScoredRows]:
    """Score a split, and compute its metrics and record how they came about.

    Args:
        logits: of the split, if it has been scored by several workers.
    """
    samples = read_split_samples(config, data, split)
    group = config.metrics.group
    logits = score_samples(model, config, data, samples) if logits is None else logits
    groups = find_groups(data, samples, group)
    rows = ScoredRows.of(samples, logits, groups, calibration)
    names, weighting = read_names(data), config.metrics.gauc_weighting
    slices = find_slices(data, samples, {name: names.values(name) for name in data.context_fields})
    metrics = RunMetrics(
        model=config.model.name,
        protocol=config.data.protocol,
        split=split.name.lower(),
        selected_on=str(config.training.select_on),
        loss=config.training.loss.name,
        calibration=calibration.method,
        **vars(compute_metrics(rows, config.metrics)),
        gauc_by_history=(
            compute_candidate_gauc(samples, rows, config.metrics.gauc_weighting)
            if config.data.protocol == "user"
            else None
        ),
        gauc_weighting=config.metrics.gauc_weighting,
        gauc_group=group,
        weighted=rows.weight is not None,
        intervals=compute_intervals(rows, config.metrics),
        negatives=describe_drawn(data, config),
        seed=config.seed,
        best_epoch=checkpoint.epoch,
        refit=checkpoint.refit,
        parameters=sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        data_fingerprint=data.fingerprint,
        rows_sha256=hash_rows(data, samples),
        metric_definition=hash_definition(weighting, group, weighted=rows.weight is not None),
        slices=compute_slice_metrics(rows, slices, config.metrics),
    )
    return metrics, rows


def build_configured_model(config: Config, data: PreparedData) -> "RankingModel":
    """The configured model, padded if its training uses XLA."""
    from din_train.model.build import build_model

    return build_model(
        config.model,
        data,
        seed=config.seed,
        precision=config.training.precision,
        padded=uses_xla(config.training),
        fields=config.data,
    )


def read_training_samples(config: Config, data: PreparedData, *, refit: bool) -> Samples:
    """The rows that a model is trained on: the training rows, and in a refit the validation rows, too."""
    return read_rows(data, config, refit=refit, max_history_length=config.data.max_history_length)


def build_training_batches(config: Config, data: PreparedData, samples: "Samples") -> "TrainingBatches":
    """The batches that the config trains on."""
    from din_train.training.training_batches import TrainingBatches

    return TrainingBatches(
        data,
        samples,
        batch_size=config.training.batch_size,
        max_history_length=config.data.max_history_length,
        unknown_rate=config.vocabulary.unknown_rate,
        seed=config.seed,
        draw_epoch=partial(draw_epoch, data, config, samples) if changes_between_epochs(config) else None,
        padded=uses_xla(config.training),
        behaviour_fields=config.model.behaviour_fields,
        search=CategorySearch.of(config.model.search, data),
    )


def read_split_samples(config: Config, data: PreparedData, split: Split) -> Samples:
    """A split's rows.

    Raises:
        ConfigError: if the split is empty.
    """
    samples = data.samples(split, config.data.max_history_length)
    if not len(samples):
        raise ConfigError(
            f"split '{split.name.lower()}': protocol '{config.data.protocol}' gives it no sample in "
            f"{config.data.prepared}; choose another split or protocol"
        )
    return samples


def score_samples(
    model: "RankingModel", config: Config, data: PreparedData, samples: Samples, workers: Workers = ALONE
) -> NDArray[np.float32]:
    """[S] logits in stored order. `fit`, `eval`, `predict` and `audit` all score by this.

    Args:
        workers: each scores a share of the rows, and gets all logits. The batches are those of one worker, so that the
            logits are the same bits if the machines are.

    Raises:
        RunError: see `compute_scores`.
    """
    from din_train.batches import EvaluationBatches
    from din_train.training.chief import cut_share, join_rows

    batch_size = config.training.evaluation_batch_size
    share = cut_share(workers, len(samples), batch_size)
    batches = EvaluationBatches(
        data,
        samples if share is None else samples.take(share),
        batch_size=batch_size,
        max_history_length=config.data.max_history_length,
        behaviour_fields=config.model.behaviour_fields,
        search=CategorySearch.of(config.model.search, data),
    )
    return compute_scores(model, batches, lambda logits: join_rows(workers, logits))


def evaluate(run_dir: Path, *, split: str, as_json: bool, overrides: Sequence[str] = ()) -> RunMetrics:
    """Score a run's weights on a split again, from its files alone; see `open_run` for the overrides.

    Raises:
        RunError: if the numbers are shown, but could not be written to the run.
    """
    opened = open_run(run_dir, overrides)
    if opened.checkpoint.refit and split == "validation":
        terminal.say(
            f"{opened.run.path}: refitted on training and validation rows, so its validation metrics flatter it"
        )
    if opened.calibration.method != "none" and split == "validation":
        terminal.say(
            f"{opened.run.path}: calibrated on the validation rows, so their logloss, normalised entropy, PCOC and ECE "
            "flatter it"
        )
    metrics, rows = score_split(
        opened.model, opened.config, opened.data, Split[split.upper()], opened.checkpoint, opened.calibration
    )
    if as_json:
        terminal.show_json(metrics.to_json())
    else:
        show_metrics(metrics)
    scores_file = opened.run.scores_file(split)
    names = f"{opened.run.metrics_file(split).name} and {scores_file.name}"
    with keep_in_run(opened.run, opened.identity, names):
        write_scores(scores_file, rows)
        opened.run.write_metrics(metrics, split)
    if not as_json:
        terminal.say(f"{opened.run.path}: {names} written")
    return metrics

"""Which rows a model is trained on: with fresh negatives for an epoch, and with those of validation for a refit."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import Config, NegativesConfig
from din_train.dataset.histories import find_rows
from din_train.dataset.leave_one_out import NO_CAP, leave_one_out
from din_train.dataset.manifest import Manifest
from din_train.dataset.negatives import (
    ChosenItems,
    build_distribution,
    draw_negatives,
    find_last_excluded,
    number_samples,
)
from din_train.dataset.protocols import Split
from din_train.dataset.row_negatives import draw_fresh_rows, redraw_rows
from din_train.dataset.samples import BLOCK_ROWS
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.run_metrics import IN_THE_LOG

# Which random numbers choose the lists that `training.leave_one_out` changes: others than those that order rows.
_LEAVE_ONE_OUT = 1


def read_rows(data: PreparedData, config: Config, *, refit: bool, max_history_length: int) -> Samples:
    """The stored rows that a model is trained on: the training rows, and in a refit the validation rows, too."""
    training = data.samples(Split.TRAIN, max_history_length)
    if not refit:
        return training
    sampled = data.manifest.negatives == "sampled"
    return join_for_refit(
        training,
        data.samples(Split.VALIDATION, max_history_length),
        per_positive=config.negatives.per_positive if sampled else None,
    )


def changes_between_epochs(config: Config) -> bool:
    """Whether the rows of an epoch are others than those that are stored."""
    return config.negatives.resample == "epoch" or config.training.leave_one_out > 0


def compute_positive_share(data: PreparedData, config: Config, *, refit: bool) -> float:
    """The share of positives among the rows that a model is trained on, by their weights if they have any."""
    if replaces_negatives(data.manifest, config):
        return 1 / (1 + config.negatives.per_positive)
    samples = read_rows(data, config, refit=refit, max_history_length=config.data.max_history_length)
    return float(np.average(samples.labels, weights=samples.weights))


def replaces_negatives(manifest: Manifest, config: Config) -> bool:
    """Whether fresh negatives take the place of those that the rows came with."""
    return config.negatives.resample == "epoch" and manifest.negatives != "sampled"


def describe_drawn(data: PreparedData, config: Config) -> dict[str, Any] | str:
    """Where negatives come from, for `metrics.json`: the config's section, or `in the log`.

    If those of a training file are replaced by fresh ones, it is the section, with the scored rows' `in the log`.
    """
    section = config.negatives.model_dump(mode="json")
    if replaces_negatives(data.manifest, config):
        return {**section, "evaluation_per_positive": IN_THE_LOG}
    return section if data.manifest.negatives == "sampled" else IN_THE_LOG


def draw_epoch(data: PreparedData, config: Config, samples: Samples, epoch: int) -> Samples:
    """The rows of an epoch, as many in every one: a function of the seeds, the epoch and the stored rows alone.

    With `negatives.resample: epoch` the sampled negatives are drawn anew. Where rows come with labels, each positive
    gets `negatives.per_positive` fresh ones, and the file's own negatives are left out. `training.leave_one_out` then
    gives a share of the positives, and their negatives, the history of all the user's other training events.

    Args:
        samples: what `read_rows` gives: the training rows, or in a refit those and the validation rows.
        epoch: from 0.
    """
    refit = len(samples) > data.manifest.samples["train"]
    whole = read_rows(data, config, refit=refit, max_history_length=NO_CAP)
    starts = whole.history_start
    if replaces_negatives(data.manifest, config):
        rows, targets = draw_fresh_rows(data, config.negatives, whole, epoch)
        labels = np.zeros(targets.shape, np.int8)
        labels[:, 0] = 1
        rows = np.repeat(rows, targets.shape[1])
        samples = replace(samples.take(rows), target_item_ids=targets.ravel(), labels=labels.ravel())
        starts = starts[rows]
    elif config.negatives.resample == "epoch":
        targets = redraw_training_negatives(data, config.negatives, epoch)
        others = samples.target_item_ids[len(targets) :]  # of validation, whose negatives stay
        samples = replace(samples, target_item_ids=np.concatenate([targets, others]))
    if config.training.leave_one_out:
        samples = leave_one_out(
            data,
            samples,
            starts,
            share=config.training.leave_one_out,
            max_history_length=config.data.max_history_length,
            random=np.random.default_rng([config.seed, epoch, _LEAVE_ONE_OUT]),
        )
    return samples


def redraw_training_negatives(data: PreparedData, negatives: NegativesConfig, epoch: int) -> NDArray[np.int32]:
    """[S] the training split's target items in stored order, the sampled ones drawn anew (epoch 0: as stored).

    A function of (`negatives.seed`, epoch, sample) alone.
    """
    if data.manifest.histories.get("given"):
        return redraw_rows(data, negatives, epoch)
    samples = data.samples(Split.TRAIN, NO_CAP)
    targets = samples.target_item_ids.copy()
    distribution = build_distribution(negatives, data.training_events[FIRST_REAL_ID:], data.manifest.unknown_items)
    ends = np.append(data.user_starts[1:], len(data.event_item_ids))  # by user id
    ordinals = data.event_columns["ordinal"]
    first = 0
    while first < len(samples):
        last = _end_of_users(samples.user_ids, first)
        users = samples.user_ids[first:last]
        low, high = int(users[0]), int(users[-1])
        start, end = int(data.user_starts[low]), int(ends[high])
        counts = ends[low : high + 1] - data.user_starts[low : high + 1]  # [users]
        user_rows = np.repeat(np.arange(len(counts)), counts)
        positions = np.arange(end - start) - np.repeat(data.user_starts[low : high + 1] - start, counts)
        chosen = ChosenItems.of(user_rows, positions, data.event_item_ids[start:end], data.num_items)

        positive = samples.labels[first:last] == 1
        rows = np.arange(last - first)
        slots = rows - np.maximum.accumulate(np.where(positive, rows, 0)) - 1  # 0 for the first after its positive
        drawn = np.flatnonzero(~positive)
        of_users = users[drawn].astype(np.int64) - low
        target_rows = start + find_rows(ordinals[start:end], samples.events[first:last][drawn])
        targets[first + drawn] = draw_negatives(
            chosen=chosen,
            distribution=distribution,
            user_rows=of_users,
            until=find_last_excluded(negatives, target_rows - data.user_starts[users[drawn]], counts[of_users]),
            samples=number_samples(target_rows, slots[drawn]),
            seed=negatives.seed,
            epoch=epoch,
        )
        first = last
    return targets


def _end_of_users(user_ids: NDArray[np.int32], first: int) -> int:
    """Where a block of whole users ends that begins at row `first`."""
    end = first + BLOCK_ROWS
    return len(user_ids) if end >= len(user_ids) else int(np.searchsorted(user_ids, user_ids[end - 1], side="right"))


def join_for_refit(training: Samples, validation: Samples, *, per_positive: int | None) -> Samples:
    """The training rows in their order, then the validation rows in theirs.

    Args:
        per_positive: how many negatives a validation target keeps, the first of its own, where negatives are sampled:
            as many as a training target has, whatever `negatives.evaluation_per_positive` is. None keeps all rows.
    """
    if per_positive is not None:
        validation = validation.take(np.flatnonzero(_count_since_positive(validation.labels) <= per_positive))
    return Samples.join([training, validation])


def _count_since_positive(labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """[S] 0 for a target, 1 for its first negative, ...: a target's negatives follow it."""
    rows = np.arange(len(labels))
    return rows - np.maximum.accumulate(np.where(labels == 1, rows, 0))

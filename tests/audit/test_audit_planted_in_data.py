"""Bugs planted in the samples: futures in histories, test rows in training, ids and negatives that tell the label."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_runs import configure, find_failed, make_x1, open_subject, train

from din_train.audit.check import Check, Status
from din_train.audit.future import check_histories_end_before_targets
from din_train.audit.item_ids import (
    check_item_roles,
    check_odd_ids,
    note_repeated_items,
    note_row_properties,
)
from din_train.audit.sampled_negatives import check_negatives_differ_only_in_item, check_negatives_pool
from din_train.audit.subject import Subject
from din_train.audit.untouched import (
    check_disjoint_users,
    check_same_rows,
    check_test_events,
    check_trained_rows,
)
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples, open_store
from din_train.dataset.vocabulary import UNKNOWN_ID

Change = Callable[[Samples, Split], Samples]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Protocol -> a run, trained once."""
    folder, made = tmp_path_factory.mktemp("audit"), dict[str, Path]()

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = train(folder / kind, kind, "lr", training={"epochs": 1})
        return made[kind]

    return get


@pytest.fixture
def planted(runs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Change], Subject]:
    """A run whose data set gives changed samples."""
    return lambda kind, change: plant(open_subject(runs(kind)), change, monkeypatch)


def plant(subject: Subject, change: Change, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """From here on every data set gives changed samples."""
    original = PreparedData.samples
    monkeypatch.setattr(
        PreparedData, "samples", lambda data, split, longest: change(original(data, split, longest), split)
    )
    return replace(subject, samples=subject.samples_of(Split.TEST))


def has_failed(check: Check) -> bool:
    assert check.status in (Status.PASSED, Status.FAILED)
    return check.status is Status.FAILED


def join(one: Samples, other: Samples) -> Samples:
    columns = [each.name for each in fields(Samples) if each.name != "context"]
    return Samples(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in columns})


def unchanged(samples: Samples, split: Split) -> Samples:
    del split
    return samples


@pytest.mark.parametrize("kind", ["holdout", "time", "user", "impressions"])
@pytest.mark.parametrize("split", list(Split)[1:])
def test_a_history_that_reaches_one_event_too_far(planted: Any, kind: str, split: Split) -> None:
    def reach(samples: Samples, of: Split) -> Samples:
        return replace(samples, history_length=samples.history_length + (of is split))

    check = check_histories_end_before_targets(planted(kind, reach))
    assert has_failed(check)
    assert check.measured["ending elsewhere than the protocol says"]


def test_one_history_of_many_that_reaches_too_far(planted: Any) -> None:
    def reach(samples: Samples, of: Split) -> Samples:
        lengths = samples.history_length.copy()
        lengths[4] += of is Split.TEST
        return replace(samples, history_length=lengths)

    check = check_histories_end_before_targets(planted("holdout", reach))
    assert has_failed(check)
    assert check.measured["ending elsewhere than the protocol says"] == 1


def test_a_history_of_another_user(planted: Any) -> None:
    def shift(samples: Samples, of: Split) -> Samples:
        return replace(samples, history_start=samples.history_start - (of is Split.TRAIN))

    check = check_histories_end_before_targets(planted("holdout", shift))
    assert has_failed(check)
    assert check.measured["outside their user's list"] > 0


def test_ready_made_histories_that_end_with_their_target(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    run = train(folder, "presampled", "lr", training={"epochs": 1})
    assert not has_failed(check_histories_end_before_targets(open_subject(run)))
    config = configure(folder, "presampled", "lr")
    make_x1(folder, histories_with_target=True)
    prepare_data(config, force=True, progress=lambda _: None)
    subject = open_subject_on(run, open_store(config.data.prepared))
    check = check_histories_end_before_targets(subject)
    assert has_failed(check)
    assert check.measured["share"] == 1.0


def open_subject_on(run: Path, data: PreparedData) -> Subject:
    """The checks of rows need no model."""
    from din_train.config import load_config

    config = load_config(run / "config.yaml")
    samples = data.samples(Split.TEST, config.data.max_history_length)
    nothing: Any = None
    return Subject(
        config=config, data=data, model=nothing, reload=nothing, metrics={}, history=[], stored=None, refit=False,
        scored_on_gpu=False, samples=samples, rows=np.arange(len(samples)), seed=1,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["holdout", "time", "user", "impressions", "presampled"])
@pytest.mark.parametrize("into", [Split.TRAIN, Split.VALIDATION])
def test_test_rows_among_those_of_training(planted: Any, runs: Any, kind: str, into: Split) -> None:
    clean = open_subject(runs(kind))
    assert not has_failed(check_test_events(clean))
    test = clean.samples

    def leak(samples: Samples, of: Split) -> Samples:
        return join(samples, test.take(np.flatnonzero(test.labels == 1)[:3])) if of is into else samples

    check = check_test_events(planted(kind, leak))
    assert has_failed(check)
    of = into.name.lower()
    expected = f"positives of {of}" if kind == "presampled" else f"{of} targets"
    assert check.measured[expected] == 3


def test_a_training_history_that_holds_a_test_target(planted: Any) -> None:
    def reach(samples: Samples, of: Split) -> Samples:
        return replace(samples, history_length=samples.history_length + 2 * (of is Split.VALIDATION))

    check = check_test_events(planted("holdout", reach))
    assert has_failed(check)
    assert check.measured["behaviours of validation histories"] == 150


def test_ready_made_training_histories_that_hold_a_test_target(runs: Any) -> None:
    subject = open_subject(runs("presampled"))
    samples = subject.samples
    ends = samples.history_start + samples.history_length - 2  # the validation histories go as far
    targets = subject.data.event_item_ids[ends]
    earlier = replace(samples, target_item_ids=targets, history_length=samples.history_length - 2)
    check = check_test_events(replace(subject, samples=earlier))
    assert has_failed(check)
    assert check.measured["behaviours of training or validation histories"] == 150


def test_more_rows_trained_on_than_there_are(runs: Any) -> None:
    subject = open_subject(runs("holdout"))
    assert not has_failed(check_trained_rows(subject))
    more = [{**subject.history[0], "samples_per_second": subject.history[0]["samples_per_second"] * 1.01}]
    assert has_failed(check_trained_rows(replace(subject, history=more)))
    assert has_failed(check_trained_rows(replace(subject, refit=True)))  # without a refit in the history
    with_test = [*subject.history, {"phase": "refit", "samples_per_second": 1.0, "seconds": 2250 + 450 + 600}]
    assert has_failed(check_trained_rows(replace(subject, history=with_test, refit=True)))


def test_other_test_rows_than_the_metrics_have(runs: Any) -> None:
    subject = open_subject(runs("holdout"))
    assert not has_failed(check_same_rows(subject))
    labels = subject.samples.labels.copy()
    labels[[0, 1]] = labels[[1, 0]]
    assert has_failed(check_same_rows(replace(subject, samples=replace(subject.samples, labels=labels))))
    assert has_failed(check_same_rows(replace(subject, metrics={**subject.metrics, "rows_sha256": "0" * 64})))


def test_a_test_user_in_training(planted: Any, runs: Any) -> None:
    test = open_subject(runs("user")).samples

    def leak(samples: Samples, of: Split) -> Samples:
        return join(samples, test.take(np.arange(4))) if of is Split.TRAIN else samples

    check = check_disjoint_users(planted("user", leak))
    assert has_failed(check)
    assert check.measured["train"] == 1


def change_negatives(
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray], only: Split | None = None
) -> Change:
    def planted(samples: Samples, of: Split) -> Samples:
        if only not in (None, of):
            return samples
        targets, negative = samples.target_item_ids.copy(), samples.labels == 0
        targets[negative] = change(targets[negative], np.random.default_rng(1))
        return replace(samples, target_item_ids=targets)

    return planted


def test_negatives_from_the_popular_half_alone(planted: Any) -> None:
    subject = planted("holdout", change_negatives(lambda old, random: random.integers(2, 32, len(old)), Split.TEST))
    check = check_negatives_pool(subject)
    assert has_failed(check)
    assert check.measured["deviations"] > 7


def test_a_users_own_items_as_negatives(planted: Any) -> None:
    subject = planted("holdout", change_negatives(lambda old, random: random.integers(2, 62, len(old))))
    check = check_negatives_pool(subject)
    assert has_failed(check)
    assert check.measured["own"] > 100
    assert check.measured["deviations"] > 0


@pytest.mark.parametrize("column", ["history_length", "history_start", "user_ids"])
def test_negatives_told_by_another_input(planted: Any, column: str) -> None:
    assert not has_failed(check_negatives_differ_only_in_item(planted("holdout", unchanged)))

    def shorten(samples: Samples, of: Split) -> Samples:
        changed = getattr(samples, column) - ((samples.labels == 0) & (of is Split.TEST))
        return replace(samples, **{column: changed.astype(getattr(samples, column).dtype)})

    check = check_negatives_differ_only_in_item(planted("holdout", shorten))
    assert has_failed(check)
    assert sum(value for name, value in check.measured.items() if name.startswith("of another")) == 450


def test_odd_ids_are_negatives(planted: Any) -> None:
    assert not has_failed(check_odd_ids(planted("holdout", unchanged)))
    check = check_odd_ids(planted("holdout", change_negatives(lambda old, _: old | 1, Split.TEST)))
    assert has_failed(check)
    assert check.measured["excess"] < -0.3


@pytest.mark.parametrize("role", ["only negative in training", "only positive in training"])
def test_kinds_of_items_of_one_label(planted: Any, role: str) -> None:
    """Negatives are of one half of the ids, positives of the other."""

    def divide(samples: Samples, of: Split) -> Samples:
        del of
        targets = samples.target_item_ids % 30 + np.where(samples.labels == 0, 2, 32)
        return replace(samples, target_item_ids=targets.astype(np.int32))

    assert not has_failed(check_item_roles(planted("holdout", unchanged)))
    check = check_item_roles(planted("holdout", divide))
    assert has_failed(check)
    assert f"items {role} are" in check.finding


def test_unknown_items_that_are_positives_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `vocabulary.min_count` rare items are unknown as targets; here negatives are of known items alone."""
    run = train(tmp_path / "made", "holdout", "lr", vocabulary={"min_count": 16}, training={"epochs": 1})
    honest = open_subject(run)
    assert not has_failed(check_item_roles(honest))
    assert not has_failed(check_negatives_pool(honest))
    last = 2 + honest.data.num_items

    def draw_known(old: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return np.where(old == UNKNOWN_ID, random.integers(2, last, len(old)), old)

    subject = plant(honest, change_negatives(draw_known), monkeypatch)
    roles = check_item_roles(subject)
    assert has_failed(roles)
    assert "items unknown are positives" in roles.finding
    assert find_failed([roles]) == {"leak: kinds of items": roles.finding}
    pool = check_negatives_pool(subject)
    assert has_failed(pool)
    assert "(unknown, train" in pool.finding


def test_too_many_unknown_negatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tmp_path / "made", "holdout", "lr", vocabulary={"min_count": 16}, training={"epochs": 1})
    every = change_negatives(lambda old, random: np.where(random.random(len(old)) < 0.5, UNKNOWN_ID, old), Split.TEST)
    pool = check_negatives_pool(plant(open_subject(run), every, monkeypatch))
    assert has_failed(pool)
    assert "(unknown, test" in pool.finding


def test_notes_tell_what_a_property_is_worth(planted: Any) -> None:
    def tell(samples: Samples, of: Split) -> Samples:
        length = np.where(samples.labels == 1, 3, samples.history_length)
        return replace(samples, history_length=length.astype(np.int32)) if of is Split.TEST else samples

    clean = note_row_properties(planted("holdout", unchanged)).measured["history length"]
    assert abs(clean["auc"] - 0.5) <= clean["chance"]
    assert note_row_properties(planted("holdout", tell)).measured["history length"]["auc"] > 0.9
    repeated = note_repeated_items(planted("holdout", unchanged)).measured
    assert repeated["negatives"] == 0
    assert repeated["auc"] == pytest.approx(0.5 + repeated["positives"] / 2)

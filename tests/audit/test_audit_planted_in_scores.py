"""Bugs planted in how a run is scored, stored and measured; each check catches its kind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from audit_runs import open_subject, train

from din_train import batches
from din_train.audit import parity, recomputed, shuffled_labels
from din_train.audit import subject as audited
from din_train.audit.check import Check, Status
from din_train.audit.parity import check_loaded_again, check_stored_scores, check_training_form
from din_train.audit.recomputed import check_metrics, check_user_aucs
from din_train.audit.row_independence import (
    check_batch_size,
    check_neighbours,
    check_order,
    check_padding,
    check_same_batch,
)
from din_train.audit.shuffled_labels import (
    check_equal_scores,
    check_scores_ignore_labels,
    check_shuffled_overall,
    check_shuffled_within_users,
)
from din_train.audit.slots import check_equal_rows, check_slots
from din_train.audit.subject import Subject

Inputs = dict[str, Any]
Score = Callable[[Inputs], Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("audit") / "made", "holdout", "din")


@pytest.fixture
def subject(run: Path) -> Subject:
    return open_subject(run)


def has_failed(check: Check) -> bool:
    assert check.status in (Status.PASSED, Status.FAILED)
    return check.status is Status.FAILED


def plant(subject: Subject, score: Callable[[Inputs, Any], Any]) -> None:
    """The model's score becomes `score(inputs, what it was)`."""
    original = subject.model.score
    subject.model.score = lambda inputs: score(inputs, original(inputs))


def test_a_term_of_the_slot(subject: Subject) -> None:
    plant(subject, lambda _, logits: logits + 1e-3 * tf.cast(tf.range(len(logits)) % 4 == 0, tf.float32))
    assert has_failed(check_order(subject))
    assert has_failed(check_batch_size(subject))
    assert not has_failed(check_padding(subject))
    assert "1.0e-03" in check_order(subject).finding


def test_statistics_of_the_batch(subject: Subject) -> None:
    """As a normalisation layer has them that is left in training mode."""
    plant(subject, lambda _, logits: logits - tf.reduce_mean(logits))
    assert has_failed(check_neighbours(subject))
    assert has_failed(check_batch_size(subject))


def test_negatives_by_another_layer(subject: Subject) -> None:
    """The authors' withdrawn numbers: what stands where a negative stands goes another way."""
    plant(subject, lambda _, logits: logits * tf.where(tf.range(len(logits)) % 4 == 0, 1.0, 0.5))
    assert has_failed(check_order(subject))
    assert has_failed(check_neighbours(subject))


def test_a_model_that_reads_padding(subject: Subject) -> None:
    plant(subject, lambda inputs, logits: logits + 1e-3 * inputs["history_item_ids"].shape[1])
    assert has_failed(check_padding(subject))
    assert not has_failed(check_order(subject))


def test_a_model_that_reads_what_stands_in_the_padding(subject: Subject) -> None:
    plant(subject, lambda inputs, logits: logits + 1e-4 * tf.cast(inputs["history_item_ids"].sum(axis=1), tf.float32))
    check = check_padding(subject)
    assert has_failed(check)
    assert check.measured["wider"] == 0
    assert check.measured["ids in the padding"] > 1e-3


def test_scores_that_differ_each_time(subject: Subject) -> None:
    random = np.random.default_rng(1)
    plant(subject, lambda _, logits: logits + random.normal(0, 1e-5, len(logits)).astype(np.float32))
    assert has_failed(check_same_batch(subject))


def test_labels_that_get_into_the_inputs(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    original = batches.build_batch

    def leak(*arguments: Any) -> Any:
        inputs, labels = original(*arguments)
        return {**inputs, "history_length": inputs["history_length"] * (labels == 1)}, labels

    assert not has_failed(check_scores_ignore_labels(subject))
    monkeypatch.setattr(batches, "build_batch", leak)
    assert has_failed(check_scores_ignore_labels(subject))


def test_a_metric_that_gives_ties_to_the_first_row(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored order has positives first, so such a metric finds them."""
    for name in ("compute_auc", "compute_gauc"):
        original = getattr(shuffled_labels, name)

        def biased(*columns: Any, original: Any = original) -> Any:
            return original(*columns[:-1], columns[-1] - 1e-6 * np.arange(len(columns[-1])))

        assert not has_failed(check_equal_scores(subject))
        monkeypatch.setattr(shuffled_labels, name, biased)
        assert has_failed(check_equal_scores(subject))
        monkeypatch.setattr(shuffled_labels, name, original)


@pytest.mark.parametrize(
    ("name", "check"), [("compute_auc", check_shuffled_overall), ("compute_gauc", check_shuffled_within_users)]
)
def test_a_metric_that_favours_positives(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, name: str, check: Callable[[Subject], Check]
) -> None:
    original = getattr(shuffled_labels, name)
    monkeypatch.setattr(shuffled_labels, name, lambda *each: original(*each[:-1], each[-1] + 0.3 * each[-2]))
    assert has_failed(check(subject))


def test_a_training_form_that_sees_padding(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    original = parity.pad_history
    monkeypatch.setattr(
        parity,
        "pad_history",
        lambda blocks, length, dtype: original(blocks, tf.fill(tf.shape(length), blocks[0].shape[1]), dtype),
    )
    check = check_training_form(subject)
    assert has_failed(check)
    assert "padded; bound" in check.finding
    assert check.measured["flat"] < 1e-5


def test_another_model_in_serving(subject: Subject) -> None:
    plant(subject, lambda _, logits: 1.001 * logits)
    check = check_training_form(subject)
    assert has_failed(check)
    assert check.measured["called"] == pytest.approx(1e-3, rel=0.5)


def test_weights_that_are_not_those_on_disk(subject: Subject) -> None:
    assert not has_failed(check_loaded_again(subject))
    subject.model.trainable_weights[0].assign(subject.model.trainable_weights[0] * 1.0001)
    assert has_failed(check_loaded_again(subject))
    assert has_failed(check_stored_scores(subject))


@pytest.mark.parametrize("column", ["user_id", "target_item_id", "history_length", "label", "logit"])
def test_one_stored_value_changed(subject: Subject, column: str) -> None:
    assert subject.stored is not None
    assert not has_failed(check_stored_scores(subject))
    values = getattr(subject.stored, column).copy()
    values[17] = 1 - values[17]
    assert has_failed(check_stored_scores(replace(subject, stored=replace(subject.stored, **{column: values}))))


def test_stored_scores_of_other_rows_or_none(subject: Subject) -> None:
    assert subject.stored is not None
    assert has_failed(check_stored_scores(replace(subject, stored=subject.stored.take(np.arange(9)))))
    assert check_stored_scores(replace(subject, stored=None)).status is Status.SKIPPED


@pytest.mark.parametrize(
    "key", ["auc", "gauc", "logloss", "pcoc", "num_samples", "num_positives", "gauc_users", "gauc_users_skipped"]
)
def test_an_edited_metric(subject: Subject, key: str) -> None:
    assert not has_failed(check_metrics(subject))
    for value in (subject.metrics[key] + 1e-6, None):
        check = check_metrics(replace(subject, metrics={**subject.metrics, key: value}))
        assert has_failed(check)
        assert f"{key} {value} there" in check.finding


def test_an_edited_gauc_by_history(tmp_path: Path) -> None:
    subject = open_subject(train(tmp_path / "made", "user", "lr", training={"epochs": 1}))
    value = subject.metrics["gauc_by_history"]
    assert check_metrics(subject).measured["gauc_by_history"] == pytest.approx(value, abs=1e-9)
    check = check_metrics(replace(subject, metrics={**subject.metrics, "gauc_by_history": value + 1e-6}))
    assert has_failed(check)
    assert f"gauc_by_history {value + 1e-6} there" in check.finding


def test_a_wrong_gauc_where_only_some_users_are_walked(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recomputed, "_MOST_ROWS", 100)
    check = check_metrics(subject)
    assert not has_failed(check)
    assert "600 rows, 100 of them" in check.finding
    original = recomputed.compute_gauc
    monkeypatch.setattr(recomputed, "compute_gauc", lambda u, y, s, w="impressions": original(u, y, np.round(s, 1), w))
    assert has_failed(check_metrics(subject))


def test_a_gauc_that_is_not_scikit_learns(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_failed(check_user_aucs(subject))
    original = recomputed.compute_gauc
    monkeypatch.setattr(recomputed, "compute_gauc", lambda u, y, s: original(u, y, np.round(s, 1)))
    assert has_failed(check_user_aucs(subject))


@pytest.mark.parametrize("where", ["odd negatives", "odd positives", "a target's first negatives"])
def test_stored_scores_that_know_the_slot(subject: Subject, where: str) -> None:
    assert subject.stored is not None
    assert not has_failed(check_slots(subject))
    logits, rows = subject.stored.logit.copy(), np.arange(600)
    slot = rows % 4  # a positive and its three negatives
    moved = {
        "odd positives": (slot == 0) & (rows // 4 % 2 == 1),
        "odd negatives": (slot > 0) & ((rows - rows // 4 - 1) % 2 == 1),
        "a target's first negatives": slot == 1,
    }[where]
    logits[moved] += 2.0
    check = check_slots(replace(subject, stored=replace(subject.stored, logit=logits)))
    assert has_failed(check)
    assert abs(check.measured[where]) > 0.1


def test_equal_rows_of_different_scores(subject: Subject) -> None:
    assert subject.stored is not None
    twice = np.repeat(np.arange(20), 2)
    samples, stored = subject.samples.take(twice), subject.stored.take(twice)
    labels = np.tile(np.array([1, 0], np.int8), 20)
    doubled = replace(subject, samples=replace(samples, labels=labels), stored=stored, rows=np.arange(40))
    check = check_equal_rows(doubled)
    assert not has_failed(check)
    assert check.measured["pairs"] >= 20
    by_label = replace(stored, logit=stored.logit + np.float32(0.01) * labels)
    assert has_failed(check_equal_rows(replace(doubled, stored=by_label)))


def test_the_history_of_a_batch_is_looked_at_by_value(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    from din_train.audit.future import check_batches_hold_histories

    original = audited.build_batch

    def shift(data: Any, samples: Any, rows: Any, longest: int) -> Any:
        return original(data, replace(samples, history_start=samples.history_start + 1), rows, longest)

    assert not has_failed(check_batches_hold_histories(subject))
    monkeypatch.setattr(audited, "build_batch", shift)
    assert has_failed(check_batches_hold_histories(subject))

"""Bugs planted in the samples: futures in histories, test rows in training, ids and negatives that tell the label."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_runs import has_failed, make_x1, prepare

from din_train.audit.audited_run import AuditedRun, Status
from din_train.audit.drawn_rows import check_drawn_rows
from din_train.audit.label_leaks import (
    check_history_alone,
    check_item_kinds,
    check_negatives_pool,
    check_odd_ids,
    note_popularity,
    note_repeated_items,
    note_row_properties,
)
from din_train.audit.time_leaks import check_disjoint_users, check_histories_end_before_targets, check_test_events
from din_train.dataset import training_rows
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples, open_store
from din_train.dataset.vocabulary import UNKNOWN_ID

Change = Callable[[Samples, Split], Samples]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], AuditedRun]:
    """Kind -> its data set, prepared once; `rare` has items that are unknown."""
    made = dict[str, AuditedRun]()

    def get(kind: str) -> AuditedRun:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            is_rare = kind == "rare"
            made[kind] = prepare(folder, "holdout", vocabulary={"min_count": 16}) if is_rare else prepare(folder, kind)
        return made[kind]

    return get


@pytest.fixture
def planted(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Change], AuditedRun]:
    """A data set that from here on gives changed samples."""

    def plant(kind: str, change: Change) -> AuditedRun:
        run, original = prepared(kind), PreparedData.samples
        monkeypatch.setattr(
            PreparedData, "samples", lambda data, split, longest: change(original(data, split, longest), split)
        )
        return replace(run, samples=run.samples_of(Split.TEST))

    return plant


@pytest.mark.parametrize("kind", ["holdout", "time", "user", "impressions", "clicks as rows"])
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
    run = prepare(tmp_path, "presampled")
    assert not has_failed(check_histories_end_before_targets(run))
    make_x1(tmp_path, histories_with_target=True)
    prepare_data(run.config, force=True, progress=lambda _: None)
    data = open_store(run.config.data.prepared)
    check = check_histories_end_before_targets(replace(run, data=data, samples=data.samples(Split.TEST, 5)))
    assert has_failed(check)
    assert check.measured["share"] == 1.0


@pytest.mark.parametrize("kind", ["holdout", "time", "user", "impressions", "clicks as rows", "presampled"])
@pytest.mark.parametrize("into", [Split.TRAIN, Split.VALIDATION])
def test_test_rows_among_those_of_training(planted: Any, prepared: Any, kind: str, into: Split) -> None:
    clean = prepared(kind)
    assert not has_failed(check_test_events(clean))
    test = clean.samples

    def leak(samples: Samples, of: Split) -> Samples:
        return Samples.join([samples, test.take(np.flatnonzero(test.labels == 1)[:3])]) if of is into else samples

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


@pytest.mark.parametrize("kind", ["impressions", "clicks as rows"])
def test_impressions_without_a_click_in_two_splits(planted: Any, prepared: Any, kind: str) -> None:
    test = prepared(kind).samples

    def leak(samples: Samples, of: Split) -> Samples:
        return (
            Samples.join([samples, test.take(np.flatnonzero(test.labels == 0)[:2])]) if of is Split.TRAIN else samples
        )

    check = check_test_events(planted(kind, leak))
    assert has_failed(check)
    assert check.measured["train rows without a click"] == 2


def test_training_histories_that_hold_the_click_of_a_test_impression(planted: Any, prepared: Any) -> None:
    clean = prepared("clicks as rows")
    num_targets = len(np.unique(clean.samples.user_ids[clean.samples.labels == 1]))
    assert check_test_events(clean).measured["test_events"] == num_targets > 100

    def reach(samples: Samples, of: Split) -> Samples:
        """A training history that goes on to its user's last event."""
        end = clean.events.end[samples.user_ids] if of is Split.TRAIN else samples.history_ends
        return replace(samples, history_length=(end - samples.history_start).astype(np.int32))

    check = check_test_events(planted("clicks as rows", reach))
    assert has_failed(check)
    with_rows = np.unique(clean.samples_of(Split.TRAIN).user_ids)
    tested = np.unique(clean.samples.user_ids[clean.samples.labels == 1])
    assert check.measured["behaviours of train histories"] == len(np.intersect1d(with_rows, tested))


def test_a_click_that_makes_impressions_of_two_splits_positive_is_told(tmp_path: Path) -> None:
    run = prepare(tmp_path, "clicks as rows")
    rows = [
        ("a", 0, "view"),
        ("a", 9, "buy"),
        ("b", 20, "view"),
        ("b", 30, "view"),
        ("b", 35, "buy"),
        ("c", 40, "view"),
    ]
    lines = ["user\titem\tcategory\ttime\ttype", *(f"u\t{i}\tc\t{1_500_000_000 + t}\t{k}" for i, t, k in rows)]
    (tmp_path / "log.tsv").write_text("\n".join(lines) + "\n")
    data = run.config.data.model_copy(update={"protocol": "paper"})
    prepare_data(run.config.model_copy(update={"data": data}), force=True, progress=lambda _: None)
    store = open_store(data.prepared)
    check = check_test_events(
        replace(
            run, config=run.config.model_copy(update={"data": data}), data=store, samples=store.samples(Split.TEST, 5)
        )
    )
    assert not has_failed(check)
    assert check.measured["shared_clicks"] == 1


def test_ready_made_training_histories_that_hold_a_test_target(prepared: Any) -> None:
    run = prepared("presampled")
    samples = run.samples
    ends = samples.history_start + samples.history_length - 2  # the validation histories go as far
    targets = run.data.event_item_ids[ends]
    earlier = replace(samples, target_item_ids=targets, history_length=samples.history_length - 2)
    check = check_test_events(replace(run, samples=earlier))
    assert has_failed(check)
    assert check.measured["behaviours of training or validation histories"] == 150


def test_a_test_user_in_training(planted: Any, prepared: Any) -> None:
    test = prepared("user").samples

    def leak(samples: Samples, of: Split) -> Samples:
        return Samples.join([samples, test.take(np.arange(4))]) if of is Split.TRAIN else samples

    check = check_disjoint_users(planted("user", leak))
    assert has_failed(check)
    assert check.measured["train"] == 1


def change_negatives(
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray], only: Split | None = None
) -> Change:
    def draw(samples: Samples, of: Split) -> Samples:
        if only not in (None, of):
            return samples
        targets, negative = samples.target_item_ids.copy(), samples.labels == 0
        targets[negative] = change(targets[negative], np.random.default_rng(1))
        return replace(samples, target_item_ids=targets)

    return draw


def test_negatives_from_the_popular_half_alone(planted: Any) -> None:
    run = planted("holdout", change_negatives(lambda old, random: random.integers(2, 32, len(old)), Split.TEST))
    check = check_negatives_pool(run)
    assert has_failed(check)
    assert check.measured["deviations"] > 7


def test_a_users_own_items_as_negatives(planted: Any) -> None:
    run = planted("holdout", change_negatives(lambda old, random: random.integers(2, 62, len(old))))
    check = check_negatives_pool(run)
    assert has_failed(check)
    assert check.measured["own"] > 100
    assert check.measured["deviations"] > 0


def test_odd_ids_are_negatives(planted: Any, prepared: Any) -> None:
    assert not has_failed(check_odd_ids(prepared("holdout")))
    check = check_odd_ids(planted("holdout", change_negatives(lambda old, _: old | 1, Split.TEST)))
    assert has_failed(check)
    assert check.measured["excess"] < -0.3


@pytest.mark.parametrize("kind", ["only negative in training", "only positive in training"])
def test_kinds_of_items_of_one_label(planted: Any, prepared: Any, kind: str) -> None:
    """Negatives are of one half of the ids, positives of the other."""

    def divide(samples: Samples, of: Split) -> Samples:
        del of
        targets = samples.target_item_ids % 30 + np.where(samples.labels == 0, 2, 32)
        return replace(samples, target_item_ids=targets.astype(np.int32))

    assert not has_failed(check_item_kinds(prepared("holdout")))
    check = check_item_kinds(planted("holdout", divide))
    assert has_failed(check)
    assert f"items {kind} are" in check.finding


def test_unknown_items_that_are_positives_only(planted: Any, prepared: Any) -> None:
    """With `vocabulary.min_count` rare items are unknown as targets; here negatives are of known items alone."""
    last = 2 + prepared("rare").data.num_items

    def draw_known(old: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return np.where(old == UNKNOWN_ID, random.integers(2, last, len(old)), old)

    run = planted("rare", change_negatives(draw_known))
    kinds, pool = check_item_kinds(run), check_negatives_pool(run)
    assert has_failed(kinds)
    assert "items unknown are positives" in kinds.finding
    assert has_failed(pool)
    assert "(unknown, train" in pool.finding


def test_too_many_unknown_negatives(planted: Any) -> None:
    every = change_negatives(lambda old, random: np.where(random.random(len(old)) < 0.5, UNKNOWN_ID, old), Split.TEST)
    pool = check_negatives_pool(planted("rare", every))
    assert has_failed(pool)
    assert "(unknown, test" in pool.finding


def lengthen(of_every: int) -> Change:
    """In the test split the positives of every nth user have longer histories than the negatives."""

    def change(samples: Samples, of: Split) -> Samples:
        shorter = (samples.labels == 0) & (samples.user_ids % of_every == 0) & (of is Split.TEST)
        return replace(samples, history_length=(samples.history_length - 2 * shorter).astype(np.int32))

    return change


def test_a_history_that_tells_the_label(planted: Any, prepared: Any) -> None:
    """It may have half of what the model has above one half."""
    clean = check_history_alone(prepared("holdout"))
    assert clean.status is Status.NOTE
    assert clean.measured["length"]["gauc"] == 0.5
    run = planted("holdout", lengthen(of_every=3))
    for gauc, status in ((None, Status.FAILED), (0.8, Status.FAILED), (0.9, Status.NOTE)):
        check = check_history_alone(replace(run, metrics=replace(run.metrics, gauc=gauc)))
        assert check.status is status
        assert check.measured["length"]["gauc"] == pytest.approx(0.5 + 1 / 6, abs=0.01)


def test_notes_tell_what_a_property_is_worth(planted: Any, prepared: Any) -> None:
    honest = prepared("holdout")
    clean = note_row_properties(honest).measured["history length"]
    assert abs(clean["auc"] - 0.5) <= clean["chance"]
    repeated = note_repeated_items(honest).measured
    assert repeated["negatives"] == 0
    assert repeated["auc"] == pytest.approx(0.5 + repeated["positives"] / 2)
    popular = replace(honest.samples, target_item_ids=np.where(honest.samples.labels == 1, 2, 61).astype(np.int32))
    assert note_popularity(replace(honest, samples=popular)).measured["auc"] == 1.0
    run = planted("holdout", lengthen(of_every=1))
    assert note_row_properties(run).measured["history length"]["auc"] > 0.9


def prepare_rows(folder: Path, rows: list[dict[str, Any]], columns: dict[str, str], **negatives: Any) -> AuditedRun:
    """Rows that hold their histories, as JSON lines; the last third of them is the test file."""
    cut = 2 * len(rows) // 3
    for split, part in (("train", rows[:cut]), ("test", rows[cut:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
    data = {
        "source": "rows", "events": None, "protocol": "presampled", "columns": {"user": "u", "item": "i", **columns},
        "sequences": {"clicks": {"item": "h", "timestamp": "t"}}, **files,
    }  # fmt: skip
    return prepare(folder, "holdout", data=data, negatives=negatives)


def make_rows(*, late: bool = False, differ: bool = False) -> list[dict[str, Any]]:
    """Two rows per request; in one request of `u3` a behaviour is at the row's own time, or the histories differ."""
    rows = []
    for moment in range(1, 7):
        for user in range(12):
            history = [f"i{(user + 5 * place) % 30}" for place in range(moment)]
            for label in (1, 0):
                odd = (user, moment, label) == (3, 5, 1)
                times = [10 * place + (late and odd and place == moment - 1) * 10 for place in range(moment)]
                items = history[: moment - (differ and odd)]
                target = f"i{(user + 5 * moment) % 30 if label else (user + 5 * moment + 3) % 30}"
                rows.append({"u": f"u{user}", "i": target, "y": label, "at": 10 * moment, "h": items,
                             "t": times[: len(items)]})  # fmt: skip
    return rows


@pytest.mark.parametrize(
    ("planted_fault", "expected"),
    [
        ({}, None),
        ({"late": True}, "1 rows have a behaviour at or after their own time, such as user 'u3', 1970-01-01 00:00:50"),
        ({"differ": True}, "1 requests have rows of different histories, such as user 'u3', 1970-01-01 00:00:50"),
    ],
)
def test_given_histories_that_are_wrong(tmp_path: Path, planted_fault: dict[str, bool], expected: str | None) -> None:
    run = prepare_rows(tmp_path, make_rows(**planted_fault), {"label": "y", "timestamp": "at"})
    check = check_histories_end_before_targets(run)
    assert has_failed(check) == (expected is not None)
    assert expected is None or expected in check.finding


@pytest.mark.parametrize("exclude", ["all", "history"])
def test_negatives_drawn_for_positives_alone(tmp_path: Path, exclude: str) -> None:
    positives = [row for row in make_rows() if row["y"]]
    run = prepare_rows(tmp_path, positives, {"timestamp": "at"}, exclude=exclude, per_positive=3)
    check = check_negatives_pool(run)
    assert not has_failed(check)
    assert check.measured["own"] == check.measured["unclicked"] == 0
    of_train = run.data.samples(Split.TRAIN, 100)
    targets = of_train.target_item_ids.copy()
    targets[1] = targets[0]  # a negative that is its own positive
    planted = {**run.data._samples[Split.TRAIN], "target_item_id": targets}
    data = replace(run.data, _samples={**run.data._samples, Split.TRAIN: planted})
    assert check_negatives_pool(replace(run, data=data)).measured["own"] == 1


DRAWN = {"negatives": {"resample": "epoch"}, "training": {"leave_one_out": 0.5}}


@pytest.mark.parametrize("kind", ["holdout", "paper", "time", "user", "presampled"])
def test_drawn_rows_are_clean(tmp_path: Path, kind: str) -> None:
    check = check_drawn_rows(prepare(tmp_path, kind, **DRAWN))
    assert check.status is Status.PASSED, check.finding
    assert check.measured["rows"] > 500


@pytest.mark.parametrize("kind", ["holdout", "presampled"])
def test_drawn_histories_that_go_on_after_the_training_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    run, original = prepare(tmp_path, kind, **DRAWN), training_rows.leave_one_out

    def reach(*args: Any, **options: Any) -> Samples:
        samples = original(*args, **options)
        return replace(samples, history_length=samples.history_length + (np.arange(len(samples)) < 3))

    monkeypatch.setattr(training_rows, "leave_one_out", reach)
    check = check_drawn_rows(run)
    assert has_failed(check)
    assert check.measured["events of other splits in histories"] or check.measured["histories holding their target"]


@pytest.mark.parametrize("kind", ["holdout", "presampled"])
def test_drawn_histories_that_hold_their_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    run, original = prepare(tmp_path, kind, **DRAWN), training_rows.leave_one_out
    monkeypatch.setattr(
        training_rows, "leave_one_out", lambda *args, **options: replace(original(*args, **options), skipped=None)
    )
    check = check_drawn_rows(run)
    assert has_failed(check)
    assert check.measured["histories holding their target"] > 100


def test_fresh_negatives_that_are_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, original = prepare(tmp_path, "presampled", **DRAWN), training_rows.draw_fresh_rows

    def give_own(*args: Any) -> Any:
        rows, targets = original(*args)
        targets[5, 1] = targets[5, 0]
        return rows, targets

    monkeypatch.setattr(training_rows, "draw_fresh_rows", give_own)
    check = check_drawn_rows(run)
    assert has_failed(check)
    assert check.measured["own items as fresh negatives"] == 2  # one in each of two epochs

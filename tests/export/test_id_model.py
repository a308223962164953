"""A served model scores raw requests as `predict` scores such rows, and the check finds every fault planted in it."""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from served_runs import ITEMS, ServedRuns, compute_outputs, find_problems

from din_train.evaluation.calibration import Calibration
from din_train.export import id_model, text_model
from din_train.export.artefact import Artefact, build_artefact, describe_expected
from din_train.export.check_saved_model import find_problem
from din_train.export.expected_scores import TOLERANCE, ScoredRequest
from din_train.export.id_model import IdModel
from din_train.export.request import OUTPUTS, Vocabulary
from din_train.export.text_model import TextModel

PLATT = Calibration("platt", slope=0.7, intercept=-1.2, positive_share=0.1)
ISOTONIC = Calibration("isotonic", scores=(-0.5, 0.0, 0.4), probabilities=(0.02, 0.3, 0.31), positive_share=0.1)
SEARCH = {"search": {"keep": 2, "recent": 3}}


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("din", {"local_activation_unit": {"normalization": "sigmoid", "hidden_units": [8]}}),
        ("din", SEARCH),
        *((name, {}) for name in ("base", "lr", "wide_deep", "pnn", "deepfm", "dien", "bst", "tin")),
    ],
)
def test_every_model_scores_golden_requests_and_all_values(
    name: str, model: dict[str, Any], runs: ServedRuns, tmp_path: Path
) -> None:
    opened = runs.open(name, **model)
    artefact = build_artefact(opened, 0.0, activation_weights=name in ("din", "dien", "bst", "tin"))
    assert len(artefact.others[0].logit) >= len(ITEMS)
    assert artefact.others[0].logit.std() > 0.05  # it would notice
    assert find_problems(artefact, tmp_path) == []


@pytest.mark.parametrize("calibration", [PLATT, ISOTONIC, replace(ISOTONIC, scores=(0.1,), probabilities=(0.2,))])
def test_calibration_and_prior_shift_are_in_the_graph(
    calibration: Calibration, runs: ServedRuns, tmp_path: Path
) -> None:
    opened = runs.open("lr", calibration)
    artefact = build_artefact(opened, -1.5)
    assert find_problems(artefact, tmp_path) == []
    for shift, other in ((-3.0, calibration), (-1.5, Calibration())):
        wrong = IdModel(
            opened.model, opened.config, opened.data, artefact.inputs, other, shift, paddings=artefact.model.paddings
        )
        (tmp_path / f"{shift}").mkdir()
        assert find_problems(replace(artefact, model=wrong), tmp_path / f"{shift}", most=1) != []


@pytest.fixture(scope="module")
def artefact(runs: ServedRuns) -> Artefact:
    return build_artefact(runs.open("din"), 0.5)


def keep_oldest(ids: tf.Tensor, limit: int) -> tf.Tensor:
    holds = tf.not_equal(ids, 0)
    return holds & (tf.cumsum(tf.cast(holds, tf.int32), axis=1) <= limit)


def find_buckets_in_float32(numbers: tf.Tensor, edges: Any) -> tf.Tensor:
    above = tf.cast(tf.cast(numbers, tf.float32)[..., None] >= np.float32(edges), tf.int32)
    return tf.where(tf.abs(numbers) < 1e300, 2 + tf.reduce_sum(above, axis=-1), 1)


def keep_first_values(ids: tf.Tensor, most: int, width: int | None) -> tf.Tensor:
    return tf.pad(ids, [[0, 0], [0, 9]])[:, : width or most]


def cast_numbers(numbers: tf.Tensor, *_: float) -> tf.Tensor:
    return tf.cast(tf.stack([tf.minimum(numbers, 9.0), tf.zeros_like(numbers)], axis=1), tf.float32)


FAULTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "the history is cut at the wrong end": ("_keep_newest", keep_oldest),
    "numbers are cut in float32": ("_find_buckets", find_buckets_in_float32),
    "the first values of a list, known or not": ("_choose_values", keep_first_values),
    "times are cut in two": ("_cut_by_powers", lambda numbers, _: tf.cast(numbers > 1, tf.int32)),
    "numbers are not standardised": ("_standardize", cast_numbers),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_graph_is_found(
    fault: str, artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_model, *FAULTS[fault])
    assert find_problems(artefact, tmp_path, most=1) != []


def swap(texts: list[str], first: int, second: int) -> list[str]:
    swapped = list(texts)
    swapped[first], swapped[second] = texts[second], texts[first]
    return swapped


@pytest.mark.parametrize("name", ["item", "user", "category", "genres", "tags", "kind"])
def test_two_values_that_change_places_are_found(name: str, artefact: Artefact, tmp_path: Path) -> None:
    texts = artefact.vocabularies[name].texts
    wrong = replace(artefact.vocabularies[name], texts=swap(texts, 0, 1))
    problems = find_problems(replace(artefact, vocabularies={**artefact.vocabularies, name: wrong}), tmp_path, most=1)
    assert problems != []


def test_ids_that_are_trimmed_are_found(artefact: Artefact, tmp_path: Path) -> None:
    texts = [each.strip() for each in artefact.vocabularies["item"].texts]
    assert texts != artefact.vocabularies["item"].texts
    wrong = {**artefact.vocabularies, "item": Vocabulary(texts)}
    assert find_problems(replace(artefact, vocabularies=wrong), tmp_path, most=1) != []


def test_what_a_request_says_of_a_known_item_changes_nothing(artefact: Artefact, tmp_path: Path) -> None:
    (request,) = (each for each in artefact.golden if each.request.name == "known item, described otherwise")
    values = dict(request.request.inputs)
    for category in artefact.vocabularies["category"].texts:
        changed = replace(request.request, inputs={**values, "item_category": [category]})
        assert find_problems(artefact, tmp_path, [replace(request, request=changed)]) == []
    unknown = replace(request.request, inputs={**values, "item": ["no such item"]})
    assert find_problems(artefact, tmp_path, [replace(request, request=unknown)]) != []


def test_one_row_for_all_candidates_is_that_row_repeated(artefact: Artefact, tmp_path: Path) -> None:
    (request,) = (each for each in artefact.golden if each.request.name == "one user, many candidates")
    repeated = repeat_rows(request, list(request.request.inputs))
    assert find_problems(artefact, tmp_path, [repeated]) == []


def repeat_rows(request: ScoredRequest, names: Collection[str]) -> ScoredRequest:
    """These inputs have a row for each candidate, where they had one for all."""
    rows, values = len(request.logit), request.request.inputs
    inputs = {name: each * rows if name in names and len(each) == 1 else each for name, each in values.items()}
    histories = len(inputs["history"])
    counts = {name: each if name == "known" else np.resize(each, histories) for name, each in request.counts.items()}
    return replace(request, request=replace(request.request, inputs=inputs), counts=counts)


def test_each_part_of_a_history_may_be_one_row_for_all(artefact: Artefact, tmp_path: Path) -> None:
    (request,) = (each for each in artefact.golden if each.request.name == "one user, many candidates")
    parts = [name for name in request.request.inputs if name == "history" or name.startswith("history_")]
    assert len(parts) == 4
    for part in (["history"], parts[1:], parts[:2]):
        assert find_problems(artefact, tmp_path, [repeat_rows(request, part)]) == []


def test_activation_weights_are_those_of_the_history_as_it_was_sent(runs: ServedRuns, tmp_path: Path) -> None:
    artefact = build_artefact(runs.open("din"), 0.0, activation_weights=True)
    served = TextModel(artefact.model, artefact.vocabularies, tmp_path)
    (request,) = (each for each in artefact.golden if each.request.name == "rows of three users")
    values = request.request.encode(artefact.inputs)
    types = {"BYTES": tf.string, "INT64": tf.int64, "FP64": tf.float64}
    tensors = {each.name: tf.constant(values[each.name], types[each.datatype]) for each in artefact.inputs}
    weights = served.compute.python_function(**tensors)["activation_weights"].numpy()
    held = np.array([[text != "" for text in row] for row in values["history"]])
    assert weights.shape == held.shape
    assert (weights != 0).tolist() == held.tolist()
    assert weights.sum(axis=1) == pytest.approx([1, 1, 0], abs=1e-6)  # a softmax


def test_each_output_is_compared(runs: ServedRuns, tmp_path: Path) -> None:
    artefact = build_artefact(runs.open("din"), 0.0, activation_weights=True)
    (request,) = (each for each in artefact.golden if each.request.name == "rows of three users")
    served = TextModel(artefact.model, artefact.vocabularies, tmp_path)
    outputs = {name: each.numpy() for name, each in compute_outputs(artefact, served, request).items()}
    expected = describe_expected(request)
    assert find_problem(expected, outputs, TOLERANCE)[0] is None
    for name in OUTPUTS:
        values = outputs[name]
        changed = (
            values + np.float32(2e-5) if values.dtype == np.float32 else ~values if name == "known" else values + 1
        )
        problem = find_problem(expected, {**outputs, name: changed}, TOLERANCE)[0]
        assert str(problem).startswith(name)


def test_texts_of_any_kind_are_found_in_a_table(tmp_path: Path) -> None:
    texts = ["", "a", "a ", "a\r", "b\nc", "日本", "\ufeffx", '"q"', "d\\n"]
    table = text_model._build_table("odd", Vocabulary(texts[1:], ["NULL"]), tmp_path)
    asked = [*texts, "NULL", "A", "b", "c"]
    assert table.lookup(tf.constant(asked)).numpy().tolist() == [0, *range(2, 10), 0, 1, 1, 1]
    ends = ["x\n\0", "y", "z\0\n"]  # what an end and a separator of several letters would be taken for
    table = text_model._build_table("ends", Vocabulary(ends), tmp_path)
    assert table.lookup(tf.constant(ends)).numpy().tolist() == [2, 3, 4]
    none = text_model._build_table("none", Vocabulary([]), tmp_path)
    assert none.lookup(tf.constant(["", "a"])).numpy().tolist() == [0, 1]

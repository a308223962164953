"""The ONNX file gives what `predict` gives, for raw texts of any kind and requests of any size."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from served_runs import ServedRuns

from din_train.errors import RunError
from din_train.export import onnx_model
from din_train.export.artefact import Artefact, build_artefact, describe_expected, list_outputs
from din_train.export.check_saved_model import find_problem, to_array
from din_train.export.dice_folding import folded_dice
from din_train.export.expected_scores import TOLERANCE, ScoredRequest
from din_train.export.onnx_model import write_onnx
from din_train.export.request import RequestInput, Vocabulary


def open_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    given = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def score(artefact: Artefact, session: onnxruntime.InferenceSession, values: dict[str, Any]) -> dict[str, np.ndarray]:
    arrays = {each.name: to_array(values[each.name], each.datatype) for each in artefact.inputs}
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))


def find_problems(artefact: Artefact, path: Path, requests: list[ScoredRequest] | None = None) -> list[str]:
    session, problems = open_session(path), []
    for each in [*artefact.golden, *artefact.others] if requests is None else requests:
        outputs = score(artefact, session, each.request.encode(artefact.inputs))
        problem, _ = find_problem(describe_expected(each), outputs, TOLERANCE)
        problems += [] if problem is None else [f"{each.request.name}: {problem}"]
    return problems


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("din", {"search": {"keep": 2, "recent": 3}}),
        *(
            (name, {}) for name in ("wide_deep", "pnn", "deepfm", "dien", "bst")
        ),  # base, lr and tin have no operation more
    ],
)
def test_every_operation_scores_as_predict_does(
    name: str, model: dict[str, Any], runs: ServedRuns, tmp_path: Path
) -> None:
    artefact = build_artefact(runs.open(name, **model), 0.0, activation_weights=name in ("din", "dien", "bst"))
    write_onnx(artefact.model, artefact.vocabularies, tmp_path / "model.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    assert find_problems(artefact, tmp_path / "model.onnx") == []
    (request,) = (each for each in artefact.golden if each.request.name == "over-long history")
    values = request.request.encode(artefact.inputs)
    found = score(artefact, open_session(tmp_path / "model.onnx"), values)
    assert {*found} == {each["name"] for each in list_outputs(activation_weights=artefact.model.activation_weights)}
    limit = 3 if "search" in model else 6
    assert found["behaviours"].tolist() == [limit]
    assert found["known"].tolist() == [item in artefact.vocabularies["item"].texts for item in values["item"]]


@pytest.fixture(scope="module")
def artefact(runs: ServedRuns) -> Artefact:
    unit = {"inputs": ["history", "difference", "product"], "hidden_units": [8, 4], "activation": "dice"}
    mlp = {"hidden_units": [8, 4], "activation": "dice", "batch_normalization": True}
    opened = runs.open("din", local_activation_unit=unit, mlp=mlp)
    random = np.random.default_rng(2)
    for weight in opened.model.non_trainable_weights:
        if weight.path.endswith(("moving_mean", "moving_variance")):
            weight.assign(random.gamma(2, 1, weight.shape))
    return build_artefact(opened, 0.5, activation_weights=True)


@pytest.fixture(scope="module")
def converted(artefact: Artefact) -> Any:
    """What `write_onnx` begins with; nobody changes it."""
    return onnx_model._convert(artefact.model, folds_dice=True)


@pytest.fixture
def quick_conversion(converted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`write_onnx` begins with a conversion that was done once."""
    monkeypatch.setattr(onnx_model, "_convert", lambda *_: deepcopy(converted))


@pytest.fixture
def path(artefact: Artefact, tmp_path: Path, quick_conversion: None) -> Path:
    del quick_conversion
    write_onnx(artefact.model, artefact.vocabularies, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_many_candidates_of_one_user_score_as_each_does_alone(artefact: Artefact, path: Path) -> None:
    """500 at once, by one kernel for each behaviour, and one by one, by a kernel of the candidate."""
    session = open_session(path)
    (request,) = (each for each in artefact.golden if each.request.name == "one user, many candidates")
    values = request.request.encode(artefact.inputs)
    alone = {
        item: score(artefact, session, {**values, "item": [item], **cut_rows(artefact, values, place)})
        for place, item in enumerate(values["item"])
    }
    places = np.resize(np.arange(len(values["item"])), 500)
    many = {
        each.name: [values[each.name][place] for place in places]
        for each in artefact.inputs
        if len(values[each.name]) == len(values["item"])
    }
    together = score(artefact, session, {**values, **many})
    for name in ("logit", "activation_weights"):
        expected = np.concatenate([alone[values["item"][place]][name] for place in places])
        assert together[name] == pytest.approx(expected, abs=1e-5)
    assert np.ptp(together["logit"]) > 0.01
    assert together["behaviours"].tolist() == [len([each for each in values["history"][0] if each])]


def test_rows_that_fit_no_candidates_are_an_error(artefact: Artefact, path: Path) -> None:
    """Onnxruntime alone, without a server that looks at shapes: ONNX's Expand takes any of its inputs to the other."""
    session = open_session(path)
    (request,) = (each for each in artefact.golden if each.request.name == "one user, many candidates")
    values = request.request.encode(artefact.inputs)
    one = {**values, "item": values["item"][:1], **cut_rows(artefact, values, 0)}
    assert len(score(artefact, session, one)["logit"]) == 1
    read = {each.name for each in artefact.inputs} - {"item"}
    assert {"user", "history", "history_kind", "timestamp", "carts", "place", "tags", "item_price"} <= read
    for name in read:  # three rows of it
        with pytest.raises(
            (Fail, InvalidArgument, RuntimeException), match=r"reshape|broadcast|Expand|Concat|dimension"
        ):
            score(artefact, session, {**one, name: values[name][:1] * 3})


def cut_rows(artefact: Artefact, values: dict[str, Any], place: int) -> dict[str, Any]:
    """Of the inputs with a row for each candidate, that row."""
    rows = len(values["item"])
    return {each.name: [values[each.name][place]] for each in artefact.inputs if len(values[each.name]) == rows}


def test_a_large_model_lies_in_two_files(artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "_LARGE_TABLE", 8)  # so that each weight is an argument of the function
    write_onnx(artefact.model, artefact.vocabularies, tmp_path / "model.onnx", most_bytes=0)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert find_problems(artefact, tmp_path / "model.onnx") == []


@pytest.mark.usefixtures("quick_conversion")
def test_two_values_that_change_places_are_found(artefact: Artefact, tmp_path: Path) -> None:
    first, second, *others = artefact.vocabularies["item"].texts
    wrong = {**artefact.vocabularies, "item": Vocabulary([second, first, *others])}
    write_onnx(artefact.model, wrong, tmp_path / "model.onnx")
    assert find_problems(artefact, tmp_path / "model.onnx") != []


@pytest.mark.parametrize("inputs", [1, 2])
def test_texts_of_any_kind_have_their_ids(inputs: int) -> None:
    texts = ["a", "a ", " a", "a\r", "b\nc", "日本", "\ufeffx", '"q"', "d\\n", "n\0ul", "e\t"]
    asked = [
        RequestInput(f"text{place}", "BYTES", ("rows or 1", "positions"), "", "", vocabulary="item")
        for place in range(inputs)
    ]
    graph = helper.make_graph([], "texts", [], [])
    for each in asked:
        graph.node.append(helper.make_node("Identity", [each.name], [f"found_{each.name}"]))
        graph.output.append(helper.make_tensor_value_info(f"found_{each.name}", onnx.TensorProto.INT64, [None, None]))
    onnx_model._take_texts(graph, asked, {"item": Vocabulary(texts, ["NULL"])})
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    session = open_session(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    given = np.array([[*texts, "", "NULL", "A", "b"]], object)
    expected = [[*range(2, 13), 0, 0, 1, 1]]
    none = np.zeros((1, 0), object)
    arrays = [given, none] if inputs == 2 else [given]
    found = session.run(None, {each.name: array for each, array in zip(asked, arrays, strict=True)})
    assert found[0].tolist() == expected
    assert [each.shape for each in found[1:]] == [(1, 0)] * (inputs - 1)


def test_folded_dice_changes_no_score(artefact: Artefact) -> None:
    """All statistics and slopes are other than the initial ones; without the changed weights scores differ."""
    model = artefact.model.model
    width = model.mlp.dense[0].kernel.shape[0]
    candidate = keras.random.normal([6, width], seed=1)
    before = model.logit(model.mlp(candidate)).numpy()
    with folded_dice(model) as changed:
        assert model.logit(model.mlp(candidate)).numpy() != pytest.approx(before, abs=1e-2)
        with keras.StatelessScope([(variable, keras.ops.convert_to_tensor(value)) for variable, value in changed]):
            after = model.logit(model.mlp(candidate)).numpy()
    assert after == pytest.approx(before, abs=1e-5)
    assert model.logit(model.mlp(candidate)).numpy().tolist() == before.tolist()


def test_a_layer_that_is_nearly_linear_is_left_as_it_is(artefact: Artefact) -> None:
    model = artefact.model.model
    dice = model.mlp.activations[0].layers[0]
    alpha = dice.alpha.numpy()
    dice.alpha.assign(np.where(np.arange(len(alpha)) == 1, 1.0, alpha))
    with folded_dice(model) as changed:
        assert not dice.is_folded
        assert id(dice.alpha) not in {id(variable) for variable, _ in changed}
        assert model.mlp.activations[1].layers[0].is_folded
    dice.alpha.assign(alpha)


@pytest.mark.usefixtures("quick_conversion")
def test_vocabularies_that_no_file_can_hold_are_refused(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_model, "_LIMIT", 1000)
    with pytest.raises(RunError, match=r"bytes without its tables.*may have 1,000; export it with --format savedmodel"):
        write_onnx(artefact.model, artefact.vocabularies, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []

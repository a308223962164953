"""`din-train explain` on a small run, `attention.json` at the end of `fit`, and everything that is refused."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
import tensorflow as tf
from log_factory import read_samples
from matplotlib.figure import Figure
from workplace import EVENTS, Workplace

from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.model.din import DIN
from din_train.scoring import open_run

USER = "u3"
CLICKED = [item for user, item, _, _ in EVENTS if user == USER]


def explain(workplace: Workplace, *arguments: str) -> Any:
    result = workplace.run("explain", "--user", USER, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


def test_a_test_target_is_explained_from_what_came_before_it(fitted: Workplace) -> None:
    explained = explain(fitted, "--item", CLICKED[-1])
    assert [each["item"] for each in explained["behaviours"]] == CLICKED[:-1]
    assert explained["history"] == "as the test split has them for this item, which the user clicked"
    assert explained["normalization"] == "softmax"
    weights = [each["weight"] for each in explained["behaviours"]]
    assert sum(weights) == pytest.approx(1, abs=1e-6)
    assert weights[explained["top"]] == max(weights)
    for each in explained["behaviours"]:
        assert each["predicted_without"] == pytest.approx(each["click_probability_without"], abs=1e-4)
    scores = open_run(Path("runs/small"))
    from din_train.dataset.names import Describer
    from din_train.evaluation.scores import read_scores

    rows = read_scores(scores.run.scores_file("test"))
    describer = Describer(scores.data)
    row = (rows.user_id == describer.find_user(USER)) & (rows.target_item_id == describer.find_item(CLICKED[-1]))
    assert explained["candidate"]["click_probability"] == pytest.approx(
        float(rows.click_probabilities[row][0]), abs=1e-6
    )


def test_any_other_item_is_explained_from_all_events(fitted: Workplace) -> None:
    """A sampled negative of the test row has that row's history, an item of no row has all events."""
    data = open_store(Path("prepared/small"))
    rows = [row for row in read_samples(data, Split.TEST) if row["user"] == USER]
    sampled = next(row["target"] for row in rows if not row["label"])
    other = next(f"i{n}" for n in range(97) if f"i{n}" not in {*CLICKED, *(row["target"] for row in rows)})
    for item, behaviours, history in (
        (sampled, CLICKED[:-1], "as the test split has them for this item, which the user did not click"),
        (other, CLICKED, "all the user's events"),
    ):
        explained = explain(fitted, "--item", item)
        assert [each["item"] for each in explained["behaviours"]] == behaviours
        assert explained["history"] == history


def test_the_terminal_shows_table_and_check(fitted: Workplace) -> None:
    expected = explain(fitted, "--item", CLICKED[-1])
    result = fitted.run("explain", "--user", USER, "--item", CLICKED[-1], "--run-dir", "runs/small")
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    places = [next(n for n, line in enumerate(lines) if f"│ {item} " in line) for item in CLICKED[:-1]]
    assert places == sorted(places)  # newest last
    top = expected["behaviours"][expected["top"]]
    assert (
        f"without the top behaviour ({top['item']}, weight {top['weight']:.4f}): click probability "
        f"{top['click_probability_without']:.4f}; the weights predict {top['predicted_without']:.4f}" in lines
    )
    assert lines[-1].startswith("checked for each behaviour left out: logits differ by at most ")


@pytest.mark.figures
@pytest.mark.parametrize(
    ("name", "beginning"), [("a.svg", b"<svg"), ("b/a.html", b"<!doctype html>"), ("a.PNG", b"\x89PNG")]
)
def test_pictures_are_written_whole(
    fitted: Workplace, monkeypatch: pytest.MonkeyPatch, name: str, beginning: bytes
) -> None:
    arguments = ("explain", "--user", USER, "--item", CLICKED[-1], "--output", name)
    result = fitted.run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == f"{name}: written\n"
    written = Path(name).read_bytes()
    assert written.startswith(beginning)
    before = fitted.list_files()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    assert fitted.run(*arguments).exit_code == 1
    assert Path(name).read_bytes() == written
    assert fitted.list_files() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--user", "nobody", "--item", "i0"), "--user nobody: not in prepared/small/users.parquet"),
        (("--user", USER, "--item", "nothing"), "--item nothing: not in prepared/small/items.parquet"),
        (("--user", USER, "--item", "i0", "--output", "a.pdf"), "--output a.pdf: expected a name that ends in .svg"),
        (
            ("--user", USER, "--item", "i0", "--output", "prepared.svg"),
            "--output prepared.svg: is not an ordinary file",
        ),
        (("--user", USER, "--item", "i0", "--run-dir", "runs/none"), "runs/none: not a run directory"),
    ],
)
def test_what_is_refused_is_one_line(fitted: Workplace, arguments: tuple[str, ...], message: str) -> None:
    Path("prepared.svg").mkdir()
    result = fitted.run("explain", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("model", ["base", "lr"])
def test_a_model_without_attention_has_neither_file_nor_explanation(workplace: Workplace, model: str) -> None:
    assert workplace.fit("--set", f"model.name={model}", "--set", "training.epochs=1").exit_code == 0
    assert not Path("runs/small/attention.json").exists()
    assert f"Model {model} has no activation weights." in Path("runs/small/report.html").read_text()
    result = workplace.run("explain", "--user", USER, "--item", "i0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: runs/small: model '{model}' has no activation weights to explain; give --run-dir a run of "
        "model.name=din, dien, bst or tin\n"
    )


def test_weights_that_predict_nothing_are_shown_as_such(workplace: Workplace) -> None:
    assert workplace.fit("--set", "model.name=tin", "--set", "training.epochs=1").exit_code == 0
    example = workplace.read_json("runs/small/attention.json")["examples"][0]
    assert sum(each["weight_clicked"] for each in example["behaviours"]) == pytest.approx(1, abs=1e-4)
    arguments = ("explain", "--user", example["user"], "--item", example["clicked"]["item"])
    shown = workplace.run(*arguments).stdout
    assert "weights: softmax, so they sum to 1" in shown
    assert "the weights do not predict it" in shown
    assert "checked" not in shown
    assert json.loads(workplace.run(*arguments, "--json").stdout)["check"] is None


def test_fit_ends_with_examples_that_explain_agrees_with(fitted: Workplace) -> None:
    examples = fitted.read_json("runs/small/attention.json")["examples"]
    assert len(examples) == len({each["user"] for each in examples}) == 6
    for example in examples[:2]:
        for key in ("clicked", "sampled"):
            arguments = ("--user", example["user"], "--item", example[key]["item"], "--json")
            explained = orjson.loads(fitted.run("explain", *arguments).stdout)
            assert explained["candidate"] == pytest.approx(example[key], abs=1e-6)
            weights = [each["weight"] for each in explained["behaviours"]]
            assert [each[f"weight_{key}"] for each in example["behaviours"]] == pytest.approx(weights, abs=1e-6)
    clicked = {user: item for user, item, _, _ in EVENTS}  # the last
    assert all(example["clicked"]["item"] == clicked[example["user"]] for example in examples)


def test_the_examples_depend_on_the_seed_alone(fitted: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """And if weights are not those behind the scores, they are neither explained nor examples."""
    assert fitted.fit("--set", "name=again").exit_code == 0
    files = [Path(f"runs/{name}/attention.json").read_bytes() for name in ("small", "again")]
    assert files[0] == files[1]
    compute = DIN.compute_activation_weights

    def enlarge(model: DIN, inputs: Any, place: int) -> tuple[tf.Tensor, tf.Tensor]:
        weights, rows = compute(model, inputs, place)
        return 100 * weights, rows

    monkeypatch.setattr(DIN, "compute_activation_weights", enlarge)
    result = fitted.run("explain", "--user", USER, "--item", CLICKED[-1], "--output", "a.svg")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: activation weights: with ")
    assert not Path("a.svg").exists()
    again = fitted.fit("--overwrite", "--set", "training.epochs=1")
    assert again.exit_code == 0
    assert "runs/small/attention.json: not written; activation weights: with " in again.stderr
    assert not Path("runs/small/attention.json").exists()
    assert Path("runs/small/metrics.json").exists()


def test_the_run_is_left_as_it_was(fitted: Workplace) -> None:
    before = {path: (fitted.folder / path).read_bytes() for path in fitted.list_files()}
    explain(fitted, "--item", CLICKED[-1])
    assert {path: (fitted.folder / path).read_bytes() for path in fitted.list_files()} == before


def test_what_a_search_finds_is_explained_beside_the_newest(workplace: Workplace) -> None:
    search = ("--set", "model.search={keep: 3, recent: 2}")
    assert workplace.fit(*search, "--set", "training.epochs=1").exit_code == 0
    example = workplace.read_json("runs/small/attention.json")["examples"][0]
    assert len(example["behaviours"]) == 2
    assert "sequences" not in example  # the other candidate's would be others
    arguments = ("explain", "--user", example["user"], "--item", example["clicked"]["item"], "--json")
    explained = json.loads(workplace.run(*arguments).stdout)
    found = explained["sequences"]["searched"]["behaviours"]
    assert {each["category"] for each in found} == {explained["candidate"]["category"]}
    assert sum(each["weight"] for each in found) == pytest.approx(1, abs=1e-5)
    assert workplace.run("eval").exit_code == 0

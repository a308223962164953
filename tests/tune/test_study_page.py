"""The page of a study says what study.json says, and escapes what others named."""

from typing import Any

import pytest
from page_reader import PageReader

from din_train.tune.study_page import (
    build_study_page,
    build_trials_table,
    plot_best,
    plot_importance,
    plot_parallel,
    plot_trial_curves,
)

HOSTILE = "</svg><script>alert('1')</script>$x^{2$"
RATE = "training.optimizer.learning_rate"


def trial(number: int, value: float | None, state: str = "complete", **others: Any) -> dict[str, Any]:
    values = {str(epoch): (value or 0.4) - 0.01 * (2 - epoch) for epoch in (1, 2)}
    return {
        "number": number,
        "state": state,
        "value": value,
        "epoch": None if value is None else 2,
        "values": values,
        "keys": {RATE: 0.1 ** (number % 3 + 1), "data.name": HOSTILE if number % 2 else "plain"},
        "seconds": 12.4,
        "run_directory": f"runs/found/runs/trial-000{number}-seed1",
        "failure": None,
    } | others


TRIALS = [
    trial(0, 0.6),
    trial(1, 0.7),
    trial(2, None, "pruned"),
    trial(3, 0.65),
    trial(4, None, "fail", failure=HOSTILE),
]
STUDY: dict[str, Any] = {
    "name": "found",
    "metric": "gauc",
    "direction": "maximize",
    "space": {RATE: {"low": 0.001, "high": 0.1, "log": True}, "data.name": ['"plain"', f'"{HOSTILE}"']},
    "trials": TRIALS,
    "winner": TRIALS[1],
    "test": None,
}
TEST = dict.fromkeys(("gauc", "auc", "logloss", "normalised_entropy", "pcoc", "ece"), 0.5) | {
    "gauc": 0.61,
    "intervals": {"gauc": [0.6, 0.62]},
}


@pytest.mark.figures
def test_the_page_is_whole_and_escapes_every_raw_text() -> None:
    page = build_study_page(STUDY, {RATE: 0.75, "data.name": 0.25}, f"name: {HOSTILE}")
    reader = PageReader(page)
    assert reader.mistakes == []
    assert not list(reader.find("script"))
    assert "<script" not in page
    assert len(list(reader.find("svg"))) == 4
    assert HOSTILE.replace("'", "'") in reader.text
    assert "5 trials (3 complete, 1 pruned, 1 failed), compared by validation GAUC" in reader.text
    assert "Trial 1: validation GAUC 0.700000 at epoch 2." in reader.text
    assert "The test split is not scored yet." in reader.text
    assert "Trial 4 failed" in reader.text


def test_the_test_split_is_shown_once_it_is_scored() -> None:
    text = PageReader(build_study_page({**STUDY, "test": TEST}, {}, "name: x")).text
    assert "this value is too good. The test split was scored once" in text
    assert "0.610000 (0.6000 to 0.6200)" in text


def test_an_empty_study_has_a_page() -> None:
    text = PageReader(build_study_page({**STUDY, "trials": [], "winner": None}, {}, None)).text
    assert "No trial is complete yet." in text
    assert "0 trials (none yet)" in text


def test_the_line_is_the_best_so_far() -> None:
    figure = plot_best(STUDY)
    assert figure is not None
    marks, line = figure.axes[0].lines
    assert list(marks.get_xydata()[:, 0]) == [0, 1, 3]  # type: ignore[index]
    assert list(line.get_ydata()) == [0.6, 0.7, 0.7]
    losses = plot_best({**STUDY, "direction": "minimize"})
    assert losses is not None
    assert list(losses.axes[0].lines[1].get_ydata()) == [0.6, 0.6, 0.6]


def test_every_trial_has_a_curve_and_the_winners_is_thick() -> None:
    figure = plot_trial_curves(STUDY)
    assert figure is not None
    lines = figure.axes[0].lines
    assert [round(line.get_linewidth(), 1) for line in lines] == [0.8, 2.2, 0.8, 0.8, 0.8]
    assert [line.get_linestyle() for line in lines] == ["-", "-", ":", "-", ":"]
    assert list(lines[1].get_ydata()) == pytest.approx([0.69, 0.7])


def test_parallel_coordinates_place_numbers_by_their_scale_and_choices_in_order() -> None:
    figure = plot_parallel(STUDY)
    assert figure is not None
    lines = [line.get_xdata() for line in figure.axes[0].lines[:3]]  # from the worst trial, 0, to the best, 1
    assert [list(each) for each in lines] == [
        pytest.approx([1.0, 0.0]),  # 0.1 and the first choice
        pytest.approx([1.0, 1.0]),
        pytest.approx([0.5, 1.0]),  # 0.01 is in the middle of 0.001 to 0.1
    ]


def test_importance_is_sorted() -> None:
    axes = plot_importance({"a.b.c": 0.2, "d": 0.8}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.8, 0.2]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["d", "b.c"]


def test_the_table_has_the_best_trials_first() -> None:
    assert list(build_trials_table(STUDY).columns[0].cells) == ["1", "3", "0"]
    assert list(build_trials_table({**STUDY, "direction": "minimize"}, most=2).columns[0].cells) == ["0", "3"]

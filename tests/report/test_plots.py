"""Figures: what is drawn is what was measured; elements fit into a page, files are whole."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from record_factory import describe_slice
from report_factory import HISTORY, ROWS
from scored_rows import make_rows

from din_train.report.page import INK, clip_text, figure_style, new_figure, to_svg, write_figure, write_figures
from din_train.report.run_plots import (
    plot_history_lengths,
    plot_learning_rate,
    plot_loss,
    plot_reliability,
    plot_roc,
    plot_scores,
    plot_slices,
    plot_watched,
)

pytestmark = pytest.mark.figures

NOTHING = make_rows(label=[], logit=[])


def draw(text: str = "text") -> Figure:
    with figure_style():
        figure, axes = new_figure(title=text)
        axes.plot([1, 2], [3, 4], "o-")
    return figure


def read_lines(figure: Figure | None, place: int = 0) -> dict[str, list[tuple[float, float]]]:
    assert figure is not None
    lines = figure.axes[place].lines
    return {
        str(line.get_label()): list(zip(*map(np.ndarray.tolist, map(np.asarray, line.get_data())), strict=True))
        for line in lines
    }


def test_an_element_has_the_pages_colour_and_no_address() -> None:
    svg = to_svg(draw(), name="first", description='a "b" <c>')
    assert svg.startswith('<svg role="img" aria-label="a &quot;b&quot; &lt;c&gt;"')
    assert INK not in svg
    assert "#000000" not in svg
    assert svg.count("currentColor") > 10
    assert "http" not in svg
    assert "<style" not in svg
    assert "font-family" not in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert ids
    assert all(each.startswith("first-") for each in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= set(ids)
    assert svg == to_svg(draw(), name="first", description='a "b" <c>')


def test_texts_stay_as_they_are() -> None:
    hostile = f'<b>$x^{{2$ id="a" {INK} 鞋'
    svg = to_svg(draw(hostile), name="n", description="d")
    texts = [text.text for text in ElementTree.fromstring(svg.replace("xlink:", "")).iter("text")]  # noqa: S314
    assert hostile in texts


def test_files_are_whole_and_replace_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    write_figures(folder, {"old": draw()})
    write_figures(folder, {"one": draw("One"), "two": draw()})
    assert sorted(each.name for each in folder.iterdir()) == ["one.png", "one.svg", "two.png", "two.svg"]
    assert [each.name for each in tmp_path.iterdir()] == ["plots"]
    assert (folder / "one.png").read_bytes().startswith(b"\x89PNG")
    root = ElementTree.parse(folder / "one.svg").getroot()  # noqa: S314 - our own
    assert root[0].attrib == {"width": "100%", "height": "100%", "fill": "#ffffff"}
    assert "One" in [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    write_figures(folder, {"one": draw("One"), "two": draw()})
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before


def test_one_file_is_what_its_name_ends_in(tmp_path: Path) -> None:
    for name in ("a.svg", "b.SVG", "c.png", "d.PNG"):
        write_figure(tmp_path / name, draw())
    beginnings = {each.name: each.read_bytes()[:4] for each in tmp_path.iterdir()}
    assert beginnings == {"a.svg": b"<svg", "b.SVG": b"<svg", "c.png": b"\x89PNG", "d.PNG": b"\x89PNG"}


def test_a_failing_figure_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    write_figures(tmp_path / "plots", {"old": draw()})
    broken: Any = None
    with pytest.raises(AttributeError):
        write_figures(tmp_path / "plots", {"one": draw(), "two": broken})
    assert sorted(each.name for each in (tmp_path / "plots").iterdir()) == ["old.png", "old.svg"]
    assert [each.name for each in tmp_path.iterdir()] == ["plots"]


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb\x00c", "a b\\x00c"), ("x" * 30, "x" * 23 + "…"), ("x" * 24, "x" * 24), ("  a  ", "a")]
)
def test_names_on_an_axis_are_short_and_on_one_line(text: str, shown: str) -> None:
    assert clip_text(text) == shown


def test_learning_curves() -> None:
    refit = {"phase": "refit", "epoch": 1, "loss": 0.9, "learning_rate": 0.02}
    loss = read_lines(plot_loss([*HISTORY, refit]))
    assert loss == {"training": [(1, 0.7), (2, 0.6)], "training, refit": [(1, 0.9)]}
    with_logloss = [{**each, "validation_logloss": 0.3} for each in HISTORY]
    assert read_lines(plot_loss(with_logloss))["validation logloss"] == [(1, 0.3), (2, 0.3)]
    watched = read_lines(plot_watched(HISTORY, best_epoch=2))
    assert watched["GAUC"] == [(1, 0.61), (2, 0.71)]
    assert watched["AUC"] == [(1, 0.6), (2, 0.7)]
    assert [x for x, _ in watched["epoch chosen"]] == [2, 2]
    assert read_lines(plot_learning_rate([*HISTORY, refit])) == {"at the epoch's end": [(1, 0.01), (2, 0.005)]}
    assert plot_watched([{"epoch": 1, "loss": 0.7}], 1) is None


def test_an_undefined_metric_leaves_a_gap() -> None:
    history = [HISTORY[0], {**HISTORY[1], "validation_gauc": None}]
    assert read_lines(plot_watched(history, None))["GAUC"] == [(1, 0.61)]


def test_roc_by_hand() -> None:
    # scores from the top: target, negative, negative, target, negative, negative
    assert read_lines(plot_roc(ROWS))["model"] == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert plot_roc(NOTHING) is None


def test_a_long_roc_is_thinned_and_keeps_its_ends() -> None:
    random = np.random.default_rng(1)
    label = (random.random(20_000) < 0.3).astype(np.int8)
    logit = (label + random.normal(size=20_000)).astype(np.float32)
    points = read_lines(plot_roc(make_rows(label=label, logit=logit)))["model"]
    assert 250 < len(points) <= 300
    assert (points[0], points[-1]) == ((0, 0), (1, 1))
    false_rates, true_rates = zip(*points, strict=True)
    assert float(np.trapezoid(true_rates, false_rates)) == pytest.approx(0.76, abs=0.01)  # Phi(1 / sqrt 2)


def test_reliability_by_hand() -> None:
    # 3 rows of probability 0.2, 1 a target; 3 of 0.8, 2 targets: two bins, because equal probabilities share one
    logit = np.log([0.25] * 3 + [4.0] * 3).astype(np.float32)
    label = np.array([1, 0, 0, 1, 1, 0], np.int8)
    figure = plot_reliability(make_rows(label=label, logit=logit))
    assert read_lines(figure)["model"] == [pytest.approx((0.2, 1 / 3)), pytest.approx((0.8, 2 / 3))]
    assert figure is not None
    assert [bar.get_height() for bar in figure.axes[1].patches if bar.get_height()] == [3, 3]
    assert plot_reliability(NOTHING) is None


def test_histograms_count_every_row() -> None:
    figure = plot_history_lengths(ROWS)
    assert figure is not None
    bars = {round(bar.get_x() + 0.5): bar.get_height() for bar in figure.axes[0].patches if bar.get_height()}
    assert bars == {1: 1, 3: 3, 8: 2}
    scores = plot_scores(ROWS)
    assert scores is not None
    drawn = {str(each.get_label()): each for each in scores.axes[0].patches}
    for name in ("negatives (4)", "targets (2)"):
        assert drawn[name].get_data().values.sum() == pytest.approx(1)
    assert plot_history_lengths(NOTHING) is plot_scores(NOTHING) is None


def test_slices_are_bars_from_chance() -> None:
    slices = [describe_slice("a", gauc=0.7), describe_slice("b", gauc=0.4), describe_slice("c", gauc=None)]
    figure = plot_slices("hour", slices)
    assert figure is not None
    axes = figure.axes[0]
    bars = [(bar.get_x(), round(bar.get_width(), 6)) for bar in axes.patches]
    assert bars == [(0.5, 0.2), (0.5, -0.1), (0.5, 0.0)]
    assert [each.get_text() for each in axes.texts] == [
        "0.7000  (1,234 rows)", "0.4000  (1,234 rows)", "undefined  (1,234 rows)",
    ]  # fmt: skip
    assert [each.get_text() for each in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.get_title(loc="left") == "GAUC by hour"
    by_auc = plot_slices("hour", [describe_slice("a", gauc=None, auc=0.6)])
    assert by_auc is not None
    assert by_auc.axes[0].get_title(loc="left") == "AUC by hour"
    assert plot_slices("hour", [describe_slice("a", gauc=None, auc=None)]) is None

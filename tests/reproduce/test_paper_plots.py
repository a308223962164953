"""The marks of a plot are the table's numbers, each where it belongs."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from paper_cells import finish, plan_cells

from din_train.reproduce.paper_plots import plot_models
from din_train.reproduce.paper_suites import load_suite
from din_train.reproduce.paper_tables import TableLine, collect_lines

pytestmark = pytest.mark.figures


def collect(out: Path, values: dict[str, tuple[float, ...]]) -> list[TableLine]:
    cells = plan_cells(out, "electronics", "table3", recipes=("ours",), seeds=2)
    for cell in cells:
        if cell.place[-1] in values:
            finish(cell, values[cell.place[-1]][cell.seed - 1])
    return collect_lines(cells, load_suite("table3"), "base")


def find_marks(figure: Figure) -> dict[str, list[float]]:
    """Label -> where the marks are on the axis of GAUC."""
    lines = figure.axes[0].get_lines()
    marks = {str(line.get_label()): list(map(float, line.get_xdata())) for line in lines}  # type: ignore[arg-type]
    return {label: values for label, values in marks.items() if not label.startswith("_")}


def test_published_values_are_marked_as_what_they_are(tmp_path: Path) -> None:
    lines = collect(tmp_path, {"base": (0.86, 0.87), "din": (0.88, 0.90)})
    figure = plot_models("x", lines, with_published=True)
    assert figure is not None
    assert find_marks(figure) == {
        "published": [0.7742, 0.8624, 0.8637, 0.8679, 0.8683],
        "published, withdrawn": [0.8818, 0.8871],
        "corrected 2020": [0.8679, 0.8683, 0.8698, 0.8711],
        "BARS (chosen on the test set)": [0.878890, 0.883526],
    }
    (ours,) = figure.axes[0].containers
    data, _, (bars,) = ours
    assert list(data.get_xdata()) == pytest.approx([0.865, 0.89])
    assert list(data.get_ydata()) == [1, 5]  # BaseModel and DIN among the seven, from the top
    ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
    assert ends == [
        pytest.approx([0.865 - 0.0070711, 0.865 + 0.0070711], abs=1e-6),
        pytest.approx([0.89 - 0.0141421, 0.89 + 0.0141421], abs=1e-6),
    ]
    without = plot_models("x", lines, with_published=False)
    assert without is not None
    assert find_marks(without) == {}


def test_nothing_is_drawn_before_anything_is_measured(tmp_path: Path) -> None:
    assert plot_models("x", collect(tmp_path, {}), with_published=True) is None

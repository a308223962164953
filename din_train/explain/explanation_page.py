"""One explained score: a table on the terminal, and a page that needs nothing beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table

from din_train.dataset.names import EventDescription
from din_train.report.attention import Candidate, Example, format_day, format_weight
from din_train.report.page import Picture, render_page

_BAR_WIDTH = 20  # characters
_EIGHTHS = "▏▎▍▌▋▊▉█"

MEANING = (
    "A weight is the behaviour's share in the user interest, which goes on through further layers: it says what the "
    "model looked at, not by how much or in which direction the score moves. The last column does: it is the score "
    "without that behaviour, which the model was really given, and which the weights predict."
)

_SECTIONS = {"score": "Score", "weights": "Activation weights", "numbers": "In numbers"}
_TITLES = ("day", "item", "title", "category", "weight", "without it")


@dataclass(frozen=True)
class ExplainedPair:
    """What is shown of one score, of a candidate and N behaviours, oldest first.

    history: which of the user's events they are, in words. normalization: the name in the config.
    unknown_context: context fields without a value. weights: [N]. probabilities_without: [N] click probabilities, each
    without one behaviour; predicted_without: [N] what the weights say they are, None if they cannot tell.
    top: place of the largest weight, None for an empty history. largest_difference, tolerance: see `Explanation`.
    """

    run: str
    user: str
    candidate: Candidate
    history: str
    normalization: str
    unknown_context: Sequence[str]
    behaviours: Sequence[EventDescription]
    weights: Sequence[float]
    probabilities_without: Sequence[float]
    predicted_without: Sequence[float | None]
    top: int | None
    largest_difference: float
    tolerance: float

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        columns = (self.behaviours, self.weights, self.probabilities_without, self.predicted_without)
        return {
            "run": self.run,
            "user": self.user,
            "candidate": self.candidate,
            "history": self.history,
            "normalization": self.normalization,
            "unknown_context": list(self.unknown_context),
            "behaviours": [
                {**behaviour, "weight": weight, "click_probability_without": scored, "predicted_without": predicted}
                for behaviour, weight, scored, predicted in zip(*columns, strict=True)
            ],
            "top": self.top,
            "check": {"largest_logit_difference": self.largest_difference, "tolerance": self.tolerance},
        }

    def to_example(self) -> Example:
        """The record that pictures are drawn from."""
        return {
            "user": self.user,
            "clicked": self.candidate,
            "sampled": None,
            "behaviours": [
                {**behaviour, "weight_clicked": weight, "weight_sampled": None}
                for behaviour, weight in zip(self.behaviours, self.weights, strict=True)
            ],
        }


def build_explanation_table(pair: ExplainedPair) -> Table:
    """The behaviours, newest last; the one with the largest weight is marked."""
    largest = max(map(abs, pair.weights), default=0.0)
    table = Table(*_TITLES[:5], "", _TITLES[5], title=escape(describe_score(pair)))
    for place, column in enumerate(table.columns):
        column.no_wrap = place not in (1, 2, 3)
        column.justify = "right" if place in (4, 6) else "left"
    for place, (*words, weight, without) in enumerate(_list_behaviours(pair)):
        bar = draw_bar(pair.weights[place], largest)
        table.add_row(*map(escape, words), weight, bar, without, style="bold" if place == pair.top else "")
    return table


def _list_behaviours(pair: ExplainedPair) -> list[tuple[str, ...]]:
    """One row per behaviour, with a cell for each of `_TITLES`."""
    largest = max(map(abs, pair.weights), default=0.0)
    return [
        (
            format_day(behaviour["timestamp"]),
            behaviour["item"],
            behaviour["title"] or "",
            behaviour["category"] or "",
            format_weight(weight, largest),
            f"{without:.4f}",
        )
        for behaviour, weight, without in zip(pair.behaviours, pair.weights, pair.probabilities_without, strict=True)
    ]


def draw_bar(weight: float, largest: float) -> str:
    """Draw a bar of characters, `largest` being the longest; a minus stands before that of a negative weight."""
    eighths = round(abs(weight) / largest * _BAR_WIDTH * 8) if largest else 0
    bar = _EIGHTHS[-1] * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")
    return f"-{bar}" if weight < 0 and bar else bar


def describe_score(pair: ExplainedPair) -> str:
    """User, candidate and click probability."""
    title, category = pair.candidate["title"], pair.candidate["category"]
    name = pair.candidate["item"] + (f", {title}" if title else "") + (f" ({category})" if category else "")
    return f"user {pair.user}, item {name}: click probability {pair.candidate['click_probability']:.4f}"


def describe_explanation(pair: ExplainedPair) -> list[str]:
    """The lines that stand below the table."""
    lines = [f"history: {len(pair.behaviours)} behaviours, {pair.history}"]
    if pair.unknown_context:
        lines.append(f"context: {', '.join(pair.unknown_context)} unknown, since the data set has no row of this pair")
    if pair.top is None:
        return [*lines, "nothing to weigh: the history is empty"]
    predicted = pair.predicted_without[pair.top]
    claim = "the others are too small to predict it" if predicted is None else f"the weights predict {predicted:.4f}"
    return [
        *lines,
        f"weights: {_NORMALIZATIONS[pair.normalization]}",
        f"without the top behaviour ({pair.behaviours[pair.top]['item']}, weight {pair.weights[pair.top]:.4f}): click "
        f"probability {pair.probabilities_without[pair.top]:.4f}; {claim}",
        f"checked for each behaviour left out: logits differ by at most {pair.largest_difference:.1e} "
        f"(allowed: {pair.tolerance:g})",
    ]


_NORMALIZATIONS = {
    "softmax": "softmax, so they sum to 1, and without a behaviour the others grow",
    "sigmoid": "sigmoid, each between 0 and 1, whatever the others are",
    "none": "not normalised, so they may be negative or above 1, whatever the others are",
}


def build_explanation_page(pair: ExplainedPair, figure: Figure) -> str:
    """The sentences, the picture and the table: HTML that needs nothing beside it."""
    description = f"Activation weights of the behaviours of user {pair.user}"
    caption = "The weight of each behaviour in this score, oldest first."
    return render_page(
        "explanation",
        title=describe_score(pair),
        sections=_SECTIONS,
        sentences=describe_explanation(pair),
        picture=Picture("weights", figure, caption, description),
        meaning=MEANING,
        titles=_TITLES,
        rows=_list_behaviours(pair),
    )

"""One explained score: a table on the terminal, and a page that needs nothing beside it."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from din_train.dataset.names import EventDescription
from din_train.explain.examples import Candidate, Example
from din_train.explain.timeline import draw_attention, format_day, format_weight, to_svg
from din_train.printable import make_printable

_BAR_WIDTH = 20  # characters
_EIGHTHS = "▏▎▍▌▋▊▉█"

MEANING = (
    "A weight is the behaviour's share in the user interest, which goes on through further layers: it says what the "
    "model looked at, not by how much or in which direction the score moves. The last column does: it is the score "
    "without that behaviour, which the model was really given, and which the weights predict."
)

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 1rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; } p { overflow-wrap: anywhere; }
svg { display: block; width: 100%; max-width: 34rem; height: auto; margin: 1.5rem 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8884; }
td:first-child { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True)
class ExplainedPair:
    """What is shown of one score, of a candidate and N behaviours, oldest first.

    history: which of the user's events they are, in words. normalization: of the weights, as the config names it.
    unknown_context: context fields without a value. weights: [N]. probabilities_without: [N] click probabilities, each
    without one behaviour; predicted_without: [N] what the weights say they are, None where they cannot tell.
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
        """As pictures want it."""
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
    table = Table("day", "item", "title", "category", "weight", "", "without it", title=escape(describe_score(pair)))
    for place in (4, 6):
        table.columns[place].justify = "right"
        table.columns[place].no_wrap = True
    table.columns[0].no_wrap = table.columns[5].no_wrap = True
    for place, (behaviour, weight, without) in enumerate(
        zip(pair.behaviours, pair.weights, pair.probabilities_without, strict=True)
    ):
        table.add_row(
            format_day(behaviour["timestamp"]),
            escape(behaviour["item"]),
            escape(behaviour["title"] or ""),
            escape(behaviour["category"] or ""),
            format_weight(weight, largest),
            draw_bar(weight, largest),
            f"{without:.4f}",
            style="bold" if place == pair.top else "",
        )
    return table


def draw_bar(weight: float, largest: float) -> str:
    """A bar of characters, `largest` being the longest; of a negative weight with a minus before it."""
    eighths = round(abs(weight) / largest * _BAR_WIDTH * 8) if largest else 0
    bar = _EIGHTHS[-1] * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")
    return f"-{bar}" if weight < 0 and bar else bar


def describe_score(pair: ExplainedPair) -> str:
    """User, candidate and click probability."""
    title, category = pair.candidate["title"], pair.candidate["category"]
    name = pair.candidate["item"] + (f", {title}" if title else "") + (f" ({category})" if category else "")
    return f"user {pair.user}, item {name}: click probability {pair.candidate['click_probability']:.4f}"


def describe_explanation(pair: ExplainedPair) -> list[str]:
    """What stands below the table, a line each."""
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


def build_explanation_html(pair: ExplainedPair) -> str:
    """The page: the sentences, the picture, and the table."""
    title = _escape(describe_score(pair))
    largest = max(map(abs, pair.weights), default=0.0)
    columns = (pair.behaviours, pair.weights, pair.probabilities_without)
    rows = "".join(
        f"<tr><td>{format_day(behaviour['timestamp'])}</td><td>{_escape(behaviour['item'])}</td>"
        f"<td>{_escape(behaviour['title'] or '')}</td><td>{_escape(behaviour['category'] or '')}</td>"
        f"<td class=number>{format_weight(weight, largest)}</td><td class=number>{without:.4f}</td></tr>\n"
        for behaviour, weight, without in zip(*columns, strict=True)
    )
    head = "".join(f"<th>{name}</th>" for name in ("day", "item", "title", "category", "weight", "without it"))
    sentences = "".join(f"<p>{_escape(line)}</p>\n" for line in [*describe_explanation(pair), MEANING])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        f"{to_svg(draw_attention(pair.to_example(), clicked_as='candidate'))}\n{sentences}"
        f'<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>\n</body></html>\n'
    )


def _escape(text: str) -> str:
    return html.escape(make_printable(text))

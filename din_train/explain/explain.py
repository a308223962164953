"""`din-train explain`: the activation weights behind one score, as a table, as JSON and as a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table

from din_train import terminal
from din_train.config import ModelConfig
from din_train.config.model import WEIGHING
from din_train.dataset.category_search import CategorySearch
from din_train.dataset.names import Describer, EventDescription
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import NO_EVENT, PreparedData, Samples
from din_train.dataset.stored_histories import StoredHistories
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.errors import ConfigError
from din_train.evaluation.display import describe_probabilities
from din_train.files import atomic_file, check_can_be_file, make_folder
from din_train.report.attention import Candidate, build_example, draw_attention, format_day, format_weight
from din_train.report.page import Picture, render_page, write_figure
from din_train.run_directory import open_run_directory
from din_train.scoring import OpenedRun, open_run

if TYPE_CHECKING:
    from din_train.explain.weights import Explanation, WeighingModel

_PICTURES = (".svg", ".html", ".png")
_BAR_WIDTH = 20  # characters
_EIGHTHS = "▏▎▍▌▋▊▉█"

MEANING = (
    "A weight is the behaviour's share in the user interest, which goes on through further layers: it says what the "
    "model looked at, not by how much or in which direction the score moves. The last column does: it is the score "
    "without that behaviour, which the model was really given; DIN's weights predict it."
)

_SECTIONS = {"score": "Score", "weights": "Activation weights", "numbers": "In numbers"}
_TITLES = ("day", "item", "title", "category", "weight", "without it")
_NORMALIZATIONS = {
    "softmax": "softmax, so they sum to 1, and without a behaviour the others grow",
    "sigmoid": "sigmoid, each between 0 and 1, whatever the others are",
    "none": "not normalised, so they may be negative or above 1, whatever the others are",
    "attention": "the candidate's attention in the last block, the mean of its heads; it also looks at itself, so they "
    "sum to less than 1",
}


class ExplainedBehaviour(EventDescription):
    """A behaviour with its weight, and the click probability without it: as scored, and as the weights predict it.

    predicted_without: None if the weights cannot tell.
    """

    weight: float
    click_probability_without: float
    predicted_without: float | None


@dataclass(frozen=True)
class ExplainedSequence:
    """behaviours: oldest first. top: place of the largest weight, None if there are no behaviours.
    check: `largest_logit_difference` and its `tolerance`, see `Explanation`; None if the weights predict nothing.
    """

    behaviours: Sequence[ExplainedBehaviour]
    top: int | None
    check: Mapping[str, float] | None

    @property
    def weights(self) -> list[float]:
        return [each["weight"] for each in self.behaviours]


@dataclass(frozen=True)
class ExplainedPair:
    """What is shown of the score of a candidate; the fields are those that `--json` prints.

    history: which of the user's events are the behaviours, in words. normalization: the name in the config.
    probabilities: what is unusual about them, in words; None if nothing is.
    unknown_context: context fields without a value. behaviours (oldest first), top (place of the largest weight, None
    for an empty history), check (`largest_logit_difference` and its `tolerance`, see `Explanation`): of the history.
    sequences: the further sequences, by name.
    """

    run: str
    user: str
    candidate: Candidate
    history: str
    normalization: str
    unknown_context: Sequence[str]
    behaviours: Sequence[ExplainedBehaviour]
    top: int | None
    check: Mapping[str, float] | None
    sequences: Mapping[str, ExplainedSequence] = field(default_factory=dict)
    probabilities: str | None = None

    @property
    def all_sequences(self) -> dict[str, ExplainedSequence]:
        """The history and the further sequences."""
        return {"history": ExplainedSequence(self.behaviours, self.top, self.check), **self.sequences}


def explain(
    run_dir: Path,
    *,
    user: str,
    item: str,
    as_json: bool,
    output: Path | None = None,
    overrides: Sequence[str] = (),
) -> ExplainedPair:
    """Show how much each of a user's behaviours weighs in the score of an item.

    Args:
        user, item: raw ids, as the log has them.
        output: also save the picture there.
        overrides: see `open_run`.

    Raises:
        ConfigError: if the model has no activation weights, the user or item is unknown, or no such picture is made.
        RunError: if the weights are not those behind the score.
    """
    if output is not None:
        if output.suffix.lower() not in _PICTURES:
            raise ConfigError(f"--output {output}: expected a name that ends in {', '.join(_PICTURES)}")
        check_can_be_file(output, "--output")
    run, config = open_run_directory(run_dir, overrides)
    if config.model.name not in WEIGHING:  # asked before TensorFlow starts, which takes seconds
        raise ConfigError(
            f"{run.path}: model '{config.model.name}' has no activation weights to explain; give --run-dir a run of "
            f"model.name={', '.join(WEIGHING[:-1])} or {WEIGHING[-1]}"
        )
    pair = _explain_pair(open_run(run.path, overrides), user, item)
    if output is not None:
        _save_picture(pair, output)
    if as_json:
        terminal.show_json(pair)
    else:
        for table in build_explanation_tables(pair):
            terminal.show_table(table)
        for line in describe_explanation(pair):
            terminal.show_line(line)
    return pair


def _explain_pair(opened: OpenedRun, user: str, item: str) -> ExplainedPair:
    from din_train.batches import build_batch
    from din_train.explain.weights import explain_score

    data, longest = opened.data, opened.config.data.max_history_length
    describer = Describer(data)
    user_id, item_id = describer.find_user(user), describer.find_item(item)
    if user_id is None:
        raise _unknown_id("--user", user, data.folder / "users.parquet", describer.first("users"))
    if item_id is None:
        raise _unknown_id("--item", item, data.folder / "items.parquet", describer.first("items"))
    row = find_pair_row(data, user_id, item_id, longest)
    model = cast("WeighingModel", opened.model)
    search = CategorySearch.of(opened.config.model.search, data)
    batch = build_batch(data, row.samples, np.array([0]), longest, model.behaviour_fields, search=search)[0]
    places = range(1 + len(model.sequences))
    explanations = [explain_score(model, batch, place, opened.calibration) for place in places]
    history, *others = (
        _describe_sequence(events, explanation)
        for events, explanation in zip(describer.sequences(row.samples, 0, search).values(), explanations, strict=True)
    )
    return ExplainedPair(
        **vars(history),
        run=str(opened.run.path),
        user=user,
        candidate={**describer.item(item_id), "click_probability": explanations[0].click_probability},
        history=row.history,
        normalization=_find_normalization(opened.config.model),
        probabilities=describe_probabilities(opened.config.training.loss.name, opened.calibration.method),
        unknown_context=[name for name, ids in row.samples.context.items() if ids.flat[0] == UNKNOWN_ID],
        sequences=dict(zip(model.sequences, others, strict=True)),
    )


def _find_normalization(config: ModelConfig) -> str:
    """A key of `_NORMALIZATIONS`."""
    if config.name == "din":
        return config.local_activation_unit.normalization
    return "attention" if config.name == "bst" else "softmax"


def _describe_sequence(events: Sequence[EventDescription], explanation: "Explanation") -> ExplainedSequence:
    columns = (
        events,
        explanation.weights.tolist(),
        explanation.probabilities_without,
        explanation.predicted_probabilities_without,
    )
    return ExplainedSequence(
        behaviours=[
            {**event, "weight": weight, "click_probability_without": scored, "predicted_without": predicted}
            for event, weight, scored, predicted in zip(*columns, strict=True)
        ],
        top=explanation.top,
        check={"largest_logit_difference": explanation.largest_difference, "tolerance": explanation.tolerance}
        if explanation.largest_difference is not None and explanation.tolerance is not None
        else None,
    )


def _unknown_id(option: str, raw: str, table: Path, known: str) -> ConfigError:
    return ConfigError(
        f"{option} {raw}: not in {table}, which has all this run knows; give an id as the log has it, like {known}"
    )


def _save_picture(pair: ExplainedPair, output: Path) -> None:
    behaviours = {name: each.behaviours for name, each in pair.all_sequences.items()}
    example = build_example(
        pair.user, behaviours, (pair.candidate, [each.weights for each in pair.all_sequences.values()])
    )
    figure = draw_attention(example, clicked_as="candidate")
    make_folder(output.parent)
    with atomic_file(output) as temporary:
        if output.suffix.lower() == ".html":
            temporary.write_text(build_explanation_page(pair, figure), encoding="utf-8")
        else:
            write_figure(temporary, figure)
    terminal.say(f"{output}: written")


@dataclass(frozen=True)
class PairRow:
    """samples: one row. split: where it is stored; None if it was made from all the user's events."""

    samples: Samples
    split: Split | None

    @property
    def history(self) -> str:
        """Which behaviours are in the history, for people."""
        if self.split is None:
            return "all the user's events"
        clicked = "clicked" if self.samples.labels[0] else "did not click"
        told = f"as the {self.split.name.lower()} split has them for this item, which the user {clicked}"
        others = [f"{name} ({length[0]})" for name, (_, length) in self.samples.sequences.items()]
        return f"{told}; the score also takes the row's {', '.join(others)}" if others else told


def find_pair_row(data: PreparedData, user_id: int, item_id: int, max_history_length: int) -> PairRow:
    """Find the row to explain, its history cut to the newest `max_history_length` behaviours.

    The first of these that exists is taken, the newest of several:

    1. the test row of the pair, a clicked one before one that was not, so that a test target is not in its own history;
    2. the row of a validation target, or else of a training target, that is the item;
    3. all the user's events (of ready-made samples: the user's longest history), with every context field unknown, as
       if the item was shown at the time of the newest.

    Raises:
        ConfigError: if it is the third, and rows have further sequences, which nothing else has.
    """
    for split in reversed(SPLITS):
        samples = data.samples(split, max_history_length)
        is_pair = (samples.user_ids == user_id) & (samples.target_item_ids == item_id)
        clicked = np.flatnonzero(is_pair & (samples.labels == 1))
        rows = np.flatnonzero(is_pair) if split is Split.TEST and not len(clicked) else clicked
        if len(rows):
            return PairRow(samples.take(rows[-1:]), split)
    if data.sequences:
        raise ConfigError(
            f"--user, --item: no row of {data.folder} has this user's click on this item, and the model also takes "
            f"{', '.join(data.sequences)}, which only rows have; give a user and an item of one row"
        )
    stored = StoredHistories.of(data)
    start, end = int(stored.starts[user_id]), int(stored.ends[user_id])
    kept = min(end - start, max_history_length)
    samples = Samples(
        user_ids=np.array([user_id], np.int32),
        target_item_ids=np.array([item_id], np.int32),
        history_start=np.array([end - kept], np.int64),
        history_length=np.array([kept], np.int32),
        labels=np.zeros(1, np.int8),
        events=np.full(1, NO_EVENT),
        context={
            name: np.full([1] if width is None else [1, 1], UNKNOWN_ID, np.int32)
            for name, width in data.context_widths.items()
        },
        timestamps=None if data.event_times is None else data.event_times[np.array([end - 1])],
    )
    return PairRow(samples, None)


def build_explanation_tables(pair: ExplainedPair) -> list[Table]:
    """The behaviours of the history, and of each further sequence that has any."""
    return [
        _build_table(each, describe_score(pair) if name == "history" else name)
        for name, each in pair.all_sequences.items()
        if name == "history" or each.behaviours
    ]


def _build_table(sequence: ExplainedSequence, title: str) -> Table:
    """The behaviours, newest last; the one with the largest weight is marked."""
    largest = max(map(abs, sequence.weights), default=0.0)
    table = Table(*_TITLES[:5], "", _TITLES[5], title=escape(title))
    for place, column in enumerate(table.columns):
        column.no_wrap = place not in (1, 2, 3)
        column.justify = "right" if place in (4, 6) else "left"
    for place, (*words, weight, without) in enumerate(_list_behaviours(sequence)):
        bar = draw_bar(sequence.weights[place], largest)
        table.add_row(*map(escape, words), weight, bar, without, style="bold" if place == sequence.top else "")
    return table


def _list_behaviours(sequence: ExplainedSequence) -> list[tuple[str, ...]]:
    """One row per behaviour, with a cell for each of `_TITLES`."""
    largest = max(map(abs, sequence.weights), default=0.0)
    return [
        (
            format_day(each["timestamp"]),
            each["item"],
            each["title"] or "",
            each["category"] or "",
            format_weight(each["weight"], largest),
            f"{each['click_probability_without']:.4f}",
        )
        for each in sequence.behaviours
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
    """The lines that stand below the tables."""
    lines = [f"history: {len(pair.behaviours)} behaviours, {pair.history}"]
    if pair.probabilities:
        lines.append(f"probabilities: {pair.probabilities}")
    if pair.unknown_context:
        lines.append(f"context: {', '.join(pair.unknown_context)} unknown, since the data set has no row of this pair")
    if any(each.behaviours for each in pair.all_sequences.values()):
        lines.append(f"weights: {_NORMALIZATIONS[pair.normalization]}")
    for name, each in pair.all_sequences.items():
        of_which = f"{name}: " if pair.sequences else ""
        lines += [f"{of_which}{line}" for line in _describe_weights(each)]
        if not each.behaviours:
            lines.append(f"nothing to weigh: the {name} {'is' if name == 'history' else 'are'} empty")
    return lines


def _describe_weights(sequence: ExplainedSequence) -> list[str]:
    """The top behaviour, and what was checked."""
    if sequence.top is None:
        return []
    top = sequence.behaviours[sequence.top]
    predicted = top["predicted_without"]
    without = (
        f"without the top behaviour ({top['item']}, weight {top['weight']:.4f}): click probability "
        f"{top['click_probability_without']:.4f}"
    )
    if sequence.check is None:
        return [f"{without}; the weights do not predict it: the model sees the other behaviours otherwise then"]
    claim = "the others are too small to predict it" if predicted is None else f"the weights predict {predicted:.4f}"
    return [
        f"{without}; {claim}",
        "checked for each behaviour left out: logits differ by at most "
        f"{sequence.check['largest_logit_difference']:.1e} (allowed: {sequence.check['tolerance']:g})",
    ]


def build_explanation_page(pair: ExplainedPair, figure: Figure) -> str:
    """The sentences, the picture and the table, as one HTML file."""
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
        tables={
            name if pair.sequences else "Behaviours": _list_behaviours(each)
            for name, each in pair.all_sequences.items()
            if name == "history" or each.behaviours
        },
    )

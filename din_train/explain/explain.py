"""`din-train explain`: the activation weights behind one score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from din_train import terminal
from din_train.dataset.names import Describer
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import NO_EVENT, PreparedData, Samples
from din_train.dataset.stored_histories import StoredHistories
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.errors import ConfigError
from din_train.files import atomic_file, check_can_be_file, make_folder
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.scoring import OpenedRun, open_run

if TYPE_CHECKING:
    from din_train.explain.explanation_page import ExplainedPair

_PICTURES = (".svg", ".html", ".png")


def explain(
    run_dir: Path,
    *,
    user: str,
    item: str,
    as_json: bool,
    output: Path | None = None,
    overrides: Sequence[str] = (),
) -> "ExplainedPair":
    """Show how much each of a user's behaviours weighs in the score of an item.

    Args:
        user, item: raw ids, as the log has them.
        output: also save the picture there.
        overrides: see `open_run`.

    Raises:
        ConfigError: if the model has no activation weights, the user or item is unknown, or no such picture is made.
        RunError: if the weights are not those behind the score.
    """
    _check_picture_name(output)
    run = _open_explainable(run_dir, overrides)
    pair = _explain(open_run(run.path, overrides), user, item)
    from din_train.explain.explanation_page import build_explanation_table, describe_explanation

    if output is not None:
        _save_picture(pair, output)
    if as_json:
        terminal.show_json(pair.to_json())
    else:
        terminal.show_table(build_explanation_table(pair))
        for line in describe_explanation(pair):
            terminal.show_line(line)
    return pair


def _check_picture_name(output: Path | None) -> None:
    if output is None:
        return
    if output.suffix.lower() not in _PICTURES:
        raise ConfigError(f"--output {output}: expected a name that ends in {', '.join(_PICTURES)}")
    check_can_be_file(output, "--output")


def _open_explainable(run_dir: Path, overrides: Sequence[str]) -> RunDirectory:
    """Refuse a model without activation weights before TensorFlow starts, which takes seconds."""
    run, config = open_run_directory(run_dir, overrides)
    if config.model.name != "din":
        raise _no_weights(run.path, config.model.name)
    return run


def _no_weights(run_dir: Path, model: str) -> ConfigError:
    return ConfigError(
        f"{run_dir}: model '{model}' has no activation weights to explain; give --run-dir a run of model.name=din"
    )


def _explain(opened: OpenedRun, user: str, item: str) -> "ExplainedPair":
    from din_train.batches import build_batch
    from din_train.explain.explanation_page import ExplainedPair
    from din_train.explain.weights import explain_score
    from din_train.model.din import DIN

    model, data, longest = opened.model, opened.data, opened.config.data.max_history_length
    if not isinstance(model, DIN):
        raise _no_weights(opened.run.path, model.name)
    describer = Describer(data)
    user_id, item_id = describer.find_user(user), describer.find_item(item)
    if user_id is None:
        raise _unknown_id("--user", user, data.folder / "users.parquet", describer.first("users"))
    if item_id is None:
        raise _unknown_id("--item", item, data.folder / "items.parquet", describer.first("items"))
    row = find_pair_row(data, user_id, item_id, longest)
    explanation = explain_score(model, build_batch(data, row.samples, np.array([0]), longest)[0])
    return ExplainedPair(
        run=str(opened.run.path),
        user=user,
        candidate={**describer.item(item_id), "click_probability": explanation.click_probability},
        history=row.history,
        normalization=opened.config.model.local_activation_unit.normalization,
        unknown_context=[name for name, ids in row.samples.context.items() if ids[0] == UNKNOWN_ID],
        behaviours=describer.history(row.samples, 0),
        weights=explanation.weights.tolist(),
        probabilities_without=explanation.probabilities_without,
        predicted_without=explanation.predicted_probabilities_without,
        top=explanation.top,
        largest_difference=explanation.largest_difference,
        tolerance=explanation.tolerance,
    )


def _unknown_id(option: str, raw: str, table: Path, known: str) -> ConfigError:
    return ConfigError(
        f"{option} {raw}: not in {table}, which has all this run knows; give an id as the log has it, like {known}"
    )


def _save_picture(pair: "ExplainedPair", output: Path) -> None:
    from din_train.explain.explanation_page import build_explanation_page
    from din_train.report.attention import draw_attention
    from din_train.report.plots import write_figure

    figure = draw_attention(pair.to_example(), clicked_as="candidate")
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
        return f"as the {self.split.name.lower()} split has them for this item, which the user {clicked}"


def find_pair_row(data: PreparedData, user_id: int, item_id: int, max_history_length: int) -> PairRow:
    """Find the row to explain, its history cut to the newest `max_history_length` behaviours.

    The first of these that exists is taken, the newest of several:

    1. the test row of the pair, a clicked one before one that was not, so that a test target is not in its own history;
    2. the row of a validation target, or else of a training target, that is the item;
    3. all the user's events (of ready-made samples: the user's longest history), with every context field unknown.
    """
    for split in reversed(SPLITS):
        samples = data.samples(split, max_history_length)
        of_pair = (samples.user_ids == user_id) & (samples.target_item_ids == item_id)
        clicked = np.flatnonzero(of_pair & (samples.labels == 1))
        rows = np.flatnonzero(of_pair) if split is Split.TEST and not len(clicked) else clicked
        if len(rows):
            return PairRow(samples.take(rows[-1:]), split)
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
        context={name: np.array([UNKNOWN_ID], np.int32) for name in data.context_fields},
    )
    return PairRow(samples, None)

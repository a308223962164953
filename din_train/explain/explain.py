"""`din-train explain`: the activation weights behind one score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from din_train import terminal
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
        ConfigError: of a model without activation weights, an unknown user or item, or another kind of picture.
        RunError: if the weights are not those behind the score.
    """
    _check_output(output)
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


def _check_output(output: Path | None) -> None:
    if output is None:
        return
    if output.suffix.lower() not in _PICTURES:
        raise ConfigError(f"--output {output}: expected a name that ends in {', '.join(_PICTURES)}")
    check_can_be_file(output, "--output")


def _open_explainable(run_dir: Path, overrides: Sequence[str]) -> RunDirectory:
    """Before TensorFlow starts: a refusal is worth no seconds."""
    run, config = open_run_directory(run_dir, overrides)
    if config.model.name != "din":
        raise ConfigError(_describe_refusal(run.path, config.model.name))
    return run


def _describe_refusal(run_dir: Path, name: str) -> str:
    return f"{run_dir}: model '{name}' has no activation weights to explain; give --run-dir a run of model.name=din"


def _explain(opened: OpenedRun, user: str, item: str) -> "ExplainedPair":
    import numpy as np

    from din_train.batches import build_batch
    from din_train.dataset.names import Describer
    from din_train.dataset.vocabulary import UNKNOWN_ID
    from din_train.explain.explain import find_pair
    from din_train.explain.explanation_page import ExplainedPair
    from din_train.explain.weights import explain as explain_score
    from din_train.model.din import DIN

    model, data, longest = opened.model, opened.data, opened.config.data.max_history_length
    if not isinstance(model, DIN):
        raise ConfigError(_describe_refusal(opened.run.path, model.name))
    describer = Describer(data)
    user_id, item_id = describer.find_user(user), describer.find_item(item)
    if user_id is None:
        raise ConfigError(_describe_unknown("--user", user, data.folder / "users.parquet", describer.first("users")))
    if item_id is None:
        raise ConfigError(_describe_unknown("--item", item, data.folder / "items.parquet", describer.first("items")))
    pair = find_pair(data, user_id, item_id, longest)
    explanation = explain_score(model, build_batch(data, pair.samples, np.array([0]), longest)[0])
    return ExplainedPair(
        run=str(opened.run.path),
        user=user,
        candidate={**describer.item(item_id), "click_probability": explanation.click_probability},
        history=pair.history,
        normalization=opened.config.model.local_activation_unit.normalization,
        unknown_context=[name for name, ids in pair.samples.context.items() if ids[0] == UNKNOWN_ID],
        behaviours=describer.history(pair.samples, 0),
        weights=explanation.weights.tolist(),
        probabilities_without=explanation.probabilities_without,
        predicted_without=explanation.predicted_probabilities_without,
        top=explanation.top,
        largest_difference=explanation.largest_difference,
        tolerance=explanation.tolerance,
    )


def _describe_unknown(option: str, raw: str, table: Path, known: str) -> str:
    return f"{option} {raw}: not in {table}, which has all this run knows; give an id as the log has it, like {known}"


def _save_picture(pair: "ExplainedPair", output: Path) -> None:
    from din_train.explain.explanation_page import build_explanation_html
    from din_train.explain.timeline import draw_attention, write_picture

    make_folder(output.parent)
    with atomic_file(output) as temporary:
        if output.suffix.lower() == ".html":
            temporary.write_text(build_explanation_html(pair), encoding="utf-8")
        else:
            write_picture(temporary, draw_attention(pair.to_example(), clicked_as="candidate"))
    terminal.say(f"{output}: written")


@dataclass(frozen=True)
class Pair:
    """samples: of one row. split: of the stored row that it is; None for one made of all the user's events."""

    samples: Samples
    split: Split | None

    @property
    def history(self) -> str:
        """Which behaviours those are, for people."""
        if self.split is None:
            return "all the user's events"
        clicked = "clicked" if self.samples.labels[0] else "did not click"
        return f"as the {self.split.name.lower()} split has them for this item, which the user {clicked}"


def find_pair(data: PreparedData, user_id: int, item_id: int, max_history_length: int) -> Pair:
    """The first of these that there is, histories cut to the newest `max_history_length` behaviours:

    1. the test row of the pair, a clicked one before one that was not, so that a test target is not in its own history;
    2. the row of a validation target, or else of a training target, that is the item;
    3. all the user's events (of ready-made samples: the user's longest history), with every context field unknown.

    Of several rows the newest.
    """
    for split in reversed(SPLITS):
        samples = data.samples(split, max_history_length)
        of_pair = (samples.user_ids == user_id) & (samples.target_item_ids == item_id)
        clicked = np.flatnonzero(of_pair & (samples.labels == 1))
        rows = np.flatnonzero(of_pair) if split is Split.TEST and not len(clicked) else clicked
        if len(rows):
            return Pair(samples.take(rows[-1:]), split)
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
    return Pair(samples, None)

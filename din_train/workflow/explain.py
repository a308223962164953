"""`din-train explain`: the activation weights behind one score."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from din_train.errors import ConfigError
from din_train.files import atomic_file, check_can_be_file, make_folder
from din_train.report import terminal
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.workflow.scoring import OpenedRun, open_run

if TYPE_CHECKING:
    from din_train.report.explanation import ExplainedPair

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
    from din_train.report.explanation import build_explanation_table, describe_explanation

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
    from din_train.evaluation.explain import explain as explain_score
    from din_train.model.din import DIN
    from din_train.report.explanation import ExplainedPair
    from din_train.samples.description import Describer
    from din_train.samples.pair import find_pair
    from din_train.samples.vocabulary import UNKNOWN_ID

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
    from din_train.report.attention import draw_attention, write_picture
    from din_train.report.explanation import build_explanation_html

    make_folder(output.parent)
    with atomic_file(output) as temporary:
        if output.suffix.lower() == ".html":
            temporary.write_text(build_explanation_html(pair), encoding="utf-8")
        else:
            write_picture(temporary, draw_attention(pair.to_example(), clicked_as="candidate"))
    terminal.say(f"{output}: written")

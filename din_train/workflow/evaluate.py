"""`din-train eval`: a finished run scored again."""

from collections.abc import Sequence
from pathlib import Path

from din_train.report import terminal
from din_train.run_directory import keep_in
from din_train.samples.split import Split
from din_train.workflow.scoring import Metrics, open_run, score_split


def evaluate(run_dir: Path, *, split: str, as_json: bool, overrides: Sequence[str] = ()) -> Metrics:
    """Score a run's weights on a split again, from its files alone; see `open_run` for the overrides.

    Raises:
        RunError: where the numbers are shown, but could not be kept in the run.
    """
    from din_train.evaluation.scores import write_scores

    opened = open_run(run_dir, overrides)
    if opened.checkpoint.refit and split == "validation":
        terminal.say(
            f"{opened.run.path}: refitted on training and validation rows, so its validation metrics flatter it"
        )
    scored = score_split(opened.model, opened.config, opened.data, Split[split.upper()], opened.checkpoint)
    if as_json:
        terminal.show_json(scored.metrics)
    else:
        terminal.show_metrics(scored.metrics)
    scores, metrics = opened.run.scores_file(split), opened.run.metrics_file(split)
    with keep_in(opened.run, opened.identity, f"{metrics.name} and {scores.name}"):
        write_scores(scores, scored.rows)
        opened.run.write_metrics(scored.metrics, split)
    if not as_json:
        terminal.say(f"{opened.run.path}: {metrics.name} and {scores.name} written")
    return scored.metrics

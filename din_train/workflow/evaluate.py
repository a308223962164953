"""`din-train eval`: a finished run scored again."""

from collections.abc import Sequence
from pathlib import Path

import orjson

from din_train.report import terminal
from din_train.samples.split import Split
from din_train.workflow.scoring import Metrics, open_run, score_split


def evaluate(run_dir: Path, *, split: str, as_json: bool, overrides: Sequence[str] = ()) -> Metrics:
    """Score a run's weights on a split again, from its files alone; see `open_run` for the overrides."""
    from din_train.evaluation.scores import write_scores

    opened = open_run(run_dir, overrides)
    if opened.checkpoint.refit and split == "validation":
        terminal.say(f"{run_dir}: refitted on training and validation rows, so its validation metrics flatter it")
    scored = score_split(opened.model, opened.config, opened.data, Split[split.upper()], opened.checkpoint)
    write_scores(opened.run.scores_file(split), scored.rows)
    opened.run.write_metrics(scored.metrics, split)
    if as_json:
        print(orjson.dumps(scored.metrics, option=orjson.OPT_INDENT_2).decode())
    else:
        terminal.show_metrics(scored.metrics)
    return scored.metrics

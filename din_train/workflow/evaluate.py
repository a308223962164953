"""`din-train eval`: a finished run scored again."""

from pathlib import Path

import orjson

from din_train.errors import DataError
from din_train.report import terminal
from din_train.run_directory import open_run_directory
from din_train.samples.split import Split
from din_train.samples.store import open_store
from din_train.tensorflow_setup import start_tensorflow
from din_train.workflow.scoring import Metrics, build_configured_model, score_split


def evaluate(run_dir: Path, *, split: str, as_json: bool) -> Metrics:
    """Score a run's weights on a split again, from its files alone."""
    run, config = open_run_directory(run_dir)
    start_tensorflow(config.training.device, deterministic=config.training.deterministic)
    from din_train.training.checkpoint import load_weights, read_checkpoint

    checkpoint = read_checkpoint(run.checkpoints)
    data = open_store(config.data.prepared)
    if data.fingerprint != checkpoint.data_fingerprint:
        raise DataError(
            f"{config.data.prepared}: not the data set this run was trained on; run `din-train prepare --force "
            f"--config {run.config_file}` to make that one again from the logs"
        )
    model = build_configured_model(config, data)
    load_weights(run.checkpoints, model)
    if checkpoint.refit and split == "validation":
        terminal.say(f"{run.path}: refitted on training and validation rows, so its validation metrics flatter it")
    metrics = score_split(model, config, data, Split[split.upper()], checkpoint).metrics
    run.write_metrics(metrics, split)
    if as_json:
        print(orjson.dumps(metrics, option=orjson.OPT_INDENT_2).decode())
    else:
        terminal.show_table(terminal.build_metrics_table(metrics))
    return metrics

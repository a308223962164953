"""Stands in for `din-train fit` in the tests of searches and sweeps: the same options and files, and no TensorFlow.

Its validation GAUC is 0.9 at learning rate 0.01, less elsewhere, and rises over four epochs. A learning rate above 0.5
fails, and one of 0.2 waits after its second epoch. The run directory's `starts` has the options of each start.
"""

import json
import signal
import sys
import time
from pathlib import Path

import yaml


def value(rate: float, epoch: int) -> float:
    return 0.9 - abs(rate - 0.01) - 0.01 * (4 - epoch)


def main(arguments: list[str]) -> None:
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    config = yaml.safe_load(Path(options["--config"]).read_text())
    run = Path(options["--run-dir"])
    run.mkdir(parents=True, exist_ok=True)
    with (run / "starts").open("a") as starts:
        starts.write(f"{' '.join(arguments[4:])} refit={config['training']['refit']}\n")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rate = float(config["training"]["optimizer"]["learning_rate"])
    if rate > 0.5:
        sys.exit("error: <b>training</b>: the loss is nan")
    history = run / "history.jsonl"
    before = history.read_text() if history.exists() else ""
    for epoch in range(before.count("\n") + 1, 5):
        time.sleep(float(config["training"]["optimizer"]["weight_decay"]))  # which this optimiser does not use
        before += json.dumps({"epoch": epoch, "validation_gauc": value(rate, epoch)}) + "\n"
        temporary = run / "temporary"
        temporary.write_text(before)
        temporary.rename(history)
        if epoch == 2 and rate == 0.2:
            time.sleep(600)  # until it is pruned
    if "--no-test" not in arguments:
        finish(run, Path(options["--config"]))


def finish(run: Path, config_file: Path) -> None:
    from dataclasses import replace

    from record_factory import METRICS
    from scored_rows import make_rows

    from din_train.checksums import begin_index
    from din_train.config import load_config
    from din_train.evaluation.scores import write_scores
    from din_train.run_directory import RunDirectory

    config = load_config(config_file)
    begin_index(run, config=config.model_dump(mode="json", exclude_none=True, exclude={"preset"}))
    (run / "config.yaml").write_text(config_file.read_text())
    write_scores(RunDirectory(run).scores_file("test"), make_rows(user_id=[2, 2], label=[1, 0], logit=[1, 0]))
    RunDirectory(run).write_metrics(replace(METRICS, auc=1.0))  # the rows' own


if __name__ == "__main__":
    main(sys.argv[1:])

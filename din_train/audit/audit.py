"""`din-train audit`: whether a run's numbers can be trusted."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from rich.markup import escape
from rich.table import Table

from din_train import terminal
from din_train.audit.check import Check
from din_train.checksums import indexed_file
from din_train.dataset.protocols import Split
from din_train.errors import RunError
from din_train.run_directory import keep_in
from din_train.scoring import OpenedRun, build_configured_model, build_evaluation_batches, open_run

if TYPE_CHECKING:
    from din_train.audit.check import Check
    from din_train.audit.subject import Subject
    from din_train.evaluation.scores import ScoredRows
    from din_train.model.ranking_model import RankingModel


def audit(run_dir: Path, *, most_rows: int, seed: int, as_json: bool, overrides: Sequence[str] = ()) -> None:
    """Check a finished run, show every check, and write them to audit.json.

    Args:
        most_rows: test rows that are scored again; of more, whole users are drawn.
        seed: of everything drawn.
        overrides: see `open_run`.

    Raises:
        RunError: one line a failed check, and one where audit.json could not be kept in the run.
    """
    opened = open_run(run_dir, overrides)
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)  # a GPU's 10 bits would hide what is looked for
    from din_train.audit.check import Status
    from din_train.audit.checks import run_checks

    subject = build_subject(opened, most_rows=most_rows, seed=seed)
    checks = run_checks(subject)
    failed = [check for check in checks if check.status is Status.FAILED]
    written = _describe(subject, checks, passed=not failed)
    if as_json:
        terminal.show_json(written, orjson.OPT_SERIALIZE_NUMPY)
    else:
        terminal.show_table(build_audit_table(str(opened.run.path), subject.describe_rows(), checks))
    problems = [f"{opened.run.path}: audit: {check.name}: {check.finding}" for check in failed]
    try:
        with (
            keep_in(opened.run, opened.identity, opened.run.audit_file.name),
            indexed_file(opened.run.audit_file) as temporary,
        ):
            temporary.write_bytes(orjson.dumps(written, option=_JSON) + b"\n")
    except RunError as error:
        problems += error.problems
    if problems:
        raise RunError(problems)


_JSON = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY


def build_subject(opened: OpenedRun, *, most_rows: int, seed: int) -> "Subject":
    """The run's test split, metrics and scores.

    Raises:
        RunError: if the run has not finished, or a file of it is damaged.
    """
    from din_train.audit.subject import Subject, choose_rows

    metrics = opened.run.read_metrics()
    samples, _ = build_evaluation_batches(opened.config, opened.data, Split.TEST)
    return Subject(
        config=opened.config,
        data=opened.data,
        model=opened.model,
        reload=lambda: _load_again(opened),
        metrics=metrics,
        history=opened.run.read_history(),
        stored=_read_stored(opened),
        refit=opened.checkpoint.refit,
        scored_on_gpu=_may_be_of_a_gpu(opened),
        samples=samples,
        rows=choose_rows(samples.user_ids, most_rows, seed),
        seed=seed,
    )


def _read_stored(opened: OpenedRun) -> "ScoredRows | None":
    from din_train.evaluation.scores import read_scores

    path = opened.run.scores_file("test")
    return read_scores(path) if path.exists() else None


def _may_be_of_a_gpu(opened: OpenedRun) -> bool:
    """By environment.json, else by whether there is one here."""
    import tensorflow as tf

    if opened.run.environment_file.exists():
        return "gpu" in str(opened.run.read_environment().get("device")).lower()
    return bool(tf.config.get_visible_devices("GPU"))


def _load_again(opened: OpenedRun) -> "RankingModel":
    from din_train.training.checkpoint import load_weights

    model = build_configured_model(opened.config, opened.data)
    if load_weights(opened.run.checkpoints, model) != opened.checkpoint:
        raise RunError(f"{opened.run.path}: its weights have changed while it was audited; run the command again")
    return model


def _describe(subject: "Subject", checks: "Sequence[Check]", *, passed: bool) -> dict[str, Any]:
    return {
        "passed": passed,
        "counts": Counter(str(check.status) for check in checks),
        "model": subject.config.model.name,
        "protocol": subject.config.data.protocol,
        "split": "test",
        "rows": len(subject.samples),
        "rows_audited": len(subject.rows),
        "rows_scored_in_other_ways": len(subject.probe),
        "seed": subject.seed,
        "data_fingerprint": subject.data.fingerprint,
        "checks": [
            {"name": each.name, "status": each.status, "finding": each.finding, "measured": each.measured}
            for each in checks
        ],
    }


_STATUS_STYLES = {"passed": "green", "failed": "bold red", "note": "cyan", "skipped": "dim"}


def build_audit_table(run: str, rows: str, checks: Sequence[Check]) -> Table:
    """One row a check of `din-train audit`."""
    table = Table("check", "", "measured", title=f"audit of {escape(run)}: {escape(rows)}", show_lines=False)
    table.columns[0].no_wrap = True
    for each in checks:
        style = _STATUS_STYLES[each.status]
        table.add_row(escape(each.name), f"[{style}]{each.status}[/]", escape(each.finding))
    return table

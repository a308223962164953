"""`din-train audit`: whether a run's numbers can be trusted."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from din_train import terminal
from din_train.audit.audited_run import AuditedRun, Check, Status, choose_rows
from din_train.audit.drawn_rows import check_drawn_rows
from din_train.audit.label_leaks import (
    check_history_alone,
    check_item_kinds,
    check_negatives_pool,
    check_odd_ids,
    note_popularity,
    note_repeated_items,
    note_row_properties,
)
from din_train.audit.parity import check_metrics, check_same_rows, check_stored_scores
from din_train.audit.time_leaks import (
    check_disjoint_users,
    check_histories_end_before_targets,
    check_test_events,
    note_future_changes_scores,
)
from din_train.checksums import write_indexed_json
from din_train.dataset.protocols import Split
from din_train.errors import RunError
from din_train.evaluation.scores import read_scores
from din_train.scoring import OpenedRun, keep_in_run, open_run, read_split_samples

_STATUS_STYLES = {"passed": "green", "failed": "bold red", "note": "cyan", "skipped": "dim"}

_NOT_COVERED = (
    "Not covered: that a score depends on its row alone, that training and serving compute one score, and the metrics'",
    "code, all of which the tests of din-train check; and the raw logs, which are not read. docs/audit.md says more.",
)


def audit(run_dir: Path, *, most_rows: int, seed: int, as_json: bool, overrides: Sequence[str] = ()) -> None:
    """Check a finished run, show every check, and write them to audit.json.

    Args:
        most_rows: test rows that are scored again; of more, whole users are drawn.
        seed: of all random choices.
        overrides: see `open_run`.

    Raises:
        RunError: one line for each failed check, and one if audit.json could not be kept in the run.
    """
    opened = open_run(run_dir, overrides)
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)  # the 10 bits of TF32 would hide differences
    audited = build_audited_run(opened, most_rows=most_rows, seed=seed)
    checks = run_checks(audited)
    failed = [check for check in checks if check.status is Status.FAILED]
    written = _describe(audited, checks, passed=not failed)
    if as_json:
        terminal.show_json(written)
    else:
        terminal.show_table(_build_table(str(opened.run.path), audited.describe_rows(), checks))
        for line in _NOT_COVERED:
            terminal.show_line(line)
    problems = [f"{opened.run.path}: audit: {check.name}: {check.finding}" for check in failed]
    try:
        with keep_in_run(opened.run, opened.identity, opened.run.audit_file.name):
            write_indexed_json(opened.run.audit_file, written)
    except RunError as error:
        problems += error.problems
    if problems:
        raise RunError(problems)


def build_audited_run(opened: OpenedRun, *, most_rows: int, seed: int) -> AuditedRun:
    """The run's test split, metrics and scores.

    Raises:
        RunError: if the run has not finished, or a file of it is damaged.
    """
    metrics = opened.run.read_metrics()
    samples = read_split_samples(opened.config, opened.data, Split.TEST)
    scores = opened.run.scores_file("test")
    return AuditedRun(
        config=opened.config,
        data=opened.data,
        model=opened.model,
        metrics=metrics,
        stored=read_scores(scores) if scores.exists() else None,
        scored_on_gpu=_may_be_scored_on_gpu(opened),
        samples=samples,
        rows=choose_rows(samples.user_ids, most_rows, seed),
        seed=seed,
        calibration=opened.calibration,
    )


def _may_be_scored_on_gpu(opened: OpenedRun) -> bool:
    """Whether environment.json names a GPU or, if that file is missing, whether this machine has one."""
    import tensorflow as tf

    if opened.run.environment_file.exists():
        return "gpu" in str(opened.run.read_environment().get("device")).lower()
    return bool(tf.config.get_visible_devices("GPU"))


def _describe(audited: AuditedRun, checks: Sequence[Check], *, passed: bool) -> dict[str, Any]:
    """The contents of audit.json."""
    return {
        "passed": passed,
        "counts": Counter(str(check.status) for check in checks),
        "model": audited.config.model.name,
        "protocol": audited.config.data.protocol,
        "split": "test",
        "rows": len(audited.samples),
        "rows_audited": len(audited.rows),
        "rows_scored_in_other_ways": len(audited.probe),
        "seed": audited.seed,
        "data_fingerprint": audited.data.fingerprint,
        "checks": [
            {"name": each.name, "status": each.status, "finding": each.finding, "measured": each.measured}
            for each in checks
        ],
    }


def _build_table(run: str, rows: str, checks: Sequence[Check]) -> Table:
    """One row for each check."""
    table = Table("check", "", "measured", title=f"audit of {escape(run)}: {escape(rows)}", show_lines=False)
    table.columns[0].no_wrap = True
    for each in checks:
        style = _STATUS_STYLES[each.status]
        table.add_row(escape(each.name), f"[{style}]{each.status}[/]", escape(each.finding))
    return table


CHECKS: Sequence[Callable[[AuditedRun], Check]] = (
    check_histories_end_before_targets,
    note_future_changes_scores,
    check_stored_scores,
    check_metrics,
    check_same_rows,
    check_test_events,
    check_disjoint_users,
    check_drawn_rows,
    check_negatives_pool,
    check_odd_ids,
    check_item_kinds,
    note_popularity,
    note_repeated_items,
    note_row_properties,
    check_history_alone,
)


def run_checks(run: AuditedRun) -> list[Check]:
    """The outcomes of all checks."""
    return [check(run) for check in CHECKS]

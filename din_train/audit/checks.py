"""Every check that an audit makes, in the order in which they are shown."""

from collections.abc import Callable, Sequence

from din_train.audit.audited_run import AuditedRun
from din_train.audit.check import Check
from din_train.audit.future import check_histories_end_before_targets, note_future_changes_scores
from din_train.audit.held_out_rows import check_disjoint_users, check_test_events
from din_train.audit.history_properties import check_history_alone, note_row_properties
from din_train.audit.item_ids import (
    check_item_kinds,
    check_negatives_pool,
    check_odd_ids,
    note_popularity,
    note_repeated_items,
)
from din_train.audit.parity import check_metrics, check_same_rows, check_stored_scores

CHECKS: Sequence[Callable[[AuditedRun], Check]] = (
    check_histories_end_before_targets,
    note_future_changes_scores,
    check_stored_scores,
    check_metrics,
    check_same_rows,
    check_test_events,
    check_disjoint_users,
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

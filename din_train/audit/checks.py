"""Every check there is, in the order they are told about."""

from collections.abc import Callable, Sequence

from din_train.audit.check import Check
from din_train.audit.future import (
    check_batches_hold_histories,
    check_histories_end_before_targets,
    note_future_changes_scores,
)
from din_train.audit.history_properties import check_history_alone
from din_train.audit.item_ids import (
    check_item_roles,
    check_odd_ids,
    note_popularity,
    note_repeated_items,
    note_row_properties,
)
from din_train.audit.parity import check_loaded_again, check_stored_scores, check_training_form
from din_train.audit.recomputed import check_metrics, check_user_aucs
from din_train.audit.row_independence import (
    check_batch_size,
    check_neighbours,
    check_order,
    check_padding,
    check_same_batch,
)
from din_train.audit.sampled_negatives import check_negatives_differ_only_in_item, check_negatives_pool
from din_train.audit.shuffled_labels import (
    check_equal_scores,
    check_scores_ignore_labels,
    check_shuffled_overall,
    check_shuffled_within_users,
)
from din_train.audit.slots import check_equal_rows, check_slots
from din_train.audit.subject import Subject
from din_train.audit.untouched import (
    check_disjoint_users,
    check_same_rows,
    check_test_events,
    check_trained_rows,
)

CHECKS: Sequence[Callable[[Subject], Check]] = (
    check_same_batch,
    check_order,
    check_batch_size,
    check_padding,
    check_neighbours,
    check_scores_ignore_labels,
    check_equal_scores,
    check_shuffled_overall,
    check_shuffled_within_users,
    check_histories_end_before_targets,
    check_batches_hold_histories,
    note_future_changes_scores,
    check_training_form,
    check_loaded_again,
    check_stored_scores,
    check_metrics,
    check_user_aucs,
    check_same_rows,
    check_test_events,
    check_trained_rows,
    check_disjoint_users,
    check_slots,
    check_equal_rows,
    check_negatives_pool,
    check_negatives_differ_only_in_item,
    check_odd_ids,
    check_item_roles,
    note_popularity,
    note_repeated_items,
    note_row_properties,
    check_history_alone,
)


def run_checks(subject: Subject) -> list[Check]:
    """All of them."""
    return [check(subject) for check in CHECKS]

"""How far AUC and GAUC stray from one half by chance alone.

If labels say nothing about scores, every placement of a group's positives among its rows is equally likely, and a
group's AUC has mean 1/2 and variance

    (n^3 - n - sum_t (t^3 - t)) / (12 n (n - 1) P N)

with P positives and N negatives, n = P + N, and ties of t equal scores (the rank sum test with ties, Lehmann 1975,
section 1.4). Without ties that is (n + 1) / (12 P N).
"""

import numpy as np
from numpy.typing import NDArray

# Deviations from one half that are still chance: beyond 4 a normal variable lies once in 16,000 times.
DEVIATIONS = 4.0


def compute_null_deviation(
    group_ids: NDArray[np.integer], labels: NDArray[np.integer], scores: NDArray[np.generic]
) -> float | None:
    """Standard deviation of sum_g n_g AUC_g / sum_g n_g over groups with both classes, under that null.

    Args:
        group_ids: [S], users for GAUC; all the same for AUC. labels: [S] of 0 and 1. scores: [S].

    Returns:
        None if no group has both classes.
    """
    if not len(labels):
        return None
    order = np.lexsort((scores, group_ids))
    group, score, label = group_ids[order], scores[order], labels[order].astype(np.float64)
    new_group = np.append(True, group[1:] != group[:-1])
    new_tie = new_group | np.append(True, score[1:] != score[:-1])
    group_row = np.cumsum(new_group) - 1  # [S]
    n = np.bincount(group_row).astype(np.float64)  # [G]
    positives = np.bincount(group_row, weights=label)
    tied = np.diff(np.append(np.flatnonzero(new_tie), len(label))).astype(np.float64)  # [ties] rows
    lost = np.bincount(group_row[new_tie], weights=tied**3 - tied, minlength=len(n))
    both = (positives > 0) & (positives < n)
    if not both.any():
        return None
    n, p, lost = n[both], positives[both], lost[both]
    variance = (n**3 - n - lost) / (12 * n * (n - 1) * p * (n - p))
    return float(np.sqrt(np.sum(n**2 * variance)) / np.sum(n))

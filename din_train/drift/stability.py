"""Population stability index: how far the distribution of new rows lies from that of earlier ones.

    PSI = sum over bins of (p - q) ln(p / q)

with p the bin's share of the new rows and q its share of the earlier ones. It is 0 if they are equal, and the same if
the two change places. Bins are fixed by the earlier rows alone: of numbers their deciles, with one bin below the least
and one above the greatest, so that a number never seen before is noticed; of values the most frequent ones, all others
together, and rows without a known value.

An empty bin would make it infinite. So half a row is added to each bin on both sides: a bin with c of n rows, of B
bins, has the share (c + 1/2) / (n + B / 2).

Rows drawn from one distribution have a PSI above 0 as well, on average (B - 1)(1/n + 1/m) if all rows are independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.vocabulary import FIRST_REAL_ID, PAD_ID

Counts = NDArray[np.int64]

MOST_VALUES = 18  # with bins of their own; with those of the others and of no value 20 bins
_DECILES = np.arange(1, 10) / 10

NO_VALUE = "no known value"


@dataclass(frozen=True)
class Stability:
    """One figure's distribution among earlier and among new rows.

    against: which rows are the earlier ones. bins: [B] names. earlier, new: [B] rows in each.
    not_compared: why there is no index, if there is a reason beside a lack of rows.
    """

    name: str
    against: str
    bins: Sequence[str]
    earlier: Counts
    new: Counts
    not_compared: str | None = None

    @cached_property
    def parts(self) -> NDArray[np.float64]:
        """[B] what each bin adds to the index."""
        p, q = (_smooth(counts) for counts in (self.new, self.earlier))
        parts: NDArray[np.float64] = (p - q) * np.log(p / q)
        return parts

    @property
    def psi(self) -> float | None:
        """The index; None if one side has no row, or the two do not compare."""
        if self.not_compared is not None or not self.earlier.sum() or not self.new.sum():
            return None
        return float(self.parts.sum())

    @property
    def by_chance(self) -> float | None:
        """What rows of one distribution have on average, if they are independent."""
        if self.psi is None:
            return None
        used = int(np.count_nonzero(self.earlier + self.new))
        return (used - 1) * (1 / int(self.earlier.sum()) + 1 / int(self.new.sum()))

    def to_json(self) -> dict[str, Any]:
        """As drift.json has it."""
        parts = self.parts if self.psi is not None else [None] * len(self.bins)
        counted = zip(self.bins, self.earlier.tolist(), self.new.tolist(), parts, strict=True)
        return {
            "name": self.name,
            "against": self.against,
            "psi": self.psi,
            "by_chance": self.by_chance,
            "not_compared": self.not_compared,
            "bins": [{"bin": name, "earlier": q, "new": p, "psi": part} for name, q, p, part in counted],
        }


def _smooth(counts: Counts) -> NDArray[np.float64]:
    """[B] counts -> [B] shares, none of them 0."""
    shares: NDArray[np.float64] = (counts + 0.5) / (counts.sum() + len(counts) / 2)
    return shares


def compare_numbers(
    name: str,
    against: str,
    earlier: NDArray[Any],
    new: NDArray[Any],
    *,
    edges: Sequence[float] | None = None,
    has_missing: bool = False,
    not_compared: str | None = None,
) -> Stability:
    """Compare numbers, of which NaN stands for none.

    Args:
        earlier, new: [n] and [m].
        edges: where bins begin; by default the deciles of the earlier numbers.
        has_missing: whether there is a bin for rows without a number.
    """
    is_whole = earlier.dtype.kind in "iu"
    known = earlier[~np.isnan(earlier)] if not is_whole else earlier
    greatest = None
    if edges is None:
        deciles = np.quantile(known, _DECILES, method="inverted_cdf") if len(known) else []
        edges = np.unique([*deciles, *([known.min()] if len(known) else [])]).tolist()
        greatest = float(known.max()) if len(known) else None
    names = _name_ranges(edges, greatest, is_whole=is_whole)

    def count(numbers: NDArray[Any]) -> Counts:
        missing = np.isnan(numbers.astype(np.float64))
        there = numbers[~missing]
        places = np.searchsorted(edges, there, side="right")
        if greatest is not None:
            places = places + (there > greatest)
        counts = np.bincount(places, minlength=len(names)).astype(np.int64)
        return np.append(counts, missing.sum()).astype(np.int64) if has_missing else counts

    bins = [*names, NO_VALUE] if has_missing else names
    return Stability(name, against, bins, count(earlier), count(new), not_compared)


def _name_ranges(edges: Sequence[float], greatest: float | None, *, is_whole: bool) -> list[str]:
    """One bin below the first edge, one from each edge on; with a greatest number, one above it."""
    if not edges:
        return ["all"]

    def show(low: float, high: float | None, *, with_high: bool) -> str:
        if is_whole:
            last = None if high is None else high if with_high else high - 1
            return f"{low:.0f}+" if last is None else f"{low:.0f}" if last <= low else f"{low:.0f}-{last:.0f}"
        return f"{low:.4g}+" if high is None else f"{low:.4g} to {high:.4g}"

    inner = [show(low, high, with_high=False) for low, high in pairwise(edges)]
    last = show(edges[-1], greatest, with_high=True)
    form = ".0f" if is_whole else ".4g"
    return [f"below {edges[0]:{form}}", *inner, last, *([] if greatest is None else [f"above {greatest:{form}}"])]


def compare_values(
    name: str,
    against: str,
    earlier: NDArray[np.int32],
    new: NDArray[np.int32],
    *,
    values: Sequence[str | None] | Mapping[int, str],
    num_known: int,
    not_compared: str | None = None,
) -> Stability:
    """Compare ids of one field.

    Args:
        earlier, new: [n] and [m] ids, or [n, V] padded with 0, of which every value counts.
        values: what each id stands for.
        num_known: ids from here on are of values that came after training.
    """
    counted = [
        np.bincount(ids[ids != PAD_ID], minlength=num_known).astype(np.int64) for ids in (earlier.ravel(), new.ravel())
    ]
    # Id 1 is no value; a value that the model does not know has that row of the tables, too.
    without = [int(counts[:FIRST_REAL_ID].sum() + counts[num_known:].sum()) for counts in counted]
    known = [counts[:num_known].copy() for counts in counted]
    for counts in known:
        counts[:FIRST_REAL_ID] = 0
    order = np.argsort(-known[0], kind="stable")[:MOST_VALUES]
    shown = np.sort(order[known[0][order] > 0])
    names = [values[int(each)] or str(each) for each in shown]
    before, now = (
        np.array([*counts[shown], counts.sum() - counts[shown].sum(), unknown], np.int64)
        for counts, unknown in zip(known, without, strict=True)
    )
    return Stability(name, against, [*names, "other values", NO_VALUE], before, now, not_compared)

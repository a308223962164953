"""The outcome of one check of an audit: whether it passed, in one line, with the numbers that were measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """`NOTE`: measured, but no bound would be right for every log. `SKIPPED`: cannot be checked on this run."""

    PASSED = "passed"
    FAILED = "failed"
    NOTE = "note"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One check's outcome.

    finding: one line: what was compared, on how many rows, against which bound.
    measured: the numbers in it, ready for JSON.
    """

    name: str
    status: Status
    finding: str
    measured: Mapping[str, Any]


def judge(name: str, passed: bool, finding: str, **measured: Any) -> Check:
    """A check that passed or failed."""
    return Check(name, Status.PASSED if passed else Status.FAILED, finding, measured)


def note(name: str, finding: str, **measured: Any) -> Check:
    """A measurement without a bound."""
    return Check(name, Status.NOTE, finding, measured)


def skip(name: str, reason: str) -> Check:
    """A check that this run or its protocol does not allow."""
    return Check(name, Status.SKIPPED, reason, {})


def describe_counts(counts: Mapping[str, int], none: str, verb: str = "") -> str:
    """The counts that are not zero, each before the verb and what was counted, or the words for none."""
    return ", ".join(f"{count:,} {verb}{what}" for what, count in counts.items() if count) or none

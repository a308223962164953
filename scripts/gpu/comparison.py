"""A check: what was compared, how far apart it was, and whether that passes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]
Say = Callable[[str], object]


@dataclass(frozen=True)
class Check:
    """One comparison. `max_error` is None without a number; `problem` is the reason that TensorFlow gave."""

    what: str
    subject: str
    form: str
    dtype: str
    max_error: float | None
    tolerance: float
    passed: bool
    problem: str | None = None


def compare(what: str, subject: str, form: str, dtype: str, tolerance: float, measure: Callable[[], float]) -> Check:
    """Run `measure`, which gives the largest error; what TensorFlow refuses to run is a failed check."""
    import tensorflow as tf

    try:
        error = measure()
    except tf.errors.OpError as refused:
        return Check(what, subject, form, dtype, None, tolerance, False, first_line(refused))
    finite = float(error) if np.isfinite(error) else None
    return Check(what, subject, form, dtype, finite, tolerance, bool(error <= tolerance))


def first_line(error: BaseException) -> str:
    """What an error says, in one line: of a function's, the one after the places in the program."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    said = [line for line in lines if not line.startswith((" ", "Graph execution error", "Detected at node"))]
    return f"{type(error).__name__}: {(said or lines)[0]}"[:300]


def compute_error(values: Tensors, expected: Tensors, *, floor: float = 1.0) -> float:
    """The largest difference, each tensor's over its largest absolute value or `floor`; NaN if there is one."""
    errors = [0.0]
    for name, other in expected.items():
        difference = np.abs(values[name].astype(np.float64) - other).max(initial=0)
        errors.append(difference / max(floor, np.abs(other).max(initial=0)))
    return float(np.max(errors))

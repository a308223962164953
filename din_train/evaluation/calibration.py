"""Scores -> click probabilities: a monotone function, fitted on validation rows and kept in `calibration.json`.

Scores of a ranking loss (softmax, BPR) are no log odds of a click: adding a number to all scores of a list changes
nothing in training. A calibration is fitted with the weights of the chosen epoch, before a refit trains on the
validation rows, and the refit's scores go through the same function.

AUC and GAUC always rank by scores. Isotonic calibration gives different scores one probability, which would make ties.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from din_train.checksums import read_indexed, write_indexed_json
from din_train.config import CalibrationMethod
from din_train.errors import DamagedError, RunError
from din_train.evaluation.metrics import compute_click_probabilities
from din_train.run_directory import RunDirectory

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Calibration:
    """A function from scores to the log odds of a click.

    method: `none` takes the score as log odds. slope, intercept: of `platt`. scores, probabilities: the points of
    `isotonic`, both ascending; probabilities between them are interpolated, and beyond them those of the nearest.
    positive_share: of the rows it was fitted on, by their weights; None without a fit. rows: how many they are.
    """

    method: CalibrationMethod = "none"
    slope: float = 1.0
    intercept: float = 0.0
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    positive_share: float | None = None
    rows: int = 0

    def compute_log_odds(self, scores: Floats) -> NDArray[np.float64]:
        """[S] scores -> [S] log odds of a click."""
        exact = scores.astype(np.float64)
        if self.method != "isotonic":
            return self.slope * exact + self.intercept
        probabilities = np.interp(exact, self.scores, self.probabilities)
        log_odds: NDArray[np.float64] = np.log(probabilities) - np.log1p(-probabilities)
        return log_odds

    def compute_probabilities(self, scores: Floats) -> NDArray[np.float64]:
        """[S] scores -> [S] click probabilities."""
        return compute_click_probabilities(self.compute_log_odds(scores))

    @property
    def digest(self) -> str:
        """Equal for equal calibrations."""
        return hashlib.sha256(orjson.dumps(vars(self))).hexdigest()[:16]


UNCALIBRATED = Calibration()


def fit_calibration(
    method: CalibrationMethod, labels: NDArray[np.integer], scores: Floats, weights: Floats | None = None
) -> Calibration:
    """The calibration of [S] rows, with labels of 0 and 1 and sample weights.

    platt: the logistic regression of the label on the score, with Platt's targets (N_1 + 1) / (N_1 + 2) of positives
    and 1 / (N_0 + 2) of negatives, which keep it finite if the score tells them apart (Platt, Probabilistic Outputs for
    Support Vector Machines, 1999, section 2.2). A slope below 0 becomes 0: a better score is never a less likely click.

    isotonic: the best function that never falls (Zadrozny and Elkan, Transforming Classifier Scores into Accurate
    Multiclass Probability Estimates, KDD 2002, section 3.2), within the bounds of Platt's targets: no probability is 0
    or 1.

    Raises:
        RunError: if the rows have one class only.
    """
    if method == "none":
        return UNCALIBRATED
    exact, positive = scores.astype(np.float64), labels == 1
    sizes = np.ones(len(exact)) if weights is None else weights.astype(np.float64)
    num_positives, num_negatives = int(positive.sum()), int((~positive).sum())
    share = float(np.average(positive, weights=sizes)) if sizes.any() else 0.0
    if not 0.0 < share < 1.0:
        raise RunError(
            f"training.calibration: received '{method}', but the {len(labels):,} validation rows are of one class; use "
            "training.calibration=none"
        )
    highest, lowest = (num_positives + 1) / (num_positives + 2), 1 / (num_negatives + 2)
    if method == "platt":
        slope, intercept = _fit_line(exact, np.where(positive, highest, lowest), sizes)
        if slope <= 0:
            slope, intercept = 0.0, float(np.log(share) - np.log1p(-share))
        return Calibration(method, slope=slope, intercept=intercept, positive_share=share, rows=len(labels))
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=lowest, y_max=highest, out_of_bounds="clip")
    fitted.fit(exact, positive.astype(np.float64), sample_weight=sizes)
    return Calibration(
        method,
        scores=tuple(fitted.X_thresholds_.tolist()),
        probabilities=tuple(fitted.y_thresholds_.tolist()),
        positive_share=share,
        rows=len(labels),
    )


def _fit_line(scores: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of [S] targets between 0 and 1."""
    from sklearn.linear_model import LogisticRegression

    # a target t is a positive of weight t and a negative of weight 1 - t
    both = np.concatenate([scores, scores])[:, None]
    labels = np.repeat([1, 0], len(scores))
    shares = np.concatenate([weights * targets, weights * (1 - targets)])
    center, width = float(np.average(scores, weights=weights)), float(scores.std()) or 1.0  # for the solver's steps
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    fitted.fit((both - center) / width, labels, sample_weight=shares)
    slope = float(fitted.coef_[0, 0]) / width
    return slope, float(fitted.intercept_[0]) - slope * center


def write_calibration(run: RunDirectory, calibration: Calibration) -> None:
    """Keep it with the run; `none` needs no file."""
    if calibration.method == "none":
        run.calibration_file.unlink(missing_ok=True)
    else:
        write_indexed_json(run.calibration_file, vars(calibration))


def read_calibration(run: RunDirectory, method: CalibrationMethod | None) -> Calibration:
    """The calibration of a run whose config names this method.

    Raises:
        RunError: if its file is missing or damaged.
    """
    if method in (None, "none"):
        return UNCALIBRATED
    path = run.calibration_file
    try:
        return TypeAdapter(Calibration).validate_python(orjson.loads(read_indexed(path, run.again)), strict=False)
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; {run.again}") from None
    except (orjson.JSONDecodeError, ValidationError):
        raise DamagedError(f"{path}: damaged (no calibration); {run.again}") from None

"""The prior correction, by hand and against the re-calibration of down-sampled negatives."""

import numpy as np
import pytest

from din_train.errors import ConfigError
from din_train.evaluation.metrics import compute_click_probabilities
from din_train.predict.predict import compute_prior_shift


def test_by_hand() -> None:
    # odds 1/9 of the rows to be scored, 1/4 of the training rows: odds are multiplied by 4/9
    shift = compute_prior_shift(share=0.1, training_share=0.2)
    assert shift == pytest.approx(np.log(4 / 9), rel=1e-12)
    corrected = compute_click_probabilities(np.array([0.0, np.log(0.25), np.log(3.0)]) + shift)
    assert corrected == pytest.approx([4 / 13, 0.1, 4 / 7], rel=1e-12)


def test_it_is_he_et_al_s_recalibration_where_a_share_of_the_negatives_was_kept() -> None:
    clicks, others, kept = 1_000.0, 99_000.0, 0.05
    shift = compute_prior_shift(share=0.01, training_share=clicks / (clicks + kept * others))
    p = np.linspace(0.01, 0.99, 50)
    expected = p / (p + (1 - p) / kept)
    assert compute_click_probabilities(np.log(p / (1 - p)) + shift) == pytest.approx(expected, rel=1e-9)


def test_equal_shares_change_nothing() -> None:
    assert compute_prior_shift(share=0.3, training_share=0.3) == 0


@pytest.mark.parametrize(("share", "training_share"), [(0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.0)])
def test_shares_of_one_class(share: float, training_share: float) -> None:
    with pytest.raises(ConfigError, match="--positive-share"):
        compute_prior_shift(share=share, training_share=training_share)

"""Probabilities for rows with another share of clicks than the training rows have."""

import math

from din_train.errors import ConfigError


def compute_prior_shift(*, share: float, training_share: float) -> float:
    """What is added to a logit: log(P / (1 - P)) - log(S / (1 - S)).

    The prior correction of logistic regression on a sample chosen by its outcome (King & Zeng, Logistic Regression in
    Rare Events Data, Political Analysis 9(2), 2001, section 4.1), in logits. With every click and a share w of the
    others kept, it is log(w): the re-calibration p / (p + (1 - p) / w) of He et al., Practical Lessons from Predicting
    Clicks on Ads at Facebook, ADKDD 2014, section 6.3.

    Args:
        share: P, of clicks among the rows to be scored. training_share: S, of positives among the training rows.

    Raises:
        ConfigError: where all training rows are of one class, or P is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"--positive-share: received {share:g}, expected a share between 0 and 1, such as 0.02")
    if not 0 < training_share < 1:
        raise ConfigError(
            f"--positive-share: the run's training rows have a share of positives of {training_share:g}, and no "
            "probabilities come from one class; leave the option out"
        )
    return math.log(share) - math.log1p(-share) - math.log(training_share) + math.log1p(-training_share)

"""The order of models that the numbers give, and where it departs from the paper's."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

from din_train.reproduce.results import Line

# LR < BaseModel <= Wide&Deep, PNN, DeepFM < DIN <= DIN with Dice: lower, higher, and whether a tie departs from it.
PAPER_ORDER = (
    ("lr", "base", True),
    ("base", "wide-deep", False),
    ("base", "pnn", False),
    ("base", "deepfm", False),
    ("wide-deep", "din", True),
    ("pnn", "din", True),
    ("deepfm", "din", True),
    ("din", "din-dice", False),
)
NOISE_OF_ONE_SEED = 0.002  # taken where there are no two seeds to measure it by


def compute_difference(a: Line, b: Line) -> tuple[float, float]:
    """Mean of b - a over common seeds, and its noise: the standard deviation of those differences."""
    differences = [b.gauc[seed] - a.gauc[seed] for seed in sorted(a.gauc.keys() & b.gauc.keys())]
    if len(differences) < 2:
        return (differences[0] if differences else 0.0), NOISE_OF_ONE_SEED
    return statistics.mean(differences), statistics.stdev(differences)


def describe_order(lines: Sequence[Line]) -> str:
    """A sentence or two for the lines of one data set and recipe; empty with fewer than two models measured."""
    measured = sorted((line for line in lines if line.mean is not None), key=lambda line: line.mean or 0.0)
    if len(measured) < 2:
        return ""
    chain = measured[0].model
    for lower, higher in pairwise(measured):
        difference, noise = compute_difference(lower, higher)
        chain += f" {'<' if difference > noise else '='} {higher.model}"
    seeds = min(len(line.gauc) for line in measured)
    noise_is = (
        f"= where the difference is not above the standard deviation of the paired differences over {seeds} seeds"
        if seeds > 1
        else f"= where the difference is at most {NOISE_OF_ONE_SEED}, as one seed says nothing about noise"
    )
    found = _find_departures({line.key: line for line in measured})
    against = f"It departs from the paper's order: {'; '.join(found)}." if found else "The paper's order holds."
    if {line.key for line in measured} != {"lr", "base", "wide-deep", "pnn", "deepfm", "din", "din-dice"}:
        against = against.replace("The paper's order holds.", "Nothing in it departs from the paper's order.")
    return f"Measured on {measured[0].data} by recipe {measured[0].recipe}: {chain} ({noise_is}). {against}"


def _find_departures(lines: dict[str, Line]) -> list[str]:
    found = []
    for lower, higher, strict in PAPER_ORDER:
        if lower not in lines or higher not in lines:
            continue
        difference, noise = compute_difference(lines[lower], lines[higher])
        if difference < -noise:
            found.append(f"{lines[lower].model} is above {lines[higher].model} by {-difference:.4f}")
        elif strict and difference <= noise:
            found.append(
                f"{lines[higher].model} does not beat {lines[lower].model} ({difference:+.4f}, noise {noise:.4f})"
            )
    return found

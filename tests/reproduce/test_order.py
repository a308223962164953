"""The order of models is what the numbers say; differences inside the noise are ties."""

import pytest

from din_train.reproduce.order import compute_difference, describe_order
from din_train.reproduce.results import Line

NAMES = {
    "lr": "LR",
    "base": "BaseModel",
    "wide-deep": "Wide&Deep",
    "pnn": "PNN",
    "deepfm": "DeepFM",
    "din": "DIN",
    "din-dice": "DIN with Dice",
}


def line(key: str, *gauc: float) -> Line:
    return Line(
        data="sports",
        recipe="ours",
        key=key,
        model=NAMES[key],
        gauc=dict(enumerate(gauc, start=1)),
        auc_mean=None,
        rela_impr=None,
        published=None,
        withdrawn=False,
        corrected=None,
        bars=None,
        reference=None,
        selection="",
        protocol="holdout",
    )


def test_noise_is_the_standard_deviation_of_paired_differences() -> None:
    difference, noise = compute_difference(line("base", 0.80, 0.90, 0.85), line("din", 0.81, 0.92, 0.88))
    assert difference == pytest.approx(0.02)
    assert noise == pytest.approx(0.01)


def test_only_common_seeds_are_paired() -> None:
    difference, _ = compute_difference(line("base", 0.80, 0.90), line("din", 0.81, 0.91, 0.5))
    assert difference == pytest.approx(0.01)


def test_the_papers_order_holds() -> None:
    values = (0.70, 0.80, 0.81, 0.82, 0.83, 0.84, 0.85)
    sentence = describe_order([line(key, each, each) for key, each in zip(NAMES, values, strict=True)])
    assert "LR < BaseModel < Wide&Deep < PNN < DeepFM < DIN < DIN with Dice" in sentence
    assert "The paper's order holds." in sentence


def test_a_baseline_that_beats_din_is_said_so() -> None:
    values = {"lr": 0.70, "base": 0.80, "wide-deep": 0.81, "pnn": 0.82, "deepfm": 0.86, "din": 0.84, "din-dice": 0.85}
    sentence = describe_order([line(key, each, each) for key, each in values.items()])
    assert "DIN < DIN with Dice < DeepFM" in sentence
    assert sentence.endswith("It departs from the paper's order: DeepFM is above DIN by 0.0200.")


def test_a_difference_inside_the_noise_is_a_tie_and_departs_only_where_the_paper_is_strict() -> None:
    lines = [line("base", 0.80, 0.82), line("din", 0.82, 0.81), line("din-dice", 0.81, 0.825)]
    sentence = describe_order(lines)
    assert "BaseModel = DIN = DIN with Dice" in sentence
    assert "over 2 seeds" in sentence
    assert describe_order([line("base", 0.8, 0.82), line("pnn", 0.82, 0.81)]).endswith(
        "Nothing in it departs from the paper's order."
    )
    assert "DIN does not beat PNN" in describe_order([line("pnn", 0.80, 0.82), line("din", 0.82, 0.81)])


def test_one_seed_says_nothing_of_noise() -> None:
    sentence = describe_order([line("lr", 0.8), line("base", 0.8015)])
    assert "LR = BaseModel" in sentence
    assert "one seed" in sentence
    assert "BaseModel does not beat LR" in sentence


def test_nothing_is_said_of_a_single_model() -> None:
    assert describe_order([line("din", 0.8), line("base")]) == ""

"""Published values are the paper's, the correction's and the leaderboard's; the withdrawn ones decide nothing."""

import pytest

from din_train.reproduce import published
from din_train.reproduce.catalogue import load_suite
from din_train.reproduce.results import judge


def test_table_3_of_the_paper() -> None:
    """ArXiv 1706.06978v4, Table 3: MovieLens, Amazon (Electronics)."""
    table = {
        "LR": (0.7263, 0.7742),
        "BaseModel": (0.7300, 0.8624),
        "Wide&Deep": (0.7304, 0.8637),
        "PNN": (0.7321, 0.8679),
        "DeepFM": (0.7324, 0.8683),
        "DIN": (0.7337, 0.8818),
        "DIN with Dice": (0.7348, 0.8871),
    }
    rows = {row.label: row.key for row in load_suite("table3").rows}
    assert list(rows) == list(table)
    for label, (movielens, electronics) in table.items():
        assert published.find_published("movielens", rows[label]) == movielens
        assert published.find_published("electronics", rows[label]) == electronics


def test_the_correction_of_2020_and_the_leaderboard() -> None:
    corrected = {
        key: published.find_corrected("electronics", key) for key in ("base", "pnn", "deepfm", "din", "din-dice")
    }
    assert corrected == {"base": None, "pnn": 0.8679, "deepfm": 0.8683, "din": 0.8698, "din-dice": 0.8711}
    assert published.find_bars("electronics", "din-dice") == 0.883526
    assert published.find_bars("electronics", "deepfm") == 0.878890
    assert published.find_bars("electronics", "din") is None


@pytest.mark.parametrize("row", ["din", "din-dice"])
def test_a_withdrawn_value_is_never_the_reference(row: str) -> None:
    withdrawn = published.find_published("electronics", row)
    assert published.is_withdrawn("electronics", row)
    assert published.find_reference("electronics", row) == published.find_corrected("electronics", row) != withdrawn
    assert judge(withdrawn, 0.0, published.find_reference("electronics", row)) == "above"
    assert not published.is_withdrawn("movielens", row)


def test_other_data_have_no_published_value() -> None:
    assert published.find_reference(None, "din") is None
    assert published.find_published("sports", "din") is None


@pytest.mark.parametrize(
    ("mean", "sd", "reference", "verdict"),
    [
        (0.8700, 0.0001, 0.8698, "reproduced"),
        (0.87479, None, 0.8698, "reproduced"),  # below .005
        (0.8749, None, 0.8698, "above"),
        (0.8647, 0.0001, 0.8698, "below"),
        (0.8600, 0.0050, 0.8698, "reproduced"),  # within two standard deviations
        (0.8597, 0.0050, 0.8698, "below"),
        (0.8700, 0.0001, None, "no published value"),
        (None, None, 0.8698, "not measured"),
        (None, None, None, "not measured"),
    ],
)
def test_the_verdict(mean: float | None, sd: float | None, reference: float | None, verdict: str) -> None:
    assert judge(mean, sd, reference) == verdict

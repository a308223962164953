"""Published values are the paper's, the correction's and the leaderboard's; the withdrawn ones decide nothing."""

import pytest

from din_train.reproduce.paper_suites import load_suite
from din_train.reproduce.paper_tables import Published, find_published, find_verdict


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
        assert find_published("movielens", rows[label]).paper == movielens
        assert find_published("electronics", rows[label]).paper == electronics


def test_the_correction_of_2020_and_the_leaderboard() -> None:
    keys = ("base", "pnn", "deepfm", "din", "din-dice")
    published = {key: find_published("electronics", key) for key in keys}
    assert [each.corrected for each in published.values()] == [None, 0.8679, 0.8683, 0.8698, 0.8711]
    assert [each.bars for each in published.values()] == [None, None, 0.878890, None, 0.883526]


@pytest.mark.parametrize("row", ["din", "din-dice"])
def test_a_withdrawn_value_is_never_the_reference(row: str) -> None:
    published = find_published("electronics", row)
    assert published.withdrawn
    assert published.reference == published.corrected != published.paper
    assert Published(0.9, None, None, withdrawn=True).reference is None
    assert find_verdict(published.paper, 0.0, published.reference) == "above"
    assert not find_published("movielens", row).withdrawn


def test_other_data_have_no_published_value() -> None:
    assert find_published("sports", "din") == Published(None, None, None, withdrawn=False)


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
    assert find_verdict(mean, sd, reference) == verdict

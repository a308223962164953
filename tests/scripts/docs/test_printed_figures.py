"""What counts as a figure in Markdown, and which values it shows."""

from decimal import Decimal
from types import ModuleType

import pytest
from scripts_factory import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("printed_figures")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a GAUC of .8385", "0.83847"),
        ("58,164 samples/s", "58164"),
        ("58,000 samples a second", "58164"),
        ("20.3x", "20.3369"),
        ("20 times", "20.3369"),
        ("1.69 million", "1689188"),
        ("1.69\nmillion", "1689188"),
        ("169 万条", "1689188"),
        ("1 亿", "1.2e8"),
        ("62 k", "61640"),
        ("62k", "61640"),
        ("46 %", "0.4627"),
        ("46%", "46.27"),
        ("46 per cent", "0.4627"),
        ("+20.97 %", "20.9712"),
        ("-1.61 %", "-1.6123"),
        ("−1.61 %", "-1.6123"),
        ("9.2 GB", "9164"),
        ("9.2 GB", "9164e6"),
        ("70 MB", "70.2"),
        ("2.5 min", "149"),
        ("2 h", "7100"),
        ("1.5 ms", "0.00148"),
        ("sd .0008", "0.00084"),
        ("1e-4", "0.0001"),
        ("| 7 |", "7"),
        ("(7)", "7"),
        ("ends with 58,164.", "58164"),
        ("20 倍", "20.4"),
    ],
)
def test_a_figure_shows_the_value_that_it_rounds(script: ModuleType, text: str, value: str) -> None:
    (figure,) = script.find_figures(text)
    assert figure.shows(Decimal(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".8385", "0.83844"),
        (".8385", "0.83856"),
        ("58,000", "57,400".replace(",", "")),
        ("90,000", "88000"),  # two digits are meant at least
        ("100", "98"),
        ("20.3x", "20.37"),
        ("58 k", "58"),
        ("58", "58000"),
        ("46 %", "0.467"),
        ("1.69 million", "1.69"),
        ("1.61", "-1.61"),
        ("9.2 GB", "9.2e6"),
        ("70 MB", "70000"),
    ],
)
def test_it_shows_no_other(script: ModuleType, text: str, value: str) -> None:
    (figure,) = script.find_figures(text)
    assert not figure.shows(Decimal(value))


def test_a_half_may_go_either_way(script: ModuleType) -> None:
    for text in ("2.4", "2.5"):
        (figure,) = script.find_figures(text)
        assert figure.shows(Decimal("2.45"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("54-57 k", (54_000, 57_000)),
        ("54–57 k", (54_000, 57_000)),
        ("33 to 49 %", ("0.33", "0.49")),
        ("1.2 to 1.5 ms", ("0.0012", "0.0015")),
        ("5 到 6 万", (50_000, 60_000)),
    ],
)
def test_a_range_has_one_unit(script: ModuleType, text: str, values: tuple[object, object]) -> None:
    low, high = script.find_figures(text)
    assert low.shows(Decimal(values[0]))
    assert high.shows(Decimal(values[1]))
    assert not low.is_count


@pytest.mark.parametrize(
    "text",
    [
        "`58,164` and ``a ` 12`` and `a code\nof 14 lines`",
        "```sh\nmake bench  # 15 minutes\n```\n",
        "```yaml\nepochs: 12\n```\n",
        "[the paper](https://arxiv.org/abs/1706.06978) and [a page](x/12.md) and https://a.example/22",
        "<img width=600 src=x12.png>",
        "b1 .. bn, u2, x1, SHA-256, UTF-8, Apache-2.0, 4E, 1st, din_2, version 0.9.4",
        "sections 4.3, 5.3 and 6.2 to 6.4; Table 3; Figure 5; Fig. 2",
        "第 4.3 节，表 3 和图 5。",
        "on 2026-11-24, arXiv 1706.06978v4",
        "12. the twelfth item",
    ],
)
def test_code_links_names_and_references_have_no_figures(script: ModuleType, text: str) -> None:
    assert list(script.find_figures(text)) == []


def test_blocks_of_text_have_figures_and_lines_are_those_of_the_document(script: ModuleType) -> None:
    text = (
        "# A\n\n```sh\nmake 11\n```\n\n```text\n│ run │ 0.826754 │\n```\n\nIt is `12`,\nor 13.\n\n```\nplain 14\n```\n"
    )
    figures = [(figure.line, figure.text) for figure in script.find_figures(text)]
    assert figures == [(8, "0.826754"), (12, "13"), (15, "14")]


def test_counts_are_small_whole_numbers_of_sentences(script: ModuleType) -> None:
    text = "3 seeds, 11 runs, 0.5, 4 %, 2 k, 1e-5\n| 3 |\n```text\n3\n```\n"
    counts = {(figure.line, figure.text): figure.is_count for figure in script.find_figures(text)}
    assert counts == {
        (1, "3"): True,
        (1, "11"): False,
        (1, "0.5"): False,
        (1, "4 %"): False,
        (1, "2 k"): False,
        (1, "1e-5"): False,
        (2, "3"): False,
        (4, "3"): False,
    }


def test_amounts_are_equal_across_languages(script: ModuleType) -> None:
    english, chinese = (list(script.find_figures(text)) for text in ("1.69 million, 58,000", "169 万、5.8 万"))
    assert [figure.amount for figure in english] == [figure.amount for figure in chinese]

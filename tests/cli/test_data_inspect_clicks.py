"""`din-train data inspect`: which rows of a log are clicks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from log_inspector import START, assert_rows, inspect, prepare, write, write_columns


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("columns", "label", "share"),
    [
        ({"nonclk": [1, 1, 0, 1], "clk": [0, 0, 1, 0]}, "clk", "25.0%"),
        ({"converted": [0, 1, 1, 0], "clicked_ad": [0, 1, 1, 1]}, "converted", "50.0%"),
        ({"is_mobile": [0, 1, 1, 0], "ad_click_flag": [1, 1, 1, 0]}, "ad_click_flag", "75.0%"),
        ({"a: #": [0, 1, 1, 1], "b": [1, 0, 0, 0]}, "b", "25.0%"),  # opposites: the rarer is the click
        ({"b": [1.0, 0.0, 0.0, 0.0], "a: #": [0, 1, 1, 1]}, "b", "25.0%"),
        ({"isread": [1, 0, 0, 0], "rating": [5, 3, 4, 1]}, "isread", "25.0%"),
        ({"label": ["True", "False", "True", "True"]}, "label", "75.0%"),
        ({"click": [1, -1, 1, 1]}, "click", "75.0%"),
    ],
)
def test_a_column_of_0_and_1_is_the_label_if_its_name_or_its_opposite_tells(
    columns: dict[str, list[Any]], label: str, share: str
) -> None:
    write_columns("log.csv", **{name: values * 5 for name, values in columns.items()})
    _, config = inspect("log.csv")
    assert config.data.columns is not None
    assert config.data.columns.label == label
    text = Path("din-train.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("    label:"))
    assert f"({share} are " in line
    assert line.endswith(") of 20 rows")
    assert "negatives:" not in text


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"is_mobile": [0, 1, 1, 1]}, "column 'is_mobile' holds 0 and 1 (75.0% are 1)"),
        ({"unclicked": [0, 1, 1, 1]}, "column 'unclicked' holds 0 and 1 (75.0% are 1)"),
        ({"click": [1, 0, -1, 1]}, "column 'click' holds -1 and 0 and 1 (50.0% are 1)"),
        ({"x": [1, 2, 3, 4, 5]}, "column 'x' holds 1 to 5 (40.0% are 4 or more)"),
        ({"watch_time": [5, 125, 0, 300]}, "column 'watch_time' holds 0 to 300 (median 65)"),
        ({"behavior_type": [1, 1, 9, 1]}, "column 'behavior_type' holds 1 15, 9 5"),
        ({"typ": ["a", "b", "a", "c"]}, "column 'typ' holds a 10, b 5, c 5"),
        (
            {"state": ["clicked", "not clicked", "clicked", "clicked"]},
            "column 'state' holds clicked and not clicked (75.0% are clicked)",
        ),
    ],
)
def test_what_may_tell_clicks_is_never_left_out_without_a_word(columns: dict[str, list[Any]], said: str) -> None:
    write_columns("log.csv", **{name: values * 5 for name, values in columns.items()})
    findings, config = inspect("log.csv")
    assert config.data.columns is not None
    assert config.data.columns.label is None
    rows = 5 * len(next(iter(columns.values())))
    line = next(line for line in findings.splitlines() if said in line)
    assert f"of {rows} rows, and is not used: all rows are taken as clicks; " in line
    lines = [line for line in prepare().splitlines() if "all rows are taken as clicks" in line]
    assert len(lines) == 1
    assert said.removeprefix("column ") in lines[0]
    assert lines[0].startswith("log.csv: ")


@pytest.mark.parametrize(
    ("column", "values", "at_least", "said"),
    [
        ("rating", [5, 3, 4, 1], 4, "1 to 5 (50.0% are 4 or more) of 20 rows"),
        ("Book-Rating", [10, 0, 8, 5], 8, "0 to 10 (50.0% are 8 or more) of 20 rows"),
        ("label", [1, 2, 3, 5], 4, "1 to 5 (25.0% are 4 or more)"),
        ("watch_ratio", [0.5, 1.25, 0, 3], 1, "0 to 3 (median 0.875), 50.0% are 1 or more of 20 rows"),
    ],
)
def test_a_rating_is_a_label_from_a_threshold_on(column: str, values: list[Any], at_least: float, said: str) -> None:
    write_columns("log.csv", **{column: values * 5, "x": [1, 2, 3, 4, 5] * 4})
    findings, config = inspect("log.csv")
    columns = config.data.columns
    assert columns is not None
    assert said in Path("din-train.yaml").read_text()
    assert (columns.label, columns.label_at_least) == (column, at_least)
    assert_rows(findings, ("impressions", "20"))


@pytest.mark.parametrize(
    ("kinds", "click", "impression"),
    [
        (["view", "view", "addtocart", "transaction"], ("addtocart", "transaction"), ("view",)),
        (["Page View", "page view", "add_to_cart", "x"], ("add_to_cart",), ("Page View", "page view")),
        (["show", "click", "detail", "dislike"], ("detail", "click"), ("show",)),
        (["click", "buy"], ("click", "buy"), ()),
        (["pv", "share_page"], ("share_page",), ("pv",)),
    ],
)
def test_types_of_events_are_clicks_and_impressions(
    kinds: Sequence[str], click: Sequence[str], impression: Sequence[str]
) -> None:
    rows = [(f"u{n % 5}", f"i{n % 3}", START + 60 * n, kind) for n, kind in enumerate(kinds * 15)]
    write("log.csv", "user,item,time,what", *(",".join(map(str, row)) for row in rows))
    _, config = inspect("log.csv")
    assert config.data.columns is not None
    events = config.data.columns.events
    assert events is not None
    assert (events.column, set(events.click), set(events.impression)) == ("what", set(click), set(impression))
    assert f"{kinds[-1]} 15" in Path("din-train.yaml").read_text()


@pytest.mark.parametrize(
    ("types", "click", "said"),
    [
        ([0, 0, 2, 3], "0", "0 click, 1 cart, 2 buy, 3 favourite (Tmall's order)"),
        ([1, 4, 1, 1], "1", "1 click, 2 favourite, 3 cart, 4 buy (Tianchi's order)"),
        ([1, 2, 3, 1], "1", "1 click, 2 favourite, 3 cart, 4 buy (Tianchi's order)"),
    ],
)
def test_numbers_as_types_are_taken_in_the_order_of_published_logs(types: list[int], click: str, said: str) -> None:
    write_columns("log.csv", action_type=types * 5)
    findings, config = inspect("log.csv")
    assert f"the types in 'action_type' are taken for {said}" in findings
    assert config.data.columns is not None
    events = config.data.columns.events
    assert events is not None
    assert (events.column, events.click, events.impression) == ("action_type", (click,), ())
    assert_rows(findings, ("kept", str(5 * types.count(int(click)))))
    assert f"# {click} {5 * types.count(int(click))}, " in Path("din-train.yaml").read_text()


@pytest.mark.parametrize("types", [[4, 4, 4, 1, 2], [3, 0, 3, 2], [2, 3, 2, 3]])
def test_numbers_whose_first_is_not_the_most_frequent_are_no_known_types(types: list[int]) -> None:
    """No log has fewer clicks than purchases: the numbers are of another order, or of something else."""
    write_columns("log.csv", action_type=types * 5)
    findings, config = inspect("log.csv")
    assert config.data.columns is not None
    assert config.data.columns.events is None
    (line,) = [line for line in findings.splitlines() if "column 'action_type' holds" in line]
    assert "and is not used: all rows are taken as clicks" in line


def test_types_whose_clicks_match_no_impression_are_clicks_alone() -> None:
    write_columns("log.csv", event=["view", "view", "addtocart", "view"] * 5)
    findings, config = inspect("log.csv")
    assert "no view has a click of its user and item; left out" in findings
    assert config.data.columns is not None
    assert config.data.columns.events is not None
    assert (config.data.columns.events.click, config.data.columns.events.impression) == (("addtocart",), ())


@pytest.mark.parametrize(
    "columns",
    [
        {"device": ["tv", "phone", "tv", ""], "price": [3, 5, 9, 12]},
        {"hour": [0, 1, 2, 23], "genre": ["Watches", "Books", "Play", "Toys"]},
        {"event": ["view"] * 4},
    ],
)
def test_other_columns_are_not_remarked_on(columns: dict[str, list[Any]]) -> None:
    write_columns("log.csv", **{name: values * 5 for name, values in columns.items()})
    findings, _ = inspect("log.csv")
    assert "not used" not in findings
    assert "taken as clicks" not in prepare()


def test_a_column_whose_ones_are_no_clicks_is_not_offered_as_the_label() -> None:
    write_columns("log.csv", skipped=[0, 1, 1, 1] * 5)
    findings, _ = inspect("log.csv")
    assert "write a column of its opposite, whose 1s are clicks, and name that in data.columns.label" in findings


def test_a_rating_that_may_be_none_is_said() -> None:
    write_columns("log.csv", rating=[-1, 8, 10, 3] * 5)
    findings, _ = inspect("log.csv")
    assert "'rating' is -1 in 5 rows, which may mean that there is no rating" in findings


def test_what_is_not_used_is_looked_for_in_several_files() -> None:
    for part in range(2):
        write(f"log/{part}.csv", "user,item,time,is_new", *(f"u{n},i{n + part},{part},{part}" for n in range(20)))
    inspect("log")
    text = Path("din-train.yaml").read_text().replace("protocol: holdout", "protocol: user")
    Path("din-train.yaml").write_text(text)
    assert "column 'is_new' holds 0 and 1 (50.0% are 1) (of 40 rows of 2 of its 2 files)" in prepare()


def test_columns_that_the_config_names_are_used() -> None:
    write_columns("log.csv", kind=["a", "b"] * 10, p=[1, 2, 3, 4, 5] * 4, q=[1, 2, 3, 4, 5] * 4)
    inspect("log.csv")
    fields = "  context_fields: [p]\n  prepared"
    Path("din-train.yaml").write_text(Path("din-train.yaml").read_text().replace("  prepared", fields, 1))
    assert "column 'q' holds 1 to 5" in (said := prepare())
    assert "'p'" not in said


@pytest.mark.parametrize(("label", "request_column"), [("clk", "req_id"), ("plays", None)])
def test_a_column_of_request_ids_is_named_in_a_log_of_impressions(label: str, request_column: str | None) -> None:
    write_columns("log.csv", **{label: [0, 1, 0, 0], "req_id": ["a", "a", "b", "b"]})
    _, config = inspect("log.csv")
    assert config.data.columns is not None
    assert config.data.columns.request == request_column


def test_a_label_that_is_always_1_is_no_label() -> None:
    write_columns("log.csv", label=[1] * 20)
    findings, config = inspect("log.csv")
    assert "column 'label' is not taken for the label: it holds nothing but 1" in findings
    assert config.data.columns is not None
    assert config.data.columns.label is None


def test_only_the_first_rows_are_looked_at_and_that_is_said() -> None:
    write_columns("log.csv", rating=[1, 5] * 6_000)
    inspect("log.csv")
    assert "1 to 5 (50.0% are 4 or more) of the first 10,000 rows" in Path("din-train.yaml").read_text()

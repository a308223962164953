"""Which items come out of the metadata, with which category and title."""

from pathlib import Path

import pytest
from log_runner import Runner, lines, literals, review

from din_train.errors import DataError
from din_train.logs.amazon_metadata import Item, parse_item_2014, parse_item_2018
from din_train.logs.rejects import BadLine


def item_2014(**fields: object) -> Item:
    return parse_item_2014(literals({"asin": "i", **fields}).strip())


def item_2018(**fields: object) -> Item:
    return parse_item_2018(lines({"asin": "i", **fields}))


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ([["A", "B"]], "B"),
        ([["A", "B"], ["C", "D", "E"]], "E"),
        ([["A"], []], None),
        ([], None),
        ("A", None),
        (["A"], None),
        (None, None),
        ([["A", " Men&#39;s "]], "Men's"),
        ([["A", "  "]], None),
    ],
)
def test_category_2014_is_the_leaf_of_the_last_path(categories: object, expected: str | None) -> None:
    assert item_2014(categories=categories) == Item("i", expected, None)


@pytest.mark.parametrize(
    ("category", "expected", "junk"),
    [
        (["A", "B"], "B", False),
        ([], None, False),
        ("A", None, False),
        (["A", "Arts &amp; Crafts"], "Arts & Crafts", False),
        (["Gift Cards", "Gift Cards", "</span></span></span>"], "Gift Cards", True),
        (["A", "B", "</span></span></span>", "Starbucks Gift Card 25", "Starbucks"], "B", True),
        (["<b>"], None, True),
        (["A", "&lt;b&gt;", "C"], "A", True),
        (["A", 7, "C"], "A", True),
    ],
)
def test_category_2018_ends_at_the_first_junk(category: object, expected: str | None, junk: bool) -> None:
    assert item_2018(category=category) == Item("i", expected, None, junk=junk)


@pytest.mark.parametrize(
    ("main_cat", "expected"), [("Toys &amp; Games", "Toys & Games"), ("", None), ("<img src=x>", None), (7, None)]
)
def test_an_item_without_a_category_path_falls_back_on_its_main_category(
    runner: Runner, main_cat: object, expected: str | None
) -> None:
    records = [{"asin": "i", "category": [], "main_cat": main_cat}, {"asin": "i", "category": []}]
    got = runner.amazon(lines(review(item="i")), lines(*records))
    assert got.items == [("i", expected, None)]
    notes = got.log.reports[1].notes
    assert (notes.get("category from main_cat", 0), notes.get("no category", 0)) == (
        (1, 0) if expected is not None else (0, 1)
    )


@pytest.mark.parametrize(
    ("title", "expected"),
    [("A &quot;B&quot;", 'A "B"'), ("Zoë", "Zoë"), (" a ", "a"), ("", None), (7, None), (None, None), (["A"], None)],
)
def test_title_is_text_or_nothing(title: object, expected: str | None) -> None:
    assert item_2018(title=title).title == expected
    assert item_2014(title=title).title == expected


def test_a_page_in_the_title_is_cut() -> None:
    assert item_2018(title="var aPageStart = " * 10_000).title == ("var aPageStart = " * 18)[:300]


def test_what_parquet_cannot_hold_is_replaced() -> None:
    assert item_2014(title="a\ud800b\0c", categories=[["x\udfff"]]) == Item("i", "x?", "a?bc")


def test_thousands_of_digits_are_no_number() -> None:
    reference = "&#" + "9" * 5000 + ";"
    assert item_2018(title=reference).title == reference[:300]
    line = b"{'asin': 'i', 'categories': [['A']], 'price': 0x" + b"f" * 5000 + b"}"
    assert parse_item_2014(line, ["price"]) == Item("i", "A", None, fields=(None,))


@pytest.mark.parametrize(
    ("price", "expected"),
    [(9.99, "9.99"), (5, "5"), ("$1,009.99", "1009.99"), (" 3 ", "3"), (True, None), (1e30, None), (None, None),
     ([5], None), ("\n\t ", None), ("N/A", None), ("$1 - $2", "$1 - $2"), (-1, "-1"), ("1,00.5", "1,00.5")],
)  # fmt: skip
def test_a_price_is_a_plain_number_or_left_as_it_is(price: object, expected: str | None) -> None:
    assert parse_item_2018(lines({"asin": "i", "price": price}), ["price"], {"N/A"}).fields == (expected,)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{'asin': 'i'", "not a Python literal"),
        (b"{'asin': f()}", "not a Python literal"),
        (b"{'asin': {[]: 1}}", "not a Python literal"),
        (b"{'asin': 'a\0'}", "not a Python literal"),
        (b"(" * 100_000, "not a Python literal"),
        (b"-" * 100_000 + b"1", "not a Python literal"),
        (b"9" * 5000, "not a Python literal"),
        (b"{'asin': '\xff'}", "invalid UTF-8"),
        (b"['asin', 'i']", "not a Python dict"),
        (b"{'title': 'x'}", "no asin"),
        (b"{'asin': 7}", "asin not a string"),
        (b"{'asin': ''}", "empty asin"),
        (b"{'asin': 'i', 'category': ['A']}", "has 'category' instead of 'categories'"),
    ],
)
def test_bad_items_2014(line: bytes, reason: str) -> None:
    with pytest.raises(BadLine) as caught:
        parse_item_2014(line)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{'asin': 'i'}", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no asin"),
        (b'{"asin": 7}', "asin not a string"),
        (b'{"asin": "i", "categories": [["A"]]}', "has 'categories' instead of 'category'"),
    ],
)
def test_bad_items_2018(line: bytes, reason: str) -> None:
    with pytest.raises(BadLine) as caught:
        parse_item_2018(line)
    assert caught.value.reason == reason


def test_odd_escapes_in_a_literal_give_no_warning() -> None:
    assert parse_item_2014(rb"{'asin': 'i', 'title': 'a\d 0if 1'}").title == "a\\d 0if 1"


def test_mentioned_items_in_the_order_of_the_metadata(runner: Runner) -> None:
    reviews = lines(review(item="b"), review(item="a"), review(item="gone"), review(item="c"))
    metadata = lines(
        {"asin": "c", "category": ["X", "C"], "title": "see"},
        {"asin": "nobody", "category": ["X"]},
        {"asin": "a", "category": ["X", "A", "<i>"]},
        {"asin": "b"},
    )
    got = runner.amazon(reviews, metadata)
    assert got.items == [("c", "C", "see"), ("a", "A", None), ("b", None, None)]
    report = got.log.reports[1]
    assert (report.lines, report.kept, report.rejected) == (4, 3, {})
    assert report.notes == {
        "items no review mentions": 1,
        "junk category": 1,
        "no category": 1,
        "reviewed items without metadata": 1,
    }


def test_items_of_rejected_reviews_are_not_mentioned(runner: Runner) -> None:
    reviews = lines(review(item="a"), review(item="b", time=-1))
    got = runner.amazon(reviews, lines({"asin": "b", "category": ["B"]}, {"asin": "a", "category": ["A"]}))
    assert got.items == [("a", "A", None)]


def test_the_first_line_with_a_category_wins(runner: Runner) -> None:
    metadata = lines(
        {"asin": "i", "title": "first"},
        {"asin": "j", "category": ["J"]},
        {"asin": "i", "category": ["A"], "title": "second"},
        {"asin": "i", "category": ["A"], "title": "third"},
        {"asin": "i", "category": ["B"]},
        {"asin": "j", "title": "late title"},
    )
    got = runner.amazon(lines(review(item="i"), review(item="j")), metadata)
    assert got.items == [("i", "A", "second"), ("j", "J", "late title")]
    report = got.log.reports[1]
    assert report.notes == {"duplicate asin": 4, "duplicate asin with another category": 1}
    assert report.lines == 6 == report.kept + report.notes["duplicate asin"]


def test_2014_lines_nobody_mentions_are_not_parsed(runner: Runner) -> None:
    metadata = lines("{'asin': 'other', broken", "{'asin': 'i', 'categories': [['A']]}", '{"asin": "x", broken')
    got = runner.amazon(lines(review()), metadata, "amazon-2014", max_bad_share=0)
    assert got.items == [("i", "A", None)]
    assert got.log.reports[1].notes == {"items no review mentions": 2}


def test_2014_asins_that_are_hard_to_see_are_found(runner: Runner) -> None:
    metadata = lines(
        r"{'title': 'set \'asin\': \'other\' up', 'asin': 'a'}",
        """{'title': "the 'asin': 'other' key", "asin" : u'b'}""",
        r"{'asin': '\x63'}",
        r"{'title': '''x''', 'as' 'in': 'd'}",
        """{'title': "'asin': 'a'", 'asin': 'other'}""",
    )
    got = runner.amazon(lines(*[review(item=name) for name in "abcd"]), metadata, "amazon-2014", max_bad_share=0)
    assert [row[0] for row in got.items] == ["a", "b", "c", "d"]
    assert got.items[0][2] == "set 'asin': 'other' up"
    assert got.log.reports[1].notes["items no review mentions"] == 1


def test_files_that_do_not_belong_together(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        runner.amazon(lines(review(item="i")), lines({"asin": "j", "category": ["A"]}))
    assert str(caught.value) == (
        f"{runner.folder / 'input-2'}: no item of {runner.folder / 'input-1'} is in its 1 lines; the reviews have "
        "'i', the metadata has 'j'; do the two files "
        "belong together? check data.reviews and data.items, or set data.unmatched to allow"
    )


@pytest.mark.parametrize("release", ["amazon-2014", "amazon-2018"])
def test_metadata_of_the_other_release(runner: Runner, release: str) -> None:
    of_2014 = literals({"asin": "i", "categories": [["A", "B"]]})
    of_2018 = lines({"asin": "i", "category": ["A", "B"]})
    mistaken = {"amazon-2014": of_2018, "amazon-2018": of_2014}[release]
    with pytest.raises(DataError, match=rf"1 of 1 lines cannot be read .*check data.source \('{release}'\)"):
        runner.amazon(lines(review()), mistaken, release, max_bad_share=0)


def test_reviews_are_kept_when_metadata_is_read_from_a_path(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "meta"
    path.write_bytes(literals({"asin": "i", "categories": [["A", "B"]]}))
    got = runner.amazon(lines(review()), path, "amazon-2014")
    assert got.events == [("u", "i", 5, 0)]
    assert got.items == [("i", "B", None)]

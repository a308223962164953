"""How many bad lines a file may have, and what is said and kept of them."""

from pathlib import Path

import pytest
from log_runner import Runner, lines, literals, review

from din_train.errors import DataError
from din_train.logs import rejects

META = literals({"asin": "i", "categories": [["A", "B"]]})


def test_one_bad_line_is_always_tolerated_under_a_share(runner: Runner) -> None:
    got = runner.amazon(lines(review(), "oops", review()), META, "amazon-2014", max_bad_share=0.001)
    assert got.events == [("u", "i", 5, 0), ("u", "i", 5, 1)]
    assert (got.report.lines, got.report.kept, got.report.rejected) == (3, 2, {"not JSON": 1})
    assert got.rejected == [{"file": str(got.report.path), "line": 2, "reason": "not JSON", "text": "oops"}]


def test_share_0_forbids_even_one(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        runner.amazon(lines(review(), "oops", review()), META, "amazon-2014", max_bad_share=0)
    path = runner.folder / "input-1"
    assert str(caught.value) == (
        f"{path}: 1 of 3 lines cannot be read (not JSON: 1), more than the 0 that data.max_bad_share = 0 allows; "
        f"first bad line {path}:2: not JSON; check data.source ('amazon-2014'), or raise data.max_bad_share"
    )


def test_the_share_is_rounded_down_and_blank_lines_are_no_lines(runner: Runner) -> None:
    good = [review()] * 16
    bad = ["oops", review(user="")]
    got = runner.amazon(lines("", *bad, *good, "  ", "7"), META, "amazon-2014", max_bad_share=0.16)  # 3 of 19
    assert (got.report.lines, got.report.kept) == (19, 16)
    assert got.report.rejected == {"not JSON": 1, "empty reviewerID": 1, "not a JSON object": 1}
    assert [row["line"] for row in got.rejected] == [2, 3, 21]
    with pytest.raises(DataError) as caught:
        runner.amazon(lines("", *bad, *good, "  ", "oops"), META, "amazon-2014", max_bad_share=0.15)  # 2 of 19
    assert "3 of 19 lines cannot be read (not JSON: 2, empty reviewerID: 1), more than the 2 that" in str(caught.value)


def test_bad_lines_of_both_files_are_kept(runner: Runner) -> None:
    got = runner.amazon(lines("oops", review()), lines(META.strip(), "["), "amazon-2014")
    assert [(Path(row["file"]).name, row["line"], row["reason"]) for row in got.rejected] == [
        ("input-1", 1, "not JSON"),
        ("input-2", 2, "not a Python literal"),
    ]
    assert got.log.reports[1].rejected == {"not a Python literal": 1}


def test_only_the_beginning_of_a_line_is_kept(runner: Runner) -> None:
    got = runner.amazon(lines("é" * 500, b"\xff" + b"a" * 1000, review(), review()), META, "amazon-2014")
    assert [row["text"] for row in got.rejected] == ["é" * 200, "\ufffd" + "a" * 199]
    assert got.report.rejected == {"not JSON": 1, "invalid UTF-8": 1}


def test_a_thousand_bad_lines_at_the_start_stop_the_reading(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        runner.amazon(lines(*["user,item"] * 1000, *[review()] * 9000), META, "amazon-2014", max_bad_share=1)
    path = runner.folder / "input-1"
    assert str(caught.value) == (
        f"{path}: none of its first 1,000 lines can be read (not JSON: 1,000; first bad line {path}:1: not JSON); "
        "it looks like another format: check data.source ('amazon-2014')"
    )


def test_a_thousand_bad_lines_after_a_good_one_are_only_counted(runner: Runner) -> None:
    got = runner.amazon(lines(review(), *["x"] * 1500), META, "amazon-2014", max_bad_share=1)
    assert (got.report.lines, got.report.kept, got.report.rejected) == (1501, 1, {"not JSON": 1500})


def test_a_log_without_any_event_is_an_error(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        runner.amazon(lines("oops"), META, "amazon-2014", max_bad_share=0.01)
    path = runner.folder / "input-1"
    assert str(caught.value) == (
        f"{path}: no event in its 1 lines (not JSON: 1; first bad line {path}:1: not JSON); "
        "check that the file is whole, and check data.source ('amazon-2014')"
    )
    with pytest.raises(DataError, match="no event in its 0 lines; check that the file is whole"):
        runner.amazon(b"\n\n", META, "amazon-2014")


def test_a_log_in_another_encoding_says_which_key_to_give(runner: Runner) -> None:
    with pytest.raises(DataError, match=r"the encoding \(utf-8, utf-16, latin-1, cp1252\) in data.format.encoding, or"):
        runner.table("user,item,time,category\nПривет,a,1,c\n".encode("cp1251"))


def test_a_share_means_its_decimals(runner: Runner) -> None:
    got = runner.amazon(lines(*["x"] * 29, *[review()] * 71), META, "amazon-2014", max_bad_share=0.29)
    assert got.report.rejected == {"not JSON": 29}  # 0.29 * 100 is 28.999... in floating point


def test_the_same_files_give_the_same_bytes(runner: Runner) -> None:
    def read_bytes(reviews: Path | bytes) -> tuple[Path, list[bytes]]:
        log = runner.amazon(reviews, META, "amazon-2014").log
        assert log.items is not None
        return log.reports[0].path, [path.read_bytes() for path in (log.events, log.items, log.rejected)]

    path, first = read_bytes(lines(review(), "oops", review(time=9)))
    assert read_bytes(path)[1] == first


def test_far_too_many_bad_lines_stop_the_reading(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "MANY_BAD_LINES", 1500)
    path = runner.folder / "input-1"
    with pytest.raises(DataError) as caught:
        runner.amazon(lines(review(), *["oops"] * 9000), META, "amazon-2014")
    assert str(caught.value) == (
        f"{path}: 1,501 of its first 1,502 lines cannot be read (not JSON: 1,501), so the rest is not read; first bad "
        f"line {path}:2: not JSON; it looks like another format: check data.source ('amazon-2014')"
    )
    with pytest.raises(DataError, match=r"1,501 of its first 1,502 lines"):
        runner.amazon(lines(review(), *["oops"] * 9000), META, "amazon-2014", max_bad_share=1)
    with pytest.raises(DataError, match=r"1,600 of 3,201 lines cannot be read .* more than the 32 that"):
        runner.amazon(lines(review(), *[review(), "oops"] * 1600), META, "amazon-2014", max_bad_share=0.01)


def test_bad_lines_after_many_are_counted_and_not_kept(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "MANY_BAD_LINES", 1500)
    got = runner.amazon(lines(*[review(), "oops"] * 2000), META, "amazon-2014", max_bad_share=1)
    assert got.report.rejected == {"not JSON": 2000}
    assert len(got.rejected) == 1500
    assert got.report.notes == {"bad lines after the first 1,500, whose texts are not kept": 500}

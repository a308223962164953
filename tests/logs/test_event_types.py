"""Types of event: clicks, impressions, and what is left out and counted."""

from typing import Any

import pytest
from log_runner import Outcome, Runner

from din_train.errors import DataError

ROWS = b"u,a,1,view\nu,b,2,buy\nv,a,3,cart\nv,b,4,\nv,c,5,view\n"


def read(runner: Runner, rows: bytes = ROWS, **types: Any) -> Outcome:
    columns = {"user": "u", "item": "i", "timestamp": "t", "events": {"column": "type", **types}}
    return runner.source("table", events=b"u,i,t,type\n" + rows, columns=columns)


def test_types_that_are_not_named_are_left_out_and_counted(runner: Runner) -> None:
    got = read(runner, click=["buy", "cart"])
    assert got.events == [("u", "b", 2, 0), ("v", "a", 3, 1)]
    assert got.report.skipped == {"event view": 2, "events of other types": 1}
    assert (got.report.lines, got.report.kept, got.log.labelled) == (5, 2, False)


def test_impressions_and_clicks_are_told_apart(runner: Runner) -> None:
    got = read(runner, click=["buy"], impression=["view"], click_window=60)
    assert got.events == [("u", "a", 1, 0, 0), ("u", "b", 2, 1, 1), ("v", "c", 5, 0, 2)]
    assert (got.log.labelled, got.log.click_window) == (True, 60)


def test_types_may_be_numbers(runner: Runner) -> None:
    got = read(runner, b"u,a,1,0\nu,b,2,2\nu,c,3,1\n", click=[2, 1])
    assert [event[1] for event in got.events] == ["b", "c"]


def test_a_bad_row_is_of_no_type_and_a_row_that_is_left_out_tells_no_time(runner: Runner) -> None:
    rows = b",a,1,buy\nu,a,1400000000000,view\nu,b,1400000000,buy\nu,c,soon,view\n"
    got = read(runner, rows, click=["buy"])
    assert (got.events, got.log.ticks) == ([("u", "b", 1_400_000_000, 0)], 1)
    assert (got.report.rejected, got.report.skipped) == ({"empty user": 1}, {"event view": 2})


def test_a_type_that_no_row_has_is_said(runner: Runner) -> None:
    got = read(runner, click=["buy", "carts"], impression=["view"])
    assert got.log.remarks == (
        "data.columns.events.click: no row is of the type carts (did you mean cart?); the types are view 2, buy 1, "
        "cart 1,  1",
    )


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (
            {"click": ["bought", "by"]},
            r"data\.columns\.events\.click: no row is of the type bought or by; the types are",
        ),
        ({"click": ["buy"], "impression": ["show"]}, r"data\.columns\.events\.impression: no row is of the type show"),
    ],
)
def test_types_of_which_none_is_there_are_refused(runner: Runner, types: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(runner, **types)


def test_a_taobao_behaviour_that_no_row_has_is_said(runner: Runner) -> None:
    got = runner.source("taobao", events=b"1,2,3,pv,1511544070\n", behaviours=["pv", "fav"])
    assert got.log.remarks == ("data.behaviours: no row is of the type fav; the types are pv 1",)


def test_a_column_of_far_too_many_types_is_counted_together(runner: Runner) -> None:
    rows = b"".join(b"u,i,%d,type%d\n" % (n, n) for n in range(1, 200)) + b"u,i,300,buy\n"
    got = read(runner, rows, click=["buy"])
    assert len(got.events) == 1
    assert len(got.report.skipped) == 51
    assert sum(got.report.skipped.values()) == 199


def test_types_that_are_left_out_are_told_in_the_order_of_their_first_good_row(runner: Runner) -> None:
    rows = b",a,1,zoom\nu,a,2,view\nu,b,3,buy\nu,c,4,zoom\nu,c,5,view\n"
    got = read(runner, rows, click=["buy"])
    assert list(got.report.skipped.items()) == [("event view", 2), ("event zoom", 1)]

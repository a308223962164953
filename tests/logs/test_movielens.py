"""MovieLens beyond the plain good file: each layout is a whole file's, and what is said of bad lines."""

import pytest
from log_runner import Outcome, Runner

from din_train.errors import DataError

RATING = b"1::10::5::900000000\n"


def read_movies(runner: Runner, movies: bytes, **values: object) -> Outcome:
    return runner.source("movielens", events=RATING, items=movies, **values)


def test_what_separates_in_another_layout_may_be_in_a_title(runner: Runner) -> None:
    bars = "|".join("x" * 30)
    csv = f'movieId,title,genres\n1,a::b::c,Drama|War\n2,{bars},War\n3,"x, ""y""::z",(no genres listed)\n'.encode()
    assert read_movies(runner, csv).items == [
        ("1", "Drama", "a::b::c"), ("2", "War", bars), ("3", None, 'x, "y"::z'),
    ]  # fmt: skip
    assert read_movies(runner, b"1::a,b,c::War\n2::a|b::Drama\n").items == [
        ("1", "War", "a,b,c"), ("2", "Drama", "a|b"),
    ]  # fmt: skip
    flags = b"|0" * 18 + b"|1"
    assert read_movies(runner, b"1|a|||u" + flags + b"\n2|b::c|||u" + flags + b"\n").items == [
        ("1", "Western", "a"), ("2", "Western", "b::c"),
    ]  # fmt: skip


def test_every_genre_of_the_100k_layout(runner: Runner) -> None:
    rows = [
        b"%d|t|||u" % place + b"".join(b"|1" if place == flag else b"|0" for flag in range(19)) for place in range(19)
    ]
    assert [item[1] for item in read_movies(runner, b"\n".join(rows)).items] == [
        *(None, "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
        *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
    ]  # as in u.genre


@pytest.mark.parametrize(
    ("title", "year"),
    [("Heat (1995)", "1995"), ("Heat (1995) ", "1995"), ("2001 (1968)", "1968"), ("Heat", None), ("(1995) Heat", None),
     ("Heat (95)", None), ("Heat (1995-)", None), ("Heat (١٩٩٥)", None), ("", None)],
)  # fmt: skip
def test_the_year_ends_the_title(runner: Runner, title: str, year: str | None) -> None:
    got = read_movies(runner, f"1::{title}::War\n".encode(), item_fields=["year"])
    assert got.items == [("1", "War", title or None, year)]


def test_bad_movies(runner: Runner) -> None:
    bad = b'movieId,title,genres\n1,a,War\n\n1,b,Drama\n,c,War\n4,d\n5,e\0,War\n6,\xe9,War\n7,"x,War\n'
    got = read_movies(runner, bad + b"2,b,War\r\n", max_bad_share=0.9)
    assert got.items == [("1", "War", "a"), ("2", "War", "b")]
    report = got.log.reports[1]
    assert report.rejected == {
        "id given twice": 1, "empty id": 1, "wrong number of fields": 1, "NUL character": 1, "invalid UTF-8": 1,
        "broken quotes": 1,
    }  # fmt: skip
    assert (report.lines, report.kept) == (8, 2)
    assert [row["line"] for row in got.rejected] == [4, 5, 6, 7, 8, 9]


def test_nothing_but_a_header(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        read_movies(runner, b"movieId,title,genres\n")
    assert str(caught.value) == f"{runner.folder / 'input-2'}: nothing in its 0 lines can be read; check data.items"


def test_a_title_with_a_nul_in_latin_1(runner: Runner) -> None:
    got = read_movies(runner, b"1::Caf\xe9::War\n2::a\0b::War\n")
    assert (got.items, got.log.reports[1].rejected) == ([("1", "War", "Café")], {"NUL character": 1})


def test_bad_users(runner: Runner) -> None:
    users = b"1::F::25::7::55117\n1::F::25::7::55117\n2::M::25::7\n::M::1::1::1\n3::::::4::x\n"
    values = {"events": RATING, "items": b"10::t::War\n", "user_fields": ["occupation", "gender", "age"]}
    got = runner.source("movielens", users=users, **values, max_bad_share=0.9)
    assert got.users == [("1", "7", "F", "25"), ("3", "4", None, None)]
    assert got.log.reports[2].rejected == {"id given twice": 1, "wrong number of fields": 1, "empty id": 1}


@pytest.mark.parametrize("rating", ["0.4", "5.1", "6", "-1", "inf", "1e0", "٣", "0005", "4.0000001"])
@pytest.mark.parametrize("delimiter", ["::", "\t", ","])
def test_a_rating_that_is_none(runner: Runner, rating: str, delimiter: str) -> None:
    head = "userId,movieId,rating,timestamp\n" if delimiter == "," else ""
    rows = [f"1::10::{each}::900000000\n".replace("::", delimiter) for each in ("0.5", rating, "5.0", "4")]
    got = runner.source("movielens", events=(head + "".join(rows)).encode(), items=b"10::t::War\n", click_rating=4.5)
    assert [event[3] for event in got.events] == [0, 1, 0]
    assert list(got.report.rejected) in (["rating not from 0.5 to 5"], ["rating not a number"])

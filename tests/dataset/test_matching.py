"""What does not match is counted and shown, and refused where nothing matches."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from log_factory import make_config, write_table
from rich.console import Console

from din_train.dataset.manifest import Manifest
from din_train.dataset.matching import FieldValues, Join
from din_train.dataset.numbers import NumberStyle
from din_train.dataset.prepare import prepare_data
from din_train.dataset.summary import build_preparation_table
from din_train.dataset.time_range import Moments
from din_train.errors import DataError

START = 1_700_000_000  # 2023-11-14 22:13:20
DAY = 86_400
HEADER = ["user", "item", "category", "time", "price"]
ROWS = [[f"u{n % 5}", f"i{n % 9}", f"c{n % 3}", START + n * 3600, f"{n % 9}.5"] for n in range(60)]


def prepare(folder: Path, rows: list[list[Any]] | None = None, header: list[str] = HEADER, **changes: Any) -> Manifest:
    write_table(folder / "log.tsv", header, ROWS if rows is None else rows)
    return prepare_data(make_config(folder, **changes), force=True, progress=lambda _: None).manifest


def refused(folder: Path, *args: Any, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        prepare(folder, *args, **changes)
    assert not (folder / "prepared").exists()
    (line,) = caught.value.problems
    return line


def show(manifest: Manifest) -> str:
    text = StringIO()
    Console(width=200, file=text).print(build_preparation_table(manifest))
    return " ".join(text.getvalue().split())


USERS = ["user", "age"]


def with_users(folder: Path, names: list[str], **data: Any) -> dict[str, Any]:
    write_table(folder / "users.tsv", USERS, [[name, 20 + n] for n, name in enumerate(names)])
    return {"data": {"users": str(folder / "users.tsv"), "user_fields": ["age"], **data}}


def test_users_that_are_in_their_table_are_counted(tmp_path: Path) -> None:
    manifest = prepare(tmp_path, **with_users(tmp_path, ["u0", "u1", "u7"]))
    assert manifest.joins == [Join(kind="users", file="users.tsv", size=5, found=2)]
    assert manifest.field_values["age"] == FieldValues(kind="users", size=5, missing=3)
    shown = show(manifest)
    assert "users of the log in users.tsv │ 2 of 5" in shown
    assert "users without age │ 3 of 5" in shown


@pytest.mark.parametrize("names", [["0", "1"], ["u0.0", "u1.0"], ["U0"], [" u0"], ["u00", "u01"]])
def test_a_table_of_other_ids_is_refused(tmp_path: Path, names: list[str]) -> None:
    line = refused(tmp_path, **with_users(tmp_path, names))
    assert f"users.tsv: of 5 users of the log, 0 are in it; the log has 'u0', the file {names[0]!r}; " in line
    assert "or set data.unmatched to allow" in line
    manifest = prepare(tmp_path, **with_users(tmp_path, names, unmatched="allow"))
    assert manifest.joins[0].found == 0
    assert manifest.remarks == ["age: none of 5 users has a value, so all are unknown"]


def test_an_items_table_of_other_ids_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "items.tsv", ["item", "category"], [["0", "x"]])
    line = refused(tmp_path, data={"items": str(tmp_path / "items.tsv")})
    assert "data.items: " in line
    assert "of 9 items of the log, 0 are in it; the log has 'i0', the file '0'" in line


@pytest.mark.parametrize(("place", "key"), [(2, "data.columns.category: category"), (4, "data.item_fields: price")])
@pytest.mark.parametrize("word", ["", "NULL", "nan"])
def test_a_column_without_a_value_is_refused(tmp_path: Path, place: int, key: str, word: str) -> None:
    rows = [[word if at == place else value for at, value in enumerate(row)] for row in ROWS]
    line = refused(tmp_path, rows, data={"item_fields": ["price"]})
    assert line.startswith(f"{key}: none of 9 items has a value; ")
    assert prepare(tmp_path, rows, data={"item_fields": ["price"], "unmatched": "allow"}).remarks


def test_a_context_field_without_a_value_is_refused(tmp_path: Path) -> None:
    rows = [[*row[:4], "\\N"] for row in ROWS]
    line = refused(tmp_path, rows, data={"context_fields": ["price"]})
    assert line.startswith("data.context_fields: price: none of 60 events has a value")


NUMERIC = {"item_fields": ["price"], "numeric_fields": ["price"], "num_buckets": 3}


def test_values_that_are_no_numbers_are_counted_with_an_example(tmp_path: Path) -> None:
    rows = [[*row[:4], "$5.00 - $9.99" if row[1] == "i3" else "" if row[1] == "i4" else f"${row[4]}"] for row in ROWS]
    manifest = prepare(tmp_path, rows, data={**NUMERIC, "max_unread_share": 0.2})
    assert manifest.field_values["price"] == FieldValues(
        kind="items", size=9, missing=1, unread=1, example="$5.00 - $9.99", style=NumberStyle(".", "$")
    )
    assert "price: cannot be read, such as '$5.00 - $9.99' │ 1 of 8" in show(manifest)
    rows = [[*row[:4], "cheap" if row[1] in ("i3", "i5") else row[4]] for row in ROWS]
    (tmp_path / "prepared").rename(tmp_path / "old")
    line = refused(tmp_path, rows, data=NUMERIC)
    assert line.startswith(
        "data.numeric_fields: price: 2 of 9 values are no numbers, such as 'cheap', more than data.max_unread_share = "
    )


def test_odd_ids_are_kept_and_said(tmp_path: Path) -> None:
    rows = [[row[0] if row[0] == "u4" else f'"{row[0]}"', f"{row[1][1:]}.0", *row[2:]] for row in ROWS]
    assert prepare(tmp_path, rows).remarks == [
        "4 of 5 users have ids in quotes, such as '\"u0\"'; they are kept exactly so",
        "9 of 9 items have ids that end in '.0', such as '0.0'; they are kept exactly so",
    ]


def test_rows_that_are_there_twice_and_targets_seen_before(tmp_path: Path) -> None:
    manifest = prepare(tmp_path, [*ROWS, *ROWS[:7]])
    assert manifest.counts["rows_equal_in_user_item_and_time"] == 7
    rows = [[user, item, "c", START + n, 1] for user in "uv" for n, item in enumerate("abca")]
    rows += [["x", item, "c", START + n, 1] for n, item in enumerate("fgh")]
    manifest = prepare(tmp_path, [*rows, *[["w", item, "c", START, 1] for item in "abcde"]])
    assert [manifest.counts[f"test_targets{name}"] for name in ("", "_in_their_history")] == [4, 2]
    assert "test targets in their history │ 2 (50.0%)" in show(manifest)


def test_the_first_and_last_moment_are_kept_and_shown(tmp_path: Path) -> None:
    manifest = prepare(tmp_path)
    assert manifest.time == Moments(first=START, last=START + 59 * 3600, is_unix=True)
    assert "first moment │ 2023-11-14 22:13:20" in show(manifest)
    assert "last moment │ 2023-11-17 09:13:20" in show(manifest)
    rows = [[*row[:3], (START + n * 3600) * 1000, 1] for n, row in enumerate(ROWS)]
    assert prepare(tmp_path, rows).time == manifest.time
    days = [[*row[:3], 45245 + n // 9, 1] for n, row in enumerate(ROWS)]
    assert prepare(tmp_path, days).time == Moments(first=45245, last=45251, is_unix=False)


# Every user of ROWS chooses every item; here there are others.
WITH_OTHER_ITEMS = [*([["short", f"x{n}", "c0", START + n, "1.5"] for n in range(2)]), *ROWS]
TIME = {"data": {"protocol": "time", "time_split": {"validation_from": "2023-11-16", "test_from": "2023-11-17"}}}


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"filters": {"until": "2023-11-16"}}, "filters.until"), ({"filters": {"since": "2023-11-16"}}, "filters.since"),
     (TIME, "data.time_split.validation_from")],
)  # fmt: skip
def test_a_date_beside_day_numbers(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    days = [[*row[:3], 45245 + n // 9, 1] for n, row in enumerate(WITH_OTHER_ITEMS)]
    line = refused(tmp_path, days, **changes)
    assert line.startswith(f"{key}: 2023-11-16 is compared with times that are no unix times: the log's go from 45245 ")
    assert "to 45251" in line
    as_numbers = {"data": {"protocol": "time", "time_split": {"validation_from": 45247, "test_from": 45249}}}
    assert all(prepare(tmp_path, days, **as_numbers).samples.values())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"filters": {"since": "2024-01-01"}}, "filters.since: 2024-01-01 leaves out every event"),
        ({"filters": {"until": "2023-01-01"}}, "filters.until: 2023-01-01 leaves out every event"),
        ({"filters": {"until": 20231116}}, "filters.until: 1970-08-23 03:45:16 leaves out every event"),
        (
            {"data": {"protocol": "time", "time_split": {"validation_from": "2024-06-01", "test_from": "2024-07-01"}}},
            "data.time_split.validation_from: 2024-06-01 has no event from then on, so the validation split has no",
        ),
        (
            {"data": {"protocol": "time", "time_split": {"validation_from": "2023-11-16", "test_from": "2024-07-01"}}},
            "data.time_split.test_from: 2024-07-01 has no event from then on, so the test split has no sample",
        ),
        (
            {"data": {"protocol": "time", "time_split": {"validation_from": "2013-11-16", "test_from": "2023-11-16"}}},
            "data.time_split.validation_from: 2013-11-16 has no event before, so the train split has no sample",
        ),
        (
            {**TIME, "filters": {"since": "2023-11-16 12:00:00"}},
            "data.time_split.validation_from: 2023-11-16 has no event before, so the train split has no sample",
        ),
    ],
)
def test_a_cut_outside_the_log(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    line = refused(tmp_path, **changes)
    assert line.startswith(expected)
    assert "the log's times go from 2023-11-1" in line
    assert "to 2023-11-17 09:13:20" in line


def test_a_cut_that_leaves_no_sample_though_it_leaves_events(tmp_path: Path) -> None:
    late = [["new", f"i{n}", "c", START + 70 * 3600 + n, 1] for n in range(4)]  # of a user without a history
    split = {"validation_from": "2023-11-16", "test_from": "2023-11-17 12:00:00"}
    line = refused(tmp_path, [*WITH_OTHER_ITEMS, *late], data={"protocol": "time", "time_split": split})
    assert line.startswith("data.time_split.test_from: 2023-11-17 12:00:00 leaves the test split without a sample: ")


def test_a_share_of_users_that_is_none(tmp_path: Path) -> None:
    data = {"protocol": "user", "user_split": {"validation": 1, "test": 0.05}}
    line = refused(tmp_path, WITH_OTHER_ITEMS, data=data)
    assert line.startswith("data.user_split.test: 0.05 of 6 users leaves the test split ")
    data = {"protocol": "user", "user_split": {"validation": 0, "test": 1}}
    assert prepare(tmp_path, WITH_OTHER_ITEMS, data=data).samples["test"]


def test_users_who_have_chosen_every_item_leave_no_sample(tmp_path: Path) -> None:
    line = refused(tmp_path, data={"protocol": "user", "user_split": {"validation": 0, "test": 1}})
    assert "the test split has no sample, and 55 positives have no item left that their user has not chosen" in line


def test_filters_that_leave_out_nothing_say_so(tmp_path: Path) -> None:
    manifest = prepare(tmp_path, filters={"since": "2020-01-01", "until": "2030-01-01"})
    assert manifest.remarks == [
        f"filters.{key}: {day} leaves out nothing: the log goes from 2023-11-14 22:13:20 to 2023-11-17 09:13:20"
        for key, day in (("since", "2020-01-01"), ("until", "2030-01-01"))
    ]
    assert "note │ filters.since: 2020-01-01 leaves out nothing" in show(manifest)


def test_a_k_core_of_nothing(tmp_path: Path) -> None:
    line = refused(tmp_path, filters={"k_core": 50})
    assert "the log has 0 events of 0 users left; events outside the k core: 60); check filters, data.columns" in line


LABELLED = {"columns": {"user": "user", "item": "item", "timestamp": "time", "label": "price"}}


@pytest.mark.parametrize(
    ("label", "advice"),
    [(1, "take data.columns.label out, so that every row is a click and negatives are sampled"),
     (0, "name another column, or take data.columns.label out")],
)  # fmt: skip
def test_labels_of_one_class(tmp_path: Path, label: int, advice: str) -> None:
    line = refused(tmp_path, [[*row[:4], label] for row in ROWS], data=LABELLED)
    assert f"each of 60 rows has the label {label} in 'price', so there is nothing to tell apart; {advice}" in line


@pytest.mark.parametrize(("threshold", "expected"), [(1, "is at least that"), (5, "is below that")])
def test_ratings_of_one_class(tmp_path: Path, threshold: int, expected: str) -> None:
    (tmp_path / "ratings.dat").write_text("".join(f"{n % 4}::{n}::{2 + n % 3}::{START + n}\n" for n in range(40)))
    (tmp_path / "movies.dat").write_text("".join(f"{n}::t::War\n" for n in range(40)))
    files = {"events": str(tmp_path / "ratings.dat"), "items": str(tmp_path / "movies.dat")}
    config = make_config(tmp_path, data={"source": "movielens", "columns": None, "click_rating": threshold, **files})
    with pytest.raises(DataError, match=rf"data\.click_rating: {threshold}: each of 40 ratings {expected}"):
        prepare_data(config, force=False, progress=lambda _: None)


@pytest.mark.parametrize("split", ["train", "test"])
def test_ready_made_samples_of_one_class(tmp_path: Path, split: str) -> None:
    data = write_x1(tmp_path, {split: ["1,u,a,c,b,c", "1,u,b,c,a,c"]})
    with pytest.raises(DataError, match=rf"data\.{split}: .*{split}\.csv: each of 2 rows has the label 1, so"):
        prepare_data(make_config(tmp_path, data=data), force=False, progress=lambda _: None)


def test_test_rows_that_are_training_rows_and_odd_ids_of_ready_made_samples(tmp_path: Path) -> None:
    data = write_x1(tmp_path, {"test": ["1,u,a,c,b,c", "0,u,d,c,b,c", "0,'w',a,c,,"]})
    manifest = prepare_data(make_config(tmp_path, data=data), force=False, progress=lambda _: None).manifest
    assert manifest.remarks == [
        "1 of 2 users have ids in quotes, such as \"'w'\"; they are kept exactly so",
        "1 of 3 test rows are in the training file too",
    ]
    assert manifest.time is None


def write_x1(folder: Path, rows: dict[str, list[str]]) -> dict[str, Any]:
    """Both files, with rows of both classes where none are given."""
    for split in ("train", "test"):
        text = "\n".join(rows.get(split, ["1,u,a,c,b,c", f"0,u,{split},c,b,c"]))
        (folder / f"{split}.csv").write_text(f"label,user_id,item_id,cate_id,item_history,cate_history\n{text}\n")
    files = {split: str(folder / f"{split}.csv") for split in ("train", "test")}
    return {"source": "x1", "events": None, "columns": None, **files}

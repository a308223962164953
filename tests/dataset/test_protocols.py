"""Which event is a target of which split: golden files by hand, short users, ties, impressions, the newest kept."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from log_factory import make_config, prepare_events, read_samples, write_table

from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.summary import describe_histories
from din_train.errors import DataError

GOLDEN = yaml.safe_load((Path(__file__).parent / "golden" / "protocols.yaml").read_text())
TIME = {"time_split": {"validation_from": 200, "test_from": 400}}

# Other users, so that there is something to draw negatives from.
OTHER = [("v", item, "x", time) for time, item in enumerate("pqrst")]


def show(data: PreparedData, split: Split, user: str = "u", max_history_length: int = 100) -> list[dict[str, Any]]:
    """The user's positives as the golden files have them."""
    rows = [row for row in read_samples(data, split, max_history_length) if row["user"] == user and row["label"]]
    return [{"target": row["target"], "history": row["history"]} for row in rows]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("paper", {"protocol": "paper"}),
        ("holdout", {"protocol": "holdout"}),
        ("time", {"protocol": "time", **TIME}),
        ("paper_min_history_0", {"protocol": "paper", "min_history": 0}),
        ("paper_min_history_3", {"protocol": "paper", "min_history": 3}),
        ("apart", {"protocol": "holdout", "ties": "apart"}),
    ],
)
def test_golden_splits_of_a_six_event_user(tmp_path: Path, name: str, data: dict[str, Any]) -> None:
    events = [(user, item, "x", time) for user, item, time in GOLDEN["log"]]
    prepared, _ = prepare_events(tmp_path, [*OTHER, *events], data=data)
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        assert show(prepared, split) == GOLDEN[name][split.name.lower()]


def test_golden_split_by_users(tmp_path: Path) -> None:
    events = [(f"u{n}", item, "x", time) for n in range(10) for _, item, time in GOLDEN["log"]]
    split = {"validation": 2, "test": 0.3}
    data, _ = prepare_events(tmp_path, [*OTHER, *events], data={"protocol": "user", "user_split": split})
    users: dict[Split, set[str]] = {}
    for each in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        users[each] = {row["user"] for row in read_samples(data, each)}
        for user in users[each] - {"v"}:
            assert show(data, each, user) == GOLDEN["user"]
    assert [len(each) for each in users.values()] == [6, 2, 3]  # of 11, 0.3 are 3
    assert len(set().union(*users.values())) == 11


def test_a_user_without_a_click_is_shared_out_where_no_history_is_needed(tmp_path: Path) -> None:
    rows = [
        (f"u{n}", item, time, int(n >= 4)) for n in range(10) for time, item in enumerate("ab")
    ]  # u0 to u3: no click
    write_table(tmp_path / "log.tsv", ["user", "item", "time", "label"], rows)
    columns = {"user": "user", "item": "item", "timestamp": "time", "label": "label"}
    found = {}
    for min_history in (0, 1):
        split = {"validation": 0, "test": 3}
        data = {"columns": columns, "protocol": "user", "min_history": min_history, "user_split": split}
        config = make_config(tmp_path, data=data)
        prepare_data(config, force=True, progress=lambda _: None)
        prepared = open_store(config.data.prepared)
        found[min_history] = [
            {row["user"] for row in read_samples(prepared, each)}
            for each in (Split.TRAIN, Split.VALIDATION, Split.TEST)
        ]
    assert [len(users) for users in found[0]] == [7, 0, 3]  # all ten, so that the numbers are those asked for
    assert set().union(*found[1]) == {f"u{n}" for n in range(4, 10)}


def test_which_users_is_a_matter_of_the_seed(tmp_path: Path) -> None:
    events = [(f"u{n}", f"{item}{n % 2}", "x", time) for n in range(40) for time, item in enumerate("abc")]

    def find_test_users(seed: int) -> set[str]:
        split = {"validation": 0.2, "test": 0.25, "seed": seed}
        data, _ = prepare_events(tmp_path, events, data={"protocol": "user", "user_split": split})
        return {row["user"] for row in read_samples(data, Split.TEST)}

    assert (len(find_test_users(1)), len(find_test_users(2))) == (12, 9)  # each user by itself: about a quarter of 40
    assert find_test_users(1) == find_test_users(1) != find_test_users(2)


@pytest.mark.parametrize("protocol", ["holdout", "paper", "time"])
def test_golden_splits_of_impressions(tmp_path: Path, protocol: str) -> None:
    golden = GOLDEN["impressions"]
    write_table(tmp_path / "log.tsv", ["user", "item", "time", "label"], golden["log"])
    columns = {"user": "user", "item": "item", "timestamp": "time", "label": "label"}
    cuts = {"time_split": {"validation_from": 3, "test_from": 5}} if protocol == "time" else {}
    config = make_config(tmp_path, data={"columns": columns, "protocol": protocol, **cuts})
    manifest = prepare_data(config, force=False, progress=lambda _: None).manifest
    data = open_store(config.data.prepared)
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        rows = [{key: row[key] for key in ("target", "history", "label")} for row in read_samples(data, split)]
        assert rows == golden[protocol][split.name.lower()]
    assert manifest.negatives == "in the log"
    assert manifest.counts["events"] == 3  # histories hold clicks only
    assert manifest.counts["items"] == 8


LABELLED = {"user": "user", "item": "item", "timestamp": "time", "label": "label"}


def prepare_requests(folder: Path, rows: list[list[Any]], *, ids: bool = True, **data: Any) -> PreparedData:
    write_table(folder / "log.tsv", ["user", "item", "time", "label", "request"], rows)
    columns = {**LABELLED, "request": "request"} if ids else LABELLED
    config = make_config(folder, data={"columns": columns, **data})
    prepare_data(config, force=True, progress=lambda _: None)
    return open_store(config.data.prepared)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("holdout", {}),
        ("user", {"protocol": "user", "user_split": {"validation": 0, "test": 1}}),
        ("time", {"protocol": "time", "time_split": {"validation_from": 205, "test_from": 401}}),
        ("user_with_lag", {"protocol": "user", "user_split": {"validation": 0, "test": 1}, "history_lag": 100}),
        ("user_without_ids", {"protocol": "user", "user_split": {"validation": 0, "test": 1}, "ids": False}),
    ],
)
def test_golden_requests(tmp_path: Path, name: str, data: dict[str, Any]) -> None:
    golden = GOLDEN["requests"]
    prepared = prepare_requests(tmp_path, golden["log"], **data)
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        rows = [{key: row[key] for key in ("target", "history", "label")} for row in read_samples(prepared, split)]
        assert rows == golden[name][split.name.lower()], split
    rows = {
        (int(event), prepared_row["target"])
        for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)
        for event, prepared_row in zip(prepared.samples(split, 9).events, read_samples(prepared, split), strict=True)
    }
    assert rows <= {(row, each[1]) for row, each in enumerate(golden["log"])}  # the row of the log, counted from 0


def test_how_many_samples_the_order_of_the_file_decides(tmp_path: Path) -> None:
    events = [(user, item, "x", time) for user, item, time in GOLDEN["log"]]
    for ties in ("file_order", "apart"):
        _, preparation = prepare_events(tmp_path, [*OTHER, *events], data={"protocol": "paper", "ties": ties})
        histories = preparation.manifest.histories  # c and f of u's five targets; none of v's four
        assert histories == {"ties": ties, "tied_targets": 2, "tied_share": pytest.approx(2 / 9, abs=1e-6)}


def test_rows_without_a_request_of_one_second_are_one(tmp_path: Path) -> None:
    """Also in nanoseconds, which a float does not hold: the last one of a second is in that second."""
    second = 1_500_000_000 * 10**9
    rows = [
        ["u", item, time, label, "" if item != "c" else "r"]
        for item, time, label in (
            ("a", second, 1),
            ("b", second + 10**9 - 1, 0),
            ("c", second, 0),
            ("d", second + 10**9, 1),
            ("e", second + 10**9, 0),
        )
    ]
    data = prepare_requests(tmp_path, rows, protocol="paper", min_history=0)
    samples = data.sample_columns(Split.TRAIN), data.sample_columns(Split.TEST)
    requests = [number for each in samples for number in each["request"].tolist()]
    assert requests == [0, 0, 1, 2, 2]


def test_impressions_of_whole_days_are_requests_of_a_day(tmp_path: Path) -> None:
    rows = [["u", item, 86_400 * day, int(item == "a"), ""] for day in range(20_000, 20_004) for item in "abc"]
    data = prepare_requests(tmp_path, rows, ids=False)
    histories = data.manifest.histories
    assert histories == {"lag": 0, "requests": 4, "requests_at_midnight": 4}
    assert dict(describe_histories(histories))["all times are whole days"] == "a request is a user's day"
    assert [len(row["history"]) for row in read_samples(data, Split.TEST)] == [3, 3, 3]


def test_golden_presampled_rows(tmp_path: Path) -> None:
    golden = GOLDEN["presampled"]
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(golden[f"{name}_rows"])
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    config = make_config(tmp_path, data={"source": "x1", "events": None, "columns": None, **files})
    assert config.data.protocol == "presampled"
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        assert read_samples(data, split) == golden[split.name.lower()]
    assert len(data.event_item_ids) == 5  # a b c of u and b z of w: no history is copied


H, TRAIN, VALIDATION, TEST = "history", "train", "validation", "test"


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("paper", {1: None, 2: [H, TEST], 3: [H, TRAIN, TEST], 4: [H, TRAIN, TRAIN, TEST]}),
        ("holdout", {1: None, 2: None, 3: [H, VALIDATION, TEST], 4: [H, TRAIN, VALIDATION, TEST]}),
        # events at 0, 1, 2, 3; validation from 2, test from 3
        ("time", {1: None, 2: [H, TRAIN], 3: [H, TRAIN, VALIDATION], 4: [H, TRAIN, VALIDATION, TEST]}),
        ("user", {1: None, 2: [H, TRAIN], 3: [H, TRAIN, TRAIN], 4: [H, TRAIN, TRAIN, TRAIN]}),
    ],
)
def test_users_of_few_events(tmp_path: Path, protocol: str, expected: dict[int, list[str] | None]) -> None:
    events = [(f"u{n}", f"i{time}", "x", time) for n in expected for time in range(n)]
    others = [("v", f"j{time}", "x", time) for time in range(4)]  # something to draw negatives from
    settings: dict[str, Any] = {"protocol": protocol}
    if protocol == "time":
        settings["time_split"] = {"validation_from": 2, "test_from": 3}
    if protocol == "user":
        settings["user_split"] = {"validation": 1, "test": 2, "seed": 3}  # users beyond the four of interest
        others = [(f"w{n}", f"j{time}", "x", time) for n in range(60) for time in range(2)]
    data, preparation = prepare_events(tmp_path, [*events, *others], data=settings)
    found: dict[str, dict[str, str]] = {}
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        for row in read_samples(data, split):
            if row["label"]:
                found.setdefault(row["user"], {})[row["target"]] = split.name.lower()
    for n, splits in expected.items():
        got = found.get(f"u{n}", {})
        assert ([got.get(f"i{place}", H) for place in range(n)] if got else None) == splits, n
    dropped = [n for n, splits in expected.items() if splits is None]
    assert preparation.manifest.dropped["users_with_too_few_events"] == len(dropped)
    assert preparation.manifest.dropped["events_of_those_users"] == sum(dropped)


def test_nobody_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no user has the 3 events the protocol needs"):
        prepare_events(tmp_path, [("u", "a", "x", 1), ("u", "b", "x", 2)])


def test_a_long_history_keeps_its_newest(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, [*OTHER, *(("u", item, "x", time) for time, item in enumerate("abcdef"))])
    assert show(data, Split.TEST, max_history_length=2) == [{"target": "f", "history": ["d", "e"]}]


def test_presampled_histories_that_are_no_beginning_are_kept_apart(tmp_path: Path) -> None:
    """A log cut to the newest two, say."""
    header = "label,user_id,item_id,cate_id,item_history,cate_history\n"
    rows = ["1,u,c,x,a^b,x^y", "0,u,d,x,a^b,x^y", "1,u,d,x,b^c,y^x", "1,u,e,x,c^d,x^", "1,ab,e,x,a,x"]
    (tmp_path / "train.csv").write_text(header + "\n".join(rows) + "\n")
    (tmp_path / "test.csv").write_text(header + "1,u,f,x,b^c,y^x\n0,u,f,x,a^bc,x^y\n")
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    config = make_config(tmp_path, data={"source": "x1", "events": None, "columns": None, **files})
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    every = [row for split in (Split.VALIDATION, Split.TRAIN, Split.TEST) for row in read_samples(data, split)]
    assert [(row["target"], row["history"]) for row in every] == [
        ("c", ["a", "b"]), ("d", ["a", "b"]), ("e", ["a"]), ("d", ["b", "c"]), ("e", ["c", "d"]),
        ("f", ["b", "c"]), ("f", ["a", "bc"]),
    ]  # fmt: skip

"""A log that has grown keeps the ids of an earlier data set; what is new comes after them, what is old can expire."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import make_config, read_positives, read_raw_ids, read_values, write_table

from din_train.config import UserSplitConfig
from din_train.dataset.prepare import Preparation, prepare_data
from din_train.dataset.protocols import Split, assign_users
from din_train.dataset.store import PreparedData, open_store
from din_train.errors import ConfigError, DataError

DAY, START = 86_400, 1_400_000_000
HEADER = ["user", "item", "category", "time", "brand", "price", "size", "tags", "shop", "device"]
FIELDS: dict[str, Any] = {
    "item_fields": ["brand", "price", "size", "tags", "shop"],
    "context_fields": ["device"],
    "numeric_fields": ["price"],
    "standardized_fields": ["size"],
    "list_fields": {"tags": {"separator": "|"}},
    "num_buckets": 2,
    "protocol": "paper",
}
# item: category, brand, price, size, tags, shop
ITEMS = {
    "a": ["x", "acme", 1, 10, "red|big", "s1"],
    "b": ["y", "bolt", 2, 20, "red", "s2"],
    "c": ["x", "acme", 3, 30, "blue", "s1"],
    "d": ["z", "core", 9, 90, "new|red", "s3"],
    "e": ["x", "dent", 5, 50, "", "s1"],
}
Row = tuple[str, str, int, str]  # user, item, day, device
OLD: list[Row] = [
    ("u", "a", 0, "tv"), ("u", "b", 1, "pc"), ("u", "a", 2, "tv"), ("v", "a", 1, "tv"), ("v", "c", 2, "tv"),
]  # fmt: skip
# c and d are far ahead of a now, d and e are new
NEW: list[Row] = [(user, item, 10 + n, "car") for user in "uvw" for n, item in enumerate("dcdcdce")]


def prepare(folder: Path, name: str, rows: list[Row], **changes: Any) -> tuple[PreparedData, Preparation]:
    lines = []
    for user, item, day, device in rows:
        category, *fields = ITEMS[item]
        lines.append([user, item, category, START + day * DAY, *fields, device])
    write_table(folder / f"{name}.tsv", HEADER, lines)
    data = {**FIELDS, "events": str(folder / f"{name}.tsv"), "prepared": str(folder / name), **changes.pop("data", {})}
    vocabulary = {"hash_buckets": {"shop": 50}, **changes.pop("vocabulary", {})}
    config = make_config(folder, data=data, vocabulary=vocabulary, **changes)
    preparation = prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared), preparation


def read_items(data: PreparedData) -> dict[int, str]:
    return read_raw_ids(data, "items", "item_id", "item")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    data, _ = prepare(folder, "old", OLD)
    assert read_items(data) == {2: "a", 3: "b", 4: "c"}
    return folder / "old"


def test_ids_buckets_and_scales_stay_when_frequencies_change(base: Path, tmp_path: Path) -> None:
    old, (alone, _) = open_store(base), prepare(tmp_path, "alone", OLD + NEW)
    data, preparation = prepare(tmp_path, "new", OLD + NEW, vocabulary={"base": str(base)})
    # by the new log alone: c and d nine times each, then three times a and e, ...
    assert list(read_items(alone).values()) == ["c", "d", "a", "e", "b"]
    assert list(read_items(data).values()) == ["a", "b", "c", "d", "e"]
    assert read_values(alone, "category") == {2: "x", 3: "z", 4: "y"}
    assert read_values(data, "category") == {**read_values(old, "category"), 4: "z"} == {2: "x", 3: "y", 4: "z"}
    assert read_values(alone, "device") == {2: "tv", 3: "pc", 4: "car"} | read_values(alone, "device")
    assert read_values(data, "device") == {**read_values(old, "device"), 4: "car"}
    assert read_values(data, "brand") == {2: "acme", 3: "bolt", 4: "core", 5: "dent"}
    assert list(read_values(data, "tags").values()) == [*read_values(old, "tags").values(), "new"]
    assert read_values(data, "price") == read_values(old, "price") == {2: "[-inf, 2)", 3: "[2, inf)"}
    assert read_values(alone, "price") != read_values(old, "price")
    for name, values in old.item_fields.items():  # what an old item has, as the model sees it
        width = values.shape[1:]
        assert np.array_equal(data.item_fields[name][: len(values), : width[0]] if width else
                              data.item_fields[name][: len(values)], values), name  # fmt: skip
    assert data.manifest.base == {
        "fingerprint": old.fingerprint,
        "last_moment": START + 2 * DAY,
        "ids": {"item": 3, "category": 2, "brand": 2, "price": 2, "tags": 3, "device": 2},
    }
    again = prepare(tmp_path, "new", OLD + NEW, vocabulary={"base": str(base)})[1]
    assert (preparation.reason, again.reason) == ("there was none", None)


def test_an_item_that_the_log_no_longer_has_stays_as_it_was(base: Path, tmp_path: Path) -> None:
    old = open_store(base)
    data, _ = prepare(tmp_path, "window", NEW, vocabulary={"base": str(base)})
    assert list(read_items(data).values()) == ["a", "b", "c", "d", "e"]
    for name, values in old.item_fields.items():
        assert data.item_fields[name][2:4].tolist() == values[2:4].tolist(), name
    assert data.training_events[2:4].tolist() == [0, 0]
    assert data.most_training_events[2:5].tolist() == [*old.training_events[2:4], data.training_events[4]]
    vectors = pq.read_table(data.folder / "items.parquet")
    assert vectors["training_events_before"].to_pylist() == [*old.training_events[2:].tolist(), 0, 0]


def test_items_expire_and_are_new_when_they_come_back(base: Path, tmp_path: Path) -> None:
    """B was last seen on day 1, a and c on day 2; the log of day 10 on ends on day 16."""
    rows = [*NEW, ("w", "a", 9, "pc")]
    days = {"base": str(base), "expire_after": 8}
    data, preparation = prepare(tmp_path, "second", rows, vocabulary=days)
    assert list(read_items(data).values()) == ["a", "c", "d", "e"]  # in their order; b's id is c's now
    assert preparation.manifest.dropped["items_that_expired"] == 1
    remark = "1 items have expired: no event since 2014-05-21 16:53:20, so they have no id"
    assert remark in preparation.manifest.remarks
    assert (data.manifest.base or {})["ids"]["item"] == 2
    days = {"base": str(tmp_path / "second"), "expire_after": 10}
    rows = [(user, item, day + 10, device) for user, item, day, device in NEW if item != "e"]
    third, preparation = prepare(
        tmp_path, "third", [*rows, ("w", "b", 25, "pc"), ("w", "c", 26, "pc")], vocabulary=days
    )
    assert list(read_items(third).values()) == [
        "c",
        "d",
        "e",
        "b",
    ]  # e was seen on day 16, as its base says; a on day 9
    assert preparation.manifest.dropped["items_that_expired"] == 1
    assert (third.manifest.base or {})["ids"]["item"] == 3


def test_expired_items_of_a_log_are_unknown_without_a_base_too(tmp_path: Path) -> None:
    data, preparation = prepare(tmp_path, "log", OLD, vocabulary={"expire_after": 1})  # a and c on day 2, b on day 1
    assert list(read_items(data).values()) == ["a", "b", "c"]
    assert preparation.manifest.dropped["items_that_expired"] == 0
    rows = [*OLD, ("v", "a", 3, "tv"), ("v", "c", 3, "tv")]
    data, preparation = prepare(tmp_path, "log", rows, vocabulary={"expire_after": 1})
    assert list(read_items(data).values()) == ["a", "c"]
    assert data.event_item_ids.tolist() == [2, 1, 2, 2, 3, 2, 3]
    assert preparation.manifest.dropped["items_of_too_few_training_events"] == 0


def test_training_on_what_came_after_the_base(base: Path, tmp_path: Path) -> None:
    data, preparation = prepare(tmp_path, "new", OLD + NEW, vocabulary={"base": str(base)}, data={"since_base": True})
    every, _ = prepare(tmp_path, "every", OLD + NEW, vocabulary={"base": str(base)})
    of_all, of_new = (read_positives(each, Split.TRAIN) for each in (every, data))
    assert [(row["user"], row["target"]) for row in of_all if row not in of_new] == [("v", "c")]  # u has every item
    assert next(row for row in of_new if row["user"] == "v")["history"] == ["a", "c"]
    assert [row for row in of_all if row in of_new] == of_new
    assert read_positives(data, Split.TEST) == read_positives(every, Split.TEST)
    assert preparation.manifest.dropped["targets_up_to_the_base"] == 3
    assert preparation.manifest.counts["events_with_too_short_history"] == 3


def test_a_base_that_does_not_fit_is_refused(base: Path, tmp_path: Path) -> None:
    def refuse(**changes: Any) -> str:
        with pytest.raises((DataError, ConfigError)) as refused:
            prepare(tmp_path, "new", OLD + NEW, **changes)
        (problem,) = refused.value.problems
        return str(problem).replace(str(tmp_path), "TMP").replace(str(base), "BASE")

    of_base = {"base": str(base)}
    assert refuse(vocabulary={"base": str(tmp_path / "none")}).startswith(
        "vocabulary.base: TMP/none: no prepared data set here, or one of another version; name the folder"
    )
    assert refuse(vocabulary={**of_base, "hash_buckets": {"shop": 60}}).startswith(
        "vocabulary.base: BASE: 'shop' is ids hashed to 50 there, ids hashed to 60 here; ids are kept of fields of one"
    )
    assert "'price' is a number in 2 buckets there, a number in 3 buckets here" in refuse(
        vocabulary=of_base, data={"num_buckets": 3}
    )
    same = refuse(vocabulary=of_base, data={"prepared": str(base)})
    assert same.startswith("data.prepared: BASE: is vocabulary.base, too")
    with pytest.raises(DataError, match="no event is after the base's last one, 2014-05-15 16:53:20: the log's times"):
        prepare(tmp_path, "same", OLD, vocabulary=of_base, data={"since_base": True})


def test_a_base_that_is_gone_does_not_make_a_data_set_old(tmp_path: Path) -> None:
    prepare(tmp_path, "old", OLD)
    prepare(tmp_path, "new", OLD + NEW, vocabulary={"base": str(tmp_path / "old")})
    (tmp_path / "old").rename(tmp_path / "moved")
    assert prepare(tmp_path, "new", OLD + NEW, vocabulary={"base": str(tmp_path / "old")})[1].reason is None
    prepare(tmp_path, "old", NEW)  # another data set in its place
    again = prepare(tmp_path, "new", OLD + NEW, vocabulary={"base": str(tmp_path / "old")})[1]
    assert again.reason == "vocabulary.base has changed"


def test_rows_with_their_histories_keep_ids_too(tmp_path: Path) -> None:
    header = "label,user_id,item_id,cate_id,item_history,cate_history\n"

    def prepare_rows(name: str, rows: list[str], **vocabulary: Any) -> PreparedData:
        (tmp_path / "train.csv").write_text(header + "\n".join(rows) + "\n")
        (tmp_path / "test.csv").write_text(header + "1,u,k,x,a^b,x^y\n0,u,a,x,a^b,x^y\n")
        files = {each: str(tmp_path / f"{each}.csv") for each in ("train", "test")}
        data = {"source": "x1", "events": None, "columns": None, "prepared": str(tmp_path / name), **files}
        config = make_config(tmp_path, data=data, vocabulary=vocabulary)
        prepare_data(config, force=False, progress=lambda _: None)
        return open_store(config.data.prepared)

    first = ["1,u,k,x,b^b,y^y", "0,u,a,x,b^b,y^y", "1,v,b,y,b,y", "0,v,k,x,b,y", "1,v,b,y,b,y"]
    old = prepare_rows("old", first)
    grown = [*first, *(f"1,w{n},c,z,a^d,x^w" for n in range(9))]
    data = prepare_rows("new", grown, base=str(tmp_path / "old"))
    before, now = list(read_items(old).values()), list(read_items(data).values())
    assert (now[: len(before)], sorted(now[len(before) :])) == (before, ["c", "d"])
    assert now != list(read_items(prepare_rows("alone", grown)).values())
    assert list(read_values(data, "category").values())[:2] == list(read_values(old, "category").values())


def test_a_user_keeps_its_split_when_the_log_grows() -> None:
    users = [f"u{n}" for n in range(2_000)]

    def assign(names: list[str], test: float, validation: float = 0.1) -> dict[str, int]:
        config = UserSplitConfig(test=test, validation=validation)
        return dict(zip(names, assign_users(pa.array(names), config).tolist(), strict=True))

    grown = [f"new{n}" for n in range(3_000)] + users[::-1]
    one, two = assign(users, 0.2), assign(grown, 0.2)
    assert {name: two[name] for name in users} == one
    shares = np.bincount(list(two.values()), minlength=3) / len(two)
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.02)
    one, two = assign(users, 50, 30), assign(grown, 50, 30)  # numbers: new users take places, nobody leaves training
    assert [list(each.values()).count(Split.TEST) for each in (one, two)] == [50, 50]
    assert [list(each.values()).count(Split.VALIDATION) for each in (one, two)] == [30, 30]
    assert all(two[name] == Split.TRAIN for name in users if one[name] == Split.TRAIN)
    assert any(two[name] != one[name] for name in users)


def test_a_share_of_a_few_users_has_a_user_at_least() -> None:
    for count in range(1, 60):
        names = [f"u{n}" for n in range(count)]
        splits = assign_users(pa.array(names), UserSplitConfig(test=0.1, validation=0.1))
        found = [int((splits == split).sum()) for split in (Split.TEST, Split.VALIDATION)]
        assert all(found) == (round(0.1 * count) >= 1) or min(found) > 0, (count, found)
        if round(0.1 * (count - 1)) >= 1:  # of fewer users no data set is made; who trained yesterday trains today
            fewer = assign_users(pa.array(names[:-1]), UserSplitConfig(test=0.1, validation=0.1))
            assert (splits[:-1][fewer == Split.TRAIN] == Split.TRAIN).all()

"""A log that Spark prepares is the data set that DuckDB makes of it: the same fingerprint, counts and bad lines."""

import gzip
import itertools
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import make_config, write_table

pytest.importorskip(
    "pyspark", reason="NO PYSPARK: preparation on Spark was not tested; `make test-spark` runs these tests"
)
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("NO JAVA: Spark was not tested; install Java 17", allow_module_level=True)

from pyspark import cloudpickle
from pyspark.sql import SparkSession

from din_train.config.data import SparkConfig
from din_train.dataset.prepare import Preparation, prepare_data
from din_train.dataset.store import open_store
from din_train.errors import DataError, RunError
from din_train.spark import engine
from din_train.spark.session import open_session

# PySpark leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

T = 1_500_000_000
# In the order of their UTF-8; Java's own order of texts has the last two the other way round.
NAMES = ["", "A", "Z", "a", "a ", "a\u00a0", "b", "é", "\uffee", "\U0001f600"]
_count = itertools.count()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session that spends little on short work; a task may fail three times."""
    folder = tmp_path_factory.mktemp("session")
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings: dict[str, str | int | float | bool] = {
        "spark.ui.enabled": False,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.shuffle.partitions": 2,
        "spark.sql.codegen.wholeStage": False,
        "spark.sql.adaptive.enabled": False,
        "spark.speculation": True,
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    with open_session(SparkConfig(master="local[2,4]", settings=settings)) as found:
        yield found


@pytest.fixture(autouse=True)
def small_pieces(session: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - started first
    monkeypatch.setattr(engine, "_LEAST_PIECE_BYTES", 4000)


def prepare(folder: Path, prepared: str, changes: dict[str, Any], **data: Any) -> Preparation:
    sections = {**changes, "data": {**changes["data"], "prepared": str(folder / prepared), **data}}
    return prepare_data(make_config(folder, **sections), force=False, progress=lambda _: None)


def check_same(folder: Path, shards: int, tables: str | None = None, **changes: Any) -> Preparation:
    """Prepare a log on both engines and compare all that is told of it; returns what Spark made.

    Args:
        tables: where tasks put their files.
    """
    first = prepare(folder, "on duckdb", changes)
    spark = {"engine": "spark", "spark": {"shards": shards, "folder": tables}}
    second = prepare(folder, "on [spark] é", changes, **spark)
    one, two = (asdict(each.manifest) for each in (first, second))
    assert two["fingerprint"] == one["fingerprint"]
    differ = {key for key in one if one[key] != two[key]}
    assert differ <= {"made", "bytes", "shards", "files"}
    rejected = [(folder / name / "rejected.jsonl").read_bytes() for name in ("on duckdb", "on [spark] é")]
    assert rejected[0] == rejected[1]
    # Whole files under their own names, and nothing else: neither in the data set nor beside it.
    written = {path.name for path in (folder / "on [spark] é").iterdir()}
    assert written == {*second.manifest.files, "manifest.json"}
    assert not [path for path in folder.iterdir() if path.name.endswith((".tmp", ".scratch"))]
    assert len(second.manifest.shards) <= shards
    open_store(folder / "on [spark] é")
    # Neither engine nor shards are part of the recipe.
    assert prepare(folder, "on [spark] é", changes).reason is None
    return second


def test_clicks(tmp_path: Path) -> None:
    """Two files, one of them packed; fields of every kind, weights, ties in time, bad lines, all filters."""
    rng = random.Random(1)  # noqa: S311
    rows = []
    for place in range(700):
        item = rng.randrange(40)
        tags = "|".join(sorted({f"t{item % 3}", f"T{item % 4}", f"t{rng.randrange(2)}"}))
        user, moment = f"{NAMES[place % 10]}u{rng.randrange(30)}", T + rng.randrange(60) * 7
        device, country = rng.choice("xyz"), rng.choice(["", " ", "NULL", "XYZ"])
        weight = rng.choice(["0.5", "2", "-0"])
        of_item = (f"{item}{NAMES[item % 10]}", moment, f"c{item % 5}", tags)
        rows.append((user, *of_item, device, country, weight, place % 9))
    header = ["user", "item", "time", "category", "tags", "Device", "Country", "w", "dwell"]
    write_table(tmp_path / "log-1.tsv", header, [*rows[:450], ("u", "i"), *rows[:20], ("u", "i", "x", *rows[0][3:])])
    write_table(tmp_path / "log-2.tsv", header, rows[450:])
    packed = gzip.compress((tmp_path / "log-2.tsv").read_bytes())
    (tmp_path / "log-2.tsv").unlink()
    (tmp_path / "log-2.tsv.gz").write_bytes(packed)
    preparation = check_same(
        tmp_path,
        7,
        data={
            "events": str(tmp_path / "log-*"),
            "columns": {"user": "user", "item": "item", "timestamp": "time", "category": "category", "weight": "w"},
            "protocol": "paper",
            "max_bad_share": 0.1,
            "item_fields": ["tags"],
            "user_fields": ["Country"],
            "context_fields": ["Device", "hour"],
            "behaviour_fields": ["dwell", "Device"],
            "list_fields": {"tags": {}},
            "numeric_fields": ["dwell"],
        },
        filters={"k_core": 3, "duplicates": "drop-same-time", "since": T + 14},
        vocabulary={"min_count": 6},
        negatives={"per_positive": 2, "exclude": "history"},
    )
    manifest = preparation.manifest
    assert len(manifest.shards) > 3
    assert [sum(each.rejected.values()) for each in manifest.read] == [2, 0]
    assert all(manifest.dropped[key] for key in ("duplicate_events", "events_outside_the_k_core"))
    assert manifest.unknown_items.items > 0


def test_impressions_in_parquet(tmp_path: Path) -> None:
    """Codes by raw id, requests by name or by their nanosecond, lists, categories that change, clicks and no clicks."""
    rng = random.Random(2)  # noqa: S311
    size = 600
    # The last nanosecond of a second, which a division of floats would put into the next one.
    times = [(T + rng.randrange(25)) * 10**9 - rng.randrange(2) for _ in range(size)]
    table = pa.table(
        {
            "user": [f"{rng.choice(NAMES)}{rng.randrange(3)}" for _ in range(size)],
            "item": [f"{rng.choice(NAMES)}{rng.randrange(4)}" for _ in range(size)],
            "time": pa.array(times, pa.int64()),
            "clicked": pa.array([rng.random() < 0.4 for _ in range(size)]),
            "request": [rng.choice([None, "r1", "r2", "R1", ""]) for _ in range(size)],
            "weight": pa.array([rng.choice([0.0, -0.0, 1.5]) for _ in range(size)], pa.float32()),
            "places": pa.array([rng.sample(NAMES, rng.randrange(3)) for _ in range(size)], pa.list_(pa.string())),
            "cat": [rng.choice([None, *NAMES]) for _ in range(size)],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=90)
    columns = {"user": "user", "item": "item", "timestamp": "time", "label": "clicked", "request": "request"}
    preparation = check_same(
        tmp_path,
        3,
        data={
            "events": str(tmp_path / "log.parquet"),
            "columns": {**columns, "weight": "weight", "category": "cat"},
            "protocol": "holdout",
            "context_fields": ["places", "weekday"],
            "list_fields": {"places": {}},
            "min_history": 0,
        },
        filters={"duplicates": "drop-same-item"},
    )
    assert preparation.manifest.counts["items_with_several_categories"] > 5
    assert preparation.manifest.histories["requests"] > 100


def test_clicks_as_rows_of_their_own_and_users_apart(tmp_path: Path) -> None:
    rng = random.Random(3)  # noqa: S311
    kinds = ["view", "view", "buy", "other"]
    rows = [
        (
            f"u{rng.randrange(12)}",
            f"i{rng.randrange(6)}",
            rng.choice(kinds),
            T + rng.randrange(5000),
            rng.choice(["", "q"]),
        )
        for _ in range(500)
    ]
    rows += [(f"u{user}", "old", kind, T - 3 * 86_400, "") for user in range(4) for kind in ("view", "buy")]
    write_table(tmp_path / "log.tsv", ["user", "item", "type", "time", "request"], rows)
    types = {"column": "type", "click": ["buy"], "impression": ["view"], "click_window": 600}
    preparation = check_same(
        tmp_path,
        20,  # more than there are users
        data={
            "columns": {"user": "user", "item": "item", "timestamp": "time", "request": "request", "events": types},
            "protocol": "user",
            "user_split": {"validation": 2, "test": 2},
            "min_history": 0,
        },
        vocabulary={"expire_after": 2},
    )
    assert preparation.manifest.dropped["items_that_expired"] == 1
    assert any("have no impression of their user" in remark for remark in preparation.manifest.remarks)
    assert 3 < len(preparation.manifest.shards) <= 12


def write_movielens(folder: Path) -> None:
    rng = random.Random(4)  # noqa: S311
    ratings = [(rng.randrange(20), rng.randrange(30), rng.randrange(1, 6), T + rng.randrange(1000)) for _ in range(500)]
    (folder / "ratings.dat").write_text("".join("::".join(map(str, row)) + "\n" for row in ratings))
    movies = "".join(f"{movie}::Film ({1990 + movie})::Drama|Horror\n" for movie in range(3, 40))
    (folder / "movies.dat").write_text(movies)
    (folder / "users.dat").write_text("".join(f"{user}::{'FM'[user % 2]}::25::{user % 4}::0\n" for user in range(15)))


def test_one_shard_has_the_files_of_duckdb(tmp_path: Path) -> None:
    """MovieLens with its tables of movies and users, cut in time: the bytes are the same, by way of a URL."""
    write_movielens(tmp_path)
    shared = tmp_path / "shared"
    shared.mkdir()
    preparation = check_same(
        tmp_path,
        1,
        tables=f"local://{shared}",  # opened by fsspec, as hdfs:// would be
        data={
            "source": "movielens",
            "events": str(tmp_path / "ratings.dat"),
            "columns": None,
            "items": {"path": str(tmp_path / "movies.dat")},
            "users": {"path": str(tmp_path / "users.dat")},
            "item_fields": ["year"],
            "user_fields": ["gender"],
            "protocol": "time",
            "time_split": {"validation_from": T + 500, "test_from": T + 800},
        },
    )
    assert not list(shared.iterdir())
    names = preparation.manifest.files.keys() - {"rejected.jsonl"}
    assert "events.arrow" in names
    for name in names:
        assert (tmp_path / "on [spark] é" / name).read_bytes() == (tmp_path / "on duckdb" / name).read_bytes()


def write_taobao(folder: Path) -> dict[str, Any]:
    rng = random.Random(5)  # noqa: S311
    rows = [
        (
            rng.randrange(25),
            item := rng.randrange(40),
            item % 7,
            rng.choice(["pv", "pv", "buy"]),
            T + rng.randrange(9000),
        )
        for _ in range(600)
    ]
    (folder / "log.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return {"source": "taobao", "events": str(folder / "log.csv"), "columns": None, "behaviours": ["pv", "buy"]}


def dying(function: Callable[[Any], Any], folder: Path) -> Callable[[Any], Any]:
    """The function, whose worker is killed on the first attempt: before its work, in its midst, or after it."""

    def work(argument: Any) -> Any:
        attempts = len(list(folder.iterdir()))
        (folder / f"{attempts}-{os.getpid()}-{random.random()}").touch()  # noqa: S311
        if attempts > 2:
            return function(argument)
        if attempts == 0:
            from din_train.dataset import shard

            shard.count_seen_targets = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # its files are written
            function(argument)
        if attempts == 1:
            function(argument)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    return work


def test_tasks_whose_workers_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, attempts = engine.SparkEngine.run, tmp_path / "attempts"
    attempts.mkdir()

    def run_dying(self: engine.SparkEngine, function: Any, arguments: Sequence[Any]) -> list[Any]:
        is_last = getattr(function, "func", None) is engine._write_shard
        return run(self, dying(function, attempts) if is_last else function, arguments)

    monkeypatch.setattr(engine.SparkEngine, "run", run_dying)
    data = write_taobao(tmp_path)
    preparation = check_same(tmp_path, 4, data={**data, "context_fields": ["behaviour"], "protocol": "holdout"})
    assert len(list(attempts.iterdir())) == 3 + len(preparation.manifest.shards)


def test_bad_logs_are_refused_alike(tmp_path: Path) -> None:
    data = write_taobao(tmp_path)
    with (tmp_path / "log.csv").open("a") as file:
        file.write("1,2,3,pv\n" * 40)
    problems = []
    for changes in ({}, {"engine": "spark", "spark": {"shards": 2}}):
        with pytest.raises(DataError) as caught:
            prepare(tmp_path, "prepared", {"data": data}, **changes)
        problems.append(caught.value.problems)
    assert "40 of 640 lines cannot be read" in problems[0][0]
    assert problems[0] == problems[1]
    assert not (tmp_path / "prepared").exists()


def test_a_failure_of_spark_is_one_line(session: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_argument: Any) -> None:
        raise ZeroDivisionError("a bug")

    settings = {
        name: session.conf.get(name, None) for name in ("spark.sql.caseSensitive", "spark.sql.session.timeZone")
    }
    run = engine.SparkEngine.run
    monkeypatch.setattr(engine.SparkEngine, "run", lambda self, _function, arguments: run(self, fail, arguments[:1]))
    spark = {"engine": "spark", "spark": {"shards": 2}}
    with pytest.raises(RunError, match=r"^preparing on Spark: ZeroDivisionError: a bug; see Spark's log$"):
        prepare(tmp_path, "prepared", {"data": write_taobao(tmp_path)}, **spark)
    assert {name: session.conf.get(name, None) for name in settings} == settings
    assert not [view for view in session.catalog.listTables() if view.name.startswith("din_train")]
    monkeypatch.setattr(engine.SparkEngine, "read_log", Mock(side_effect=OSError("Access Denied")))
    url = f"local://{tmp_path}/tables"
    with pytest.raises(RunError, match=rf"^data\.spark\.folder: {url}: Access Denied; check the URL, and"):
        prepare(tmp_path, "prepared", {"data": write_taobao(tmp_path)}, engine="spark", spark={"folder": url})

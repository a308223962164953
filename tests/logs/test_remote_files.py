"""Input files by URL: `memory://` for all that is read, a web server and an object store on loopback, Delta tables.

fsspec, s3fs, moto and deltalake are packages of `din-train[cloud]` and for these tests alone; what needs a missing one
is skipped.
"""

import gzip
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import make_config, read_positives

from din_train.cli.init import read_starter
from din_train.cli.options import InputPath
from din_train.config import Config
from din_train.config.load import dump_config
from din_train.dataset.prepare import Preparation, prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.errors import ConfigError, DataError
from din_train.inspect.inspect import inspect_log
from din_train.logs import input_files, readable_files
from din_train.logs.row_files import open_row_file
from din_train.remote_path import RemotePath, hide_credentials, make_input_path

_REASON = "is not installed: remote files are NOT tested; pip install -e '.[cloud]' 'moto[server]'"

# Every user has four events, so that each has a test sample whose history is the first three.
EVENTS = [(f"u{user}", f"i{(user + place) % 5}", "c", 10 * user + place) for user in range(4) for place in range(4)]
NAMES = ["user", "item", "category", "time"]
CSV = "".join(",".join(map(str, row)) + "\n" for row in (NAMES, *EVENTS)).encode()
TABLE = pa.table(list(zip(*EVENTS, strict=True)), names=NAMES)


def halves() -> tuple[bytes, bytes]:
    """The events as two CSV files."""
    lines = CSV.splitlines(keepends=True)
    return b"".join(lines[:9]), b"".join((lines[0], *lines[9:]))


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def memory() -> Iterator[Any]:
    """The empty file system of `memory://`."""
    fsspec = pytest.importorskip("fsspec", reason=f"fsspec {_REASON}")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def prepare(config: Config) -> Preparation:
    return prepare_data(config, force=False, progress=lambda _: None)


def check_prepared(config: Config) -> None:
    """The data set is that of `EVENTS`: one test positive per user, whose history is the events before it."""
    assert prepare(config).reason == "there was none"
    positives = sorted(read_positives(open_store(config.data.prepared), Split.TEST), key=lambda row: row["user"])
    assert positives == [
        {
            "user": f"u{user}",
            "target": f"i{(user + 3) % 5}",
            "history": [f"i{(user + place) % 5}" for place in range(3)],
        }
        for user in range(4)
    ]
    assert prepare(config).reason is None


@pytest.mark.parametrize(
    ("files", "events"),
    [
        ({"log.csv": CSV}, "log.csv"),
        ({"log.csv.gz": gzip.compress(CSV)}, "log.csv.gz"),
        ({"log.parquet": parquet()}, "log.parquet"),
        ({"part-0.csv": halves()[0], "part-1.csv": halves()[1], "other.csv": b"no,log\n"}, "part-?.csv"),
        ({"log/a/0.csv": halves()[0], "log/b/1.csv": halves()[1], "log/_temporary/2.csv": b"x\n"}, "log"),
    ],
    ids=["csv", "gzip", "parquet", "glob", "folder"],
)
def test_a_log_in_an_object_store(memory: Any, tmp_path: Path, files: dict[str, bytes], events: str) -> None:
    for name, content in files.items():
        memory.pipe(f"/bucket/{name}", content)
    config = make_config(tmp_path, data={"events": f"memory://bucket/{events}"})
    check_prepared(config)
    assert f"events: memory://bucket/{events}\n" in dump_config(config)
    shown = [file.name for file in prepare(config).manifest.inputs]
    wanted = sorted(name for name in files if "other" not in name and "_temporary" not in name)
    assert shown == [name.rpartition("/")[2] for name in wanted]


def test_a_changed_remote_file_is_noticed(memory: Any, tmp_path: Path) -> None:
    config = make_config(tmp_path, data={"events": "memory://bucket/log.csv"})
    memory.pipe("/bucket/log.csv", CSV)
    check_prepared(config)
    memory.pipe("/bucket/log.csv", CSV.replace(b"u0", b"v0"))  # of the same size
    assert prepare(config).reason == "the logs have changed"
    memory.rm("/bucket/log.csv")
    assert list(map(str, prepare(config).missing)) == ["memory://bucket/log.csv"]


def test_files_that_are_not_there(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/bucket/empty.csv", b"")
    for name, problem in {
        "none.csv": "no such file; check the path, or download the file first",
        "*.tsv": "no file there matches; check the path",
        "empty.csv": "is empty; fetch the file again",
    }.items():
        with pytest.raises(DataError) as caught:
            prepare(make_config(tmp_path, data={"events": f"memory://bucket/{name}"}))
        assert caught.value.problems == (f"data.events: memory://bucket/{name}: {problem}",)


def test_folders_of_remote_files_are_columns(memory: Any) -> None:
    memory.pipe("/bucket/log/day=2020-01-02/part.csv", b"user,item\nu,i\n")
    (path,) = make_input_path("memory://bucket/log").find_files()  # type: ignore[attr-defined]
    file = open_row_file(path)
    assert str(path) == "memory://bucket/log/day=2020-01-02/part.csv"
    (chunk,) = file.read_chunks(10, lambda _: None)
    assert chunk.table.to_pylist() == [{"user": "u", "item": "i", "day": "2020-01-02"}]


def test_tables_beside_the_log_may_be_remote_too(memory: Any, tmp_path: Path) -> None:
    items = sorted({row[1] for row in EVENTS})
    for name, table in {
        "items.parquet": pa.table({"item": items, "category": ["a", "b", "a", "b", "a"]}),
        "vectors.parquet": pa.table({"item": items, "vector": [[float(place), 1.0] for place in range(5)]}),
    }.items():
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        memory.pipe(f"/bucket/{name}", sink.getvalue().to_pybytes())
    memory.pipe("/bucket/log.csv", CSV)
    vectors = {"image": {"path": "memory://bucket/vectors.parquet", "column": "vector"}}
    data = {"events": "memory://bucket/log.csv", "items": "memory://bucket/items.parquet", "item_vectors": vectors}
    config = make_config(tmp_path, data=data)
    check_prepared(config)
    stored = pq.read_table(config.data.prepared / "items.parquet")
    assert dict(zip(stored["item"].to_pylist(), stored["image_vector"].to_pylist(), strict=True))["i3"] == [3.0, 1.0]
    assert "path: memory://bucket/vectors.parquet\n" in dump_config(config)
    assert [each.name for each in prepare(config).manifest.inputs] == ["log.csv", "items.parquet", "vectors.parquet"]


def test_equal_remote_files_are_refused(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/bucket/0.csv", CSV)
    memory.pipe("/bucket/1.csv.gz", gzip.compress(CSV))
    with pytest.raises(DataError, match=r"memory://bucket/1\.csv\.gz: has the same content as memory://bucket/0\.csv"):
        prepare(make_config(tmp_path, data={"events": "memory://bucket/*"}))


def test_rejected_lines_name_the_url(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/bucket/log.csv", CSV + b"u1,i1,c,never\n")
    config = make_config(tmp_path, data={"events": "memory://bucket/log.csv", "max_bad_share": 0.1})
    prepare(config)
    rejected = (config.data.prepared / "rejected.jsonl").read_text()
    assert '"file":"memory://bucket/log.csv","line":18,' in rejected


def test_inspect_prints_a_config_with_the_url(memory: Any) -> None:
    memory.pipe("/bucket/log.csv", CSV)
    path = InputPath().convert("memory://bucket/log.csv", None, None)
    assert "  events: memory://bucket/log.csv\n" in inspect_log(path, read_starter)
    assert InputPath().convert("log.csv", None, None) == Path("log.csv")


def test_an_option_takes_no_url_with_credentials() -> None:
    with pytest.raises(ConfigError, match=r"^received a URL \(s3://\.\.\.\) with a user or password") as caught:
        InputPath().convert("s3://AKIA:hush@bucket/log.csv", None, None)
    assert "hush" not in str(caught.value)


def test_errors_of_libraries_show_no_secret() -> None:
    error = "403, url='https://user:hush@cdn.host/a.csv?Signature=hush' (s3://AKIA:hu/sh@bucket/x)"
    assert hide_credentials(error) == "403, url='https://cdn.host/a.csv?...' (s3://bucket/x)"


def test_paths_of_urls() -> None:
    path = RemotePath("https://host/a/day=1/b.csv?download=1")
    assert (path.name, str(path.parent), path.parent.name) == ("b.csv", "https://host/a/day=1", "day=1")
    assert [each.name for each in path.parents] == ["day=1", "a", "host"]
    assert str(path.with_name("c.csv")) == "https://host/a/day=1/c.csv"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_web_server(tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason=f"fsspec {_REASON}")
    pytest.importorskip("aiohttp", reason=f"aiohttp {_REASON}")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "log.csv.gz").write_bytes(gzip.compress(CSV))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path / "web"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        check_prepared(make_config(tmp_path, data={"events": f"{url}/log.csv.gz"}))
        with pytest.raises(DataError, match=r"data.events: http://127\.0\.0\.1:\d+/none\.csv: no such file"):
            prepare(make_config(tmp_path, data={"events": f"{url}/none.csv", "prepared": str(tmp_path / "none")}))
        server.shutdown()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an object store on loopback, which has the bucket `logs`."""
    s3fs = pytest.importorskip("s3fs", reason=f"s3fs {_REASON}")
    moto_server = pytest.importorskip("moto.server", reason=f"moto[server] {_REASON}")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="logs")
    s3fs.S3FileSystem.clear_instance_cache()  # those of an earlier test have its server's port
    yield client
    server.stop()


def test_an_s3_bucket(bucket: Any, tmp_path: Path) -> None:
    for name, content in {"csv/0.csv": halves()[0], "csv/1.csv": halves()[1], "log.parquet": parquet()}.items():
        bucket.put_object(Bucket="logs", Key=name, Body=content)
    for events in ("csv", "csv/*.csv", "log.parquet"):
        folder = tmp_path / events.replace("/", "-")
        config = make_config(folder, data={"events": f"s3://logs/{events}"})
        check_prepared(config)
        for path in folder.rglob("*"):
            assert path.is_dir() or b"the-secret" not in path.read_bytes()
    bucket.put_object(Bucket="logs", Key="log.parquet", Body=parquet()[:-1] + b"?")
    with pytest.raises(DataError, match=r"s3://logs/log\.parquet: cannot be read as Parquet"):
        prepare(config)


def test_a_delta_table(tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake", reason=f"deltalake {_REASON}")
    table = tmp_path / "table"
    deltalake.write_deltalake(str(table), TABLE.slice(0, 8))
    deltalake.write_deltalake(str(table), TABLE.slice(8), mode="append")
    config = make_config(tmp_path, data={"events": str(table)})
    check_prepared(config)
    assert readable_files(config.data) == (table,)
    assert [path.name for path in input_files(config.data)] == [f"{0:020}.json", f"{1:020}.json"]
    # Rows of a version that was replaced do not count.
    deltalake.write_deltalake(str(table), TABLE.slice(0, 12), mode="overwrite")
    preparation = prepare(config)
    assert (preparation.reason, preparation.manifest.counts["events"]) == ("the logs have changed", 12)


def test_a_delta_table_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake", reason=f"deltalake {_REASON}")
    assert bucket is not None
    deltalake.write_deltalake("s3://logs/table", TABLE)
    check_prepared(make_config(tmp_path, data={"events": "s3://logs/table"}))


def test_a_delta_table_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table" / "_delta_log").mkdir(parents=True)
    (tmp_path / "table" / "_delta_log" / f"{0:020}.json").write_text("{}\n")
    monkeypatch.setitem(__import__("sys").modules, "deltalake", None)
    with pytest.raises(DataError, match=r"/table: is a Delta table, which needs deltalake; install din-train\[cloud\]"):
        prepare(make_config(tmp_path, data={"events": str(tmp_path / "table")}))

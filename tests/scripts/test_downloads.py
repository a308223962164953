"""The download scripts against a server on this machine: whole files or .part files, and one line for each failure."""

import gzip
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
AMAZON, MOVIELENS = "download_amazon.sh", "download_movielens.sh"
HELPERS = ("cat", "dirname", "gzip", "md5", "md5sum", "mkdir", "mv", "rm", "sed", "tr", "unzip", "wc")
# They differ from byte to byte, so that a file put together wrongly shows.
REVIEWS = gzip.compress(os.urandom(200_000), mtime=0)
ITEMS = gzip.compress(os.urandom(50_000), mtime=0)


class Server(ThreadingHTTPServer):
    """What it has, how it behaves, and what it was asked for: paths and their Range headers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.knows_ranges = True
        self.break_off_after: int | None = None  # bytes of a body; then the connection is closed
        self.stall_after: int | None = None  # bytes of a body; then nothing until `resume` is set
        self.resume = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers["Range"]
        server.asked.append((self.path, wanted))
        body, start = server.files.get(self.path), 0
        if body is None:
            self.answer(404, b"not here")
            return
        if wanted and server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.answer(416, b"", **{"Content-Range": f"bytes */{len(body)}"})
            else:
                span = f"bytes {start}-{len(body) - 1}/{len(body)}"
                self.answer(206, body[start:], **{"Content-Range": span})
            return
        self.answer(200, body)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.server.break_off_after is not None:
            self.wfile.write(body[: self.server.break_off_after])
            self.close_connection = True
        elif self.server.stall_after is not None:
            self.wfile.write(body[: self.server.stall_after])
            self.wfile.flush()
            self.server.resume.wait(20)
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.resume.set()
        server.shutdown()
        thread.join()


class Scripts:
    """Runs a script in a folder of its own, with a PATH of few tools and the server as the mirror."""

    def __init__(self, folder: Path, mirror: str, *tools: str) -> None:
        self.folder, self.mirror = folder / "work", mirror
        self.folder.mkdir()
        self.path = folder / "bin"
        self.path.mkdir()
        for name in (*HELPERS, *tools):
            if found := shutil.which(name):
                (self.path / name).symlink_to(found)
        self.environment = {"PATH": str(self.path), "HOME": str(folder), "DIN_TRAIN_MIRROR": mirror}

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [REPOSITORY / "scripts" / script, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def succeed(self, script: str, *arguments: str) -> str:
        done = self.run(script, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    def fail(self, script: str, *arguments: str) -> str:
        """The one line of a failure."""
        done = self.run(script, *arguments)
        assert done.returncode == 1, done
        assert done.stderr.startswith("error: ")
        assert done.stderr.endswith("\n")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def names(self, folder: str = "data") -> set[str]:
        return {str(path.relative_to(self.folder / folder)) for path in (self.folder / folder).rglob("*.*")}

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content)


@pytest.fixture(params=["curl", "wget"])
def tool(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not on the PATH: what the download scripts do with it is not tested")
    return name


@pytest.fixture
def scripts(tmp_path: Path, server: Server, tool: str) -> Scripts:
    return Scripts(tmp_path, server.url, tool)


@pytest.fixture
def electronics(server: Server) -> Server:
    """Has the two files of Electronics in the 2014 release."""
    server.files = {"/reviews_Electronics_5.json.gz": REVIEWS, "/meta_Electronics.json.gz": ITEMS}
    return server


REVIEWS_PATH = "data/electronics/reviews_Electronics_5.json.gz"
ITEMS_PATH = "data/electronics/meta_Electronics.json.gz"
BOTH = {Path(REVIEWS_PATH).name, Path(ITEMS_PATH).name}


def test_amazon_fresh_then_already_there(scripts: Scripts, electronics: Server) -> None:
    output = scripts.succeed(AMAZON)
    assert scripts.read(REVIEWS_PATH) == REVIEWS
    assert scripts.read(ITEMS_PATH) == ITEMS
    assert scripts.names("data/electronics") == BOTH
    assert electronics.asked == [("/reviews_Electronics_5.json.gz", None), ("/meta_Electronics.json.gz", None)]
    assert "din-train fit --config CONFIG --set data.source=amazon-2014 \\\n" in output
    assert f"--set data.reviews={REVIEWS_PATH} \\\n" in output
    assert f"--set data.items={ITEMS_PATH}\n" in output

    electronics.asked.clear()
    output = scripts.succeed(AMAZON, "Electronics", "data/electronics")
    assert electronics.asked == []
    assert f"{REVIEWS_PATH}: already there\n{ITEMS_PATH}: already there\n" in output


@pytest.mark.parametrize(
    ("arguments", "folder", "reviews", "items"),
    [
        (("Video_Games", "a folder"), "a folder", "reviews_Video_Games_5.json.gz", "meta_Video_Games.json.gz"),
        (
            ("--release", "2018", "Video_Games"),
            "data/video_games-2018",
            "categoryFilesSmall/Video_Games_5.json.gz",
            "metaFiles2/meta_Video_Games.json.gz",
        ),
        (
            ("Video_Games", "--release=2023", "there"),
            "there",
            "review_categories/Video_Games.jsonl.gz",
            "meta_categories/meta_Video_Games.jsonl.gz",
        ),
    ],
)
def test_amazon_releases(
    scripts: Scripts, server: Server, arguments: tuple[str, ...], folder: str, reviews: str, items: str
) -> None:
    server.files = {f"/{reviews}": REVIEWS, f"/{items}": ITEMS}
    scripts.environment["DIN_TRAIN_MIRROR"] += "/"
    output = scripts.succeed(AMAZON, *arguments)
    assert scripts.read(f"{folder}/{Path(reviews).name}") == REVIEWS
    assert scripts.read(f"{folder}/{Path(items).name}") == ITEMS
    quote = "'" if " " in folder else ""
    assert f"data.items={quote}{folder}/{Path(items).name}{quote}\n" in output


def test_resumes_a_part(scripts: Scripts, electronics: Server) -> None:
    scripts.write(f"{REVIEWS_PATH}.part", REVIEWS[:70_000])
    output = scripts.succeed(AMAZON)
    assert electronics.asked[0] == ("/reviews_Electronics_5.json.gz", "bytes=70000-")
    assert scripts.read(REVIEWS_PATH) == REVIEWS
    assert scripts.names("data/electronics") == BOTH
    assert f"{REVIEWS_PATH}: going on after 70000 bytes with" in output


def test_a_part_that_lacks_nothing_is_renamed(scripts: Scripts, electronics: Server) -> None:
    scripts.write(f"{REVIEWS_PATH}.part", REVIEWS)
    scripts.succeed(AMAZON)
    assert electronics.asked[0] == ("/reviews_Electronics_5.json.gz", f"bytes={len(REVIEWS)}-")
    assert scripts.read(REVIEWS_PATH) == REVIEWS


@pytest.mark.usefixtures("electronics")
def test_a_part_of_something_else(scripts: Scripts) -> None:
    scripts.write(f"{REVIEWS_PATH}.part", os.urandom(len(REVIEWS) + 1))
    if scripts.run(AMAZON).returncode:  # not told by the server that there is no more, it says that it set it aside
        assert (scripts.folder / f"{REVIEWS_PATH}.damaged").exists()
        scripts.succeed(AMAZON)
    assert scripts.read(REVIEWS_PATH) == REVIEWS
    assert not (scripts.folder / f"{REVIEWS_PATH}.part").exists()


def test_a_server_that_ignores_ranges(scripts: Scripts, electronics: Server) -> None:
    electronics.knows_ranges = False
    scripts.write(f"{REVIEWS_PATH}.part", REVIEWS[:70_000])
    scripts.succeed(AMAZON)
    assert scripts.read(REVIEWS_PATH) == REVIEWS
    assert scripts.names("data/electronics") == BOTH


@pytest.mark.parametrize("tool", ["curl"], indirect=True)  # wget asks again itself, after some seconds
def test_a_connection_that_breaks_off_leaves_a_part(scripts: Scripts, electronics: Server) -> None:
    electronics.break_off_after = 70_000
    line = scripts.fail(AMAZON)
    assert f"{electronics.url}/reviews_Electronics_5.json.gz: not fetched (" in line
    assert f"start again, which keeps what has arrived, or fetch it by hand and put it at {REVIEWS_PATH}" in line
    assert scripts.names("data/electronics") == {"reviews_Electronics_5.json.gz.part"}
    assert scripts.read(f"{REVIEWS_PATH}.part") == REVIEWS[:70_000]
    electronics.break_off_after = None
    scripts.succeed(AMAZON)
    assert scripts.read(REVIEWS_PATH) == REVIEWS


@pytest.mark.parametrize("tool", ["curl"], indirect=True)
def test_ctrl_c_leaves_a_part_only(scripts: Scripts, electronics: Server) -> None:
    electronics.stall_after = 70_000
    part = scripts.folder / f"{REVIEWS_PATH}.part"
    # As a terminal starts it: in a process group of its own, with Ctrl-C not ignored.
    default = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", default, str(REPOSITORY / "scripts" / AMAZON)],
        cwd=scripts.folder, env=scripts.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == "interrupted; what has arrived is kept, and the same command goes on with it\n"
    assert scripts.names("data/electronics") == {part.name}
    electronics.stall_after = None
    scripts.succeed(AMAZON)
    assert scripts.read(REVIEWS_PATH) == REVIEWS


@pytest.mark.parametrize("body", [REVIEWS[:-1000], b"<html>not today</html>"], ids=["cut", "html"])
def test_a_body_that_is_no_whole_gzip_file(scripts: Scripts, electronics: Server, body: bytes) -> None:
    electronics.files["/reviews_Electronics_5.json.gz"] = body
    line = scripts.fail(AMAZON)
    assert f"{electronics.url}/reviews_Electronics_5.json.gz: what arrived is no whole gzip file" in line
    assert "start again to fetch it anew, or fetch it by hand" in line
    assert scripts.names("data/electronics") == {f"{Path(REVIEWS_PATH).name}.damaged"}
    assert f"is set aside as {REVIEWS_PATH}.damaged" in line
    electronics.files["/reviews_Electronics_5.json.gz"] = REVIEWS
    scripts.succeed(AMAZON)
    assert scripts.read(REVIEWS_PATH) == REVIEWS


def test_an_empty_body(scripts: Scripts, electronics: Server) -> None:
    electronics.files["/reviews_Electronics_5.json.gz"] = b""
    assert f"{electronics.url}/reviews_Electronics_5.json.gz: arrived empty; start again" in scripts.fail(AMAZON)
    assert scripts.names() == set()


def test_a_damaged_file_that_is_there_is_set_aside_and_fetched(scripts: Scripts, electronics: Server) -> None:
    scripts.write(REVIEWS_PATH, REVIEWS[:5_000])
    done = scripts.run(AMAZON)
    assert done.returncode == 0
    assert done.stderr == (
        f"{REVIEWS_PATH}: is no whole gzip file; it is now {REVIEWS_PATH}.damaged, and is fetched anew\n"
    )
    assert scripts.read(f"{REVIEWS_PATH}.damaged") == REVIEWS[:5_000]
    assert scripts.read(REVIEWS_PATH) == REVIEWS
    assert len(electronics.asked) == 2


def test_a_file_that_the_server_has_not(scripts: Scripts, electronics: Server) -> None:
    del electronics.files["/meta_Electronics.json.gz"]
    scripts.write(f"{ITEMS_PATH}.part", ITEMS[:1_000])
    line = scripts.fail(AMAZON)
    assert line.startswith(f"error: {electronics.url}/meta_Electronics.json.gz: the server does not give it (")
    assert "404" in line
    assert f"fetch it by hand and put it at {ITEMS_PATH}, or name another server's folder in DIN_TRAIN_MIRROR" in line
    assert scripts.names("data/electronics") == {Path(REVIEWS_PATH).name, f"{Path(ITEMS_PATH).name}.part"}
    assert scripts.read(f"{ITEMS_PATH}.part") == ITEMS[:1_000]


def test_no_server(scripts: Scripts) -> None:
    with socket.socket() as unused:  # bound, and nobody listens
        unused.bind(("127.0.0.1", 0))
        scripts.environment["DIN_TRAIN_MIRROR"] = url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        line = scripts.fail(AMAZON)
    assert line.startswith(f"error: {url}/reviews_Electronics_5.json.gz: not fetched (")
    assert scripts.names() == set()


def test_a_folder_that_cannot_be_made(scripts: Scripts) -> None:
    scripts.write("data", b"a file")
    assert "error: data/electronics: the folder cannot be made (" in scripts.fail(AMAZON)


def test_without_curl_and_wget(tmp_path: Path, electronics: Server) -> None:
    scripts = Scripts(tmp_path, electronics.url)
    assert scripts.fail(AMAZON) == (
        f"error: {electronics.url}/reviews_Electronics_5.json.gz: neither curl nor wget is on the PATH; install one of "
        f"them, or fetch it by hand and put it at {REVIEWS_PATH}\n"
    )
    assert f"{electronics.url}/ml-20m.zip.md5: neither curl nor wget" in scripts.fail(MOVIELENS)
    scripts.write(REVIEWS_PATH, REVIEWS)
    scripts.write(ITEMS_PATH, ITEMS)
    assert "already there" in scripts.succeed(AMAZON)  # what was put there by hand needs neither
    assert electronics.asked == []


@pytest.mark.parametrize(
    ("script", "arguments", "problem"),
    [
        (AMAZON, ("--release", "2015"), "--release: received '2015', expected 2014, 2018 or 2023"),
        (AMAZON, ("--release",), "--release: expected 2014, 2018 or 2023 after it"),
        (AMAZON, ("Electronic",), "unknown category 'Electronic' of the release 2014"),
        (AMAZON, ("--release=2023", "Baby"), "unknown category 'Baby' of the release 2023"),
        (AMAZON, ("Baby Beauty",), "unknown category 'Baby Beauty' of the release 2014"),
        (AMAZON, ("../Baby",), "unknown category '../Baby' of the release 2014"),
        (AMAZON, ("--category", "Books"), "unknown option '--category'"),
        (AMAZON, ("Books", ""), "received an empty argument"),
        (AMAZON, ("Books", "there", "more"), "received 'more' after CATEGORY and FOLDER, expected nothing more"),
        (MOVIELENS, ("ml-20",), "unknown release 'ml-20', expected ml-20m, ml-25m, ml-32m, ml-1m or ml-100k"),
        (MOVIELENS, ("ml-1m", "--force"), "unknown option '--force'"),
        (MOVIELENS, ("ml-1m", "a", "b"), "received 'b' after the release and FOLDER, expected nothing more"),
    ],
)
def test_wrong_usage(tmp_path: Path, script: str, arguments: tuple[str, ...], problem: str) -> None:
    scripts = Scripts(tmp_path, "http://127.0.0.1:1")
    done = scripts.run(script, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {problem}; see {REPOSITORY / 'scripts' / script} --help\n"
    assert list(scripts.folder.iterdir()) == []


def test_two_releases_do_not_share_a_folder(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path, "http://127.0.0.1:1")
    scripts.write("there/reviews_Books_5.json.gz", REVIEWS)
    done = scripts.run(AMAZON, "--release=2018", "Books", "there")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there: holds another release (there/reviews_Books_5.json.gz)")


@pytest.mark.parametrize("script", [AMAZON, MOVIELENS])
def test_help(tmp_path: Path, script: str) -> None:
    output = Scripts(tmp_path, "").succeed(script, "--help")
    assert output.startswith("Usage: ")
    assert "DIN_TRAIN_MIRROR" in output
    assert "https://" in output


def build_zip(name: str, *files: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for each in files:
            file.writestr(f"{name}/{each}", os.urandom(20_000))
    return archive.getvalue()


def publish(server: Server, name: str, archive: bytes, checksum: str = "MD5 ({name}.zip) = {md5}\n") -> None:
    md5 = hashlib.md5(archive).hexdigest()  # noqa: S324
    server.files = {f"/{name}.zip": archive, f"/{name}.zip.md5": checksum.format(name=name, md5=md5).encode()}


ML_20M = build_zip("ml-20m", "ratings.csv", "movies.csv", "README.txt")


@pytest.mark.parametrize("checksum", ["MD5 ({name}.zip) = {md5}\n", "{md5}  {name}.zip\n", "{md5}"])
def test_movielens_fresh_then_already_there(scripts: Scripts, server: Server, checksum: str) -> None:
    publish(server, "ml-20m", ML_20M, checksum)
    output = scripts.succeed(MOVIELENS)
    names = {"ml-20m.zip", "ml-20m.zip.md5", "ml-20m/ratings.csv", "ml-20m/movies.csv", "ml-20m/README.txt"}
    assert scripts.names() == names
    with zipfile.ZipFile(io.BytesIO(ML_20M)) as archive:
        assert scripts.read("data/ml-20m/ratings.csv") == archive.read("ml-20m/ratings.csv")
    assert "--set data.source=movielens \\\n" in output
    assert "--set data.events=data/ml-20m/ratings.csv \\\n" in output
    assert "--set data.items=data/ml-20m/movies.csv\n" in output
    assert "data.users" not in output

    server.asked.clear()
    assert "data/ml-20m: already there\n" in scripts.succeed(MOVIELENS, "ml-20m", "data/")
    shutil.rmtree(scripts.folder / "data/ml-20m")
    assert "data/ml-20m.zip: already there\n" in scripts.succeed(MOVIELENS)
    assert scripts.names() == names
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "events", "items", "users"),
    [
        ("ml-25m", "ratings.csv", "movies.csv", None),
        ("ml-32m", "ratings.csv", "movies.csv", None),
        ("ml-1m", "ratings.dat", "movies.dat", "users.dat"),
        ("ml-100k", "u.data", "u.item", "u.user"),
    ],
)
@pytest.mark.parametrize("tool", ["curl"], indirect=True)
def test_movielens_releases(
    scripts: Scripts, server: Server, name: str, events: str, items: str, users: str | None
) -> None:
    publish(server, name, build_zip(name, events, items))
    output = scripts.succeed(MOVIELENS, name, "logs")
    assert f"--set data.events=logs/{name}/{events} \\\n" in output
    assert f"--set data.items=logs/{name}/{items}\n" in output
    assert ("data.users" in output) == (users is not None)
    if users:
        assert f"--set data.users=logs/{name}/{users}." in output


def test_movielens_resumes_a_part(scripts: Scripts, server: Server) -> None:
    publish(server, "ml-20m", ML_20M)
    scripts.write("data/ml-20m.zip.part", ML_20M[:10_000])
    scripts.succeed(MOVIELENS)
    assert server.asked == [("/ml-20m.zip.md5", None), ("/ml-20m.zip", "bytes=10000-")]
    assert scripts.read("data/ml-20m.zip") == ML_20M


def test_movielens_checksum_mismatch(scripts: Scripts, server: Server) -> None:
    publish(server, "ml-20m", ML_20M)
    server.files["/ml-20m.zip"] = ML_20M[:-1] + b"?"
    line = scripts.fail(MOVIELENS)
    published = hashlib.md5(ML_20M).hexdigest()  # noqa: S324
    assert f"{server.url}/ml-20m.zip: what arrived has the MD5 '" in line
    assert f"not the published '{published}', and is set aside as data/ml-20m.zip.damaged; start again" in line
    assert scripts.names() == {"ml-20m.zip.md5", "ml-20m.zip.damaged"}
    assert not (scripts.folder / "data/ml-20m").exists()
    publish(server, "ml-20m", ML_20M)
    scripts.succeed(MOVIELENS)
    assert scripts.read("data/ml-20m.zip") == ML_20M


def test_movielens_checksum_file_without_a_checksum(scripts: Scripts, server: Server) -> None:
    publish(server, "ml-20m", ML_20M, f"{'0' * 40}  ml-20m.zip\n")
    assert f"{server.url}/ml-20m.zip.md5: what arrived holds no MD5" in scripts.fail(MOVIELENS)
    assert [path for path, _ in server.asked] == ["/ml-20m.zip.md5"]


@pytest.mark.parametrize("tool", ["curl"], indirect=True)
def test_movielens_unpacks_with_python_too_and_names_what_is_wrong(scripts: Scripts, server: Server) -> None:
    (scripts.path / "unzip").unlink(missing_ok=True)
    publish(server, "ml-20m", ML_20M)
    line = scripts.fail(MOVIELENS)
    assert "data/ml-20m.zip: cannot be unpacked (neither unzip nor python3 is on the PATH)" in line
    (scripts.path / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (scripts.path / "python3").chmod(0o755)
    scripts.succeed(MOVIELENS)
    assert "ml-20m/ratings.csv" in scripts.names()

    publish(server, "ml-1m", build_zip("ml-1m", "README"))
    assert "data/ml-1m.zip: has no ml-1m/ratings.dat and ml-1m/movies.dat in it" in scripts.fail(MOVIELENS, "ml-1m")
    publish(server, "ml-25m", b"no archive")
    assert "data/ml-25m.zip: cannot be unpacked (" in scripts.fail(MOVIELENS, "ml-25m")
    assert not any("part" in name for name in scripts.names())


def test_movielens_folder_without_its_files(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path, "http://127.0.0.1:1")
    scripts.write("data/ml-1m/movies.dat", b"")
    assert "error: data/ml-1m: is there, but without ratings.dat and movies.dat" in scripts.fail(MOVIELENS, "ml-1m")


def test_make_data_electronics() -> None:
    make = ["make", "--dry-run", "--directory", str(REPOSITORY), "data-electronics"]
    recipe = subprocess.run(make, capture_output=True, text=True, check=True).stdout
    assert "scripts/download_amazon.sh Electronics data/electronics\n" in recipe
    ignored = ["git", "check-ignore", "data/electronics", "data/ml-20m", "data/ml-20m.zip.part"]
    if (REPOSITORY / ".git").exists():
        done = subprocess.run(ignored, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ignored[2:]

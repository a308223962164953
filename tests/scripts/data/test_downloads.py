"""The download scripts against a server on this machine: what is cut, damaged or there already costs nobody a file."""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from scripts_factory import SCRIPTS

AMAZON, MOVIELENS = "download_amazon.sh", "download_movielens.sh"
HELPERS = ("cat", "dirname", "gzip", "md5", "md5sum", "mkdir", "mv", "rm", "sed", "tr", "unzip", "wc")
# They differ from byte to byte, so that a file put together wrongly shows.
REVIEWS = gzip.compress(os.urandom(200_000), mtime=0)
ITEMS = gzip.compress(os.urandom(50_000), mtime=0)
REVIEWS_PATH = "data/electronics/reviews_Electronics_5.json.gz"
ITEMS_PATH = "data/electronics/meta_Electronics.json.gz"
REVIEWS_NAME, ITEMS_NAME = Path(REVIEWS_PATH).name, Path(ITEMS_PATH).name


class Server(ThreadingHTTPServer):
    """Serves `files`, and keeps the paths and Range headers that it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/{REVIEWS_NAME}": REVIEWS, f"/{ITEMS_NAME}": ITEMS}
        self.asked: list[tuple[str, str | None]] = []
        self.break_off_after: int | None = None  # bytes of a body; then the connection is closed

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers["Range"]
        server.asked.append((self.path, wanted))
        body = server.files.get(self.path)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(404 if body is None else 206 if wanted else 200)
        rest = (body or b"")[start:]
        self.send_header("Content-Length", str(len(rest)))
        if wanted and body:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        self.wfile.write(rest[: server.break_off_after])
        self.close_connection = server.break_off_after is not None

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Scripts:
    """Runs a script in a folder of its own, with a PATH of few tools and the server as the mirror."""

    def __init__(self, folder: Path, server: Server, tool: str) -> None:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on the PATH: what the download scripts do with it is not tested")
        self.folder, path = folder / "work", folder / "bin"
        self.folder.mkdir()
        path.mkdir()
        for name in (*HELPERS, tool):
            if found := shutil.which(name):
                (path / name).symlink_to(found)
        mirror = f"http://127.0.0.1:{server.server_port}"
        self.environment = {"PATH": str(path), "HOME": str(folder), "DIN_TRAIN_MIRROR": mirror}

    def run(self, script: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [SCRIPTS / "data" / script, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done
        return done

    def fail(self, script: str, *arguments: str) -> str:
        """The one line of a failure."""
        (line,) = self.run(script, *arguments, code=1).stderr.splitlines()
        return line

    def names(self, folder: str = "data/electronics") -> set[str]:
        return {str(path.relative_to(self.folder / folder)) for path in (self.folder / folder).rglob("*.*")}

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content)


@pytest.fixture
def scripts(tmp_path: Path, server: Server) -> Scripts:
    return Scripts(tmp_path, server, "curl")


@pytest.mark.parametrize("tool", ["curl", "wget"])
def test_a_part_is_gone_on_with_and_what_is_there_is_left_alone(tmp_path: Path, server: Server, tool: str) -> None:
    scripts = Scripts(tmp_path, server, tool)
    scripts.write(f"{REVIEWS_PATH}.part", REVIEWS[:70_000])
    output = scripts.run(AMAZON).stdout
    assert server.asked == [(f"/{REVIEWS_NAME}", "bytes=70000-"), (f"/{ITEMS_NAME}", None)]
    assert (scripts.read(REVIEWS_PATH), scripts.read(ITEMS_PATH)) == (REVIEWS, ITEMS)
    assert scripts.names() == {REVIEWS_NAME, ITEMS_NAME}
    assert f"--set data.reviews={REVIEWS_PATH} \\\n" in output
    server.asked.clear()
    assert f"{REVIEWS_PATH}: already there\n{ITEMS_PATH}: already there\n" in scripts.run(AMAZON).stdout
    assert server.asked == []


def test_a_connection_that_breaks_off_leaves_a_part(scripts: Scripts, server: Server) -> None:
    server.break_off_after = 70_000
    assert f"start again, which keeps what has arrived, or fetch it by hand and put it at {REVIEWS_PATH}" in (
        scripts.fail(AMAZON)
    )
    assert scripts.names() == {f"{REVIEWS_NAME}.part"}
    server.break_off_after = None
    scripts.run(AMAZON)
    assert scripts.read(REVIEWS_PATH) == REVIEWS


@pytest.mark.parametrize("body", [REVIEWS[:-1000], b"<html>not today</html>"], ids=["cut", "html"])
def test_a_body_that_is_no_whole_gzip_file_is_set_aside(scripts: Scripts, server: Server, body: bytes) -> None:
    server.files[f"/{REVIEWS_NAME}"] = body
    assert f"what arrived is no whole gzip file, and is set aside as {REVIEWS_PATH}.damaged" in scripts.fail(AMAZON)
    assert scripts.names() == {f"{REVIEWS_NAME}.damaged"}


def test_a_damaged_file_that_is_there_is_set_aside_and_fetched(scripts: Scripts) -> None:
    scripts.write(REVIEWS_PATH, REVIEWS[:5_000])
    assert f"is no whole gzip file; it is now {REVIEWS_PATH}.damaged" in scripts.run(AMAZON).stderr
    assert (scripts.read(f"{REVIEWS_PATH}.damaged"), scripts.read(REVIEWS_PATH)) == (REVIEWS[:5_000], REVIEWS)


def test_a_file_that_the_server_has_not_is_one_line(scripts: Scripts, server: Server) -> None:
    del server.files[f"/{REVIEWS_NAME}"]
    line = scripts.fail(AMAZON)
    assert f"/{REVIEWS_NAME}: the server does not give it (" in line
    assert f"fetch it by hand and put it at {REVIEWS_PATH}, or name another server's folder" in line
    assert scripts.names() == set()


def test_two_releases_do_not_share_a_folder(scripts: Scripts, server: Server) -> None:
    scripts.write("there/reviews_Books_5.json.gz", REVIEWS)
    done = scripts.run(AMAZON, "--release=2018", "Books", "there", code=2)
    assert done.stderr.startswith("error: there: holds another release (there/reviews_Books_5.json.gz)")
    assert server.asked == []


@pytest.mark.parametrize("arguments", [(AMAZON, "Electronic"), (AMAZON, "../Baby"), (MOVIELENS, "ml-20")])
def test_a_wrong_request_writes_nothing(scripts: Scripts, arguments: tuple[str, ...]) -> None:
    assert scripts.run(*arguments, code=2).stderr.startswith("error: unknown ")
    assert list(scripts.folder.iterdir()) == []


def test_movielens_is_verified_and_unpacked_and_another_checksum_is_refused(scripts: Scripts, server: Server) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml-20m/ratings.csv", os.urandom(20_000))
        archive.writestr("ml-20m/movies.csv", b"movies")
    md5 = hashlib.md5(packed.getvalue()).hexdigest()  # noqa: S324
    server.files = {"/ml-20m.zip": packed.getvalue()[:-1] + b"?", "/ml-20m.zip.md5": f"{md5}  ml-20m.zip\n".encode()}
    assert f"not the published '{md5}', and is set aside as data/ml-20m.zip.damaged" in scripts.fail(MOVIELENS)
    assert scripts.names("data") == {"ml-20m.zip.md5", "ml-20m.zip.damaged"}
    server.files["/ml-20m.zip"] = packed.getvalue()
    output = scripts.run(MOVIELENS).stdout
    assert scripts.read("data/ml-20m/movies.csv") == b"movies"
    assert "--set data.events=data/ml-20m/ratings.csv \\\n" in output
    assert "data/ml-20m: already there\n" in scripts.run(MOVIELENS).stdout

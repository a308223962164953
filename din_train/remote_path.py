"""Input files by their URL (`s3://`, `gs://`, `hf://`, `https://`, `memory://`, ...), opened by fsspec.

A URL with credentials is refused, so that none is ever shown or stored: fsspec's file systems find them in the
environment.
"""

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import unquote

from din_train.printable import make_printable

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)([^?]*)")
_URL_IN_TEXT = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/\s@'\"]*:[^\s@'\"]*@|[^/\s@'\"]*@)?([^\s?'\"]*)(\?[^\s'\"]*)?"
)
_PORT = re.compile(r":\d+$")
# What a query may say without giving anything away.
_QUERY_NAMES = {"alt", "confirm", "dl", "download", "export", "format", "generation", "id", "raw", "ref", "revision"}
_QUERY_NAMES |= {"version", "versionId"}
_HTTP = ("http", "https")
_WITHOUT_PORT = ("s3", "s3a", "gs", "gcs", "hf", "az", "abfs", "abfss", "adl")  # a bucket is no host
_BLOCK_BYTES = 1 << 22  # fetched at once
# What file systems call a text that changes with the content of a file, the surest first.
_TAGS = ("ETag", "etag", "generation", "blob_id", "sha", "md5Hash", "content_hash", "Content-MD5", "Last-Modified")
_NEVER_SETTLED = 2**63 - 1  # as a time: one that is never past


def is_url(value: object) -> bool:
    """Whether a text names a file by its URL."""
    return isinstance(value, str) and _URL.match(value) is not None


def hide_credentials(text: str) -> str:
    """The text without the user, password and query of each URL in it."""
    return _URL_IN_TEXT.sub(lambda url: f"{url[1]}{url[2]}{'?...' if url[3] else ''}", text)


def find_credentials(text: str) -> str | None:
    """What in a URL is, or may be, a secret: `a user or password` or `a query`; None if there is nothing."""
    for url in _URL.finditer(text):
        scheme, host = url[1].lower(), url[2]
        user, at, _ = host.rpartition("@")
        server = host if scheme in _WITHOUT_PORT else re.sub(r"^\[.*\]", "", _PORT.sub("", host))
        if ":" in (user if at else server) or (at and scheme in _HTTP):
            return "a user or password"
    _, _, query = text.partition("?")
    is_web = text.lower().startswith(("http:", "https:"))
    names = [part.partition("=")[0] for part in query.split("&")] if is_web else re.findall(r"([\w.~%-]+)=", query)
    if query and not set(names) <= _QUERY_NAMES and (is_web or "/" not in query):
        return "a query"
    return "a fragment" if is_web and "#" in text else None


def describe_credentials(url: str) -> str | None:
    """One line that refuses a URL with what may be a secret; None if there is nothing."""
    secret = find_credentials(url)
    if secret is None:
        return None
    return (
        f"received a URL ({make_printable(url.partition('://')[0])}://...) with {secret}, which may be a secret and "
        "would be stored with each run; give the URL without it, and credentials in the environment"
    )


def make_input_path(url: str) -> Path:
    """The path of an input file by its URL; it has what the readers use of a `Path`.

    Raises:
        ValueError: if fsspec is not installed, or has no such file system.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        return Path(rest)
    try:
        from fsspec import available_protocols
    except ImportError:
        raise ValueError("which needs fsspec; install din-train[cloud]") from None
    if scheme not in available_protocols():
        raise ValueError(f"expected a path, or a URL of a kind that fsspec knows; it knows no {scheme}://")
    return cast("Path", RemotePath(url.rstrip("/")))


def is_remote(path: object) -> bool:
    """Whether a path is one of `make_input_path` that is not on this machine's disks."""
    return isinstance(path, RemotePath)


def upload(file: Path, path: Path, temporary: str) -> None:
    """Put a file of this machine where a URL says, under another name beside it first.

    Raises:
        OSError: if it cannot be written.
    """
    from fsspec.core import url_to_fs

    with _os_errors():
        system, name = url_to_fs(str(path))
        folder = str(name).rpartition("/")[0]
        system.makedirs(folder, exist_ok=True)
        system.put_file(str(file), f"{folder}/{temporary}")
        if system.exists(name):  # of an earlier attempt; some file systems rename nothing onto a file
            system.rm_file(name)
        system.mv(f"{folder}/{temporary}", name)


def remove_folder(path: Path) -> None:
    """Remove a folder where its URL says, and all that is in it.

    Raises:
        OSError: if it cannot be removed.
    """
    from fsspec.core import url_to_fs

    with _os_errors():
        system, name = url_to_fs(str(path))
        if system.exists(name):
            system.rm(name, recursive=True)


class RemoteStatus(NamedTuple):
    """As `os.stat_result`; the time is 0 if st_ino, which changes with the content, says enough."""

    st_mode: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_ino: int


class RemotePath:
    """A file, a folder or a glob by its URL. Whatever goes wrong on the way to it is an `OSError`.

    is_listed: whether it is a file that `find_files` has found.

    Args:
        info: what the listing said of it, so that no file of many is asked for again.
    """

    def __init__(self, url: str, info: dict[str, Any] | None = None) -> None:
        self._url = url
        self._info = info
        self.is_listed = info is not None

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"RemotePath({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __lt__(self, other: "RemotePath") -> bool:
        return self._url < other._url

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self._url}/{name}")

    @property
    def name(self) -> str:
        """The last part, without a query; of a bucket itself the bucket's name."""
        _, host, path = self._split()
        return unquote(path.rpartition("/")[2]) or host

    @property
    def parents(self) -> tuple["RemotePath", ...]:
        """The folders it lies in, the nearest first."""
        scheme, host, path = self._split()
        parts = path.split("/")[:-1]
        return tuple(RemotePath(f"{scheme}://{host}{'/'.join(parts[:end])}") for end in range(len(parts), 0, -1))

    @property
    def parent(self) -> "RemotePath":
        """The folder it lies in."""
        return (*self.parents, self)[0]

    def with_name(self, name: str) -> "RemotePath":
        """What lies beside it."""
        return self.parent / name

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file, for reading."""
        if mode != "rb":
            raise ValueError(f"{self._url}: only read, and as bytes")
        with _os_errors():
            system, path = self._connect()
            file = system.open(path, mode, block_size=_BLOCK_BYTES)
        return io.BufferedReader(_RawFile(file), 1 << 16)

    def stat(self) -> RemoteStatus:
        """What its file system knows of it: now, or when it was listed."""
        with _os_errors():
            system, path = self._connect()
            info = self._info
            if info is None or info.get("size") is None:
                system.invalidate_cache()  # what an earlier listing said may be old
                info = system.info(path)
            if info.get("type") == "directory":
                return RemoteStatus(stat.S_IFDIR, 0, 0, 0, 0)
            if info.get("size") is None:
                raise OSError("its server does not say how long it is")
            tag = next((str(info[key]) for key in _TAGS if info.get(key)), None)
            changed = 0 if tag is not None else _read_time(system, path)
            number = 0 if tag is None else int.from_bytes(sha256(tag.encode()).digest()[:7])
            return RemoteStatus(stat.S_IFREG, int(info["size"]), changed, 0, number)

    def exists(self) -> bool:
        """Whether it can be found."""
        return self._find_mode() is not None

    def is_file(self) -> bool:
        """Whether it is a file that can be found."""
        return self._find_mode() == stat.S_IFREG

    def is_dir(self) -> bool:
        """Whether it is a folder; those of web servers cannot be listed, and are none."""
        return self._split()[0] not in _HTTP and self._find_mode() == stat.S_IFDIR

    def iterdir(self) -> Iterator["RemotePath"]:
        """What is in a folder."""
        with _os_errors():
            system, path = self._connect()
            names = system.ls(path, detail=False)
        return iter([RemotePath(_name_as_url(self._url, name)) for name in names])

    def find_files(self) -> list["RemotePath"]:
        """The files of a folder and of those in it, or those that a glob names, by name."""
        with _os_errors():
            system, path = self._connect()
            if self.is_dir():
                folder, found = self._url, system.find(path, detail=True)
            else:
                system.invalidate_cache()
                folder = re.split(r"[*?\[]", self._url, maxsplit=1)[0].rpartition("/")[0]
                found = system.glob(path, detail=True)
            files = ((name, info) for name, info in found.items() if info["type"] == "file")
            return sorted(RemotePath(_name_as_url(folder, name), info) for name, info in files)

    def _split(self) -> tuple[str, str, str]:
        url = _URL.match(self._url)
        return ("", "", self._url) if url is None else (url[1], url[2], url[3])

    def _connect(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(self._url)
        return system, str(path)

    def _find_mode(self) -> int | None:
        try:
            return self.stat().st_mode
        except OSError:
            return None


def _name_as_url(folder: str, name: str) -> str:
    """What a file system calls by its own name, by the URL of a folder it lies in."""
    from fsspec.core import url_to_fs

    system, root = url_to_fs(folder)
    return f"{folder}/{str(system._strip_protocol(name)).removeprefix(root.rstrip('/')).lstrip('/')}"


class _RawFile(io.RawIOBase):
    """A file of fsspec, as Python's own files behave."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def readinto(self, buffer: Any) -> int:
        with _os_errors():
            view = memoryview(buffer).cast("B")
            piece = self._file.read(len(view))
            view[: len(piece)] = piece
            return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _os_errors():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def _os_errors() -> Iterator[None]:
    """Turn what the libraries of file systems raise into `OSError` with one line of text."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
    except Exception as error:
        text = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise OSError(hide_credentials(text)) from None


def _read_time(system: Any, path: str) -> int:
    """When a file was changed, in nanoseconds; a time that is never past if its file system does not say."""
    try:
        changed = system.modified(path)
    except Exception:
        return _NEVER_SETTLED
    if not isinstance(changed, datetime):
        return _NEVER_SETTLED
    return int((changed if changed.tzinfo else changed.replace(tzinfo=UTC)).timestamp() * 1e6) * 1000

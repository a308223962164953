"""`manifest.json` of a prepared data set: what it was made from, and that it still is what was made."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from din_train.dataset.matching import FieldValues, Join
from din_train.dataset.negatives import UnknownItems
from din_train.dataset.numbers import NumberStyle
from din_train.dataset.time_range import Moments
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.errors import DataError
from din_train.files import atomic_file, compute_sha256

SCHEMA_VERSION = 5
MANIFEST = "manifest.json"
_SEAL = "manifest_sha256"


@dataclass(frozen=True)
class InputFile:
    """A file of the log."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ReadFile:
    """What became of an input file's lines; see `FileReport`."""

    name: str
    lines: int
    kept: int
    rejected: Mapping[str, int]
    skipped: Mapping[str, int]
    notes: Mapping[str, int]


@dataclass(frozen=True)
class ShardFile:
    """One table's rows of a shard."""

    file: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class StoredShard:
    """Whole users, one after another, and their rows, which follow those of the shard before.

    tables: `events` and each `samples.<split>` -> its file.
    """

    first_user: int
    users: int
    first_event: int
    tables: Mapping[str, ShardFile]

    @property
    def events(self) -> int:
        return self.tables["events"].rows


@dataclass(frozen=True)
class Made:
    """What the making took, and of what.

    input_status: of each input file, what tells that it has not been touched since; None where nothing does.
    """

    seconds: float
    peak_memory_bytes: int
    input_status: Sequence[Sequence[int] | None]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """A prepared data set's manifest; the names and their order are those of the file.

    fields: `item`, `user` and `context` -> names. field_values: field -> counts. dropped: reason -> how many.
    samples, positives_share: split -> rows, and the share of targets among them. history_length: quantile -> length.
    made: None where the file does not say. shards: in the order of their users. files: name -> SHA-256, of every file.
    fingerprint: equal for equal contents, in however many shards. base: of `vocabulary.base` its fingerprint, its last
    moment, and of `item` and each field how many ids are its own, which come first; None without one.
    """

    protocol: str
    seed: int
    recipe: Mapping[str, Any]
    config_hash: str
    inputs: list[InputFile]
    fields: Mapping[str, Sequence[str]]
    read: list[ReadFile]
    time: Moments | None
    joins: list[Join]
    field_values: Mapping[str, FieldValues]
    remarks: Sequence[str]
    negatives: str
    histories: Mapping[str, Any]
    unknown_items: UnknownItems
    dropped: Mapping[str, int]
    counts: Mapping[str, int]
    samples: Mapping[str, int]
    positives_share: Mapping[str, float | None]
    unknown_rate_in_test: float | None
    history_length: Mapping[str, int]
    made: Made | None
    bytes: int = 0
    shards: Sequence[StoredShard] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    base: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class UnusableManifest:
    """One of another version, or not as it was written (`problem`); its data set has these files."""

    files: Mapping[str, str]
    problem: str


AnyManifest = Manifest | UnusableManifest


def read_any_manifest(folder: Path) -> AnyManifest | None:
    """The manifest of a prepared data set of any version, which has `files` at least; None where there is none."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            said = orjson.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("schema_version"), int):
        return None
    if not isinstance(said.get("files"), dict):
        return None
    if said["schema_version"] != SCHEMA_VERSION:
        return UnusableManifest(said["files"], "it was of another version")
    try:
        manifest = _from_json(said) if said.get(_SEAL) == _compute_seal(said) else None
    except (AttributeError, KeyError, TypeError, ValueError):  # sealed, but of other keys or shards
        manifest = None
    return manifest or UnusableManifest(said["files"], f"{MANIFEST} was damaged")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None where there is no prepared data set of this version, or it is not as it was written."""
    manifest = read_any_manifest(folder)
    return manifest if isinstance(manifest, Manifest) else None


def check_shards(shards: Sequence[StoredShard], users: int) -> None:
    """Check that each begins where the one before ends, and that they have so many users together.

    Raises:
        ValueError: if not.
    """
    user, event = FIRST_REAL_ID, 0
    for shard in shards:
        if (shard.first_user, shard.first_event) != (user, event):
            raise ValueError(
                f"a shard begins with user {shard.first_user} and event {shard.first_event}, and the one before ends "
                f"before user {user} and event {event}"
            )
        user, event = user + shard.users, event + shard.events
    if user != FIRST_REAL_ID + users:
        raise ValueError(f"the shards have {user - FIRST_REAL_ID} users, and the data set has {users}")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put it in place of what there is, with the SHA-256 of all that it says."""
    said = orjson.loads(orjson.dumps({"schema_version": SCHEMA_VERSION, **vars(manifest)}))
    said[_SEAL] = _compute_seal(said)
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2) + b"\n")


def find_damage(folder: Path, manifest: Manifest, leave_out: Collection[str] = ()) -> str | None:
    """The first file that is not as the manifest says, or None.

    Args:
        leave_out: files that are not looked at.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        if name in leave_out:
            continue
        if not path.is_file() or compute_sha256(path) != expected:
            return str(name)
    return None


def build_damage_error(path: Path) -> DataError:
    """What is said of a file that is not as the manifest says."""
    return DataError(f"{path}: missing or changed since it was prepared; run `din-train prepare` again")


def _from_json(said: Mapping[str, Any]) -> Manifest:
    parts: dict[str, Any] = {
        "inputs": [InputFile(**each) for each in said["inputs"]],
        "read": [ReadFile(**each) for each in said["read"]],
        "time": None if said["time"] is None else Moments(**said["time"]),
        "joins": [Join(**each) for each in said["joins"]],
        "field_values": {name: _read_field_values(each) for name, each in said["field_values"].items()},
        "unknown_items": UnknownItems(**said["unknown_items"]),
        "made": _read_made(said.get("made")),
        "shards": [_read_shard(each) for each in said["shards"]],
    }
    check_shards(parts["shards"], said["counts"]["users"])
    others = {key: value for key, value in said.items() if key not in ("schema_version", _SEAL)}
    return Manifest(**(others | parts))


def _read_field_values(said: Mapping[str, Any]) -> FieldValues:
    style = said.get("style")
    return FieldValues(**{**said, "style": None if style is None else NumberStyle(**style)})


def _read_shard(said: Mapping[str, Any]) -> StoredShard:
    return StoredShard(**{**said, "tables": {name: ShardFile(**each) for name, each in said["tables"].items()}})


def _read_made(said: Any) -> Made | None:
    """It is not sealed."""
    try:
        return Made(**said)
    except TypeError:
        return None


def _compute_seal(said: Mapping[str, Any]) -> str:
    """Of all but `made`, which differs where nothing else does."""
    sealed = {key: value for key, value in said.items() if key not in (_SEAL, "made")}
    return hashlib.sha256(orjson.dumps(sealed, option=orjson.OPT_SORT_KEYS)).hexdigest()

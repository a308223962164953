"""`manifest.json` of a prepared data set: what it was made from, and that it still is what was made."""

import hashlib
from pathlib import Path
from typing import Any

import orjson

from din_train.files import atomic_file, compute_sha256

SCHEMA_VERSION = 4
MANIFEST = "manifest.json"
_SEAL = "manifest_sha256"

Manifest = dict[str, Any]


def read_any_manifest(folder: Path) -> Manifest | None:
    """The manifest of a prepared data set of any version, which has `files` at least; None where there is none."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("schema_version"), int):
        return None
    return manifest if isinstance(manifest.get("files"), dict) else None


def is_current(manifest: Manifest) -> bool:
    """Whether a manifest is of this version."""
    return bool(manifest["schema_version"] == SCHEMA_VERSION)


def is_whole(manifest: Manifest) -> bool:
    """Whether a manifest of this version says what was written."""
    return manifest.get(_SEAL) == _compute_seal(manifest)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None where there is no prepared data set of this version, or it is not as it was written."""
    manifest = read_any_manifest(folder)
    return manifest if manifest is not None and is_current(manifest) and is_whole(manifest) else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put it in place of what there is, with the SHA-256 of all that it says."""
    sealed = {**manifest, _SEAL: _compute_seal(manifest)}
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_bytes(orjson.dumps(sealed, option=orjson.OPT_INDENT_2) + b"\n")


def find_damage(folder: Path, manifest: Manifest) -> str | None:
    """The first file that is not as the manifest says, or None."""
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or compute_sha256(path) != expected:
            return str(name)
    return None


def _compute_seal(manifest: Manifest) -> str:
    """Of all but `made`, which differs where nothing else does."""
    said = {key: value for key, value in manifest.items() if key not in (_SEAL, "made")}
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()

"""`manifest.json` of a prepared data set: what it was made from, and that it still is what was made."""

from pathlib import Path
from typing import Any

import orjson

from din_train.files import compute_sha256

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"

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
    """Whether a manifest is of this version and whole."""
    keys = {"recipe", "inputs", "fields", "unknown_items", "fingerprint"}
    return manifest["schema_version"] == SCHEMA_VERSION and keys <= manifest.keys()


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None where there is no prepared data set of this version, or it was cut short."""
    manifest = read_any_manifest(folder)
    return manifest if manifest is not None and is_current(manifest) else None


def find_damage(folder: Path, manifest: Manifest) -> str | None:
    """The first file that is not as the manifest says, or None."""
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or compute_sha256(path) != expected:
            return str(name)
    return None

"""Raw log -> prepared data set, done again only when what it is made from has changed."""

import hashlib
import resource
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc

from din_train.config import Config
from din_train.errors import DataError
from din_train.files import compute_sha256, exclusive_lock, remove_leftovers, scratch_folder
from din_train.logs import Progress, input_files
from din_train.samples.from_log import build_from_log
from din_train.samples.manifest import MANIFEST, Manifest, find_damage, is_current, read_any_manifest
from din_train.samples.parts import StoreParts
from din_train.samples.presampled import build_presampled
from din_train.samples.split import Split
from din_train.samples.store import QUANTILES, Totals, write_store
from din_train.samples.vocabulary import UNKNOWN_ID

# Where things are, and how they are made, but not what comes out.
_NOT_IN_RECIPE = {"reviews", "items", "events", "users", "train", "test", "prepared", "temp_folder"} | {
    "max_history_length", "memory_limit", "threads"
}  # fmt: skip
_LIBRARIES = ("din-train", "duckdb", "ibis-framework", "numpy", "pyarrow")


@dataclass(frozen=True)
class Preparation:
    """A prepared data set's manifest, and why it was made anew (None: it was there and matched)."""

    manifest: Manifest
    reason: str | None


def prepare_data(config: Config, *, force: bool, progress: Progress) -> Preparation:
    """Make the data set in `data.prepared`, unless it is there, whole, and made by the same recipe of the same logs.

    Another process preparing the same folder is waited for. What a killed one left behind is removed.

    Raises:
        DataError: see `build_from_log` and `build_presampled`; also if the folder holds something else.
    """
    folder = config.data.prepared
    with exclusive_lock(folder.with_name(f".{folder.name}.lock")):
        remove_leftovers(folder, config.data.temp_folder)
        manifest = read_any_manifest(folder)
        if manifest is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(
                f"data.prepared: {folder}: exists and is not a prepared data set; move it away or choose another folder"
            )
        if manifest is not None:
            others = sorted({path.name for path in folder.iterdir()} - {*manifest["files"], MANIFEST})
            if others:
                raise DataError(
                    f"data.prepared: {folder}: holds '{others[0]}', which is no part of the data set and would be "
                    "lost with it; move it away, or choose another folder"
                )
        inputs = _describe_inputs(config)
        reason = "as asked" if force else _find_reason(folder, manifest, config, inputs)
        if reason is None and manifest is not None:
            return Preparation(manifest, None)
        with scratch_folder(folder, config.data.temp_folder) as scratch:
            return Preparation(_prepare(config, inputs, scratch, progress), reason)


def _find_reason(folder: Path, manifest: Manifest | None, config: Config, inputs: list[dict[str, Any]]) -> str | None:
    """Why the data set has to be made, or None."""
    if manifest is None:
        return "there was none"
    if not is_current(manifest):
        return "it was of another version"
    recipe = _describe_recipe(config)
    for key in sorted(recipe.keys() | manifest["recipe"].keys()):
        if recipe.get(key) != manifest["recipe"].get(key):
            return f"{key} has changed"
    if manifest["inputs"] != inputs:
        return "the logs have changed"
    damaged = find_damage(folder, manifest)
    return f"{damaged} was damaged" if damaged else None


def _describe_recipe(config: Config) -> dict[str, Any]:
    """The config keys that decide the data set's contents."""
    data = config.data.model_dump(mode="json", exclude=_NOT_IN_RECIPE)
    negatives = config.negatives.model_dump(mode="json", exclude={"resample"})
    sections = {"data": data, "filters": config.filters.model_dump(mode="json"), "negatives": negatives}
    recipe = {f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()}
    return recipe | {"vocabulary.min_count": config.vocabulary.min_count}


def _describe_inputs(config: Config) -> list[dict[str, Any]]:
    return [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": compute_sha256(path)}
        for path in input_files(config.data)
    ]


def _prepare(config: Config, inputs: list[dict[str, Any]], scratch: Path, progress: Progress) -> Manifest:
    started = time.perf_counter()
    parts = (build_presampled if config.data.source == "x1" else build_from_log)(config, scratch, progress)
    recipe = _describe_recipe(config)

    def describe(totals: Totals) -> Manifest:
        return {
            "protocol": config.data.protocol,
            "seed": config.negatives.seed,
            "recipe": recipe,
            "config_hash": hashlib.sha256(orjson.dumps(recipe, option=orjson.OPT_SORT_KEYS)).hexdigest(),
            "inputs": inputs,
            "fields": parts.fields,
            **_summarize(parts, totals),
            "made": {
                "seconds": round(time.perf_counter() - started, 2),
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "versions": {name: version(name) for name in _LIBRARIES},
            },
        }

    return write_store(
        config.data.prepared,
        event_columns=parts.event_columns,
        sample_columns=parts.sample_columns,
        blocks=parts.blocks,
        tables=parts.tables,
        rejected=parts.rejected,
        scratch=scratch,
        describe=describe,
    )


def _summarize(parts: StoreParts, totals: Totals) -> dict[str, Any]:
    """What every row became: the manifest's counts."""
    items = parts.tables["items"]
    samples, positives = sum(totals.samples.values()), sum(totals.positives.values())
    tests = totals.positives[Split.TEST]
    vocabulary = parts.tables["vocabularies"]
    return {
        "read": [
            {
                "name": report.path.name,
                "lines": report.lines,
                "kept": report.kept,
                "rejected": report.rejected,
                "skipped": report.skipped,
                "notes": report.notes,
            }
            for report in parts.reports
        ],
        "negatives": parts.negatives,
        "unknown_items": asdict(parts.unknown_items),
        "dropped": parts.count_dropped(),
        "counts": {
            "events": totals.events,
            "users": parts.tables["users"].num_rows,
            "items": items.num_rows,
            "items_with_category": int(pc.sum(pc.greater(items["category_id"], UNKNOWN_ID)).as_py() or 0),
            "items_with_several_categories": parts.items_with_several_categories,
            "categories": int(pc.sum(pc.equal(vocabulary["field"], "category")).as_py() or 0),
            "events_with_too_short_history": parts.count_short_histories(),
            "samples": samples,
            "positives": positives,
        },
        "samples": {split.name.lower(): count for split, count in totals.samples.items()},
        "positives_share": {
            split.name.lower(): round(totals.positives[split] / count, 6) if count else None
            for split, count in totals.samples.items()
        },
        "unknown_rate_in_test": round(totals.unknown_test_targets / tests, 6) if tests else None,
        "history_length": {name: totals.compute_length_quantile(q) for name, q in QUANTILES.items()},
    }

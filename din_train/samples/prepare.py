"""Raw log -> prepared data set, done again only when what it is made from has changed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from din_train.config import Config
from din_train.errors import DataError
from din_train.files import compute_sha256, exclusive_lock, remove_leftovers, scratch_folder
from din_train.logs import Progress, RawLog, input_files, read_log
from din_train.samples.build import SPLIT_NAMES, BuiltSamples, build_samples
from din_train.samples.split import MIN_EVENTS
from din_train.samples.store import MANIFEST, Manifest, find_damage, read_manifest, write_store
from din_train.samples.vocabulary import LogTables, build_log_tables

_QUANTILES = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Preparation:
    """A prepared data set's manifest, and why it was made anew (None: it was there and matched)."""

    manifest: Manifest
    reason: str | None


def prepare_data(config: Config, *, force: bool, progress: Progress) -> Preparation:
    """Make the data set in `data.prepared`, unless it is there, whole, and made by the same recipe of the same logs.

    Another process preparing the same folder is waited for. What a killed one left behind is removed.

    Raises:
        DataError: see `read_log` and `build_log_tables`; also if the folder holds something else.
    """
    folder = config.data.prepared
    with exclusive_lock(folder.with_name(f".{folder.name}.lock")):
        remove_leftovers(folder)
        manifest = read_manifest(folder)
        if manifest is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(
                f"data.prepared: {folder}: exists and is not a prepared data set of this version; "
                "move it away or choose another folder"
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
        with scratch_folder(folder) as scratch:
            return Preparation(_prepare(config, inputs, scratch, progress), reason)


def _find_reason(folder: Path, manifest: Manifest | None, config: Config, inputs: list[dict[str, Any]]) -> str | None:
    """Why the data set has to be made, or None."""
    if manifest is None:
        return "there was none"
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
    data = config.data.model_dump(mode="json", include={"source", "columns", "protocol", "max_bad_share"})
    recipe = {f"data.{key}": value for key, value in data.items()}
    return recipe | {f"negatives.{key}": value for key, value in config.negatives.model_dump(mode="json").items()}


def _describe_inputs(config: Config) -> list[dict[str, Any]]:
    return [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": compute_sha256(path)}
        for path in input_files(config.data)
    ]


def _prepare(config: Config, inputs: list[dict[str, Any]], scratch: Path, progress: Progress) -> Manifest:
    log = read_log(config.data, scratch, progress)
    tables = build_log_tables(
        log, min_events=MIN_EVENTS[config.data.protocol], memory_limit=config.data.memory_limit, scratch=scratch
    )
    built = build_samples(
        tables.events, num_items=tables.items.num_rows, protocol=config.data.protocol, negatives=config.negatives
    )
    recipe = _describe_recipe(config)
    manifest = {
        "protocol": config.data.protocol,
        "seed": config.negatives.seed,
        "recipe": recipe,
        "config_hash": hashlib.sha256(orjson.dumps(recipe, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        "inputs": inputs,
        **_summarize(log, tables, built),
    }
    files = {
        "events": tables.events,
        "samples": built.table,
        "items": tables.items,
        "users": tables.users,
        "categories": tables.categories,
    }
    return write_store(config.data.prepared, files, log.rejected, manifest)


def _summarize(log: RawLog, tables: LogTables, built: BuiltSamples) -> dict[str, Any]:
    """What every row became: the manifest's counts."""
    samples = built.table
    lengths = samples["history_length"].to_numpy()
    splits = np.bincount(samples["split"].combine_chunks().indices.to_numpy(), minlength=len(SPLIT_NAMES))
    known = pa.compute.greater(tables.items["category_id"], 1)
    return {
        "read": [
            {
                "name": report.path.name,
                "lines": report.lines,
                "kept": report.kept,
                "rejected": report.rejected,
                "notes": report.notes,
            }
            for report in log.reports
        ],
        "dropped": {
            "users_with_too_few_events": tables.dropped_users,
            "events_of_those_users": tables.dropped_events,
            "negatives_with_no_item_left": built.negatives_not_drawn,
        },
        "counts": {
            "events": tables.events.num_rows,
            "users": tables.users.num_rows,
            "items": tables.items.num_rows,
            "items_with_category": int(pa.compute.sum(known).as_py() or 0),
            "items_with_several_categories": tables.items_with_several_categories,
            "categories": tables.categories.num_rows,
            "samples": samples.num_rows,
            "positives": int(pa.compute.sum(samples["label"]).as_py() or 0),
        },
        "samples": {name: int(count) for name, count in zip(SPLIT_NAMES, splits, strict=True)},
        "history_length": {name: float(np.quantile(lengths, q)) for name, q in _QUANTILES.items()},
    }

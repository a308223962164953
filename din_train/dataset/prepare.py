"""Raw log -> prepared data set, done again only when what it is made from has changed."""

import hashlib
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc

from din_train import terminal
from din_train.config import Config, DataConfig
from din_train.dataset.base_vocabulary import find_base_fingerprint
from din_train.dataset.event_log import Engine, build_from_log
from din_train.dataset.manifest import (
    MANIFEST,
    AnyManifest,
    InputFile,
    Made,
    Manifest,
    ReadFile,
    UnusableManifest,
    find_damage,
    read_any_manifest,
    write_manifest,
)
from din_train.dataset.presampled import build_presampled
from din_train.dataset.protocols import Split
from din_train.dataset.shard import QUANTILES, Totals
from din_train.dataset.store_writer import StoreParts, write_store
from din_train.dataset.summary import build_preparation_table
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.errors import ConfigError, DataError, DinTrainError, EmptySplitError
from din_train.files import check_can_be_folder, compute_sha256, follow_links, hold, recover, scratch_folder
from din_train.logs import FILE_KEYS, FileReport, Progress, find_files, find_missing, input_files
from din_train.logs.feedback import describe_unused_feedback
from din_train.printable import make_printable
from din_train.run_metrics import IN_THE_LOG, REPLACED

# Where things are, and how they are made, but not what comes out.
_NOT_IN_RECIPE = {
    *FILE_KEYS,
    "prepared",
    "temp_folder",
    "max_history_length",
    "memory_limit",
    "threads",
    "engine",
    "spark",
}
_GONE = "gone"  # in place of the fingerprint of a base that is not there
_LIBRARIES = ("din-train", "duckdb", "ibis-framework", "numpy", "pyarrow")
_SETTLED_NANOSECONDS = 2_000_000_000  # a file written later than this ago may change again within one tick of its clock


@dataclass(frozen=True)
class Preparation:
    """A prepared data set's manifest, and why it was made anew (None: it was there and matched).

    missing: files of its log that are no longer there; it was not made anew, which would need them.
    """

    manifest: Manifest
    reason: str | None
    missing: tuple[Path, ...] = ()


def prepare_data(
    config: Config, *, force: bool, progress: Progress, say: Callable[[str], None] = lambda _: None
) -> Preparation:
    """Make the data set in `data.prepared`, unless it is there, whole, and made by the same recipe of the same logs.

    Another process preparing the same folder is waited for. What a killed one left behind is removed.

    Args:
        say: told which process is waited for.

    Raises:
        DataError: see `build_from_log` and `build_presampled`; also if the folder holds something else.
    """
    check_can_be_folder(config.data.prepared)
    folder = follow_links(config.data.prepared)
    base = config.vocabulary.base
    if base is not None and base.resolve() == folder.resolve():
        raise ConfigError(
            f"data.prepared: {config.data.prepared}: is vocabulary.base, too, whose ids are to be kept; give this "
            "log's data set a folder of its own, such as --set data.prepared=FOLDER"
        )
    logs = _Logs(config.data)
    if not force:
        manifest = read_any_manifest(folder)
        if isinstance(manifest, Manifest) and _find_reason(folder, manifest, config, logs) is None:
            return Preparation(_remember_status(folder, manifest, logs), None, tuple(logs.missing))
    with hold(folder, wait=say):
        recover(folder)
        manifest = read_any_manifest(folder)
        _check_replaceable(folder, manifest)
        reason = "as asked" if force else _find_reason(folder, manifest, config, logs)
        if reason is None and isinstance(manifest, Manifest):
            return Preparation(manifest, None, tuple(logs.missing))
        logs.require(folder, manifest, reason)
        with _open_engine(config.data) as engine, scratch_folder(folder, config.data.temp_folder) as scratch:
            return Preparation(_prepare(config, folder, manifest, logs, engine, scratch, progress), reason)


@contextmanager
def _open_engine(data: DataConfig) -> Iterator[Engine]:
    if data.engine == "duckdb":
        yield Engine()
        return
    from din_train.spark.engine import open_spark

    with open_spark(data) as engine:
        yield engine


def read_matching_manifest(config: Config) -> Manifest | None:
    """The manifest of the data set in `data.prepared`, if `prepare_data` would take it as it is."""
    folder = follow_links(config.data.prepared)
    manifest = read_any_manifest(folder)
    fits = isinstance(manifest, Manifest) and _find_reason(folder, manifest, config, _Logs(config.data)) is None
    return manifest if fits and isinstance(manifest, Manifest) else None


def _check_replaceable(folder: Path, manifest: AnyManifest | None) -> None:
    """Refuse to replace what is not a prepared data set, or holds more than that, or the current folder."""
    if Path.cwd().is_relative_to(folder.resolve()):
        raise DataError(f"data.prepared: {folder}: the current folder lies in it; choose another folder")
    if manifest is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"data.prepared: {folder}: exists and is not a prepared data set; move it away or choose another folder"
        )
    if manifest is not None:
        others = sorted({path.name for path in folder.iterdir()} - {*manifest.files, MANIFEST})
        if others:
            raise DataError(
                f"data.prepared: {folder}: holds '{others[0]}', which is no part of the data set and would be "
                "lost with it; move it away, or choose another folder"
            )


def _find_reason(folder: Path, manifest: AnyManifest | None, config: Config, logs: "_Logs") -> str | None:
    """Why the data set has to be made, or None."""
    if manifest is None:
        return "there was none"
    if isinstance(manifest, UnusableManifest):
        return manifest.problem
    key = find_changed_key(manifest.recipe, config)
    if key is not None:
        return f"{key} has changed"
    if logs.differ(manifest):
        return "the logs have changed"
    damaged = find_damage(folder, manifest)
    return f"{damaged} was damaged" if damaged else None


def find_changed_key(before: Mapping[str, Any], config: Config) -> str | None:
    """The first key by which the config would give another data set than a recipe; None if there is none."""
    recipe = describe_recipe(config)
    if recipe.get("vocabulary.base") == _GONE and before.get("vocabulary.base") is not None:
        recipe["vocabulary.base"] = before["vocabulary.base"]  # as with a log that is no longer there
    return next((key for key in sorted(recipe.keys() | before.keys()) if recipe.get(key) != before.get(key)), None)


class _Logs:
    """The log's files as they are now; each is hashed once at most, and not where it has not been touched.

    missing: those that are not there. status: of each file, what tells that it has not been touched: size, times and
    inode; null where it was written so lately that a change might not show.
    """

    def __init__(self, data: DataConfig) -> None:
        self._data = data
        self._stats: list[list[int]] | None = None
        self._described: list[InputFile] = []
        self.missing = find_missing(data)
        self.status: list[list[int] | None] = []

    def differ(self, manifest: Manifest) -> bool:
        """Whether they are not those that a data set was made of; missing ones do not count."""
        inputs, here = manifest.inputs, self.describe(manifest)
        return any(each not in inputs for each in here) if self.missing else here != inputs

    def require(self, folder: Path, manifest: AnyManifest | None, reason: str | None) -> None:
        """Check that they are there.

        Raises:
            DataError: if not, with why they are needed where there is a data set.
        """
        try:
            input_files(self._data)
        except DataError as error:
            why = f"{folder}: is to be prepared anew ({reason}), which needs its logs"
            raise DataError([*error.problems, *([why] if manifest is not None else [])]) from None

    def check_untouched(self) -> None:
        """Check that what was hashed is what was read.

        Raises:
            DataError: if not.
        """
        for path, before in zip(input_files(self._data), self._stats or [], strict=True):
            if _read_status(path) != before:
                raise DataError(f"{path}: has changed while it was prepared; run the command again")

    def describe(self, manifest: AnyManifest | None) -> list[InputFile]:
        """What the manifest says of each.

        Args:
            manifest: of an earlier preparation, which may know them.
        """
        missing = set(self.missing)
        there: dict[str, Any] = {key: None for key in FILE_KEYS if self._data.path_of(key) in missing}
        vectors = self._data.item_vectors or {}
        there["item_vectors"] = {name: each for name, each in vectors.items() if each.path not in missing}
        files = input_files(self._data.model_copy(update=there))
        stats = [_read_status(path) for path in files]
        if stats != self._stats:  # for the first time, or changed while another process was waited for
            now, known = time.time_ns(), _read_known(manifest)
            self._stats = stats
            self.status = [each if now - max(each[1:3]) > _SETTLED_NANOSECONDS else None for each in stats]
            self._described = [
                InputFile(
                    name=make_printable(path.name),
                    bytes=stat[0],
                    sha256=known.get((make_printable(path.name), str(settled))) or compute_sha256(path),
                )
                for path, stat, settled in zip(files, stats, self.status, strict=True)
            ]
        return self._described


def _remember_status(folder: Path, manifest: Manifest, logs: _Logs) -> Manifest:
    """Spare the next command the hashes of logs that were touched, but have not changed."""
    made = manifest.made
    if logs.missing or None in logs.status or made is None or logs.status == made.input_status:
        return manifest
    remembered = replace(manifest, made=replace(made, input_status=logs.status))
    with suppress(OSError, DinTrainError), hold(folder):  # if it is in use or read-only, they are hashed again
        if read_any_manifest(folder) == manifest:
            write_manifest(folder, remembered)
            return remembered
    return manifest


def _read_status(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read_known(manifest: AnyManifest | None) -> dict[tuple[str, str], str]:
    """(name, status) -> SHA-256; nothing where the manifest does not say."""
    if not isinstance(manifest, Manifest) or manifest.made is None:
        return {}
    try:
        pairs = zip(manifest.inputs, manifest.made.input_status, strict=True)
        return {(each.name, str(status)): each.sha256 for each, status in pairs if status is not None}
    except (TypeError, ValueError):  # `made` is not sealed
        return {}


def describe_recipe(config: Config) -> dict[str, Any]:
    """The config keys that decide the data set's contents."""
    data = config.data.model_dump(mode="json", exclude=_NOT_IN_RECIPE)
    negatives = config.negatives.model_dump(mode="json", exclude={"resample"})
    sections = {"data": data, "filters": config.filters.model_dump(mode="json"), "negatives": negatives}
    recipe = {f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()}
    for key, of_model in (("list_fields", {"pooling"}), ("item_vectors", {"path", "units", "trained"})):
        named = getattr(config.data, key) or {}
        recipe[f"data.{key}"] = {name: each.model_dump(mode="json", exclude=of_model) for name, each in named.items()}
    for key in ("items", "users"):
        side = getattr(config.data, key)
        if side is not None:
            recipe[f"data.{key}.key"] = side.key
            recipe[f"data.{key}.format"] = None if side.format is None else side.format.model_dump(mode="json")
    if config.data.sequences is not None:  # as a list, since their order counts: the first one is the history
        recipe["data.sequences"] = [[name, each] for name, each in data["sequences"].items()]
    vocabulary = config.vocabulary.model_dump(mode="json", include={"min_count", "hash_buckets", "expire_after"})
    base = config.vocabulary.base
    vocabulary["base"] = None if base is None else find_base_fingerprint(base) or _GONE
    return recipe | {f"vocabulary.{key}": value for key, value in vocabulary.items()}


def _prepare(
    config: Config,
    folder: Path,
    before: AnyManifest | None,
    logs: _Logs,
    engine: Engine,
    scratch: Path,
    progress: Progress,
) -> Manifest:
    started = time.perf_counter()
    inputs = logs.describe(before)
    if config.data.holds_histories:
        parts = build_presampled(config, scratch, progress)
    else:
        parts = build_from_log(config, scratch, progress, engine)
    recipe = describe_recipe(config)

    def describe(totals: Totals) -> Manifest:
        _check_totals(config, totals, parts)
        logs.check_untouched()
        tests = totals.positives[Split.TEST]
        return Manifest(
            protocol=config.data.protocol,
            seed=config.negatives.seed,
            recipe=recipe,
            config_hash=hashlib.sha256(orjson.dumps(recipe, option=orjson.OPT_SORT_KEYS)).hexdigest(),
            inputs=inputs,
            fields=parts.fields,
            read=[_describe_read(report) for report in parts.reports],
            time=parts.account.moments,
            joins=parts.account.joins,
            field_values=parts.account.fields,
            remarks=parts.account.remarks,
            negatives=parts.negatives,
            histories=parts.describe_histories(),
            unknown_items=parts.unknown_items,
            dropped=parts.count_dropped(),
            counts=_count(parts, totals),
            samples={split.name.lower(): count for split, count in totals.samples.items()},
            positives_share={
                split.name.lower(): round(totals.positives[split] / count, 6) if count else None
                for split, count in totals.samples.items()
            },
            unknown_rate_in_test=round(totals.unknown_test_targets / tests, 6) if tests else None,
            base=parts.base,
            history_length={name: totals.compute_length_quantile(q) for name, q in QUANTILES.items()},
            made=Made(
                seconds=round(time.perf_counter() - started, 2),
                peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                input_status=logs.status,
                versions={name: version(name) for name in _LIBRARIES},
            ),
        )

    return write_store(folder, parts, scratch=scratch, describe=describe)


def _check_totals(config: Config, totals: Totals, parts: StoreParts) -> None:
    """Refuse cuts, or shares of users, that leave a split without a sample."""
    data, moments = config.data, parts.account.moments
    for split in (Split.VALIDATION, Split.TEST):
        name = split.name.lower()
        share = 0.0 if data.user_split is None else getattr(data.user_split, name)
        is_cut = data.time_split is not None and data.time_split.has_split(name, config.filters.until)
        if totals.samples[split] or not (is_cut or share):
            continue
        if without := parts.count_dropped().get("positives_without_a_negative"):
            raise DataError(
                f"{data.prepared}: the {name} split has no sample, and {without:,} positives have no item left that "
                "their user has not chosen; use a log with more items, or negatives.exclude=history"
            )
        if data.time_split is not None and moments is not None:
            raise EmptySplitError(
                f"data.time_split.{name}_from: {moments.show(getattr(data.time_split, f'{name}_from'))} leaves the "
                f"{name} split without a sample: the log's times go {moments}, and a sample needs {data.min_history} "
                "clicks (data.min_history) before its split's cut; choose another moment"
            )
        raise DataError(
            f"data.user_split.{name}: {share:g} of {parts.tables['users'].num_rows:,} users leaves the {name} "
            "split without a sample; give a larger share or number"
        )


def _describe_read(report: FileReport) -> ReadFile:
    return ReadFile(
        name=make_printable(report.path.name),
        lines=report.lines,
        kept=report.kept,
        rejected=report.rejected,
        skipped=report.skipped,
        notes=report.notes,
    )


def _count(parts: StoreParts, totals: Totals) -> dict[str, int]:
    """What every row became: the manifest's counts."""
    items, vocabulary, account = parts.tables["items"], parts.tables["vocabularies"], parts.account
    return {
        "events": totals.events,
        "users": parts.tables["users"].num_rows,
        "items": items.num_rows,
        "items_with_category": int(pc.sum(pc.greater(items["category_id"], UNKNOWN_ID)).as_py() or 0),
        "items_with_several_categories": parts.items_with_several_categories,
        "categories": int(pc.sum(pc.equal(vocabulary["field"], "category")).as_py() or 0),
        "events_with_too_short_history": parts.count_short_histories(),
        "samples": sum(totals.samples.values()),
        "positives": sum(totals.positives.values()),
        **({} if account.moments is None else {"rows_equal_in_user_item_and_time": account.repeated_rows}),
        "test_targets": totals.positives[Split.TEST],
        "test_targets_in_their_history": totals.seen_targets[Split.TEST],
        **({"targets_in_their_history": sum(totals.seen_targets.values())} if len(totals.seen_targets) > 1 else {}),
    }


def prepare(config: Config, *, force: bool = False) -> Manifest:
    """Make the prepared data set where it is missing or does not match, and show what it holds."""
    total = 0 if find_missing(config.data) else sum(path.stat().st_size for path in input_files(config.data))
    with terminal.reading_progress(total) as progress:
        preparation = prepare_data(config, force=force, progress=progress, say=terminal.say)
    if preparation.missing:
        terminal.say(
            f"{config.data.prepared}: {', '.join(map(str, preparation.missing))}: no longer there; going on with what "
            "was prepared from it, which only `din-train prepare --force` or a changed config would do again"
        )
    if preparation.reason is None:
        terminal.say(f"{config.data.prepared}: up to date")
    else:
        terminal.say(f"{config.data.prepared}: prepared, because {preparation.reason}")
        terminal.show_table(build_preparation_table(preparation.manifest))
        unused = describe_unused_feedback(config.data, find_files(config.data).get("events", ()))
        if unused is not None:
            terminal.say(unused)
    if preparation.manifest.negatives == IN_THE_LOG and config.negatives.resample == "epoch":
        terminal.say(f"training: {config.negatives.per_positive} negative(s) per positive, {REPLACED}")
    return preparation.manifest

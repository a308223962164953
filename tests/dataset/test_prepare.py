"""The store: byte-identical for equal inputs, skipped while nothing changed, redone when something did."""

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from log_factory import Event, make_config, prepare_events, read_events, write_log

from din_train import files
from din_train.config import Config, DataConfig, FiltersConfig, NegativesConfig
from din_train.dataset import prepare
from din_train.dataset.manifest import _compute_seal, read_manifest
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.errors import DataError, RunError

EVENTS: list[Event] = [(f"u{n % 7}", f"i{(n * n) % 23}", f"c{(n * n) % 23 % 4}", n) for n in range(60)]


def run(config: Config, *, force: bool = False) -> str | None:
    return prepare_data(config, force=force, progress=lambda _: None).reason


def hash_files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        prepare_events(tmp_path / name, EVENTS)
    one, two = (read_manifest(tmp_path / name / "prepared") for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert one.made is not None
    assert two.made is not None
    assert replace(one, made=None) == replace(two, made=None)
    hashes = [hash_files(tmp_path / name / "prepared") for name in ("one", "two")]
    assert [{**each, "manifest.json": ""} for each in hashes] == [{**one.files, "manifest.json": ""}] * 2


def test_manifest_proves_the_files(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    hashes = hash_files(data.folder)
    del hashes["manifest.json"]
    manifest = orjson.loads((data.folder / "manifest.json").read_bytes())
    assert manifest["files"] == hashes
    assert manifest["inputs"][0]["sha256"] == hashlib.sha256((tmp_path / "log.tsv").read_bytes()).hexdigest()
    assert manifest["protocol"] == "holdout"
    recipe = orjson.dumps(manifest["recipe"], option=orjson.OPT_SORT_KEYS)
    assert manifest["config_hash"] == hashlib.sha256(recipe).hexdigest()
    assert manifest["samples"] == {"train": 78, "validation": 14, "test": 14}
    assert manifest["counts"]["samples"] == 106
    assert manifest["counts"]["positives"] == 53


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"training": {"epochs": 9}}, None),
        ({"data": {"max_history_length": 3}}, None),
        ({"vocabulary": {"unknown_rate": 0.5}}, None),
        ({"seed": 9}, None),
        ({"data": {"protocol": "paper"}}, "data.protocol has changed"),
        ({"negatives": {"seed": 2}}, "negatives.seed has changed"),
        ({"negatives": {"evaluation_per_positive": 3}}, "negatives.evaluation_per_positive has changed"),
    ],
)
def test_made_again_only_when_its_recipe_changes(tmp_path: Path, change: dict[str, Any], reason: str | None) -> None:
    prepare_events(tmp_path, EVENTS)
    assert run(make_config(tmp_path, **change)) == reason


def test_every_key_that_decides_the_contents_is_in_the_recipe(tmp_path: Path) -> None:
    _, preparation = prepare_events(tmp_path, EVENTS)
    sections = {"data": DataConfig, "filters": FiltersConfig, "negatives": NegativesConfig}
    every = {f"{name}.{key}" for name, section in sections.items() for key in section.model_fields}
    where_and_how = {
        "reviews",
        "items",
        "events",
        "users",
        "train",
        "validation",
        "test",
        "prepared",
        "temp_folder",
        "threads",
    }
    where_and_how |= {"memory_limit", "max_history_length", "engine", "spark"}
    left_out = {f"data.{key}" for key in where_and_how} | {"negatives.resample"}
    of_vocabulary = {f"vocabulary.{key}" for key in ("min_count", "hash_buckets", "base", "expire_after")}
    assert preparation.manifest.recipe.keys() == (every - left_out) | of_vocabulary


def test_made_again_when_the_log_changes_but_not_when_it_is_only_touched(tmp_path: Path) -> None:
    prepare_events(tmp_path, EVENTS)
    os.utime(tmp_path / "log.tsv", (1, 1))
    assert run(make_config(tmp_path)) is None
    write_log(tmp_path / "log.tsv", [*EVENTS, ("u0", "i0", "c0", 99)])
    assert run(make_config(tmp_path)) == "the logs have changed"
    assert run(make_config(tmp_path)) is None
    assert run(make_config(tmp_path), force=True) == "as asked"


@pytest.mark.parametrize("name", ["events.arrow", "samples.test.arrow", "rejected.jsonl"])
def test_a_damaged_file_is_found(tmp_path: Path, name: str) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    (data.folder / name).write_bytes(b"x")
    with pytest.raises(DataError, match=f"{name}: missing or changed"):
        open_store(data.folder)
    assert run(make_config(tmp_path)) == f"{name} was damaged"
    assert open_store(data.folder).samples(Split.TEST, 100).labels.sum() == 7


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
def test_an_interrupted_preparation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    write_log(tmp_path / "log.tsv", EVENTS)

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_store", fail)
        with pytest.raises((KeyboardInterrupt, RunError)):
            run(make_config(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.tsv"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    write_log(tmp_path / "log.tsv", EVENTS)
    for kind in ("tmp", "scratch"):
        (tmp_path / f".prepared.{kind}").mkdir()
        (tmp_path / f".prepared.{kind}" / "half").touch()
        (tmp_path / f".prepared.{kind}" / files.MARK).touch()
    run(make_config(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.tsv", "prepared"]


@pytest.mark.parametrize("kind", ["tmp", "scratch"])
def test_what_only_has_the_name_of_a_leftover_is_left_alone(tmp_path: Path, kind: str) -> None:
    write_log(tmp_path / "log.tsv", EVENTS)
    backup = tmp_path / f".prepared.{kind}"
    backup.mkdir()
    (backup / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=rf"\.prepared\.{kind}: in the way, and not made by din-train"):
        run(make_config(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [backup.name, "log.tsv"]
    assert (backup / "thesis.txt").read_text() == "mine"


def test_what_a_killed_process_left_in_the_temp_folder_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "log.tsv", EVENTS)
    config = make_config(tmp_path, data={"temp_folder": str(tmp_path / "temp")})
    with monkeypatch.context() as patch:
        patch.setattr(files, "_remove_marked", lambda *_: None)  # as if killed before it could clean up
        run(config)
    left = [path.name for path in (tmp_path / "temp").iterdir()]
    assert len(left) == 1
    assert left[0].endswith(".scratch")
    run(config, force=True)
    assert not any((tmp_path / "temp").iterdir())


def test_a_data_set_whose_name_begins_alike_is_left_alone(tmp_path: Path) -> None:
    write_log(tmp_path / "log.tsv", EVENTS)
    run(make_config(tmp_path, data={"prepared": str(tmp_path / "prepared-two")}))
    (tmp_path / ".prepared-two.scratch").mkdir()  # another process is at it
    run(make_config(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".prepared-two.scratch", "log.tsv", "prepared", "prepared-two",
    ]  # fmt: skip


def test_a_failed_preparation_keeps_the_old_store(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    before = hash_files(data.folder)
    (tmp_path / "log.tsv").write_text("user\titem\tcategory\ttime\n" + "bad line\n" * 50)
    with pytest.raises(DataError):
        run(make_config(tmp_path))
    assert hash_files(data.folder) == before


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    write_log(tmp_path / "log.tsv", EVENTS)
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="is not a prepared data set"):
        run(make_config(tmp_path))
    assert (tmp_path / "prepared" / "thesis.txt").read_text() == "mine"


def test_a_data_set_of_another_version_is_made_anew(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    manifest = orjson.loads((data.folder / "manifest.json").read_bytes())
    manifest = {"schema_version": 1, "files": {**manifest["files"], "categories.parquet": "x"}}
    (data.folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    (data.folder / "categories.parquet").touch()
    with pytest.raises(DataError, match=r"manifest\.json: damaged, or of another version"):
        open_store(data.folder)
    assert run(make_config(tmp_path)) == "it was of another version"
    assert not (data.folder / "categories.parquet").exists()


def test_what_somebody_put_into_the_data_set_is_not_lost(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    (data.folder / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds 'thesis\.txt'"):
        run(make_config(tmp_path, negatives={"seed": 2}))
    assert (data.folder / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("key", ["recipe", "inputs", "files", "unknown_items", "fingerprint"])
def test_a_manifest_without_a_key_is_no_manifest(tmp_path: Path, key: str) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    manifest = orjson.loads((data.folder / "manifest.json").read_bytes())
    del manifest[key]
    (data.folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(DataError, match=r"manifest\.json: damaged, or of another version"):
        open_store(data.folder)


def test_a_whole_manifest_with_another_key_is_no_manifest(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    said = {**orjson.loads((data.folder / "manifest.json").read_bytes()), "another": 1}
    said["manifest_sha256"] = _compute_seal(said)
    (data.folder / "manifest.json").write_bytes(orjson.dumps(said))
    assert read_manifest(data.folder) is None
    assert run(make_config(tmp_path)) == "manifest.json was damaged"


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    write_log(tmp_path / "log.tsv", EVENTS)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"because .*file is a file"):
        run(make_config(tmp_path, data={"prepared": str(tmp_path / "file" / "prepared")}))


def test_every_negative_is_outside_the_users_list_and_rows_are_adjacent(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS, negatives={"per_positive": 2, "evaluation_per_positive": 4})
    events = {}
    for split, per_positive in ((Split.TRAIN, 2), (Split.VALIDATION, 4), (Split.TEST, 4)):
        samples = data.samples(split, 100)
        assert samples.labels.tolist() == [1, *[0] * per_positive] * (len(samples) // (1 + per_positive))
        for user, item, label in zip(samples.user_ids, samples.target_item_ids, samples.labels, strict=True):
            own = events.setdefault(user, _items_of(data, user))
            assert (item in own) == bool(label)


def _items_of(data: PreparedData, user: int) -> set[int]:
    events = read_events(data)
    return {item for of_user, item in zip(events["user_id"], events["item_id"], strict=True) if of_user == user}


def test_spark_that_is_not_installed_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    for name in [each for each in sys.modules if each.startswith("din_train.spark")]:
        monkeypatch.delitem(sys.modules, name)
    write_log(tmp_path / "log.tsv", EVENTS)
    with pytest.raises(
        RunError, match=r"^data\.engine: spark needs PySpark .*; install din-train\[spark\], or set duckdb$"
    ):
        run(make_config(tmp_path, data={"engine": "spark"}))
    assert not (tmp_path / "prepared").exists()

"""A data set in several shards: the same rows, the same fingerprint, and every fault in it is noticed."""

import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, prepare_events, write_table
from shard_factory import cut_users, write_in_shards

from din_train.audit.audited_run import StoredEvents
from din_train.config import Config
from din_train.dataset.manifest import Manifest, StoredShard, read_manifest, write_manifest
from din_train.dataset.names import Describer
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.samples import Block
from din_train.dataset.shard import Totals
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.stored_histories import StoredHistories
from din_train.dataset.training_rows import redraw_training_negatives
from din_train.errors import DataError
from din_train.remote_path import make_input_path
from din_train.training.training_batches import TrainingBatches

EVENTS = [
    (f"u{user:02}", f"i{(user * 7 + place * place) % 9}", f"c{place % 2}", 100 * user + place)
    for user in range(12)
    for place in range(4)
]
# Impressions with weights and a context field of several values.
HEADER = ["user", "item", "category", "time", "click", "share", "tags"]
IMPRESSIONS = [
    (f"u{user}", f"i{(user + 3 * place) % 9}", "c", 10**9 + 5000 * place, int(place % 3 == 0), place, tags)
    for user in range(8)
    for place, tags in enumerate(["a|b", "b", "a|c|b", "", "c", "b|a", "a", "c|b", "b", "c"])
]


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_events(tmp_path_factory.mktemp("clicks"), EVENTS)[0]


@pytest.fixture(scope="module")
def impressions(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("impressions")
    write_table(folder / "log.tsv", HEADER, IMPRESSIONS)
    columns = {"user": "user", "item": "item", "category": "category", "timestamp": "time"}
    data = {"columns": {**columns, "label": "click", "weight": "share"}, "context_fields": ["tags", "hour"]}
    config = make_config(folder, data={**data, "list_fields": {"tags": {}}})
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


@pytest.fixture(params=["clicks", "impressions"])
def data(request: pytest.FixtureRequest) -> PreparedData:
    found: PreparedData = request.getfixturevalue(request.param)
    return found


def test_rows_and_fingerprint_do_not_depend_on_the_number_of_shards(data: PreparedData, tmp_path: Path) -> None:
    whole, totals = read_everything(data), None
    for count in (1, 3, 7, 20):  # of 20 some are empty
        manifest, parts = write_in_shards(data, tmp_path / str(count), cut_users(data, count))
        assert [manifest.fingerprint, len(manifest.shards)] == [data.fingerprint, count]
        opened = open_store(tmp_path / str(count))
        assert opened.manifest == manifest
        assert read_everything(opened) == whole
        assert not opened.event_item_ids.flags.writeable
        merged = Totals()
        for part in parts:
            merged.merge(pickle.loads(pickle.dumps(part)).totals)  # noqa: S301 - our own
        found = {**vars(merged), "samples_by_length": merged.samples_by_length.tolist()}
        totals = totals or found
        assert found == totals
        assert merged.samples == {split: data.manifest.samples[split.name.lower()] for split in SPLITS}
        assert merged.seen_targets == {Split.TEST: data.manifest.counts["test_targets_in_their_history"]}
    assert data.manifest.counts["test_targets_in_their_history"] > 0


def read_everything(data: PreparedData) -> dict[str, Any]:
    """Columns and what is derived of them, as lists with their types."""
    samples = {f"{split}.{name}": column for split in SPLITS for name, column in data.sample_columns(split).items()}
    histories = StoredHistories.of(data)
    derived = {
        "starts": data.user_starts,
        "audited": StoredEvents.read(data).first,
        "described": [str(each) for each in Describer(data).history(data.samples(Split.TEST, 3), 1)],
        "ends": histories.ends,
        "times": histories.times,
    }
    if data.manifest.negatives == "sampled":
        derived["redrawn"] = redraw_training_negatives(data, make_config(Path()).negatives, 1)
    columns = {**data.event_columns, **samples, **derived}
    return {name: (str(getattr(each, "dtype", "")), np.asarray(each).tolist()) for name, each in columns.items()}


def test_an_epoch_has_the_same_batches(clicks: PreparedData, tmp_path: Path) -> None:
    epochs = []
    for count in (1, 3, 7):
        write_in_shards(clicks, tmp_path / str(count), cut_users(clicks, count))
        data = open_store(tmp_path / str(count), temp_folder=tmp_path)
        options: dict[str, Any] = {"batch_size": 8, "max_history_length": 3, "unknown_rate": 0.1, "seed": 4}
        batches = TrainingBatches(data, data.samples(Split.TRAIN, 3), **options)
        inputs = [(*inputs.values(), labels) for inputs, labels in batches]
        assert len(inputs) == 3  # 12 users, a positive and a negative each
        epochs.append([each.tolist() for batch in inputs for each in batch])
    assert epochs[0] == epochs[1] == epochs[2]


def change_events(name: str, place: int, block: Block) -> Block:
    """Another time in the second shard."""
    values = block.events[name].copy()
    values[1] += place == 1
    return Block({**block.events, name: values}, block.samples)


def swap_samples(split: Split, place: int, block: Block) -> Block:
    """Its first two rows of the second shard, of one user."""
    order = np.arange(len(block.samples[split]["label"]))
    if place == 1:
        order[:2] = 1, 0
    swapped = {name: column[order] for name, column in block.samples[split].items()}
    return Block(block.events, {**block.samples, split: swapped})


def lose_sample(place: int, block: Block) -> Block:
    """The last row of the second shard."""
    kept = {name: column[: -1 if place == 1 else None] for name, column in block.samples[Split.TRAIN].items()}
    return Block(block.events, {**block.samples, Split.TRAIN: kept})


def swap_columns(_: int, block: Block) -> Block:
    test = block.samples[Split.TEST]
    swapped = {**test, "history_length": test["target_item_id"], "target_item_id": test["history_length"]}
    return Block(block.events, {**block.samples, Split.TEST: swapped})


@pytest.mark.parametrize(
    "change",
    [
        partial(change_events, "timestamp"),
        partial(change_events, "ordinal"),
        *(partial(swap_samples, split) for split in SPLITS),
        lose_sample,
        swap_columns,
    ],
)
def test_other_rows_have_another_fingerprint(
    clicks: PreparedData, tmp_path: Path, change: Callable[[int, Block], Block]
) -> None:
    manifest, _ = write_in_shards(clicks, tmp_path / "changed", cut_users(clicks, 3), change)
    assert manifest.fingerprint != clicks.fingerprint


def test_other_tables_have_another_fingerprint(clicks: PreparedData, tmp_path: Path) -> None:
    other = [(user, "other" if item == "i8" else item, category, time) for user, item, category, time in EVENTS]
    renamed = prepare_events(tmp_path, other)[0]
    assert np.array_equal(renamed.event_item_ids, clicks.event_item_ids)
    assert renamed.fingerprint != clicks.fingerprint


def truncate(folder: Path) -> str:
    path = folder / "samples.test.00001.arrow"
    path.write_bytes(path.read_bytes()[:-8])
    return path.name


def flip_a_bit(folder: Path) -> str:
    path = folder / "events.00002.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path.name


def empty(folder: Path) -> str:
    (folder / "events.00000.arrow").write_bytes(b"")
    return "events.00000.arrow"


def remove(folder: Path) -> str:
    (folder / "samples.train.00002.arrow").unlink()
    return "samples.train.00002.arrow"


def take_from_another_store(folder: Path) -> str:
    """One with the same users and as many rows."""
    name = "events.00001.arrow"
    other = [(user, f"x{item}", category, time + 1) for user, item, category, time in EVENTS]
    (folder.parent / "other").mkdir()
    data, _ = prepare_events(folder.parent / "other", other)
    write_in_shards(data, folder.parent / "other" / "shards", cut_users(data, 3))
    shutil.copy(folder.parent / "other" / "shards" / name, folder / name)
    return name


def swap_files(folder: Path) -> str:
    first, second = folder / "events.00000.arrow", folder / "events.00001.arrow"
    first.rename(folder / "other")
    second.rename(first)
    (folder / "other").rename(second)
    return first.name


@pytest.mark.parametrize("fault", [truncate, flip_a_bit, empty, remove, take_from_another_store, swap_files])
def test_a_damaged_shard_is_named(clicks: PreparedData, tmp_path: Path, fault: Callable[[Path], str]) -> None:
    shards = tmp_path / "shards"
    write_in_shards(clicks, shards, cut_users(clicks, 3))
    damaged = fault(shards)
    with pytest.raises(DataError, match=f"shards/{damaged}: missing or changed since it was prepared; run"):
        open_store(shards)
    manifest = read_manifest(shards)
    assert manifest is not None
    if damaged == "events.00000.arrow":  # even a process that has checked the files before looks at what it reads
        with pytest.raises(DataError, match=f"{damaged}: missing or changed"):
            open_store(shards, checked=manifest)


def swap_shards(shards: list[StoredShard]) -> list[StoredShard]:
    return [shards[1], shards[0], shards[2]]


def swap_tables(shards: list[StoredShard]) -> list[StoredShard]:
    """So that users and events still count up."""
    first, second, third = shards
    return [replace(first, tables=second.tables), replace(second, tables=first.tables), third]


def swap_train_files(shards: list[StoredShard]) -> list[StoredShard]:
    first, second, third = shards
    of_first, of_second = dict(first.tables), dict(second.tables)
    of_first["samples.train"], of_second["samples.train"] = of_second["samples.train"], of_first["samples.train"]
    return [replace(first, tables=of_first), replace(second, tables=of_second), third]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swap_shards, "manifest.json: damaged, or of another version; run"),
        (lambda shards: [shards[0], shards[2]], "manifest.json: damaged, or of another version; run"),
        (lambda shards: [*shards, shards[2]], "manifest.json: damaged, or of another version; run"),
        (lambda shards: shards[:2], "manifest.json: damaged, or of another version; run"),
        (swap_tables, "events.00001.arrow: missing or changed since it was prepared"),
        (swap_train_files, "samples.train.00001.arrow: missing or changed since it was prepared"),
    ],
)
def test_a_sealed_manifest_with_shards_in_another_order(
    clicks: PreparedData, tmp_path: Path, change: Callable[[list[StoredShard]], list[StoredShard]], said: str
) -> None:
    manifest, _ = write_in_shards(clicks, tmp_path / "shards", cut_users(clicks, 3))
    write_manifest(tmp_path / "shards", replace(manifest, shards=change(list(manifest.shards))))
    with pytest.raises(DataError, match=said):
        open_store(tmp_path / "shards")


def test_shards_that_do_not_fit_together_are_not_finished(clicks: PreparedData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="begins with user 8 and event 24, and the one before ends before user 2"):
        write_in_shards(clicks, tmp_path / "late", [8, 14])
    with pytest.raises(ValueError, match="the shards have 6 users, and the data set has 12"):
        write_in_shards(clicks, tmp_path / "early", [2, 6, 8])


def test_ids_of_others_are_refused(clicks: PreparedData, tmp_path: Path) -> None:
    for column in ("user_id", "item_id"):
        with pytest.raises(RuntimeError, match=r"an id is not one of (items|the shard's users)"):
            write_in_shards(clicks, tmp_path / column, cut_users(clicks, 3), partial(add_ten, column))


def add_ten(column: str, _: int, block: Block) -> Block:
    return Block({**block.events, column: block.events[column] + 10}, block.samples)


def prepare(config: Config) -> tuple[str | None, Manifest]:
    preparation = prepare_data(config, force=False, progress=lambda _: None)
    return preparation.reason, preparation.manifest


def test_a_data_set_in_shards_is_up_to_date_and_made_again_when_damaged(tmp_path: Path) -> None:
    data, _ = prepare_events(tmp_path, EVENTS)
    config = make_config(tmp_path)
    write_in_shards(data, tmp_path / "shards", cut_users(data, 3))
    shutil.rmtree(data.folder)
    (tmp_path / "shards").rename(data.folder)
    reason, manifest = prepare(config)
    assert (reason, len(manifest.shards)) == (None, 3)
    assert open_store(data.folder, checked=manifest).fingerprint == data.fingerprint
    (data.folder / "events.00001.arrow").write_bytes(b"x")
    reason, manifest = prepare(config)
    assert (reason, len(manifest.shards)) == ("events.00001.arrow was damaged", 1)
    assert (manifest.fingerprint, sorted(path.name for path in data.folder.glob("events*"))) == (
        data.fingerprint,
        ["events.arrow"],
    )


@pytest.fixture
def memory() -> Iterator[Any]:
    """The empty file system of `memory://`."""
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: remote shards are NOT tested")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.mark.parametrize("count", [1, 3])
def test_a_data_set_on_another_file_system(clicks: PreparedData, tmp_path: Path, memory: Any, count: int) -> None:
    manifest, _ = write_in_shards(clicks, tmp_path / "shards", cut_users(clicks, count))
    for path in (tmp_path / "shards").iterdir():
        memory.pipe(f"memory://bucket/prepared/{path.name}", path.read_bytes())
    folder = make_input_path("memory://bucket/prepared")
    opened = open_store(folder, temp_folder=tmp_path)
    assert read_everything(opened) == read_everything(clicks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards"]  # what is joined has no name
    name = manifest.shards[-1].tables["samples.test"].file
    memory.pipe(f"memory://bucket/prepared/{name}", b"x")
    for checked in (None, manifest):  # what is fetched is always checked
        with pytest.raises(DataError, match=f"memory://bucket/prepared/{name}: missing or changed"):
            open_store(folder, checked=checked)
    with pytest.raises(DataError, match="memory://bucket/nothing: no prepared data set here"):
        open_store(make_input_path("memory://bucket/nothing"))

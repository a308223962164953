"""A plan's figures against the real data set, model and run; what it refuses, and that its advice fits."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from log_factory import make_config, prepare_events, write_log

from din_train.cli import cli
from din_train.config import Config, dump_config
from din_train.dataset.store import PreparedData
from din_train.errors import ConfigError, DataError
from din_train.fit import fit
from din_train.plan import plan as module
from din_train.plan.model_size import ModelSize, measure_model
from din_train.plan.needs import compute_memory, find_disk_problems, find_memory_problem, list_disk_needs
from din_train.plan.plan import build_plan, summarize
from din_train.plan.planned_data import estimate_data, extrapolate
from din_train.plan.probe import Probe
from din_train.tensorflow_setup import start_tensorflow

# Users in order, each with 8 events; all 300 items and 7 categories are met by the first 100 users.
EVENTS = [
    (f"u{user}", f"i{(user * 8 + n) * 7 % 300}", f"c{(user + n) % 7}", 1000 + n)
    for user in range(2_000)
    for n in range(8)
]
SMALL = {"item_embedding_size": 4, "category_embedding_size": 4, "mlp": {"hidden_units": [8]}}
UNIT = {"local_activation_unit": {"hidden_units": [8]}}


@pytest.fixture(scope="module", autouse=True)
def tensorflow() -> None:
    start_tensorflow("cpu")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, PreparedData]:
    """A prepared log of 40 users, and its config."""
    folder = tmp_path_factory.mktemp("small")
    changes: dict[str, Any] = {"model": {**SMALL, **UNIT}, "training": {"epochs": 1, "batch_size": 64}}
    data, _ = prepare_events(folder, EVENTS[:320], **changes)
    return make_config(folder, **changes), data


def change(config: Config, **sections: dict[str, Any]) -> Config:
    values = config.model_dump(mode="json", exclude_none=True)
    for section, keys in sections.items():
        values[section] = {**values[section], **keys}
    return Config.model_validate(values)


@pytest.mark.parametrize(
    ("model", "optimizer", "slots"),
    [
        ({"name": "din"}, "adam", 2),
        ({"name": "wide_deep", "cross_buckets": 50, "item_bias": True}, "adagrad", 1),
        ({"name": "bst"}, "sgd", 0),
    ],
)
def test_sizes_are_those_of_the_model_that_is_trained(
    small: tuple[Config, PreparedData], model: dict[str, Any], optimizer: str, slots: int
) -> None:
    from din_train.model.embedding import find_tables
    from din_train.scoring import build_configured_model
    from din_train.training.optimizers import build_optimizer

    config = change(small[0], model=SMALL | model, training={"optimizer": {"name": optimizer}})
    size = measure_model(config, small[1])
    real = build_configured_model(config, small[1])
    built = build_optimizer(config.training.optimizer)
    built.build(real.trainable_variables)
    assert size.weight_bytes == sum(np.asarray(each.numpy()).nbytes for each in real.variables)
    of_slots = [each for each in built.variables if each.name not in ("iteration", "learning_rate")]
    assert size.slot_bytes == sum(np.asarray(each.numpy()).nbytes for each in of_slots)
    assert size.slot_bytes == slots * sum(np.asarray(each.numpy()).nbytes for each in real.trainable_variables)
    tables = {id(each): tuple(each.shape) for each in find_tables(real)}
    assert sorted((each.rows, each.width) for each in size.tables) == sorted(tables.values())
    tables_only = measure_model(config, small[1], tables_only=True)
    assert tables_only.tables == size.tables
    assert tables_only.bytes <= size.bytes


def test_tables_of_a_hundred_million_rows_are_measured_without_being_made(small: tuple[Config, PreparedData]) -> None:
    config, data = small
    rows = 100_000_000
    large = estimate_data(config, data, data, 0.5, 1.0)
    ids = np.broadcast_to(np.int32(1), (rows,))
    large = PreparedData(
        **{
            **vars(large),
            "item_fields": {"category": ids},
            "training_events": np.broadcast_to(np.int64(1), (rows,)),
        }
    )
    size = measure_model(config, large)
    item = size.tables[0]
    assert (item.field, item.rows, item.width) == ("item", rows, 4)
    assert (item.weight_bytes, item.slot_bytes) == (1_600_000_000, 3_200_000_000)
    assert size.fixed_bytes >= 800_000_000  # the category of each item


def test_a_prepared_data_set_is_planned_exactly_and_its_run_takes_no_more_disk(
    small: tuple[Config, PreparedData], tmp_path: Path
) -> None:
    config, data = change(small[0], model={"name": "lr"}), small[1]  # the quickest one
    made = build_plan(config, tmp_path, probed=False)
    assert made.planned.is_exact
    assert made.planned.manifest == data.manifest
    assert (made.planned.scratch_bytes, made.planned.preparation_seconds, made.problems) == (0, 0.0, [])
    assert made.planned.manifest.bytes == sum(
        path.stat().st_size for path in data.folder.iterdir() if path.name != "manifest.json"
    )
    fit(config, run_dir=tmp_path / "run")
    used = sum(path.stat().st_size for path in (tmp_path / "run" / "checkpoints").iterdir())
    # two states of weights and slots, and the best weights; HDF5 has a header for each variable
    at_most = list_disk_needs(config, made.size, run=tmp_path, store_bytes=0, scratch_bytes=0)[0].bytes
    assert 2 * made.size.bytes < used
    assert used < at_most + 100_000

    run = {"run": str(tmp_path / "run")}
    warm = change(config, training={"warm_start": run}, vocabulary={"base": str(data.folder)})
    (tmp_path / "work").mkdir()
    assert build_plan(warm, tmp_path / "work", probed=False).memory == made.memory | {"earlier_model": made.size.bytes}
    reset = change(warm, training={"warm_start": {**run, "optimizer": "reset"}})
    assert module._measure_earlier(reset) == {"earlier_model": made.size.weight_bytes}


def test_a_step_takes_what_a_probe_had_beside_the_parts_that_are_known(
    small: tuple[Config, PreparedData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_probe", lambda _: Probe(100.0, 10, 3_000_000_000))
    made = build_plan(change(small[0], model={"name": "lr"}, training={"refit": True}), tmp_path)
    assert made.memory["first_model"] == made.size.bytes  # which a probe, without a refit, has not
    assert sum(made.memory.values()) == 3_000_000_000 + made.size.bytes


def test_a_part_of_a_log_gives_its_rows_users_and_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(tmp_path, model={**SMALL, **UNIT})
    write_log(tmp_path / "log.tsv", EVENTS)
    monkeypatch.setattr("din_train.plan.planned_data.SAMPLE_BYTES", 100_000)
    (tmp_path / "work").mkdir()
    made = build_plan(config, tmp_path / "work", probed=False)
    planned, manifest = made.planned, made.planned.manifest
    assert not planned.is_exact
    assert re.match(r"estimated from \d\d\.\d\d% of the log", planned.basis)
    assert not config.data.prepared.exists()
    assert manifest.counts["events"] == pytest.approx(16_000, rel=0.05)
    assert manifest.counts["users"] == pytest.approx(2_000, rel=0.1)
    assert manifest.counts["items"] == 300  # all of them have been seen
    assert manifest.samples["train"] == pytest.approx(2_000 * 5 * 2, rel=0.1)  # targets 2 to 6, a negative each
    assert manifest.samples["test"] == pytest.approx(2_000 * 2, rel=0.1)
    assert made.size.tables[0].rows == 302
    assert len(planned.data.user_starts) == manifest.counts["users"] + 2
    assert {need.what for need in made.disk} >= {"the prepared data set", "temporary files of preparation"}


def test_a_small_log_is_prepared_whole_and_exact(tmp_path: Path) -> None:
    config = make_config(tmp_path, data={"engine": "spark"})  # whose cluster a plan does without
    write_log(tmp_path / "log.tsv", EVENTS[:80])
    made = build_plan(config, tmp_path, probed=False)
    assert made.planned.is_exact
    assert not made.planned.is_prepared
    assert made.planned.manifest.counts["users"] == 10


def test_a_part_that_cannot_be_prepared_by_itself_asks_for_the_preparation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(
        tmp_path / "log.tsv", [EVENTS[n * 7_919 % 16_000] for n in range(16_000)]
    )  # a part has one event of a user
    monkeypatch.setattr("din_train.plan.planned_data.SAMPLE_BYTES", 2_000)
    with pytest.raises(DataError, match=r"not prepared yet, and 0\.\d\d% of the log.*run `din-train prepare`"):
        build_plan(make_config(tmp_path), tmp_path, probed=False)


def test_counts_grow_as_they_did_from_the_half_to_the_part() -> None:
    assert extrapolate(50, 100, 0.1, 0.2) == 500  # with the log
    assert extrapolate(100, 100, 0.1, 0.2) == 100  # nothing new
    assert extrapolate(100, 141, 0.125, 0.25) == round(141 * 4**0.4957)  # log2(1.41) = 0.4957
    assert extrapolate(10, 80, 0.1, 0.2) == 400  # never faster than the log
    assert extrapolate(10, 80, 0.1, 0.2, 1.5) == round(80 * 5**1.5)
    assert extrapolate(0, 7, 0.1, 0.2) == 7  # nothing in the half


def test_the_ids_of_a_base_do_not_grow_with_the_log(small: tuple[Config, PreparedData]) -> None:
    config, data = small

    def have(items: int, categories: int) -> PreparedData:
        base = {"ids": {"item": 200, "category": 5}}
        manifest = replace(data.manifest, counts={**data.manifest.counts, "items": items}, base=base)
        return replace(data, manifest=manifest, num_values={"category": 2 + categories})

    large = estimate_data(config, have(220, 6), have(240, 7), 0.1, 0.2)
    assert large.manifest.counts["items"] == 200 + 40 * 5  # 20 new ones, then 40, grow with the log
    assert len(large.training_events) == 2 + 400
    assert large.num_values["category"] == 5 + round(4 * 5**0.41504)  # log2(4 / 3) = 0.41504


def test_what_a_refusal_says_would_fit_does_fit(small: tuple[Config, PreparedData]) -> None:
    config, data = small
    size = measure_model(config, data)
    needed = {"weights": size.weight_bytes, "slots": size.slot_bytes}
    has = sum(needed.values()) - size.tables[0].bytes // 3
    problem = find_memory_problem(config, needed, size, has, "this machine")
    assert problem is not None
    assert re.match(r"memory: a worker needs \d+ kB \(optimiser's slots \d+ kB, weights \d+ kB\), and this", problem)
    assert size.tables[0].rows == 302
    assert "set vocabulary.hash_buckets.item to at most 199 (it has 302 rows) or " in problem  # two thirds, less two
    assert "model.item_embedding_size to at most 2 (it is 4) or " in problem
    assert problem.endswith("training.optimizer.name to adagrad")
    for section, keys in (("model", {"item_embedding_size": 2}), ("training", {"optimizer": {"name": "adagrad"}})):
        fitting = measure_model(change(config, **{section: keys}), data)
        assert fitting.bytes <= has


def test_enough_memory_is_no_problem_and_the_batch_is_named_if_it_is_what_does_not_fit(
    small: tuple[Config, PreparedData],
) -> None:
    config, data = small
    nothing = ModelSize((), 0, 0, 0)
    parts = compute_memory(config, nothing, data.manifest, batch_bytes=1_000_000_000)
    needed = sum(parts.values())
    assert find_memory_problem(config, parts, nothing, needed, "this machine") is None
    problem = find_memory_problem(config, parts, nothing, needed - 500_000_000, "its GPU")
    assert problem is not None
    assert problem.endswith("set training.batch_size to at most 32")  # half of 64


def test_a_disk_that_is_too_small_is_named_with_what_takes_most(
    small: tuple[Config, PreparedData], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs = list_disk_needs(small[0], ModelSize((), 10, 0, 0), run=tmp_path, store_bytes=5_000_000, scratch_bytes=0)
    assert find_disk_problems(needs) == []
    monkeypatch.setattr("din_train.plan.needs.find_disk", lambda _: (1, 4_000_000))
    (problem,) = find_disk_problems(needs)
    assert problem == (
        f"disk: {small[0].data.prepared}: a run needs 5.0 MB there, most of it for the prepared data set, and 4.0 MB "
        "are free; free some, or change data.prepared"
    )


def test_fit_says_two_lines_and_refuses_tables_that_cannot_be_in_memory(
    small: tuple[Config, PreparedData],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, data = small
    first, second = summarize(config, data, tmp_path / "run")
    assert first.startswith("plan: 400 training rows, 300 items; weights and slots ")
    assert second.startswith(f"plan: {tmp_path / 'run'} takes at most ")
    monkeypatch.setattr(module, "find_memory", lambda: 10_000)
    with pytest.raises(ConfigError, match=r"needs \d+ kB .* this machine has 10 kB; set .*hash_buckets\.item to"):
        fit(config, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_workers_that_share_a_machine_share_its_memory(
    small: tuple[Config, PreparedData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = small
    of_one = measure_model(config, data, tables_only=True).bytes
    monkeypatch.setattr(module, "find_memory", lambda: 3 * of_one)
    first, _ = summarize(config, data, tmp_path / "run", workers=3)
    assert re.search(r"\) in each of 3 workers, of \d+ kB that this machine has$", first)
    monkeypatch.setattr(module, "find_memory", lambda: 3 * of_one - 3)
    summarize(config, data, tmp_path / "run", workers=2)
    problem = r"this machine has \d+ kB for each of 3 workers; set .*, or fewer workers"
    with pytest.raises(ConfigError, match=problem):
        summarize(config, data, tmp_path / "run", workers=3)


def test_the_command_prints_json_and_leaves_nothing(small: tuple[Config, PreparedData], tmp_path: Path) -> None:
    config, data = small
    (tmp_path / "c.yaml").write_text(dump_config(config))
    done = CliRunner().invoke(cli, ["plan", "--config", str(tmp_path / "c.yaml"), "--no-probe", "--json"])
    assert done.exit_code == 0, done.output
    said = orjson.loads(done.stdout)
    assert said["samples"] == data.manifest.samples
    assert said["memory_bytes"] == sum(said["memory"].values())
    assert (said["exact"], said["training_seconds"], said["problems"]) == (True, {}, [])
    assert list(tmp_path.iterdir()) == [tmp_path / "c.yaml"]


def test_what_does_not_fit_ends_the_command_with_2(
    small: tuple[Config, PreparedData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text(dump_config(small[0]))
    monkeypatch.setattr(module, "find_memory", lambda: 10_000)
    done = CliRunner().invoke(cli, ["plan", "--config", str(tmp_path / "c.yaml"), "--workers", "3"])
    assert done.exit_code == 2
    assert re.search(r"memory of a worker +│ +1\.0 GB of 10 kB", done.stdout)
    assert re.search(r"memory of 3 workers, if all are on this machine +│ +3\.0 GB of 10 kB", done.stdout)
    assert "error: memory: a worker needs 1.0 GB" in done.stderr

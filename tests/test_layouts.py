"""Every public log, in a tiny file: its shipped config trains, and so does the config that `data inspect` prints."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import tensorflow as tf
import yaml
from click.testing import CliRunner
from layouts import LAYOUTS, Layout

from din_train.cli import cli
from din_train.config import Config, load_config
from din_train.dataset.prepare import prepare_data
from din_train.fit import fit
from din_train.tensorflow_setup import start_tensorflow

REPOSITORY = Path(__file__).parents[1]
CONFIGS = REPOSITORY / "configs" / "logs"
TINY = [
    *("model.item_embedding_size=4", "model.category_embedding_size=4", "model.field_embedding_size=4"),
    *("model.local_activation_unit.hidden_units=[4]", "model.mlp.hidden_units=[4]"),
    *("training.epochs=1", "training.batch_size=512", "metrics.resamples=0", "data.threads=1"),
]
EACH = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")

start_tensorflow("cpu")


@pytest.fixture(scope="module", autouse=True)
def _logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with all logs, where commands run; configs name them as `data/<name>/...`."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("layouts")
    os.chdir(folder)
    for layout in LAYOUTS:
        layout.write(folder / "data" / layout.name)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    os.chdir(before)


@pytest.fixture(autouse=True)
def _without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without report and attention; without graphs, which take longer to trace than these logs to train on."""
    monkeypatch.setattr("din_train.report.report.write_report", lambda *_: None)
    monkeypatch.setattr("din_train.explain.examples.write_attention", lambda *_: None)


def read_manifest(config: Config) -> Any:
    return orjson.loads((config.data.prepared / "manifest.json").read_bytes())


def test_every_config_has_a_layout_and_names_its_own_command() -> None:
    paths = sorted(CONFIGS.glob("*.yaml"))
    assert sorted(path.stem for path in paths) == sorted(layout.name for layout in LAYOUTS)
    for path in paths:
        header = path.read_text(encoding="utf-8").partition("\nname:")[0]
        assert f"din-train fit --config configs/logs/{path.name}" in header


@EACH
def test_the_shipped_config_trains(layout: Layout) -> None:
    config = load_config(CONFIGS / f"{layout.name}.yaml", TINY)
    (metrics,) = fit(config)
    manifest = read_manifest(config)
    assert metrics.auc is not None
    assert 0 <= metrics.auc <= 1
    assert [(file["name"], file["rejected"]) for file in manifest["read"] if file["rejected"]] == []
    assert sum(file["lines"] for file in manifest["read"]) > 300


@EACH
def test_the_inspected_config_prepares_after_at_most_two_edits(layout: Layout) -> None:
    result = CliRunner().invoke(cli, ["data", "inspect", f"data/{layout.name}/{layout.log}"])
    assert result.exit_code == 0, result.stderr
    assert len(layout.edits) <= 2
    values = yaml.safe_load(result.stdout)
    for key, value in layout.edits.items():
        set_key(values, key, value)
    values["data"]["prepared"] = f"inspected/{layout.name}"
    config, shipped = Config.model_validate(values), load_config(CONFIGS / f"{layout.name}.yaml")
    assert config.data.source == shipped.data.source
    if shipped.data.columns is not None and config.data.columns is not None:
        for role in ("user", "item", "timestamp", "time_format"):
            assert getattr(config.data.columns, role) == getattr(shipped.data.columns, role), role
    if shipped.data.sequences is not None and config.data.sequences is not None:
        for name, sequence in shipped.data.sequences.items():
            assert config.data.sequences[name].item == sequence.item
    prepare_data(config, force=False, progress=lambda _: None)
    shares = read_manifest(config)["positives_share"]
    assert [split for split, share in shares.items() if share is None or not 0 < share < 1] == []


def set_key(values: dict[str, Any], key: str, value: object) -> None:
    """Edit a key of a config."""
    *parents, last = key.split(".")
    section: Any = values
    for parent in parents:
        section = section[parent]
    section[last] = value

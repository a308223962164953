"""Presets, and keys of `model` and `training` that do not go together."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from din_train.config import Config, dump_config, load_config
from din_train.config.load import PRESETS
from din_train.config.schema import Preset

Load = Callable[..., Config]
Problems = Callable[..., list[str]]


def test_every_preset_is_a_file_with_a_header_and_every_file_a_preset() -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in PRESETS.glob("*.yaml")}
    assert set(files) == set(get_args(Preset))
    for name, text in files.items():
        header = [line for line in text.splitlines() if line.startswith("#")]
        assert len(header) >= (1 if name == "din" else 3), name


@pytest.mark.parametrize("name", get_args(Preset))
def test_every_preset_loads_and_is_not_the_default(load: Load, name: str) -> None:
    config = load(f"preset={name}")
    assert config.preset == name
    assert config.model != load().model or config.training != load().training


def test_what_the_sources_say(load: Load) -> None:
    paper, official, blog = (load(f"preset=din-{name}") for name in ("paper", "official", "blog"))
    unit = paper.model.local_activation_unit
    assert (unit.hidden_units, unit.normalization, paper.model.mlp.hidden_units) == ((36,), "none", (200, 80))
    assert official.model.interest.units == 128
    assert official.training.optimizer.clip_norm == 5
    assert official.training.optimizer.schedule.steps == (336_000,)
    assert blog.model.local_activation_unit.normalization == "sigmoid"
    assert len(blog.model.local_activation_unit.inputs) == 4
    assert len(load("preset=din-blog-3").model.local_activation_unit.inputs) == 3


def test_the_config_goes_before_the_preset(load: Load) -> None:
    config = load("preset=din-official", "model.mlp.activation=dice", "training.optimizer.clip_norm=null")
    assert config.model.mlp.activation == "dice"
    assert config.model.mlp.hidden_units == (80, 40)
    assert config.training.optimizer.clip_norm is None
    assert config.training.epochs == 3


def test_a_dumped_config_keeps_what_was_emptied(load: Load, tmp_path: Path) -> None:
    config = load("preset=din-official", "training.optimizer.clip_norm=null")
    path = tmp_path / "dumped.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert path.read_text(encoding="utf-8").startswith("# preset: din-official\n")
    again = load_config(path)
    assert (again.model, again.training, again.data) == (config.model, config.training, config.data)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["preset=din-best"],
            "preset: received 'din-best', expected 'din', 'din-paper', 'din-official', 'din-blog', 'din-blog-3' or "
            "'din-bars'",
        ),
        (
            ["model.local_activation_unit.inputs=[candidate]"],
            "model.local_activation_unit.inputs: received candidate alone, which is the same for every behaviour; add "
            "history",
        ),
        (
            ["model.local_activation_unit.inputs=[history, history]"],
            "model.local_activation_unit.inputs: received history, history, expected each at most once",
        ),
        (
            ["model.name=pnn", "model.item_embedding_size=32"],
            "model.category_embedding_size: received 64 beside an item_embedding_size of 32, but 'pnn' multiplies rows "
            "of different fields with each other; give both the same width",
        ),
        (
            ["model.name=deepfm", "data.context_fields=[hour]"],
            "model.field_embedding_size: received 16 beside an item_embedding_size of 64, but 'deepfm' multiplies rows "
            "of different fields (data.context_fields) with each other; give both the same width",
        ),
        (
            ["model.user_candidate_product=true", "model.interest.units=64"],
            "model.interest.units: received 64, but user_candidate_product multiplies the interest with the "
            "candidate, 128 wide; use 128",
        ),
        (
            ["model.name=deepfm", "model.interest.units=80"],
            "model.interest.units: received 80 beside an item_embedding_size of 64, but 'deepfm' multiplies fields of "
            "that width with each other; use a multiple of it",
        ),
        (
            ["training.optimizer.schedule.name=step"],
            "training.optimizer.schedule.steps: missing, expected the steps after which the rate is multiplied, such "
            "as [336000]",
        ),
        (
            ["training.optimizer.schedule.steps=[10]"],
            "training.optimizer.schedule.steps: not used by schedule 'constant'; remove it, or use name: step",
        ),
        (
            ["training.optimizer.schedule={name: step, steps: [20, 10]}"],
            "training.optimizer.schedule.steps: received 20, 10, expected rising numbers",
        ),
        (
            ["training.deterministic=true", "training.jit_compile=on"],
            "training.jit_compile: received 'on' with deterministic: true, but XLA promises no equal bits; turn one "
            "off",
        ),
        (
            ["training.strategy=mirrored", "training.jit_compile=on"],
            "training.jit_compile: received 'on' with strategy: mirrored, which runs without XLA; turn one off",
        ),
        (
            ["training.optimizer.schedule.name=plateau", "training.select_on=none"],
            "training.optimizer.schedule.name: received 'plateau' with select_on 'none': there is no metric to watch; "
            "use step or constant",
        ),
    ],
)
def test_one_problem_one_line(problems: Problems, overrides: list[str], line: str) -> None:
    assert problems(*overrides) == [line]


@pytest.mark.parametrize(("text", "value"), [("on", "on"), ("off", "off"), ("auto", "auto"), ("'on'", "on")])
def test_switches_need_no_quotes(load: Load, text: str, value: str) -> None:
    assert load(f"training.jit_compile={text}").training.jit_compile == value

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


@pytest.mark.parametrize(
    ("overrides", "cuts"),
    [
        ([], {"epochs": (3.0,)}),
        (["training.optimizer.schedule.steps=[10]"], {"steps": (10,)}),
        (["training.optimizer.schedule={name: step, at: [0.5, 0.75]}"], {"at": (0.5, 0.75)}),
        (["training.optimizer.schedule.factor=0.5"], {"epochs": (3.0,)}),
        (["training.optimizer.schedule.name=plateau"], {}),
    ],
)
def test_another_schedule_takes_the_place_of_the_presets_cuts(
    load: Load, overrides: list[str], cuts: dict[str, tuple[float, ...]]
) -> None:
    assert load("preset=din", *overrides).training.optimizer.schedule.cuts == cuts


def test_a_schedule_counts_epochs_and_shares_of_the_training(load: Load) -> None:
    """Of 4 epochs of 7 steps."""
    for cuts, steps in (("epochs: [3]", [21]), ("epochs: [0.5, 2]", [4, 14]), ("at: [0.5]", [14]), ("steps: [5]", [5])):
        schedule = load(f"training.optimizer.schedule={{name: step, {cuts}}}").training.optimizer.schedule
        assert schedule.find_steps(epochs=4, steps_per_epoch=7) == steps


@pytest.mark.parametrize(
    ("overrides", "method"),
    [
        ([], "none"),
        (["training.loss.name=softmax"], "platt"),
        (["training.loss.name=bpr", "training.calibration=none"], "none"),
        (["training.loss.name=bpr", "training.select_on=none"], "platt"),
        (["training.loss.name=softmax", "data.protocol=paper"], "none"),
        (["training.calibration=isotonic"], "isotonic"),
    ],
)
def test_scores_of_lists_are_calibrated_if_there_are_validation_rows(
    load: Load, overrides: list[str], method: str
) -> None:
    assert load(*overrides).training.calibration == method


def test_drawn_negatives_of_a_preset_are_for_logs_without_their_own(load: Load) -> None:
    columns = "data.columns={user: u, item: i, timestamp: t, label: y}"
    drawn, labelled, own = (load("preset=din-strong", *more) for more in ([], [columns], ["negatives.per_positive=2"]))
    assert (drawn.negatives.resample, own.negatives.resample) == ("epoch", "epoch")
    assert own.negatives.per_positive == 2
    assert labelled.negatives == load().negatives
    assert (labelled.training.loss.name, labelled.training.calibration) == ("softmax", "platt")


@pytest.mark.parametrize(("name", "protocol"), [("sports_x1", "presampled"), ("amazon_sports", "holdout")])
@pytest.mark.parametrize(("preset", "epochs"), [("din", 8), ("din-strong", 4)])
def test_a_shipped_config_takes_a_preset_whole(load: Load, name: str, protocol: str, preset: str, epochs: int) -> None:
    """Nothing of the preset is overwritten, but that rows of x1 are trained on again."""
    path = PRESETS.parents[2] / "configs" / f"{name}.yaml"
    shipped = load_config(path, [f"preset={preset}", f"data.protocol={protocol}"])
    alone = load(f"preset={preset}", f"training.epochs={epochs}")
    assert shipped.model == alone.model
    assert shipped.training.model_copy(update={"refit": False}) == alone.training
    assert shipped.negatives == alone.negatives


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
            "preset: received 'din-best', expected 'din', 'din-paper', 'din-official', 'din-blog', 'din-blog-3', "
            "'din-bars' or 'din-strong'",
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
            "training.optimizer.schedule.epochs: missing, expected the epochs after which the rate is multiplied, such "
            "as [3]",
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
            ["training.optimizer.schedule={name: step, epochs: [3], at: [0.5]}"],
            "training.optimizer.schedule.at: not used beside epochs; remove one of them",
        ),
        (
            ["training.loss.name=bpr", "training.early_stopping.metric=logloss"],
            "training.early_stopping.metric: received 'logloss', but scores of loss 'bpr' are no probabilities before "
            "they are calibrated, after the training; use gauc or auc",
        ),
        (
            ["training.loss={name: softmax, positive_weight: 5}"],
            "training.loss.positive_weight: received 5, which is not used by loss 'softmax': it compares clicked rows "
            "with others, so that their weight changes nothing; remove it, or use logloss",
        ),
        (
            ["data.protocol=paper", "training.calibration=isotonic"],
            "training.calibration: received 'isotonic', which is fitted on validation rows, but protocol 'paper' has "
            "none; use none, or another protocol",
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

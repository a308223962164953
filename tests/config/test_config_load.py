"""What a good config comes to: defaults, overrides, YAML's corners, and the way back to YAML."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from din_train.config import Config, TrainingConfig, dump_config, load_config

Load = Callable[..., Config]
REPOSITORY = Path(__file__).parents[2]
SHIPPED = [*sorted((REPOSITORY / "configs").glob("*.yaml")), *sorted((REPOSITORY / "din_train").rglob("starter*.yaml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_loads_and_names_its_own_command(path: Path) -> None:
    config = load_config(path)
    header = path.read_text(encoding="utf-8").split("\nname:")[0]
    shown = "din-train.yaml" if path.name.startswith("starter") else f"configs/{path.name}"
    assert f"din-train fit --config {shown}" in header
    assert config.name


def test_keys_left_out_take_their_defaults(load: Load) -> None:
    config = load()
    assert config.data.protocol == "holdout"
    assert config.data.columns is not None
    assert config.data.columns.category is None
    assert config.data.events == Path("events.csv")
    assert config.model.mlp.hidden_units == (256, 128, 64)
    assert config.training.optimizer.learning_rate == 0.001


@pytest.mark.parametrize(("protocol", "select_on"), [("holdout", "validation"), ("paper", "none")])
def test_select_on_follows_the_protocol(load: Load, protocol: str, select_on: str) -> None:
    assert load(f"data.protocol={protocol}").training.select_on == select_on
    assert load(f"data.protocol={protocol}", "training.select_on=null").training.select_on == select_on


def test_select_on_follows_the_protocol_of_sections_built_in_code(load: Load) -> None:
    sections = load("data.protocol=paper")
    config = Config(name="a", data=sections.data, model=sections.model, training=TrainingConfig(epochs=1))
    assert config.training.select_on == "none"


def test_overrides_set_nested_keys_and_the_last_wins(load: Load) -> None:
    config = load("model.mlp.hidden_units=[8, 4]", "training.epochs=5", "training.epochs=7", "data.columns.category=c")
    assert config.model.mlp.hidden_units == (8, 4)
    assert config.training.epochs == 7
    assert config.data.columns is not None
    assert config.data.columns.category == "c"


@pytest.mark.parametrize(
    ("text", "path"), [("*.csv", "*.csv"), ("a=b.csv", "a=b.csv"), ("'12'", "12"), ("2020-13-01", "2020-13-01")]
)
def test_an_override_that_is_not_yaml_is_taken_as_it_is(load: Load, text: str, path: str) -> None:
    assert load(f"data.events={text}").data.events == Path(path)


def test_an_override_opens_an_empty_section(config_file: Path) -> None:
    with config_file.open("a") as file:
        file.write("vocabulary:\n")
    assert load_config(config_file, ["vocabulary.unknown_rate=0.5"]).vocabulary.unknown_rate == 0.5


@pytest.mark.parametrize(
    ("text", "number"), [("1e-3", 1e-3), ("1E-3", 1e-3), ("1.e-3", 1e-3), ("5e-1", 0.5), ("1", 1.0)]
)
def test_numbers_as_people_write_them(load: Load, text: str, number: float) -> None:
    assert load(f"training.optimizer.learning_rate={text}").training.optimizer.learning_rate == number


def test_merge_keys_are_overridden_not_given_twice(config_file: Path) -> None:
    config_file.write_text(
        """\
name: small
data: {source: table, events: a.csv, columns: {user: u, item: i, timestamp: t}, prepared: p/x}
model:
  name: din
  mlp: &layers {hidden_units: [8], activation: relu}
  local_activation_unit: {<<: *layers, activation: sigmoid}
training: {epochs: 1}
"""
    )
    model = load_config(config_file, ["model.mlp.hidden_units=[16]"]).model
    assert model.local_activation_unit.hidden_units == (8,)
    assert model.local_activation_unit.activation == "sigmoid"
    assert (model.mlp.hidden_units, model.mlp.activation) == ((16,), "relu")


def test_an_override_does_not_reach_through_an_anchor(config_file: Path) -> None:
    config_file.write_text(
        """\
name: small
data: {source: table, events: a.csv, columns: {user: u, item: i, timestamp: t}, prepared: p/x}
model: {name: din, mlp: &layers {hidden_units: [8]}, local_activation_unit: *layers}
training: {epochs: 1}
"""
    )
    model = load_config(config_file, ["model.mlp.hidden_units=[16]"]).model
    assert (model.mlp.hidden_units, model.local_activation_unit.hidden_units) == ((16,), (8,))


def test_a_byte_order_mark_is_no_part_of_the_first_key(config_file: Path) -> None:
    config_file.write_bytes(b"\xef\xbb\xbf" + config_file.read_bytes())
    assert load_config(config_file).name == "small"


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data.protocol=paper", "training.select_on=test"],
        ["name='1e5'", "data.columns.user='007'", "data.columns.item='yes'", "data.columns.timestamp='1e-3'"],
        [
            "data.events=données/été.csv",
            "training.optimizer.learning_rate=1e-7",
            "model.local_activation_unit.scale=no",
        ],
        ["data.columns=", "data.events=", "data.source=amazon-2014", "data.reviews=r.gz", "data.items=m.gz"],
    ],
)
def test_dumped_and_loaded_again_is_equal(load: Load, tmp_path: Path, overrides: list[str]) -> None:
    config = load(*overrides)
    dumped = tmp_path / "dumped.yaml"
    dumped.write_text(dump_config(config), encoding="utf-8")
    assert load_config(dumped) == config
    assert dump_config(load_config(dumped)) == dump_config(config)


def test_frozen(load: Load) -> None:
    config = load()
    with pytest.raises(ValidationError, match="frozen"):
        config.training.epochs = 4  # type: ignore[misc]


def test_every_key_says_what_it_means() -> None:
    def undescribed(section: type[BaseModel], prefix: str = "") -> list[str]:
        missing = []
        for key, field in section.model_fields.items():
            sections = [
                each
                for each in (field.annotation, *getattr(field.annotation, "__args__", ()))
                if isinstance(each, type) and issubclass(each, BaseModel)
            ]
            missing += undescribed(sections[0], f"{prefix}{key}.") if sections else []
            missing += [] if sections or field.description else [prefix + key]
        return missing

    assert undescribed(Config) == []

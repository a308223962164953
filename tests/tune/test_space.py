"""A space is refused at once if the config cannot have it, or if trials would not compare."""

from pathlib import Path

import pytest

from din_train.config import load_config
from din_train.errors import ConfigError
from din_train.tune.space import Range, Space, check_space, read_space

REPOSITORY = Path(__file__).parents[2]
SAMPLE = REPOSITORY / "configs/sample.yaml"


def read(folder: Path, text: str) -> Space:
    (folder / "space.yaml").write_text(text)
    return read_space(folder / "space.yaml")


def check(space: Space, *overrides: str) -> None:
    check_space(space, SAMPLE, overrides, load_config(SAMPLE, overrides))


def find_problems(folder: Path, text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        check(read(folder, text), *overrides)
    return caught.value.problems


def test_choices_and_ranges_are_read(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        "training.optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "model.item_embedding_size: {low: 16, high: 64, step: 16}\n"
        "model.mlp.hidden_units: [[80, 40], [200, 80]]\nmodel.item_bias: [true, false]\n",
    )
    assert space.keys == {
        "training.optimizer.learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "model.item_embedding_size": Range(low=16, high=64, step=16),
        "model.mlp.hidden_units": ("[80,40]", "[200,80]"),
        "model.item_bias": ("true", "false"),
    }
    assert [each.is_whole for each in space.keys.values() if isinstance(each, Range)] == [False, True]
    assert list(space.list_overrides())[2:6] == [
        "model.item_embedding_size=16",
        "model.item_embedding_size=64",
        "model.mlp.hidden_units=[80,40]",
        "model.mlp.hidden_units=[200,80]",
    ]
    check(space)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1]", "a: expected a list of at least two choices, or a range such as {low: 1, high: 5}"),
        ("a: 1", "a: expected a list of at least two choices, or a range such as {low: 1, high: 5}"),
        ("a: [1, 1]", "a: a choice stands there twice; remove one"),
        ("a: {low: 5, high: 5}", "a.high: received 5, expected more than low, 5"),
        ("a: {low: 0, high: 5, log: true}", "a.low: received 0 with log: true, expected a positive number"),
        ("a: {low: 1, high: 5, step: 2, log: true}", "a.step: not used with log: true; remove one of them"),
        (
            "a: {low: 1, high: 10, step: 4}",
            "a.high: received 10, which no number of steps of 4 from low, 1, reaches; use 9 or 13",
        ),
        (
            "a: {low: 0.1, high: 0.5, step: 0.15}",
            "a.high: received 0.5, which no number of steps of 0.15 from low, 0.1, reaches; use 0.40 or 0.55",
        ),
        (
            "a: {low: 1, high: 5, step: 16}",
            "a.high: received 5, which no number of steps of 16 from low, 1, reaches; use 17",
        ),
        ("a: {low: 1}", "a.high: missing, expected the largest number"),
        (
            "a: {low: 1, hihg: 5, high: 5}",
            "a.hihg: unknown key, did you mean 'high'? expected one of low, high, step, log",
        ),
        ("5: [1, 2]", "received a key that is no text, expected a space, such as configs/spaces/din-small.yaml"),
        ("[]", "received a list, expected a space, such as configs/spaces/din-small.yaml"),
    ],
)
def test_what_is_no_space_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert find_problems(tmp_path, text) == (f"{tmp_path / 'space.yaml'}: {problem}",)


def test_a_missing_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: no such file; expected a space"):
        read_space(tmp_path / "none.yaml")


def test_keys_and_values_are_checked_against_the_schema(tmp_path: Path) -> None:
    text = "model.nam: [din, base]\ntraining.batch_size: {low: 0, high: 64}\nmodel.mlp.dropout: {low: 0, high: 1}"
    unknown, unknown_too, small, fractions, large = find_problems(tmp_path, text)
    assert unknown.startswith(f"--space: model.nam=\"din\": {SAMPLE}: model.nam: unknown key, did you mean 'name'?")
    assert unknown_too.startswith('--space: model.nam="base": ')
    assert "training.batch_size: received 0, expected" in small
    assert "model.mlp.dropout: received 1" in large
    what = "takes fractions, but its range is of whole numbers; write low: 0.0, or give a step"
    assert fractions == f"--space: model.mlp.dropout: {what}"
    (whole,) = find_problems(tmp_path, "model.item_embedding_size: {low: 16, high: 32, step: 0.5}")
    assert "model.item_embedding_size: takes whole numbers, but its range has fractions" in whole


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("seed: [1, 2]", "seed: would change seed,"),
        ("training.select_on: [validation, none]", "training.select_on: would change training.select_on,"),
        ("training.refit: [true, false]", "training.refit: would change training.refit,"),
        ("training.early_stopping.metric: [gauc, auc]", "training.early_stopping.metric: would change "),
        (
            "metrics.gauc_weighting: [uniform, impressions]",
            "metrics.gauc_weighting: would change metrics.gauc_weighting,",
        ),
        ("data.prepared: [a, b]", "data.prepared: would change data.prepared,"),
        ("negatives.per_positive: [1, 4]", "would change the prepared data set (negatives.per_positive),"),
        ("vocabulary.min_count: [0, 2]", "would change the prepared data set (vocabulary.min_count),"),
        ("filters.k_core: {low: 1, high: 5}", "would change the prepared data set (filters.k_core),"),
    ],
)
def test_what_all_trials_share_is_not_searched(tmp_path: Path, text: str, changed: str) -> None:
    [problem] = find_problems(tmp_path, text)
    assert changed in problem
    assert problem.endswith("which all trials share; leave it out")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs/spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_spaces_suit_the_sample_and_every_preset_of_din(path: Path) -> None:
    space = read_space(path)
    assert f"--space configs/spaces/{path.name}" in path.read_text()
    check(space)
    check(space, "preset=din")

"""Which cells there are, and that each one's config is what its recipe says."""

from pathlib import Path
from typing import Any

import pytest
from paper_cells import plan_cells

from din_train.config import Config, load_config
from din_train.errors import DataError
from din_train.reproduce import DATASETS, MODELS, SUITES
from din_train.reproduce.paper_suites import ReproduceOptions, find_logs, load_recipes, load_suite
from din_train.sweep import Cell


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to reproduce in, with the shipped sample where commands look for it."""
    (tmp_path / "data").symlink_to(Path(__file__).parents[2] / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells_of(dataset: str, *suites: str, seeds: int = 3, **more: Any) -> list[Cell]:
    return plan_cells(Path("out"), dataset, *suites, seeds=seeds, **more)


def load_written(cells: list[Cell]) -> list[Config]:
    """The configs as `fit` reads them."""
    return [load_config(cell.file("yaml")) for cell in cells]


def test_the_names_on_the_command_line_are_those_of_the_rows_and_files() -> None:
    assert set(MODELS) == {row.key for suite in SUITES for row in load_suite(suite).rows}
    folder = Path(__file__).parents[2] / "din_train" / "reproduce"
    for kind, names in (("datasets", DATASETS), ("suites", SUITES)):
        assert {path.stem for path in (folder / kind).glob("*.yaml")} == set(names)
    for name in DATASETS:
        assert load_config(folder / "datasets" / f"{name}.yaml").name == name  # an ordinary config, to be trained


OURS = ("ours", "ours-strong")


def test_table_3_has_seven_models_by_ours_and_two_by_the_others_with_one_seed() -> None:
    names = [cell.name for cell in cells_of("electronics", "table3", seeds=2)]
    models = ("lr", "base", "wide-deep", "pnn", "deepfm", "din", "din-dice")
    assert names == [
        *(f"electronics-{ours}-{model}-seed{seed}" for ours in OURS for seed in (1, 2) for model in models),
        *(f"electronics-{recipe}-{model}-seed1" for recipe in ("paper", "official") for model in models[-2:]),
    ]


def test_suites_share_their_cells() -> None:
    all_cells = cells_of("sample", *SUITES, seeds=1)
    # `base` is the L2 of table 4, DIN with Dice is figure 5 and a leaderboard's
    assert len(all_cells) == 7 + 4 + 4 + 7 + 2 * 2  # and ours-strong, and two models of paper and of official
    assert len({cell.run.path for cell in all_cells}) == len(all_cells)
    assert [cell.name for cell in cells_of("sample", "figure5", seeds=5)] == ["sample-ours-din-dice-seed1"]


def test_the_leaderboard_trains_dins_relatives_as_din_on_the_rows_of_others() -> None:
    configs = load_written(cells_of("sports-x1", "leaderboard", seeds=1))
    assert [config.model.name for config in configs] == ["base", "din", "dien", "bst", "tin"]
    first, *others = configs
    for config in others:
        assert config.training == first.training
        assert config.model.model_copy(update={"name": "base"}) == first.model


def test_models_keep_only_their_rows() -> None:
    cells = cells_of("sports", "table3", recipes=("ours",), seeds=1, models=("base", "din"))
    assert [cell.place[-1] for cell in cells] == ["base", "din"]


def test_movielens_has_no_official_recipe_as_the_authors_released_none() -> None:
    assert {cell.place[1] for cell in cells_of("movielens", "table3")} == {"ours", "paper"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_cell_is_a_config_and_ours_never_looks_at_the_test_split(dataset: str) -> None:
    cells = cells_of(dataset, *SUITES, seeds=1)
    for cell, config in zip(cells, load_written(cells), strict=True):
        assert config == cell.config.model_copy(update={"preset": None})
        assert (config.name, config.seed) == (cell.name, 1)
        assert config.data.prepared.parent == Path("out/prepared")
        if cell.place[1] in OURS:
            assert config.training.select_on == "validation"
            assert config.training.refit
            assert config.data.protocol in ("presampled" if dataset.endswith("x1") else "holdout", "user")


def test_recipe_ours_trains_all_models_the_same_way_but_for_the_l2_of_lr() -> None:
    configs = load_written(cells_of("electronics", "table3", recipes=("ours",), seeds=1))
    assert [config.training.regularization.name for config in configs] == ["none"] + ["dense_l2"] * 6
    assert len({str(config.training) for config in configs[1:]}) == 1
    assert configs[0].training.optimizer == configs[1].training.optimizer
    assert configs[0].training.optimizer.schedule.steps == (3 * 2_172,)  # 2,223,958 rows in batches of 1,024
    sizes = {(config.model.item_embedding_size, config.model.mlp.hidden_units) for config in configs}
    assert len(sizes) == 1
    activations = [(config.model.local_activation_unit.activation, config.model.mlp.activation) for config in configs]
    assert activations[-2:] == [("prelu", "prelu"), ("dice", "dice")]
    assert {mlp for _, mlp in activations[1:-1]} == {"prelu"}
    models = [config.model.name for config in configs]
    assert models == ["lr", "base", "wide_deep", "pnn", "deepfm", "din", "din"]


def test_recipe_ours_strong_gives_all_models_the_same_tricks() -> None:
    configs = load_written(cells_of("electronics", "table3", recipes=("ours-strong",), seeds=1))
    assert [config.model.name for config in configs] == ["lr", "base", "wide_deep", "pnn", "deepfm", "din", "din"]
    assert len({str(config.training) for config in configs[1:]}) == 1
    assert len({str(config.negatives) for config in configs}) == 1
    for config in configs:
        assert (config.training.loss.name, config.training.calibration) == ("softmax", "platt")
        assert (config.negatives.resample, config.training.leave_one_out) == ("epoch", 0.5)
        assert (config.model.embedding_initializer == "spectral") == (config.model.name != "lr")
        assert config.training.optimizer.schedule.cuts == {"epochs": (2.0,)}


def test_the_papers_settings() -> None:
    for config in load_written(cells_of("electronics", "table3", recipes=("paper",))):
        optimizer = config.training.optimizer
        assert (optimizer.name, optimizer.learning_rate, optimizer.schedule.factor) == ("sgd", 1.0, 0.1)
        assert (config.training.batch_size, optimizer.schedule.steps) == (32, (336_000,))
        assert (config.data.protocol, config.training.select_on) == ("paper", "none")
    (sports,) = load_written(cells_of("sports", "table3", recipes=("paper",), models=("din",)))
    assert sports.training.optimizer.schedule.steps == (286_336,)  # 4.12 x 69,499 batches of 32


def test_the_official_recipe_selects_on_the_test_split_and_says_so() -> None:
    configs = load_written(cells_of("electronics", "table3", recipes=("official",)))
    assert {config.training.select_on for config in configs} == {"test"}
    assert "TEST" in load_recipes("electronics", ["official"])[0].selection
    activations = [(config.model.local_activation_unit.activation, config.model.mlp.activation) for config in configs]
    assert activations == [("sigmoid", "sigmoid"), ("sigmoid", "dice")]


def test_movielens_has_the_papers_users() -> None:
    for name, validation in (("ours", 10_000), ("paper", 0)):  # 138,493 in all: 100,000 train and validate
        for config in load_written(cells_of("movielens", "table3", recipes=(name,))):
            assert config.data.user_split is not None
            assert (config.data.user_split.validation, config.data.user_split.test) == (validation, 38_493)
            assert (config.data.click_rating, config.data.protocol) == (4, "user")


def test_missing_logs_are_one_line_with_what_to_fetch_and_where_to_put_it(place: Path) -> None:
    (place / "logs").mkdir()
    with pytest.raises(DataError) as caught:
        find_logs(place / "out", ReproduceOptions(("table3",), ("electronics", "sample"), 1, data_dir=place / "logs"))
    (line,) = caught.value.problems
    assert "\n" not in line
    assert "reviews_Electronics_5.json.gz and meta_Electronics.json.gz" in line
    assert f"in {place / 'logs'}" in line
    for part in ("make data-electronics", "snap.stanford.edu", "DATA_DIR", "DATA=sample"):
        assert part in line


def test_logs_put_in_place_by_hand_are_found_packed_or_not(place: Path) -> None:
    folder = place / "logs" / "electronics"
    folder.mkdir(parents=True)
    (folder / "reviews_Electronics_5.json").touch()
    (folder / "meta_Electronics.json.gz").touch()
    logs = find_logs(place / "out", ReproduceOptions(("table3",), ("electronics",), 1, data_dir=place / "logs"))
    assert logs == {
        "electronics": {
            "reviews": folder / "reviews_Electronics_5.json",
            "items": folder / "meta_Electronics.json.gz",
        }
    }
    logs = find_logs(place / "out", ReproduceOptions(("table3",), ("sample",), 1))
    assert logs["sample"]["items"] == Path("data/sample/meta_Sample.json.gz")

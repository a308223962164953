"""Which cells there are, and that each one's config is what its recipe says."""

from pathlib import Path
from typing import Any

import pytest

from din_train.config import Config
from din_train.config.load import load_config
from din_train.reproduce.catalogue import DATASETS, RECIPES, SUITES, load_dataset, load_recipe, load_suite, merge
from din_train.reproduce.cells import Cell, build_cells, list_recipes
from din_train.reproduce.logs_at_hand import describe_missing, find_files

ROWS = {"samples": {"train": 2_223_958}}
OUT = Path("out")


def cells_of(dataset: str, *suites: str, recipes: tuple[str, ...] = RECIPES, seeds: int = 3, **more: Any) -> list[Cell]:
    data = load_dataset(dataset)
    found = list_recipes(data, recipes)
    files = {key: Path(name) for key, name in data.files.items()}
    manifests = {recipe.prepared: ROWS for recipe in found}
    return build_cells(OUT, data, files, found, [load_suite(each) for each in suites], manifests, seeds=seeds, **more)


def resolve(cell: Cell, folder: Path) -> Config:
    from din_train.config.yaml_text import dump_yaml

    path = folder / "cell.yaml"
    path.write_text(dump_yaml(cell.config))
    return load_config(path)


def test_table_3_has_seven_models_by_ours_and_two_by_the_others_with_one_seed() -> None:
    names = [cell.name for cell in cells_of("electronics", "table3", seeds=2)]
    models = ("lr", "base", "wide-deep", "pnn", "deepfm", "din", "din-dice")
    assert names == [
        *(f"electronics-ours-{model}-seed{seed}" for seed in (1, 2) for model in models),
        *(f"electronics-{recipe}-{model}-seed1" for recipe in ("paper", "official") for model in models[-2:]),
    ]


def test_suites_share_their_cells() -> None:
    all_cells = cells_of("sample", *SUITES, seeds=1)
    assert len(all_cells) == 7 + 4 + 4  # `base` is the L2 of table 4, DIN with Dice is figure 5
    assert len({cell.run.path for cell in all_cells}) == len(all_cells)
    assert [cell.name for cell in cells_of("sample", "figure5", seeds=5)] == ["sample-ours-din-dice-seed1"]


def test_models_keep_only_their_rows() -> None:
    cells = cells_of("sports", "table3", recipes=("ours",), seeds=1, models=("base", "din"))
    assert [cell.row.key for cell in cells] == ["base", "din"]


def test_movielens_has_no_official_recipe_as_the_authors_released_none() -> None:
    assert {cell.recipe.name for cell in cells_of("movielens", "table3")} == {"ours", "paper"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_cell_is_a_config(dataset: str, tmp_path: Path) -> None:
    for cell in cells_of(dataset, *SUITES, seeds=1):
        if cell.row.key != "base-filter":
            config = resolve(cell, tmp_path)
            assert (config.name, config.seed) == (cell.name, 1)
            assert config.training.epochs == cell.config["training"]["epochs"]


def test_recipe_ours_never_looks_at_the_test_split(tmp_path: Path) -> None:
    for dataset in DATASETS:
        for cell in cells_of(dataset, *SUITES, recipes=("ours",), seeds=1):
            if cell.row.key != "base-filter":
                config = resolve(cell, tmp_path)
                assert config.training.select_on == "validation"
                assert config.training.refit
                assert config.data.protocol in ("holdout", "user")


def test_recipe_ours_trains_all_models_the_same_way_but_for_the_l2_of_lr(tmp_path: Path) -> None:
    configs = [resolve(cell, tmp_path) for cell in cells_of("electronics", "table3", recipes=("ours",), seeds=1)]
    assert [config.training.regularization.name for config in configs] == ["none"] + ["dense_l2"] * 6
    assert len({str(config.training) for config in configs[1:]}) == 1
    assert configs[0].training.optimizer == configs[1].training.optimizer
    assert configs[0].training.optimizer.schedule.steps == (3 * 2_172,)  # 2,223,958 rows in batches of 1,024
    sizes = {(config.model.item_embedding_size, config.model.mlp.hidden_units) for config in configs}
    assert len(sizes) == 1
    activations = [(config.model.local_activation_unit.activation, config.model.mlp.activation) for config in configs]
    assert activations[-2:] == [("prelu", "prelu"), ("dice", "dice")]
    assert {mlp for _, mlp in activations[1:-1]} == {"prelu"}


def test_the_papers_settings(tmp_path: Path) -> None:
    for cell in cells_of("electronics", "table3", recipes=("paper",)):
        config = resolve(cell, tmp_path)
        optimizer = config.training.optimizer
        assert (optimizer.name, optimizer.learning_rate, optimizer.schedule.factor) == ("sgd", 1.0, 0.1)
        assert (config.training.batch_size, optimizer.schedule.steps) == (32, (336_000,))
        assert (config.data.protocol, config.training.select_on) == ("paper", "none")


def test_the_official_recipe_selects_on_the_test_split_and_says_so(tmp_path: Path) -> None:
    for cell in cells_of("electronics", "table3", recipes=("official",)):
        assert resolve(cell, tmp_path).training.select_on == "test"
        assert "TEST" in cell.recipe.selection
    activations = [
        (config.model.local_activation_unit.activation, config.model.mlp.activation)
        for cell in cells_of("electronics", "table3", recipes=("official",))
        for config in [resolve(cell, tmp_path)]
    ]
    assert activations == [("sigmoid", "sigmoid"), ("sigmoid", "dice")]


def test_movielens_has_the_papers_users() -> None:
    for name, validation in (("ours", 10_000), ("paper", 0)):  # 138,493 in all: 100,000 train and validate
        recipe = load_recipe(name, load_dataset("movielens"))
        assert recipe is not None
        assert recipe.config["data"]["user_split"] == {"validation": validation, "test": 38_493}
        assert recipe.config["data"]["click_rating"] == 4


def test_a_data_sets_changes_go_over_the_recipes() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_missing_logs_are_one_line_with_what_to_fetch_and_where_to_put_it(place: Path) -> None:
    (place / "logs").mkdir()
    electronics = load_dataset("electronics")
    assert find_files(electronics, place / "logs") is None
    line = describe_missing([electronics], place / "logs")
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
    files = find_files(load_dataset("electronics"), place / "logs")
    assert files == {"reviews": folder / "reviews_Electronics_5.json", "items": folder / "meta_Electronics.json.gz"}
    sample = find_files(load_dataset("sample"), None)
    assert sample is not None
    assert sample["items"] == Path("data/sample/meta_Sample.json.gz")

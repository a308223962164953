"""Cells of the catalogue with run directories as `fit` would have left them, without any training."""

from pathlib import Path
from typing import Any

import orjson

from din_train.checksums import indexed_file
from din_train.reproduce.catalogue import RECIPES, load_dataset, load_suite
from din_train.reproduce.cells import Cell, Cost, build_cells, list_recipes

ROWS = {"train": 2_223_958, "validation": 384_806, "test": 384_806}


def plan_cells(
    out: Path, dataset: str, *suites: str, recipes: tuple[str, ...] = RECIPES, seeds: int = 1, models: Any = ()
) -> list[Cell]:
    """What a command has to run, with the config files that it writes."""
    data = load_dataset(dataset)
    found = list_recipes(data, recipes)
    files = {key: Path("logs") / name for key, name in data.files.items()}
    manifests = {recipe.prepared: {"samples": ROWS} for recipe in found}
    cells = build_cells(
        out, data, files, found, [load_suite(each) for each in suites], manifests, seeds=seeds, models=models
    )
    for cell in cells:
        cell.write_config()
    return cells


def finish(cell: Cell, gauc: float | None, auc: float | None = 0.75, *, seconds: float = 100.0) -> None:
    """As if it had been trained."""
    cell.run.path.mkdir(parents=True)
    cell.run.write_metrics(
        {
            "model": cell.config["model"]["name"],
            "protocol": cell.config["data"]["protocol"],
            "split": "test",
            "selected_on": "validation",
            "auc": auc,
            "gauc": gauc,
            "logloss": 0.5,
            "gauc_weighting": "impressions",
            "rows_sha256": "00",
            "metric_definition": "00",
            "best_epoch": 3,
            "seed": cell.seed,
        }
    )
    cell.add_cost(Cost(seconds, 1_500_000_000))


def write_attention(cell: Cell, users: int = 6) -> None:
    """Activation weights of some users, each with one behaviour."""
    candidate = {"item": "B1", "title": "Tent <2 persons>", "category": "Camping", "click_probability": 0.5}
    behaviour = {
        "item": "B2",
        "title": "Stove & pan",
        "category": "Camping",
        "timestamp": 1_400_000_000,
        "weight_clicked": 0.8,
        "weight_sampled": 0.1,
    }
    examples = [
        {"user": f"reader-{n}", "clicked": candidate, "sampled": candidate, "behaviours": [behaviour]}
        for n in range(1, users + 1)
    ]
    with indexed_file(cell.run.attention_file) as temporary:
        temporary.write_bytes(orjson.dumps({"examples": examples}))

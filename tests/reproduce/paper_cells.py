"""Cells of the paper's grid with run directories as `fit` would have left them, without any training."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from record_factory import MANIFEST, METRICS

from din_train.checksums import indexed_file
from din_train.reproduce.paper_suites import ReproduceOptions, build_paper_cells
from din_train.sweep import Cell, Cost

TRAINING_ROWS = 2_223_958


def plan_cells(out: Path, dataset: str, *suites: str, seeds: int = 1, **more: Any) -> list[Cell]:
    """What a command has to run, with the config files that it writes."""
    options = ReproduceOptions(suites, (dataset,), seeds, **more)
    manifests = defaultdict(lambda: replace(MANIFEST, samples={"train": TRAINING_ROWS}))
    cells = build_paper_cells(out, options, dataset, {}, manifests)
    for cell in cells:
        cell.write_config()
    return cells


def finish(cell: Cell, gauc: float | None, auc: float | None = 0.75, *, seconds: float = 100.0) -> None:
    """As if it had been trained."""
    cell.run.path.mkdir(parents=True)
    model, protocol = cell.config.model.name, cell.config.data.protocol
    cell.run.write_metrics(
        replace(METRICS, model=model, protocol=protocol, auc=auc, gauc=gauc, best_epoch=3, seed=cell.seed)
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

"""A search whose trials `fake_fit.py` runs, if `sweep.FIT` says so."""

from collections.abc import Sequence
from pathlib import Path

from din_train.config import Config, load_config
from din_train.tune.space import Range, Space
from din_train.tune.study import Objective, Search

CONFIG = """
name: found
data: {source: table, events: log.tsv, columns: {user: u, item: i, category: c, timestamp: t}, prepared: prepared}
model: {name: lr}
training: {epochs: 4, optimizer: {weight_decay: 0.0}}
"""
RATE = "training.optimizer.learning_rate"
SPACE = Space({RATE: Range(low=0.001, high=0.1, log=True), "training.batch_size": ("128", "256")})


def open_search(out: Path, space: Space = SPACE, pause: float = 0.0, **facts: str) -> Search:
    """A study in `out`; each epoch of its trials takes `pause` seconds."""
    out.mkdir(exist_ok=True)
    (out / "base.yaml").write_text(CONFIG)

    def configure(kind: str, values: Sequence[str]) -> Config:
        refit = f"training.refit={'true' if kind == 'winner' else 'false'}"
        return load_config(out / "base.yaml", [f"training.optimizer.weight_decay={pause}", *values, refit])

    base = load_config(out / "base.yaml")
    return Search(out, space, Objective("gauc"), configure, base=base, facts={"space": space.to_json(), "facts": facts})


def list_starts(out: Path) -> dict[str, list[str]]:
    """Run -> the options of each of its starts."""
    return {path.parent.name: path.read_text().splitlines() for path in sorted(out.glob("runs/*/starts"))}

"""How much is checked and timed, everything or one of each."""

from dataclasses import dataclass

from synthetic_data import CAP

from din_train.config import ModelConfig
from din_train.config.load import PRESETS
from din_train.config.yaml_text import parse_yaml


@dataclass(frozen=True)
class Scope:
    """How much is checked and timed.

    presets: their names. lengths: kinds of batch. optimizers: of three steps and of the timings.
    batch_size, longest_history: of the three steps. distinct_batches: that are timed in turn.
    """

    presets: tuple[str, ...]
    lengths: tuple[str, ...]
    optimizers: tuple[str, ...]
    batch_size: int
    longest_history: int
    distinct_batches: int


FULL = Scope(
    presets=tuple(sorted(path.stem for path in PRESETS.glob("*.yaml"))),
    lengths=("mixed", "B=1", "T=1", "all empty", "all at the cap"),
    optimizers=("sgd", "adam"),
    batch_size=1024,
    longest_history=CAP,
    distinct_batches=8,
)
# Few XLA programs, and small ones: a batch's longest history is one bucket.
QUICK = Scope(
    presets=("din-blog-3",),
    lengths=("mixed",),
    optimizers=("adam",),
    batch_size=32,
    longest_history=8,
    distinct_batches=1,
)


def load_preset(name: str) -> ModelConfig:
    """The model of a preset, its other keys as the config has them."""
    text = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")
    return ModelConfig.model_validate(parse_yaml(text)["model"])

"""Train FuxiCTR's own DIN, that of its model zoo, on the samples, with its own `train_step`. See `measure.py`.

A batch has the form that the zoo's loader gives it: histories as long as the batch's longest, the target after them.
It is cut from arrays in memory, which costs less than the zoo's loader does.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.torch_utils import seed_everything
from measure import Settings, StepClock, print_result, read_task
from model_zoo.LongCTR.DIN import DIN
from numpy.typing import NDArray

Batch = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor]

MAX_GRADIENT_NORM = 10.0  # the default of its `fit`


def build_model(settings: Settings, scratch: Path) -> Any:
    """DIN with item and category tables shared by target and history, Dice everywhere, softmax over the history."""
    features = FeatureMap("bench", str(scratch))
    features.labels = ["label"]
    tables = {
        "item": (settings.item_ids, settings.item_embedding_size),
        "category": (settings.category_ids, settings.category_embedding_size),
    }
    for name, (rows, width) in tables.items():
        features.features[name] = {
            "type": "categorical",
            "source": "item",
            "vocab_size": rows,
            "embedding_dim": width,
            "padding_idx": 0,
        }
    return DIN(
        features,
        gpu=-1,
        dnn_hidden_units=list(settings.mlp_hidden_units),
        dnn_activations="Dice",
        attention_hidden_units=list(settings.unit_hidden_units),
        attention_hidden_activations="Dice",
        din_use_softmax=True,
        learning_rate=settings.learning_rate,
        optimizer="adam",
        loss="binary_crossentropy",
        metrics=["AUC"],
        model_root=str(scratch),
        verbose=0,
    )


def build_batches(samples: Mapping[str, NDArray[np.int32]], batch_size: int) -> Iterator[Batch]:
    """In the order given: the label, the items [B * (T + 1)] by field with the target last, the mask [B, T]."""
    for start in range(0, len(samples["label"]), batch_size):
        rows = slice(start, start + batch_size)
        longest = int(samples["history_length"][rows].max())
        items = {
            name: np.column_stack([samples[f"history_{name}_ids"][rows, :longest], samples[f"target_{name}_id"][rows]])
            for name in ("item", "category")
        }  # [B, T + 1]
        tensors = {name: torch.from_numpy(ids.reshape(-1).astype(np.int64)) for name, ids in items.items()}
        mask = torch.from_numpy(items["item"][:, :-1] > 0).float()
        yield {"label": torch.from_numpy(samples["label"][rows])}, tensors, mask


def main() -> None:
    """One pass in the order given, timed after the warm-up."""
    task = read_task()
    settings = task.settings
    seed_everything(settings.seed)
    model = build_model(settings, task.scratch)
    model._max_gradient_norm, model._batch_index = MAX_GRADIENT_NORM, 0  # what `fit` sets before the first step
    model.train()
    clock, losses = StepClock(settings.warm_up_steps), []
    for batch in build_batches(task.samples, settings.batch_size):
        losses.append(model.train_step(batch).item())
        clock.end_step()
    print_result(
        samples=clock.timed_steps * settings.batch_size,
        seconds=clock.seconds,
        loss=float(np.mean(losses)),
        threads=torch.get_num_threads(),
        packages=("fuxictr", "torch", "numpy"),
    )


if __name__ == "__main__":
    main()

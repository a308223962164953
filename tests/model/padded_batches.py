"""A padded batch against the flat one that it was cut from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from din_train.model.ranking_model import RankingModel
from din_train.training.training_batches import cut_into_blocks


def check_equal_logits(
    flat: RankingModel, padded: RankingModel, batch: Any, max_history_length: int, fields: Sequence[str] = ()
) -> None:
    """Two models of the same weights give one batch, whose rows have their own histories, the same training logits."""
    inputs, _ = batch
    order = np.argsort(inputs["history_length"], kind="stable")
    ordered = {name: values[order] for name, values in inputs.items() if name != "history_row"}
    blocks = cut_into_blocks(batch, max_history_length, fields)[0]
    expected = flat(ordered, training=True).numpy()
    assert padded(blocks, training=True).numpy() == pytest.approx(expected, abs=1e-5)

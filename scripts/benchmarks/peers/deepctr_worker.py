"""Train DeepCTR's own DIN on the samples, as its examples do: `model.fit` on arrays in memory. See `measure.py`.

Its inputs have a fixed length, so every history is padded to `max_history_length`.
"""

import os
import sys
from types import ModuleType
from typing import Any

from measure import Settings, StepClock, print_result, read_task

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def skip_version_check() -> None:
    """DeepCTR asks the network for newer versions of itself in a thread when it is imported: give it nothing to ask."""
    utils = ModuleType("deepctr.utils")
    utils.check_version = lambda _version: None  # type: ignore[attr-defined]
    sys.modules["deepctr.utils"] = utils


def build_model(settings: Settings) -> Any:
    """DIN with item and category tables shared by target and history, Dice everywhere, softmax over the history."""
    import tensorflow as tf
    from deepctr.feature_column import SparseFeat, VarLenSparseFeat
    from deepctr.models import DIN

    tables = {
        "item": (settings.item_ids, settings.item_embedding_size),
        "category": (settings.category_ids, settings.category_embedding_size),
    }
    targets = [SparseFeat(name, rows, embedding_dim=width) for name, (rows, width) in tables.items()]
    histories = [
        VarLenSparseFeat(
            SparseFeat(f"hist_{name}", rows, embedding_dim=width, embedding_name=name),
            maxlen=settings.max_history_length,
            length_name="seq_length",
        )
        for name, (rows, width) in tables.items()
    ]
    model = DIN(
        [*targets, *histories],
        list(tables),
        dnn_hidden_units=settings.mlp_hidden_units,
        dnn_activation="dice",
        att_hidden_size=settings.unit_hidden_units,
        att_activation="dice",
        att_weight_normalization=True,
        l2_reg_dnn=0,
        l2_reg_embedding=0,
        dnn_dropout=0,
        seed=settings.seed,
    )
    model.compile(tf.keras.optimizers.Adam(settings.learning_rate), "binary_crossentropy")
    return model


def build_callback(clock: StepClock) -> Any:
    """Tells the clock of each step's end."""
    import tensorflow as tf

    class EndOfStep(tf.keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            del batch, logs
            clock.end_step()

    return EndOfStep()


def main() -> None:
    """One pass in the order given, timed after the warm-up."""
    task = read_task()
    skip_version_check()
    import tensorflow as tf

    settings, samples = task.settings, task.samples
    tf.keras.utils.set_random_seed(settings.seed)
    clock = StepClock(settings.warm_up_steps)
    inputs = {
        "item": samples["target_item_id"],
        "category": samples["target_category_id"],
        "hist_item": samples["history_item_ids"],
        "hist_category": samples["history_category_ids"],
        "seq_length": samples["history_length"],
    }
    history = build_model(settings).fit(
        inputs,
        samples["label"].astype("float32"),
        batch_size=settings.batch_size,
        epochs=1,
        shuffle=False,
        verbose=0,
        callbacks=[build_callback(clock)],
    )
    print_result(
        samples=clock.timed_steps * settings.batch_size,
        seconds=clock.seconds,
        loss=float(history.history["loss"][0]),
        threads=tf.config.threading.get_intra_op_parallelism_threads() or None,
        packages=("deepctr", "tensorflow-cpu", "keras", "numpy"),
    )


if __name__ == "__main__":
    main()

"""One measurement of `bench_training.py`, in a process of its own: prints a JSON line.

    python scripts/benchmarks/training_worker.py '{"what": "ours", "prepared": "...", "batch_size": 1024, ...}'

`what` is one of

    textbook, ours          samples/s of training the same DIN on the same samples, batches included
    bound                   samples/s if a step were its matrix products and nothing else
    textbook-scores, ours-scores   samples/s of scoring
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[2] / "configs" / "bench_electronics.yaml"

Figures = dict[str, Any]


def load(task: Figures) -> tuple[Any, Any, Any]:
    """The config, the data set, and the first `samples` training samples of a shuffled order."""
    import numpy as np

    from din_train.config import load_config
    from din_train.dataset.protocols import Split
    from din_train.dataset.store import open_store

    optimizer, rate = task.get("optimizer", "adam"), {"sgd": 0.1, "adam": 0.001}[task.get("optimizer", "adam")]
    config = load_config(
        CONFIG,
        [
            f"training.batch_size={task['batch_size']}",
            f"training.evaluation_batch_size={task['batch_size']}",
            f"training.optimizer={{name: {optimizer}, learning_rate: {rate}}}",
            "training.epochs=3",
            "training.device=cpu",
        ],
    )
    data = open_store(Path(task["prepared"]))
    samples = data.samples(Split.TRAIN, config.data.max_history_length)
    rows = np.random.default_rng(0).permutation(len(samples))[: task["samples"]]
    return config, data, samples.take(rows)


def measure_ours(task: Figures) -> Figures:
    """The whole of `fit`: the figures are those `history.jsonl` records for all epochs but the first."""
    config, data, samples = load(task)
    from din_train.tensorflow_setup import start_tensorflow

    start_tensorflow("cpu")
    from din_train.model.build import build_model
    from din_train.run_directory import RunDirectory
    from din_train.scoring import build_training_batches
    from din_train.training.trainer import fit_model

    batches = build_training_batches(config, data, samples)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.checkpoints.mkdir()
        model = build_model(config.model, data, seed=config.seed)
        fit_model(model, batches, config, run, watched=None, data_fingerprint=data.fingerprint)
        _, *timed = run.read_history()
    seconds = sum(epoch["seconds"] for epoch in timed)
    return {
        "samples_per_second": len(samples) * len(timed) / seconds,
        "input_wait": sum(epoch["input_wait"] * epoch["seconds"] for epoch in timed) / seconds,
        "loss": timed[-1]["loss"],
        "mean_history": float(samples.history_length.mean()),
    }


def measure_textbook(task: Figures) -> Figures:
    """Plain Keras: `fit` on the same batches, whole and padded to their longest history, with Keras's own optimiser."""
    config, data, samples = load(task)
    import keras

    from din_train.batches import TrainingBatches

    batches = TrainingBatches(
        data,
        samples,
        batch_size=config.training.batch_size,
        max_history_length=config.data.max_history_length,
        unknown_rate=config.vocabulary.unknown_rate,
        seed=config.seed,
    )
    model = _build_textbook(config, data)
    optimizers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    model.compile(
        optimizer=optimizers[config.training.optimizer.name](config.training.optimizer.learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    dataset = batches.to_dataset().prefetch(2)
    model.fit(dataset.take(2), shuffle=False, verbose=0)  # traces the model
    started = time.perf_counter()
    history = model.fit(dataset, shuffle=False, verbose=0)
    seconds = time.perf_counter() - started
    return {"samples_per_second": len(samples) / seconds, "loss": history.history["loss"][-1]}


def measure_scores(task: Figures) -> Figures:
    """Scoring, batches included: ours as evaluation does it, the textbook's one batch after the other."""
    config, data, samples = load(task)
    ours = task["what"] == "ours-scores"
    if ours:
        from din_train.tensorflow_setup import start_tensorflow

        start_tensorflow("cpu")
    import tensorflow as tf

    from din_train.batches import EvaluationBatches, build_signature
    from din_train.evaluation.evaluate import compute_scores
    from din_train.model.build import build_model

    batches = EvaluationBatches(
        data,
        samples,
        batch_size=config.training.evaluation_batch_size,
        max_history_length=config.data.max_history_length,
    )
    step: Any
    if ours:
        model = build_model(config.model, data, seed=config.seed)
        step = model.score
    else:
        textbook = _build_textbook(config, data)
        step = tf.function(lambda inputs: textbook(inputs, training=False), input_signature=[build_signature({})])
    step(next(iter(batches))[0])  # traces the model
    started = time.perf_counter()
    if ours:
        compute_scores(model, batches)
    else:
        for inputs, _ in batches:
            step(inputs).numpy()
    return {"samples_per_second": len(samples) / (time.perf_counter() - started)}


def measure_bound(task: Figures) -> Figures:
    """The forward and backward matrix products of our own step, valid positions only, and nothing else.

    Measured as our groups of rows do them and whole with TensorFlow's own threads, each in a process of its own
    (`threads`); the faster of the two is the bound.
    """
    config, _, samples = load(task)
    if task["threads"] == "ours":
        from din_train.tensorflow_setup import start_tensorflow

        start_tensorflow("cpu")
    import tensorflow as tf

    from din_train.batches import GROUP_ROWS

    batch = config.training.batch_size
    num_groups = -(-batch // GROUP_ROWS) if task["threads"] == "ours" else 1
    positions = round(float(samples.history_length.mean()) * batch)
    width = config.model.item_embedding_size + config.model.category_embedding_size
    unit, mlp = config.model.local_activation_unit.hidden_units, config.model.mlp.hidden_units
    # rows, width in, width out of every product of the forward pass
    products = [(positions, width, unit[0])] * 2 + [(batch, width, unit[0])]
    products += [(positions, *pair) for pair in zip(unit, [*unit[1:], 1], strict=True)]
    products += [(batch, *pair) for pair in zip([2 * width, *mlp], [*mlp, 1], strict=True)]
    operands = [
        [
            (
                tf.random.normal([rows // num_groups, inputs]),
                tf.random.normal([inputs, outputs]),
                tf.random.normal([rows // num_groups, outputs]),
            )
            for rows, inputs, outputs in products
        ]
        for _ in range(num_groups)
    ]

    @tf.function
    def multiply(operands: Any) -> Any:
        return [
            (tf.matmul(x, w), tf.matmul(g, w, transpose_b=True), tf.matmul(x, g, transpose_a=True))
            for group in operands
            for x, w, g in group
        ]

    steps = max(20, 200_000 // batch)
    for _ in range(steps // 4):
        multiply(operands)
    started = time.perf_counter()
    for _ in range(steps):
        multiply(operands)
    return {"samples_per_second": steps * batch / (time.perf_counter() - started)}


def _build_textbook(config: Any, data: Any) -> Any:
    import keras
    from textbook import TextbookDIN

    keras.utils.set_random_seed(config.seed)
    return TextbookDIN(
        num_items=len(data.item_category_ids),
        num_categories=data.num_categories + 2,
        item_category_ids=data.item_category_ids,
        size=config.model.item_embedding_size,
        unit=config.model.local_activation_unit.hidden_units,
        mlp=config.model.mlp.hidden_units,
    )


MEASURES = {
    "ours": measure_ours,
    "textbook": measure_textbook,
    "bound": measure_bound,
    "ours-scores": measure_scores,
    "textbook-scores": measure_scores,
}

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(MEASURES[given["what"]](given)), flush=True)

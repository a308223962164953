"""One measurement of `bench_training.py`, in a process of its own: prints a JSON line.

    python scripts/benchmarks/training_worker.py '{"what": "ours", "prepared": "...", "batch_size": 1024, ...}'

`what` is one of

    ours, textbook          samples/s of training the same DIN on the same samples, batches included; ours as one of
                            the workers that TF_CONFIG names, if it is set
    plain                   samples/s of training DIN in plain TensorFlow, on batches built before
    sharing                 samples/s of training with some negatives per positive, one history per list and per row
    candidates              scores/s of many candidates of one history, which they share, and one history per row
    bound                   samples/s if a step were its matrix products and nothing else
    textbook-scores, ours-scores   samples/s of scoring
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[2] / "configs" / "bench_electronics.yaml"

Figures = dict[str, Any]


def load(task: Figures) -> tuple[Any, Any, Any]:
    """The config, the data set, and about `samples` training samples: the first lists of a shuffled order."""
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
            *(["training.strategy=multi_worker"] if "TF_CONFIG" in os.environ else []),
        ],
    )
    data = open_store(Path(task["prepared"]))
    samples = data.samples(Split.TRAIN, config.data.max_history_length)
    lists = samples.find_lists()
    place = np.random.default_rng(0).permutation(lists[-1] + 1)[lists]  # of each row's list
    return config, data, samples.take(np.argsort(place, kind="stable")[: task["samples"]])


def measure_ours(task: Figures) -> Figures:
    """The whole of `fit`: the figures are those `history.jsonl` records for all epochs but the first."""
    config, data, samples = load(task)
    from din_train.tensorflow_setup import start_tensorflow, strategy_scope
    from din_train.training.workers import find_workers

    workers = find_workers(config.training)
    start_tensorflow("cpu", connect=workers.connect if workers.count > 1 else None)
    from din_train.model.build import build_model
    from din_train.model.replicas import count_collectives
    from din_train.run_directory import RunDirectory
    from din_train.scoring import build_training_batches
    from din_train.training.trainer import fit_model

    batches = build_training_batches(config, data, samples)
    with (
        tempfile.TemporaryDirectory() as folder,
        workers.ending_together(),
        strategy_scope(config.training.strategy),
    ):
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
        "collectives": count_collectives(model),
    }


def measure_plain(task: Figures) -> Figures:
    """Plain TensorFlow (`plain_tensorflow.py`): steps on the same samples, each with its own history."""
    config, data, samples = load(task)
    import keras
    import numpy as np
    from plain_tensorflow import PlainDIN

    from din_train.batches import build_batch

    size, rate = config.training.batch_size, config.training.optimizer.learning_rate
    optimizers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    model = PlainDIN(**_size_model(config, data), optimizer=optimizers[config.training.optimizer.name](rate))
    steps = []
    for start in range(0, len(samples) - size + 1, size):
        inputs, labels = build_batch(data, samples, np.arange(start, start + size), config.data.max_history_length)
        inputs["history_item_ids"] = inputs["history_item_ids"][:, : int(inputs["history_length"].max())]
        steps.append([*(inputs[name] for name in ("target_item_id", "history_item_ids", "history_length")), labels])
    for step in steps[:3]:
        model.train_step(*step)
    started = time.perf_counter()
    for step in steps:
        loss = model.train_step(*step)
    loss = float(loss)  # waits for the last step
    return {"samples_per_second": len(steps) * size / (time.perf_counter() - started), "loss": loss}


def measure_sharing(task: Figures) -> Figures:
    """Steps of `fit` on the same rows in turn, with a history per list and with one per row; medians of the rounds."""
    config, data, samples = load(task)
    from din_train.tensorflow_setup import start_tensorflow

    start_tensorflow("cpu")
    import numpy as np
    import tensorflow as tf

    from din_train.batches import build_batch, build_training_signature
    from din_train.model.build import build_model
    from din_train.model.losses import LogLoss
    from din_train.training.optimizers import build_optimizer

    size, lists = config.training.batch_size, config.training.batch_size // (1 + task["negatives"])
    positives = samples.take(np.flatnonzero(samples.labels == 1))
    random = np.random.default_rng(1)
    model = build_model(config.model, data, seed=config.seed)
    model.compile(batch_size=size, optimizer=build_optimizer(config.training.optimizer), loss=LogLoss())
    model.optimizer.build(model.trainable_variables)
    step = tf.function(
        lambda inputs, labels: model.train_step((inputs, labels)),
        input_signature=build_training_signature({}, padded=False),
    )
    forms: dict[str, list[Any]] = {"shared": [], "alone": []}
    for start in range(0, task["steps"] * lists, lists):
        rows = np.repeat(np.arange(start, start + lists), 1 + task["negatives"])
        drawn = positives.take(rows)
        drawn.target_item_ids[1:][rows[1:] == rows[:-1]] = random.integers(2, data.num_items + 2, len(rows) - lists)
        drawn.labels[1:][rows[1:] == rows[:-1]] = 0
        for name, given in forms.items():
            every = np.arange(len(rows))
            given.append(build_batch(data, drawn, every, config.data.max_history_length, shared=name == "shared"))
    num_rows = sum(len(labels) for _, labels in forms["alone"])
    works = {name: lambda given=given: [step(*each) for each in given] for name, given in forms.items()}
    return _take_turns(works, num_rows)


def measure_candidates(task: Figures) -> Figures:
    """Scores of `candidates` items for one history at a time, in turn with a history shared and with one per row."""
    config, data, samples = load(task)
    from din_train.tensorflow_setup import start_tensorflow

    start_tensorflow("cpu")
    import numpy as np

    from din_train.batches import build_batch
    from din_train.model.build import build_model

    model, size = build_model(config.model, data, seed=config.seed), task["candidates"]
    random = np.random.default_rng(1)
    forms: dict[str, list[Any]] = {"shared": [], "alone": []}
    for row in range(task["steps"]):
        drawn = samples.take(np.full(size, row))
        drawn.target_item_ids[:] = random.integers(2, data.num_items + 2, size)
        for name, given in forms.items():
            given.append(
                build_batch(data, drawn, np.arange(size), config.data.max_history_length, shared=name == "shared")[0]
            )
    return _take_turns(
        {name: lambda given=given: [model.score(each) for each in given] for name, given in forms.items()},
        size * task["steps"],
    )


def _take_turns(works: dict[str, Any], rows: int, rounds: int = 7) -> Figures:
    """Samples/s of each work, and how many times as fast the first is: medians of rounds, in wall and in CPU time."""
    import statistics

    for work in works.values():
        work()  # traces the model
    wall: dict[str, list[float]] = {name: [] for name in works}
    cpu: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter(), time.process_time()
            last = work()[-1]
            float(last["loss"] if isinstance(last, dict) else last[0])  # waits for it
            wall[name].append(time.perf_counter() - started[0])
            cpu[name].append(time.process_time() - started[1])
    first, second = works
    return {
        **{f"{name}_per_second": rows / statistics.median(seconds) for name, seconds in wall.items()},
        **{
            name: statistics.median(slow / fast for fast, slow in zip(each[first], each[second], strict=True))
            for name, each in (("ratio", wall), ("cpu_ratio", cpu))
        },
    }


def measure_textbook(task: Figures) -> Figures:
    """Plain Keras: `fit` on the same batches, whole and padded to their longest history, with Keras's own optimiser."""
    config, data, samples = load(task)
    import keras

    from din_train.training.training_batches import TrainingBatches

    batches = TrainingBatches(
        data,
        samples,
        batch_size=config.training.batch_size,
        max_history_length=config.data.max_history_length,
        unknown_rate=0.0,  # hidden ids are negative, and only our embedding knows them
        seed=config.seed,
    )
    model = _build_textbook(config, data)
    optimizers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    model.compile(
        optimizer=optimizers[config.training.optimizer.name](config.training.optimizer.learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    dataset = batches.to_dataset().map(_give_each_row_its_history).prefetch(2)
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
    step(_give_each_row_its_history(*next(iter(batches)))[0])  # traces the model
    started = time.perf_counter()
    if ours:
        compute_scores(model, batches)
    else:
        for inputs, labels in batches:
            step(_give_each_row_its_history(inputs, labels)[0]).numpy()
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


def _give_each_row_its_history(inputs: Figures, labels: Any) -> tuple[Figures, Any]:
    import tensorflow as tf

    names = ("history_item_ids", "history_length")
    return {**inputs, **{name: tf.gather(inputs[name], inputs["history_row"]) for name in names}}, labels


def _size_model(config: Any, data: Any) -> Figures:
    return {
        "num_items": len(data.item_category_ids),
        "num_categories": data.num_categories + 2,
        "item_category_ids": data.item_category_ids,
        "size": config.model.item_embedding_size,
        "unit": config.model.local_activation_unit.hidden_units,
        "mlp": config.model.mlp.hidden_units,
    }


def _build_textbook(config: Any, data: Any) -> Any:
    import keras
    from textbook import TextbookDIN

    keras.utils.set_random_seed(config.seed)
    return TextbookDIN(**_size_model(config, data))


MEASURES = {
    "ours": measure_ours,
    "textbook": measure_textbook,
    "plain": measure_plain,
    "sharing": measure_sharing,
    "candidates": measure_candidates,
    "bound": measure_bound,
    "ours-scores": measure_scores,
    "textbook-scores": measure_scores,
}

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(MEASURES[given["what"]](given)), flush=True)

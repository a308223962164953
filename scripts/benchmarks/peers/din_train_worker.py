"""Train ours on the same samples through `fit_model`, the way `din-train fit` does. See `measure.py`.

The batches are built from the prepared data set while earlier ones train, as always, in an order of their own. The
speed is that which `history.jsonl` records, of all passes but the first, in which TensorFlow traces the model.
"""

from measure import Settings, print_result, read_task

from din_train.config import Config
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.run_directory import RunDirectory
from din_train.tensorflow_setup import start_tensorflow


def build_config(settings: Settings) -> Config:
    """The model and training of the settings, defaults for the rest; the log's files are named but never read."""
    unit = {"hidden_units": settings.unit_hidden_units, "activation": "dice", "normalization": "softmax"}
    return Config.model_validate(
        {
            "name": "bench",
            "seed": settings.seed,
            "data": {
                "source": "amazon-2014",
                "reviews": "reviews.json",
                "items": "meta.json",
                "prepared": "prepared",
                "protocol": "paper",
                "max_history_length": settings.max_history_length,
            },
            "model": {
                "name": "din",
                "item_embedding_size": settings.item_embedding_size,
                "category_embedding_size": settings.category_embedding_size,
                "local_activation_unit": unit,
                "mlp": {"hidden_units": settings.mlp_hidden_units, "activation": "dice"},
            },
            "training": {
                "epochs": 1 + settings.timed_epochs,
                "batch_size": settings.batch_size,
                "device": "cpu",
                "optimizer": {"name": "adam", "learning_rate": settings.learning_rate},
            },
        }
    )


def main() -> None:
    """A pass to warm up, then the timed ones."""
    task = read_task()
    settings = task.settings
    config = build_config(settings)
    start_tensorflow("cpu")
    import tensorflow as tf

    from din_train.model.build import build_model
    from din_train.scoring import build_training_batches
    from din_train.training.trainer import fit_model

    data = open_store(task.prepared)
    samples = data.samples(Split.TRAIN, settings.max_history_length).take(task.samples["row"])
    batches = build_training_batches(config, data, samples)
    run = RunDirectory(task.scratch / "run")
    run.checkpoints.mkdir(parents=True)
    model = build_model(config.model, data, seed=config.seed)
    fit_model(model, batches, config, run, watched=None, data_fingerprint=data.fingerprint)
    first, *timed = run.read_history()
    print_result(
        samples=batches.num_samples * len(timed),
        seconds=sum(epoch["seconds"] for epoch in timed),
        loss=first["loss"],
        threads=tf.config.threading.get_intra_op_parallelism_threads() or None,
        packages=("din-train", "tensorflow", "keras", "numpy"),
    )


if __name__ == "__main__":
    main()

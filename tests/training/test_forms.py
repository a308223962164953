"""`fit` under XLA, with padded blocks, takes the steps that it takes without; bfloat16 ends at nearly the same loss."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from log_factory import Event, make_config, prepare_events
from tensorflow.python.framework.config import disable_op_determinism

from din_train.batches import GROUP_ROWS
from din_train.config import OptimizerConfig
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.model.baselines import compute_factorization, compute_inner_products
from din_train.model.build import build_model
from din_train.model.losses import LogLoss
from din_train.run_directory import RunDirectory
from din_train.tensorflow_setup import uses_xla
from din_train.training.optimizers import build_optimizer
from din_train.training.trainer import fit_model
from din_train.training.training_batches import TrainingBatches

# XLA compiles once for every shape: here for one, blocks of one width and whole batches; and for three, since a batch
# has whole lists and the last one has fewer.
ONE_SHAPE = [(f"u{n % 27}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(162)]
THREE_SHAPES = [(f"u{n % 9}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(120)]


@pytest.fixture(autouse=True)
def without_determinism() -> None:
    """Another test may have turned it on, which is for the whole process, and Keras then refuses XLA."""
    disable_op_determinism()


def train(
    folder: Path,
    name: str,
    model: dict[str, Any] | None = None,
    *,
    events: Sequence[Event] = ONE_SHAPE,
    batch_size: int = 54,
    **training: Any,
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """The history and the weights of two epochs."""
    data, _ = prepare_events(folder, events)
    config = make_config(
        folder,
        model={"name": "din", "local_activation_unit": {"hidden_units": [6]}, "mlp": {"hidden_units": [8]}}
        | (model or {}),
        training={"epochs": 2, "batch_size": batch_size, "select_on": "none", **training},
    )
    padded = uses_xla(config.training)
    run = RunDirectory(folder / name)
    run.checkpoints.mkdir(parents=True)
    built = build_model(config.model, data, seed=1, precision=config.training.precision, padded=padded)
    batches = TrainingBatches(
        data,
        data.samples(Split.TRAIN, 100),
        batch_size=batch_size,
        max_history_length=100,
        unknown_rate=0.0,
        seed=1,
        padded=padded,
    )
    fit_model(built, batches, config, run, watched=None, data_fingerprint="x")
    return run.read_history(), [weight.numpy() for weight in built.trainable_weights]


@pytest.mark.slow
def test_xla_on_padded_blocks_takes_the_same_steps(tmp_path: Path) -> None:
    rate = {"name": "adam", "learning_rate": 0.01, "clip_norm": 1.0}
    (flat, weights), (padded, other) = (
        train(tmp_path, form, events=THREE_SHAPES, batch_size=93, jit_compile=form, optimizer=rate)
        for form in ("off", "on")
    )
    assert [each["loss"] for each in padded] == pytest.approx([each["loss"] for each in flat], abs=1e-4)
    for one, same in zip(weights, other, strict=True):
        assert same == pytest.approx(one, abs=2e-3)
    assert "xla_programs" not in flat[-1]
    assert padded[-1]["xla_programs"] == 3


def test_bfloat16_trains(tmp_path: Path) -> None:
    (exact, _), (rough, weights) = (train(tmp_path, name, precision=name) for name in ("float32", "bfloat16"))
    assert [each["loss"] for each in rough] == pytest.approx([each["loss"] for each in exact], abs=0.05)
    assert rough[-1]["loss"] < rough[0]["loss"]
    assert {each.dtype.name for each in weights} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["din", "wide_deep"])  # with the products below, every layer of the baselines
def test_bfloat16_trains_under_xla(tmp_path: Path, name: str) -> None:
    (flat, _), (padded, _) = (
        train(tmp_path, form, model={"name": name}, jit_compile=form, precision="bfloat16") for form in ("off", "on")
    )
    assert [each["loss"] for each in padded] == pytest.approx([each["loss"] for each in flat], abs=0.01)


@pytest.mark.parametrize("compute", [compute_inner_products, compute_factorization])
def test_the_products_of_pnn_and_deepfm_in_bfloat16_under_xla(compute: Callable[[tf.Tensor], tf.Tensor]) -> None:
    def take_step(fields: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(fields)
            products = compute(fields)
        return tf.cast(products, tf.float32), tf.cast(tape.gradient(products, fields), tf.float32)

    fields = tf.constant(np.random.default_rng(1).uniform(-1, 1, (6, 4, 3)), tf.float32)
    exact, rough = take_step(fields), tf.function(take_step, jit_compile=True)(tf.cast(fields, tf.bfloat16))
    for one, other in zip(exact, rough, strict=True):
        assert other.numpy() == pytest.approx(one.numpy(), abs=0.15)


def test_wide_deep_takes_the_same_steps_with_few_cross_buckets(tmp_path: Path) -> None:
    """Rows that XLA needs to fill a shape name row 0, which therefore must be padding's: here one in four."""
    model = {"name": "wide_deep", "cross_buckets": 4}
    optimizer = {"name": "adam", "learning_rate": 0.01}
    (_, weights), (_, other) = (
        train(tmp_path, form, model=model, jit_compile=form, optimizer=optimizer) for form in ("off", "on")
    )
    (crosses,), (same,) = ([each for each in some if each.shape == (4, 1)] for some in (weights, other))
    assert same == pytest.approx(crosses, abs=1e-4)
    assert crosses[0].tolist() == [0]
    assert np.abs(crosses[1:]).min() > 1e-3


def test_the_loss_of_an_epoch_is_its_samples_mean_whatever_the_groups(tmp_path: Path) -> None:
    """A batch of two groups, and a last one of a single list, of two rows, whose second group has none."""
    data, _ = prepare_events(tmp_path, [(f"u{n % 9}", f"i{(n * n) % 97}", f"c{n % 5}", n) for n in range(374)])
    samples = data.samples(Split.TRAIN, 100)
    first = len(samples) - 2
    assert GROUP_ROWS < first < 2 * GROUP_ROWS
    model = build_model(make_config(tmp_path).model, data, seed=1)
    optimizer = build_optimizer(OptimizerConfig(name="sgd", learning_rate=1e-12))
    model.compile(batch_size=first, optimizer=optimizer, loss=LogLoss())
    table = model.item_embedding.items
    table.assign(table.numpy() * 1000)  # losses that differ
    sizes = {"batch_size": first, "max_history_length": 100, "unknown_rate": 0.0, "seed": 1}
    batches = TrainingBatches(data, samples, **sizes)
    losses = []
    for inputs, labels in batches:
        row = inputs.pop("history_row")
        inputs |= {name: inputs[name][row] for name in ("history_item_ids", "history_length")}
        for start in range(0, len(labels), GROUP_ROWS):
            group = {name: values[start : start + GROUP_ROWS] for name, values in inputs.items()}
            of_group = labels[start : start + GROUP_ROWS]
            losses.append(
                LogLoss().sum_terms(of_group, model(group, training=True), np.arange(len(of_group), dtype=np.int32))
            )
    history = model.fit(batches.to_dataset(), shuffle=False, verbose=0).history
    assert history["loss"] == pytest.approx([sum(map(float, losses)) / len(samples)], rel=1e-5)
    means = np.array(losses) / [GROUP_ROWS, first - GROUP_ROWS, 2]
    assert np.abs(np.diff(means)).min() > 0.01


def test_weight_decay_leaves_tables_alone(tmp_path: Path) -> None:
    """Padding is never looked up, so its rows are the initial ones whatever decays the other weights."""
    decay = {"name": "adamw", "learning_rate": 0.01, "weight_decay": 5.0}
    _, weights = train(tmp_path, "decayed", optimizer=decay)
    data = open_store(tmp_path / "prepared")
    config = make_config(
        tmp_path, model={"name": "din", "local_activation_unit": {"hidden_units": [6]}, "mlp": {"hidden_units": [8]}}
    )
    initial = build_model(config.model, data, seed=1)
    tables = [place for place, weight in enumerate(initial.trainable_weights) if weight.name in ("items", "categories")]
    assert len(tables) == 2
    for place in tables:
        assert weights[place][0].tolist() == initial.trainable_weights[place].numpy()[0].tolist()

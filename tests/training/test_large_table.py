"""A table beyond TensorFlow's idea of the CPU's memory (256 MB), which its optimizer of memory must not touch."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tensorflow.core.protobuf import rewriter_config_pb2
from tensorflow.python.eager import context

from din_train.cli import cli
from din_train.tensorflow_setup import start_tensorflow


def test_the_optimizer_of_memory_is_off() -> None:
    start_tensorflow("cpu")
    options = context.context().config.graph_options.rewrite_options
    assert options.memory_optimization == rewriter_config_pb2.RewriterConfig.NO_MEM_OPT


@pytest.mark.slow
def test_a_model_with_a_million_rows_trains(tmp_path: Path) -> None:
    """With that optimizer it ends at once with `AlreadyExistsError` in two of three tries or more."""
    settings = {
        "preset": "din",
        "vocabulary.hash_buckets": "{item: 1000000}",
        "model.item_embedding_size": 64,
        "training.batch_size": 1536,
        "training.epochs": 1,
        "data.prepared": tmp_path / "prepared",
    }
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = ["fit", "--config", "configs/sample.yaml", "--run-dir", str(tmp_path / "run"), *given]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output

"""What replicas send each other; a training by several workers has the collectives themselves."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from din_train.model.replicas import gather_rows


def test_rows_are_gathered_although_numbers_next_to_zero_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replicas with the same rows of two tables. A sum on TensorFlow's threads takes a denormal for 0."""

    def gather(sent: tf.Tensor, axis: int) -> tf.Tensor:
        assert axis == 0
        assert np.isfinite(sent.numpy()).all()
        kept = tf.where(tf.abs(sent) < np.finfo(np.float32).tiny, 0.0, sent)
        return tf.concat([kept, kept], axis=0)

    context = SimpleNamespace(all_gather=gather, num_replicas_in_sync=2)
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: context)
    ids = 7, 2**30 - 1, 7
    first = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]]), tf.constant(ids), (2**30, 2))
    second = tf.IndexedSlices(tf.constant([[0.5]]), tf.constant([0]), (5, 1))
    one, other = gather_rows([first, second])
    assert one.indices.numpy().tolist() == [7, 2**30 - 1] * 2
    assert one.values.numpy().tolist() == [[11.0, 22.0], [3.0, 4.0]] * 2
    assert other.indices.numpy().tolist() == [0, 0]
    assert other.values.numpy().tolist() == [[0.5], [0.5]]

"""What the replicas of a data-parallel training tell each other in a step, in as few collectives as can be.

A collective costs about the same whether it carries one number or ten thousand. A step has four: one sum that counts
(`sum_counts`), one sum of everything dense (`sum_over_replicas`), and a gather of the rows of all tables
(`gather_rows`), which TensorFlow makes of two, the lengths and the values.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

# The bits of 1.0 as a float. With it added, whole numbers below 2**30 have the bits of floats from 1 on. Without it
# they have those of floats next to 0 (denormals), which are 0 to whatever computes with them on TensorFlow's threads.
_BITS_OF_ONE = 0x3F800000


def sum_counts(*counts: tf.Tensor) -> list[tf.Tensor]:
    """The sum over all replicas of each of some float32 numbers []; one collective."""
    total = tf.distribute.get_replica_context().all_reduce("SUM", tf.stack(counts))
    return tf.unstack(total)  # type: ignore[no-any-return]


def sum_over_replicas(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The sum over all replicas of each float32 tensor, whose shape is the same on all of them; one collective."""
    flat = tf.concat([tf.reshape(each, [-1]) for each in values], axis=0)
    total = tf.distribute.get_replica_context().all_reduce("SUM", flat)
    parts = tf.split(total, [each.shape.num_elements() for each in values])
    return [tf.reshape(part, each.shape) for part, each in zip(parts, values, strict=True)]


def gather_rows(gradients: Sequence[tf.IndexedSlices]) -> list[tf.IndexedSlices]:
    """The rows of each table's gradient from all replicas, one replica's after another's; one gather.

    The rows of one id are summed within a replica, and not yet across them. A replica sends one vector: how many rows
    it has of each table, their ids, and their values; whole numbers travel as the bits of floats.
    """
    if not gradients:
        return []
    summed = [sum_rows_by_id(each) for each in gradients]
    ids = [tf.cast(each.indices, tf.int32) for each in summed]
    whole = tf.concat([tf.stack([tf.size(each) for each in ids]), *ids], axis=0)
    sent = tf.concat([_to_floats(whole), *(tf.reshape(each.values, [-1]) for each in summed)], axis=0)
    context = tf.distribute.get_replica_context()
    received = context.all_gather(sent, axis=0)

    parts: list[list[tuple[tf.Tensor, tf.Tensor]]] = [[] for _ in gradients]
    start = tf.constant(0)
    for _ in range(context.num_replicas_in_sync):
        sizes = tf.unstack(_to_whole(received[start : start + len(gradients)]), len(gradients))
        start += len(gradients)
        ids_of_replica = []
        for size in sizes:
            ids_of_replica.append(_to_whole(received[start : start + size]))
            start += size
        for table, (size, indices) in enumerate(zip(sizes, ids_of_replica, strict=True)):
            row_shape = gradients[table].values.shape[1:]
            end = start + size * row_shape.num_elements()
            parts[table].append((indices, tf.reshape(received[start:end], [-1, *row_shape])))
            start = end
    return [
        tf.IndexedSlices(
            tf.concat([values for _, values in of_table], axis=0),
            tf.concat([indices for indices, _ in of_table], axis=0),
            gradient.dense_shape,
        )
        for of_table, gradient in zip(parts, gradients, strict=True)
    ]


def _to_floats(whole: tf.Tensor) -> tf.Tensor:
    """[n] int32 -> [n] float32 that hold them in their bits, none of them near 0."""
    return tf.bitcast(whole + _BITS_OF_ONE, tf.float32)


def _to_whole(floats: tf.Tensor) -> tf.Tensor:
    """[n] float32 of `_to_floats` -> [n] int32."""
    return tf.bitcast(floats, tf.int32) - _BITS_OF_ONE


def sum_rows_by_id(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """One row per id, in the order of first appearance."""
    ids, places = tf.unique(gradient.indices)
    return tf.IndexedSlices(
        tf.math.unsorted_segment_sum(gradient.values, places, tf.shape(ids)[0]), ids, gradient.dense_shape
    )


def count_collectives(model: keras.Model) -> int:
    """How many collectives a step of a model has that was trained by several workers; 0 of one worker."""
    step = getattr(model.train_function, "step", None)
    graphs = [] if step is None else [each.graph.as_graph_def() for each in step._list_all_concrete_functions()]
    nodes = [[*graph.node, *(node for each in graph.library.function for node in each.node_def)] for graph in graphs]
    return max((sum(node.op.startswith("Collective") for node in each) for each in nodes), default=0)

"""What every ranking model is: a batch -> one logit per row, and how a step trains it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from din_train.batches import (
    GROUP_ROWS,
    SHARE,
    build_signature,
    compute_block_rows,
    name_histories,
    name_shared_inputs,
)
from din_train.dataset.category_search import SEARCHED
from din_train.dataset.fields import NewItems
from din_train.model.dense_positions import DenseSharing, SpreadRows
from din_train.model.embedding import ItemEmbedding, find_tables
from din_train.model.losses import RankingLoss
from din_train.model.normalization import MovingStatistics, still_averages
from din_train.model.positions import (
    FlatPositions,
    PairedBehaviours,
    Positions,
    SharedPositions,
    flatten_history,
    pad_history,
)
from din_train.model.replicas import gather_rows, sum_counts, sum_over_replicas

Inputs = Mapping[str, Any]
# Candidates of one history from which on scoring them by themselves, as a table, is quicker.
_MANY_CANDIDATES = 64

Gradient = Any  # tf.Tensor | tf.IndexedSlices; TensorFlow ships no types


@dataclass(frozen=True)
class LocatedSequence:
    """B histories, or another sequence of each, and where its N positions are.

    item_ids: [N]. length: [B]. fields: behaviour field -> [N] ids. shared: where candidates share histories; None if
    each of the M candidates has its own.
    """

    item_ids: tf.Tensor
    positions: Positions
    length: tf.Tensor
    fields: Inputs = field(default_factory=dict)
    shared: SharedPositions | DenseSharing | None = None

    @property
    def pairs(self) -> Positions:
        """Of the M candidates: P pairs of a candidate and a behaviour of its history."""
        return self.positions if self.shared is None else self.shared.pairs

    def to_pairs(self, values: tf.Tensor) -> tf.Tensor:
        """[N, ...] of behaviours -> [P, ...] of pairs."""
        return values if self.shared is None else self.shared.take(values)

    def pair(self, behaviours: tf.Tensor) -> PairedBehaviours:
        """[N, E] of behaviours -> with the candidates that look at them."""
        return PairedBehaviours(behaviours, self.positions) if self.shared is None else self.shared.pair(behaviours)


@dataclass(frozen=True)
class LocatedBatch:
    """M candidates, their B histories, and where the behaviours are.

    inputs: as in `din_train.batches`. others: the further sequences, in the config's order. candidates: the history of
    each candidate, as a position of it; None if each has its own. auxiliary_losses: filled
    by models that add to the loss in training, with sums over the candidates.
    """

    inputs: Inputs
    history: LocatedSequence
    others: Sequence[LocatedSequence] = ()
    candidates: FlatPositions | SpreadRows | None = None
    auxiliary_losses: list[tf.Tensor] = field(default_factory=list)

    def to_candidates(self, values: tf.Tensor) -> tf.Tensor:
        """[B, U] of histories -> [M, U] of candidates."""
        return values if self.candidates is None else self.candidates.spread(values)

    @property
    def sequences(self) -> list[LocatedSequence]:
        """The history, then the others."""
        return [self.history, *self.others]


class RankingModel(keras.Model):
    """A model is a way from a batch to logits: `compute_logits`.

    In training, batch statistics (Dice's and batch norm's) are those of a group: about `GROUP_ROWS` consecutive rows of
    the global batch. Group g has the whole lists whose first row is one of the rows from g * `GROUP_ROWS` on, and the
    last group has what is left; padded blocks are cut at rows. In data-parallel training a replica has whole groups of
    the global batch. So the groups depend on the batch alone, not on threads or replicas. Groups go forward and
    backward side by side, which keeps cores busier than the operations of a whole batch do; the gradient is that of the
    mean loss of all rows, on all replicas. Steps leave the moving statistics alone, see `measure_statistics`.

    `score` is `call` in inference mode, traced once, and once more for many candidates of one history, which are matrix
    products: the one way to a score.

    Args:
        item_embedding: of candidate and history.
        context_widths: context field in a batch -> V of one of several values, None of others.
        behaviour_fields: fields of behaviours in a batch.
        sequences: names of the further sequences in a batch.
        padded: keep padding in its place in training, as XLA wants it; scoring never does.
    """

    def __init__(
        self,
        *,
        item_embedding: ItemEmbedding,
        context_widths: Mapping[str, int | None] | None = None,
        behaviour_fields: Sequence[str] = (),
        sequences: Sequence[str] = (),
        padded: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.item_embedding = item_embedding
        self.padded = padded
        self._num_groups = 1
        self.behaviour_fields = tuple(behaviour_fields)
        self.sequences = tuple(sequences)
        signature = build_signature(context_widths or {}, behaviour_fields, sequences)
        object.__setattr__(self, "_signature", signature)  # Keras would wrap it
        self._shared_inputs = frozenset(name_shared_inputs(behaviour_fields, sequences))
        of_one = {name: self._take_one_history(name, spec) for name, spec in signature.items() if name != "history_row"}
        self._trace: Callable[[], Any] = lambda: (
            tf.function(lambda inputs: self(inputs, training=False), input_signature=[signature]),
            tf.function(lambda inputs: self(inputs, training=False, dense=True), input_signature=[of_one]),
        )
        self._takes_new_items = False
        self._score, self._score_dense = self._trace()
        self._measure = tf.function(
            lambda inputs: self(inputs, training=True, with_padding=False), input_signature=[signature]
        )

    def add_items(self, items: NewItems) -> None:
        """Score items that came after training, in place of those that were added before."""
        for layer in self._flatten_layers():
            if isinstance(layer, ItemEmbedding):
                layer.add_items(items)
        if not self._takes_new_items:
            self._takes_new_items = True
            self._score, self._score_dense = self._trace()

    @contextmanager
    def adding_items(self, items: NewItems) -> Iterator[None]:
        """Within, what is traced scores these items after the known ones; their values are tensors of that graph."""
        with ExitStack() as stack:
            for layer in self._flatten_layers():
                if isinstance(layer, ItemEmbedding):
                    stack.enter_context(layer.adding_items(items))
            yield

    def score(self, inputs: Inputs) -> tf.Tensor:
        """A batch -> logit [M]. Without `history_row` each row has its own history."""
        if "history_row" not in inputs:
            inputs = {**inputs, "history_row": np.arange(len(inputs["target_item_id"]), dtype=np.int32)}
        history_row = np.asarray(inputs["history_row"])
        candidates = np.bincount(history_row, minlength=1)  # of each history
        many = candidates >= _MANY_CANDIDATES
        if not many.any():
            return self._score(inputs)
        arrays = {name: np.asarray(each) for name, each in inputs.items()}
        logits = np.empty(len(history_row), np.float32)
        few = ~many[history_row]
        if few.any():
            rest = {name: each[~many if name in self._shared_inputs else few] for name, each in arrays.items()}
            rest["history_row"] = (np.cumsum(~many) - 1)[history_row[few]].astype(np.int32)
            logits[few] = self._score(rest)
        ends = np.cumsum(candidates)
        for row in np.flatnonzero(many):
            rows = slice(ends[row] - candidates[row], ends[row])
            logits[rows] = self._score_dense(self._cut_history(arrays, slice(row, row + 1), rows))
        return tf.constant(logits)

    def _take_one_history(self, name: str, spec: tf.TensorSpec) -> tf.TensorSpec:
        """An input of one history, and of candidates as before."""
        return tf.TensorSpec([1, *spec.shape[1:]], spec.dtype) if name in self._shared_inputs else spec

    def _cut_history(self, inputs: Inputs, history: slice, rows: slice) -> Inputs:
        """The inputs of one history, and of its candidates, with as many positions as are needed and one at least."""
        cut = {name: each[history if name in self._shared_inputs else rows] for name, each in inputs.items()}
        del cut["history_row"]
        for sequence in ("history", *self.sequences):
            width = cut[f"{sequence}_length"].max(initial=1)
            for name in name_histories(self.behaviour_fields, sequence):
                cut[name] = cut[name][:, :width]
        return cut

    def measure_statistics(self, groups: Iterable[Inputs]) -> None:
        """Make the moving statistics the mean of those of some groups of rows, with the weights as they are.

        While the weights move, the averages are those of earlier weights, and scores are off ("precise batch norm":
        Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, section 3). Nothing else of the model changes.
        """
        layers = self._flatten_layers()
        moving = [layer for layer in layers if isinstance(layer, MovingStatistics)]
        seeds = self._find_seeds()
        values = [tf.identity(seed.value) for seed in seeds]
        for layer in moving:
            layer.updates.assign(0.0)
        for inputs in groups if moving else ():
            self._measure(inputs)
        for seed, value in zip(seeds, values, strict=True):
            seed.assign(value)

    def build(self, inputs_shape: object) -> None:
        """Nothing: the first batch builds each layer as it comes to it. Keras would trace the whole model before."""

    def call(
        self,
        inputs: Inputs,
        training: bool = False,
        with_auxiliary: bool = False,
        with_padding: bool | None = None,
        dense: bool = False,
    ) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        """A batch, which is one group in training -> logit [M]. Without `history_row` each row has its own history.

        Args:
            with_auxiliary: also give the sum over the rows of what the model adds to the loss. Keras's `add_loss` keeps
                that in the model, where groups and replicas would mix theirs up.
            with_padding: keep padding in its place; None: in training if the model is `padded`.
            dense: see `locate_dense`.
        """
        padded = self.padded and training if with_padding is None else with_padding
        batch = self.locate_dense(inputs) if dense else self.locate(inputs, padded=padded)
        logits = tf.cast(self.compute_logits(batch, training), tf.float32)
        return (logits, tf.add_n([tf.zeros([]), *batch.auxiliary_losses])) if with_auxiliary else logits

    def locate(self, inputs: Inputs, *, padded: bool = False) -> LocatedBatch:
        """Lay the histories of a batch, and each further sequence, end to end, with their padding or without."""

        def lay(name: str, length: tf.Tensor) -> tuple[tf.Tensor, Positions]:
            ids = inputs[name]
            if not padded:
                return flatten_history(ids, length)
            return pad_history(ids if isinstance(ids, list | tuple) else [ids], length, self.compute_dtype)

        history_row = None if padded else inputs.get("history_row")

        def locate(sequence: str) -> LocatedSequence:
            length = inputs[f"{sequence}_length"]
            fields = {name: lay(f"{sequence}_{name}", length)[0] for name in self.behaviour_fields}
            own = history_row is None or sequence == SEARCHED  # a row of its own for each candidate
            shared = None if own else SharedPositions(length, history_row)
            return LocatedSequence(*lay(f"{sequence}_item_ids", length), length, fields, shared)

        candidates = None
        if history_row is not None:
            candidates = FlatPositions(history_row, tf.shape(inputs["history_length"])[0])
        return LocatedBatch(inputs, locate("history"), [locate(name) for name in self.sequences], candidates)

    def locate_dense(self, inputs: Inputs, valid: Mapping[str, tf.Tensor] | None = None) -> LocatedBatch:
        """Keep the histories as tables: one for all M candidates, or one each. In inference only.

        Args:
            inputs: without `history_row`; the sequences may be [1, T] or [M, T].
            valid: sequence -> [B, T] bool, where it has behaviours; None: at its first `length` positions.
        """
        num_candidates = tf.shape(inputs["target_item_id"])[0]

        def locate(sequence: str) -> LocatedSequence:
            ids, *fields = (inputs[name] for name in name_histories(self.behaviour_fields, sequence))
            if valid is None:
                of_sequence = tf.sequence_mask(inputs[f"{sequence}_length"], tf.shape(ids)[1])
            else:
                of_sequence = valid[sequence]
            sharing = DenseSharing(of_sequence, num_candidates)
            ids, *fields = (sharing.histories.flatten(each) for each in (ids, *fields))
            length = tf.reduce_sum(tf.cast(of_sequence, tf.int32), axis=1)
            named = dict(zip(self.behaviour_fields, fields, strict=True))
            return LocatedSequence(ids, sharing.histories, length, named, sharing)

        history, *others = (locate(sequence) for sequence in ("history", *self.sequences))
        return LocatedBatch(inputs, history, others, SpreadRows(num_candidates))

    def compute_logits(self, batch: LocatedBatch, training: bool) -> tf.Tensor:
        """[M]."""
        raise NotImplementedError

    def compile(self, *, loss: RankingLoss, batch_size: int = GROUP_ROWS, **kwargs: Any) -> None:
        """As Keras has it.

        Args:
            loss: Keras's own losses see neither lists nor what is on other replicas.
            batch_size: the most rows of a training step, on all replicas together.
        """
        super().compile(**kwargs)
        self._loss = loss
        object.__setattr__(self, "_loss_tracker", _MeanOfAll(name="loss"))  # Keras locks a model that is built
        self._num_groups = -(-batch_size // GROUP_ROWS)
        self._num_draws = () if self.padded else self._count_draws()

    def _find_seeds(self) -> list[keras.Variable]:
        """The state [2] of each dropout's random numbers."""
        layers = self._flatten_layers()
        return [layer.seed_generator.state for layer in layers if isinstance(layer, keras.layers.Dropout)]

    def _count_draws(self) -> tuple[int, ...]:
        """How often a group draws some of each dropout's random numbers."""
        seeds = self._find_seeds()
        if not seeds:
            return ()
        row = {name: tf.ones([1 for _ in spec.shape], spec.dtype) for name, spec in self._signature.items()}
        with keras.StatelessScope() as scope, still_averages():
            self({**row, "history_row": tf.zeros([1], tf.int32)}, training=True)
        after = [scope.get_current_value(seed) for seed in seeds]
        return tuple(
            0 if state is None else int(state[1]) - int(seed.value[1]) for state, seed in zip(after, seeds, strict=True)
        )

    def make_train_function(self, force: bool = False) -> Any:
        """Keras's own; for several replicas one that leaves the metrics where they are, the same on each of them.

        Keras would reduce them over workers, in more collectives than the step has.
        """
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return super().make_train_function(force)
        if self.train_function is None or force:

            @tf.function(reduce_retracing=True, autograph=False)
            def take_step(iterator: Any) -> None:
                strategy.run(self.train_step, args=(iterator.get_next(),))

            def train(iterator: Any) -> dict[str, tf.Tensor]:
                take_step(iterator)
                metrics: dict[str, tf.Tensor] = self.get_metrics_result()
                return metrics

            train.step = take_step  # type: ignore[attr-defined]
            self.train_function: Any = train
        return self.train_function

    def train_step(self, data: tuple[Inputs, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Keras's own, group by group, with the loss's mean taken over the terms of all replicas."""
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        terms = self._loss.count_terms(labels, _number_lists(inputs))
        if (self._num_groups == 1 or self.padded) and SHARE not in inputs:
            loss, gradients = self._unroll_groups(inputs, labels, weights, terms)
        else:
            rows = tf.cast(tf.shape(labels)[0], tf.float32)
            if SHARE in inputs:
                terms, rows = sum_counts(terms, rows)
            loss, gradients = self._loop_over_groups(inputs, labels, weights, terms, rows)
        self._loss_tracker.update_state(loss, sample_weight=terms)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        metrics: dict[str, tf.Tensor] = self.get_metrics_result()
        return metrics

    def _unroll_groups(
        self, inputs: Inputs, labels: tf.Tensor, weights: tf.Tensor | None, terms: tf.Tensor
    ) -> tuple[tf.Tensor, list[Gradient]]:
        """The mean loss of so many terms, and its gradients: each group traced by itself, as XLA wants it."""
        with still_averages(), tf.GradientTape() as tape:
            results = [self(group, training=True, with_auxiliary=True) for group in self._cut_into_groups(inputs)]
            logits = tf.concat([logits for logits, _ in results], axis=0)
            total = self._loss.sum_terms(labels, logits, _number_lists(inputs), weights)
            auxiliary = tf.add_n([auxiliary for _, auxiliary in results])
            rows = tf.cast(tf.shape(labels)[0], tf.float32)
            loss = total / tf.maximum(terms, 1.0) + auxiliary / tf.maximum(rows, 1.0)
        return loss, tape.gradient(loss, self.trainable_weights)

    def _loop_over_groups(
        self, inputs: Inputs, labels: tf.Tensor, weights: tf.Tensor | None, terms: tf.Tensor, rows: tf.Tensor
    ) -> tuple[tf.Tensor, list[Gradient]]:
        """The mean loss of a batch of so many terms and rows, and its gradients: a group is an iteration of one loop.

        Iterations overlap, as many of them as there are threads. From group to group pass only the sums of gradients:
        assignments of states would make one group wait for another. Where the inputs are a replica's share of a batch,
        the results are of the whole batch, on every replica.
        """
        share, inputs = inputs.get(SHARE), {name: each for name, each in inputs.items() if name != SHARE}
        earlier_rows, first_group, groups_of_batch = (0, 0, 0) if share is None else tf.unstack(share)
        list_ends, row_ends = self._find_group_ends(inputs, earlier_rows)
        some = row_ends[1:] > row_ends[:-1]
        list_ends, row_ends = (tf.concat([[0], each[1:][some]], axis=0) for each in (list_ends, row_ends))
        num_groups = tf.shape(row_ends)[0] - 1
        seeds = list(zip(self._find_seeds(), self._num_draws, strict=True))
        tables = {id(table) for table in find_tables(self)}

        def add_group(group: tf.Tensor, loss: tf.Tensor, sums: list[Any]) -> tuple[Any, ...]:
            cut = slice(row_ends[group], row_ends[group + 1])
            of_group = self._take_group(inputs, slice(list_ends[group], list_ends[group + 1]), cut)
            of_rows = labels[cut]
            states = [(seed, _advance(seed, (first_group + group) * draws)) for seed, draws in seeds]
            with keras.StatelessScope(states), still_averages(), tf.GradientTape() as tape:
                logits, auxiliary = self(of_group, training=True, with_auxiliary=True)
                of_weights = None if weights is None else weights[cut]
                of_loss = self._loss.sum_terms(of_rows, logits, _number_lists(of_group), of_weights)
                of_loss = of_loss / tf.maximum(terms, 1.0) + auxiliary / rows
            gradients = tape.gradient(of_loss, self.trainable_weights)
            sums = [
                before.write(group, gradient) if isinstance(before, _RowGradients) else before + gradient
                for before, gradient in zip(sums, gradients, strict=True)
            ]
            return group + 1, loss + of_loss, sums

        _, loss, sums = tf.while_loop(
            lambda group, *_: group < num_groups,
            add_group,
            (
                0,
                0.0,
                [
                    _RowGradients.start(weight, num_groups) if id(weight) in tables else tf.zeros(weight.shape)
                    for weight in self.trainable_weights
                ],
            ),
            parallel_iterations=tf.config.threading.get_inter_op_parallelism_threads() or 10,
        )
        gradients = [
            each.concat(weight) if isinstance(each, _RowGradients) else each
            for each, weight in zip(sums, self.trainable_weights, strict=True)
        ]
        if share is None:
            groups_of_batch = num_groups
        else:
            loss, gradients = self._join_shares(loss, gradients)
        for seed, draws in seeds:
            seed.assign(_advance(seed, groups_of_batch * draws))
        return loss, gradients

    def _join_shares(self, loss: tf.Tensor, gradients: list[Gradient]) -> tuple[tf.Tensor, list[Gradient]]:
        """Loss and gradients of a share -> those of the batch."""
        dense = [each for each in gradients if not isinstance(each, tf.IndexedSlices)]
        loss, *dense = sum_over_replicas([loss, *dense])
        rows = gather_rows([each for each in gradients if isinstance(each, tf.IndexedSlices)])
        return loss, [(rows if isinstance(each, tf.IndexedSlices) else dense).pop(0) for each in gradients]

    def _find_group_ends(self, inputs: Inputs, earlier_rows: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[1 + groups] where each group begins among this replica's histories, and among its rows; and their ends."""
        lists = tf.shape(inputs["history_length"])[0]
        firsts = tf.range(lists + 1)
        if "history_row" in inputs:
            firsts = tf.searchsorted(inputs["history_row"], firsts)  # the last is the number of rows
        begins = tf.searchsorted(firsts[:-1] + earlier_rows, GROUP_ROWS * tf.range(1, self._num_groups))
        list_ends = tf.concat([[0], begins, [lists]], axis=0)
        return list_ends, tf.gather(firsts, list_ends)

    def _take_group(self, inputs: Inputs, lists: slice, rows: slice) -> Inputs:
        """The inputs of some histories and of their candidates."""
        cut = {name: each[lists if name in self._shared_inputs else rows] for name, each in inputs.items()}
        if "history_row" in cut:
            cut["history_row"] -= lists.start
        return cut

    def _cut_into_groups(self, inputs: Inputs) -> Iterator[Inputs]:
        """The rows of each group."""
        if self.padded:
            yield from self._cut_blocks_into_groups(inputs)
            return
        list_ends, row_ends = self._find_group_ends(inputs, 0)
        for group in range(self._num_groups):
            lists, rows = (slice(each[group], each[group + 1]) for each in (list_ends, row_ends))
            yield self._take_group(inputs, lists, rows)

    def _cut_blocks_into_groups(self, inputs: Inputs) -> Iterator[Inputs]:
        """The rows of each group, see `cut_into_blocks`."""
        histories = {name: inputs[name] for name in name_histories(self.behaviour_fields)}
        columns = {name: each for name, each in inputs.items() if name not in histories}
        for group in range(self._num_groups):
            rows = slice(group * GROUP_ROWS, (group + 1) * GROUP_ROWS if group + 1 < self._num_groups else None)
            cut: dict[str, Any] = {name: each[rows] for name, each in columns.items()}
            for name, ids in histories.items():
                if isinstance(ids, list | tuple):
                    sizes = compute_block_rows(GROUP_ROWS)
                    cut[name] = [each[group * size : (group + 1) * size] for each, size in zip(ids, sizes, strict=True)]
                else:
                    cut[name] = ids[rows]
            yield cut

    def _maybe_symbolic_build(self, iterator: object = None, data_batch: object = None) -> None:
        """Nothing: all is built. Keras would average the replicas' batches first, which have to be of one size."""


class _RowGradients(NamedTuple):
    """The gradients of a table by group, as rows: [M_i, width] values and [M_i] ids of each."""

    values: tf.TensorArray
    ids: tf.TensorArray

    @classmethod
    def start(cls, table: keras.Variable, num_groups: tf.Tensor) -> "_RowGradients":
        """Nothing yet."""
        shapes = [None, *table.shape[1:]], [None]
        arrays = [
            tf.TensorArray(dtype, num_groups, infer_shape=False, element_shape=shape)
            for dtype, shape in zip((table.dtype, "int32"), shapes, strict=True)
        ]
        return cls(*arrays)

    def write(self, group: tf.Tensor, gradient: tf.IndexedSlices) -> "_RowGradients":
        """With one group's."""
        ids = tf.cast(gradient.indices, tf.int32)
        return _RowGradients(self.values.write(group, gradient.values), self.ids.write(group, ids))

    def concat(self, table: keras.Variable) -> tf.IndexedSlices:
        """Those of all groups, in their order."""
        return tf.IndexedSlices(self.values.concat(), self.ids.concat(), table.shape)


def _number_lists(inputs: Inputs) -> tf.Tensor:
    """[M] which list each row is of: that of its history, or one of its own."""
    return inputs["history_row"] if "history_row" in inputs else tf.range(tf.size(inputs["target_item_id"]))


def _advance(seed: keras.Variable, draws: tf.Tensor) -> tf.Tensor:
    """The state [2] of random numbers so many draws later."""
    return seed.value + tf.cast(tf.stack([0, draws]), seed.value.dtype)


class _MeanOfAll(keras.metrics.Mean):
    """A mean that every replica is given the whole of, so that it is read without asking the others."""

    def add_variable(self, *args: Any, **kwargs: Any) -> keras.Variable:
        return super().add_variable(*args, **{**kwargs, "aggregation": "only_first_replica"})

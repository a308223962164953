"""The function that servers compute, from ids on: ids -> logits and click probabilities.

It is traced from the model's own layers, with its variables, in operations that every form of an artefact has. A
request is as `request.py` says; `text_model.py` and `onnx_model.py` look its texts up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from din_train.config import Config
from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.dataset.category_search import SEARCHED
from din_train.dataset.fields import NewItems
from din_train.dataset.store import PreparedData
from din_train.dataset.time_fields import SECONDS_A_DAY, VALUES
from din_train.dataset.vocabulary import FIRST_REAL_ID, PAD_ID, UNKNOWN_ID
from din_train.evaluation.calibration import Calibration
from din_train.export.request import LARGEST_NUMBER, RequestInput, name_input
from din_train.model.ranking_model import LocatedBatch, RankingModel

Tensors = Mapping[str, tf.Tensor]

DTYPES = {"BYTES": tf.string, "INT64": tf.int64, "FP64": tf.float64}


class IdModel:
    """A request in ids -> logits: `BYTES` inputs are int64 ids (0 no value, 1 unknown), others are as they are sent.

    Args:
        model: with its weights.
        inputs: of the request.
        calibration, prior_shift: as `predict` takes them.
        activation_weights: whether these are an output, too.
        paddings: ids of what is no behaviour in a sequence, by the sequence's name.
    """

    def __init__(
        self,
        model: RankingModel,
        config: Config,
        data: PreparedData,
        inputs: Sequence[RequestInput],
        calibration: Calibration,
        prior_shift: float = 0.0,
        *,
        activation_weights: bool = False,
        paddings: Mapping[str, int] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.variables = [each.value for each in model.variables]
        self.model, self._config = model, config
        self._calibration, self._prior_shift = calibration, prior_shift
        self.activation_weights = activation_weights
        self.paddings = paddings or {}
        self._by_name = {each.name: each for each in inputs}
        self._num_items = len(data.training_events)
        self._context_fields = data.context_fields
        self._sequences = tuple(data.sequences)
        self._item_fields = {name: values.shape[1:] for name, values in data.item_fields.items()}

    @property
    def signature(self) -> dict[str, tf.TensorSpec]:
        """Of `__call__`."""
        return {
            each.name: tf.TensorSpec(
                [None] * len(each.shape), tf.int64 if each.datatype == "BYTES" else DTYPES[each.datatype], each.name
            )
            for each in self.inputs
        }

    def __call__(self, **ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs: `click_probability` and `logit` [M]; `known` [M], whether the item is known; `behaviours` and
        `known_behaviours` [M or 1], how many behaviours of the history were used, and how many of these are known.
        """
        rows = tf.shape(ids["item"])[0]
        item = tf.cast(ids["item"], tf.int32)
        known = item >= FIRST_REAL_ID
        candidate = tf.where(known, item, self._num_items + tf.range(rows))
        inputs = {"target_item_id": candidate, "user_id": _spread(self._read_ids("user", ids), rows)}
        history = self._read_items("history", ids)
        for name in self._context_fields:
            is_time = name in TIME_FIELDS
            values = self._read_time_field(name, ids, history) if is_time else self._read_ids(name_input(name), ids)
            inputs[name] = _spread(values, rows)
        with self.model.adding_items(self._read_new_items(ids, rows)):
            valid = {}
            for name in ("history", *self._sequences):
                of_sequence, valid[name] = self._read_sequence(name, ids)
                inputs |= of_sequence
            if self._config.model.search is not None:
                of_sequence, valid[SEARCHED] = self._search(candidate, history, inputs)
                inputs |= of_sequence
            batch = self.model.locate_dense(inputs, valid)
            logit = tf.cast(self.model.compute_logits(batch, False), tf.float32)
            logit = tf.reshape(logit, [rows])  # ONNX would take three histories for one candidate, and give three
            weights = self._weigh(batch, valid["history"], rows) if self.activation_weights else {}
        used = _keep_newest(history, self._limits["history"])
        return {
            **self._correct(logit),
            "known": known,
            "behaviours": tf.reduce_sum(tf.cast(used, tf.int64), axis=1),
            "known_behaviours": tf.reduce_sum(tf.cast(used & (history >= FIRST_REAL_ID), tf.int64), axis=1),
            **weights,
        }

    @property
    def _limits(self) -> dict[str, int]:
        """How many behaviours of each sequence are used."""
        longest, search = self._config.data.max_history_length, self._config.model.search
        limits = dict.fromkeys(("history", *self._sequences), longest)
        if search is not None:
            limits["history"] = min(longest, search.recent)
        return limits

    def _read_items(self, sequence: str, ids: Tensors) -> tf.Tensor:
        """[B, T + 1] int32 item ids of a sequence; 0 is no behaviour."""
        found = tf.cast(ids[sequence], tf.int32)
        if self.paddings:
            no_behaviour = tf.equal(found, self.paddings.get(sequence, PAD_ID))
            found = tf.where(no_behaviour, PAD_ID, tf.where(found < PAD_ID, UNKNOWN_ID, found))
        return _pad_one(found)

    def _read_sequence(self, name: str, ids: Tensors) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """The model's inputs of a sequence [B, T], and which places hold a behaviour that counts [B, T].

        T is one more than was sent, so never 0. B is 1 or M.
        """
        item_ids = self._read_items(name, ids)
        fields = {field: self._read_behaviours(name, field, ids) for field in self._config.model.behaviour_fields}
        for values in fields.values():  # each may be of one row; gaps have as many as there are moments
            item_ids += tf.zeros_like(values)
        fields = {field: values + tf.zeros_like(item_ids) for field, values in fields.items()}
        inputs = {f"{name}_item_ids": item_ids} | {f"{name}_{field}": values for field, values in fields.items()}
        return inputs, _keep_newest(item_ids, self._limits[name])

    def _search(
        self, candidate: tf.Tensor, history: tf.Tensor, inputs: Tensors
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """As `_read_sequence`: the newest behaviours of the candidate's category, see `CategorySearch`."""
        find, search = self.model.item_embedding.find_categories, self._config.model.search
        categories = find(candidate)[:, None]  # [M, 1]
        of_behaviours = tf.reshape(find(tf.reshape(history, [-1])), tf.shape(history))
        within = _keep_newest(history, self._config.data.max_history_length)
        same = within & (categories >= FIRST_REAL_ID) & tf.equal(of_behaviours, categories)  # [M, T]
        rows = tf.shape(candidate)[0]
        of_history = ("item_ids", *self._config.model.behaviour_fields)
        found = {f"{SEARCHED}_{name}": _spread(inputs[f"history_{name}"], rows) for name in of_history}
        return found, _keep_newest(tf.cast(same, tf.int32), 0 if search is None else search.keep)

    def _weigh(self, batch: LocatedBatch, valid: tf.Tensor, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """[M, T] of the history as it was sent. valid: [B, T + 1] which of its places count."""
        weights = tf.reshape(self.model.weigh(batch), [rows, tf.shape(valid)[1]])
        return {"activation_weights": tf.where(valid, tf.cast(weights, tf.float32), 0.0)[:, :-1]}

    def _read_behaviours(self, sequence: str, field: str, ids: Tensors) -> tf.Tensor:
        """[B, T] ids of a field of behaviours; of time gaps [M, T] if moments differ."""
        if field != TIME_GAP:
            return _pad_one(self._read_ids(name_input(sequence, field), ids))
        times, now = _pad_one(ids[f"{sequence}_timestamp"]), ids["timestamp"][:, None]
        place = _cut_by_powers(tf.maximum(now - times, 0), len(VALUES[TIME_GAP]))
        return tf.where(tf.equal(times, -1), UNKNOWN_ID, place + FIRST_REAL_ID)

    def _read_time_field(self, name: str, ids: Tensors, history: tf.Tensor) -> tf.Tensor:
        """[M or 1] as `compute_time_field` has it. history: [B, T] item ids."""
        seconds = ids["timestamp"]
        if name == "hour":
            place = tf.math.floormod(seconds, SECONDS_A_DAY) // 3600  # no quotient of negative numbers
        elif name == "weekday":
            place = (tf.math.floormod(seconds, 7 * SECONDS_A_DAY) // SECONDS_A_DAY + 3) % 7
        else:
            times = _pad_one(ids["history_timestamp"])
            is_newest = _keep_newest(history, 1)  # one of a row at most
            last = tf.reduce_sum(tf.where(is_newest, times, 0), axis=1)
            last = tf.where(tf.reduce_any(is_newest, axis=1), last, -1)
            days = tf.maximum(seconds - last, 0) // SECONDS_A_DAY
            found = _cut_by_powers(days, len(VALUES[name])) + FIRST_REAL_ID
            return tf.where(last < 0, UNKNOWN_ID, found)
        return tf.cast(place, tf.int32) + FIRST_REAL_ID

    def _read_new_items(self, ids: Tensors, rows: tf.Tensor) -> NewItems:
        """What is said of each candidate, and one item more, so that there is one at least."""

        def add_one(values: tf.Tensor) -> tf.Tensor:
            return tf.pad(values, [[0, 1], *[[0, 0]] * (len(values.shape) - 1)])

        fields = {}
        for name, shape in self._item_fields.items():
            asked = self._by_name[name_input("item", name)]
            if asked.scale is not None:
                values = _standardize(ids[asked.name], *asked.scale)
            else:
                width = shape[0] if asked.max_values is not None else None
                values = self._read_ids(asked.name, ids, width)
            fields[name] = add_one(_spread(values, rows))
        hashed = "item_hash" in self._by_name
        of_items = self._read_ids("item_hash", ids) if hashed else tf.constant([UNKNOWN_ID])
        return NewItems(fields.pop("category"), add_one(_spread(of_items, rows)), fields)

    def _read_ids(self, name: str, ids: Tensors, width: int | None = None) -> tf.Tensor:
        """int32 ids of an input, of the same shape; unknown instead of no value. Of several values [B, `width`]."""
        asked, values = self._by_name[name], ids[name]
        if asked.datatype == "FP64":
            return _find_buckets(values, asked.edges)
        found = tf.cast(values, tf.int32)
        if asked.max_values is None:
            return tf.maximum(found, UNKNOWN_ID)
        return _choose_values(found, asked.max_values, width)

    def _correct(self, logit: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits as the model has them -> `click_probability` and `logit`, as `correct_scores` has them."""
        exact, calibration = tf.cast(logit, tf.float64), self._calibration
        if calibration.method == "none" and self._prior_shift:
            logit = tf.cast(exact + self._prior_shift, tf.float32)
            log_odds = tf.cast(logit, tf.float64)
        elif calibration.method == "isotonic":
            probability = _interpolate(exact, np.array(calibration.scores), np.array(calibration.probabilities))
            log_odds = tf.math.log(probability) - tf.math.log(1.0 - probability) + self._prior_shift
        else:
            log_odds = calibration.slope * exact + calibration.intercept + self._prior_shift
        return {"click_probability": tf.cast(tf.sigmoid(log_odds), tf.float32), "logit": logit}


def _spread(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """[M or 1, ...] -> [M, ...]. Any other number of rows is an error: ONNX's own Expand would take more than M."""
    shape = tf.concat([[rows], tf.shape(values)[1:]], axis=0)
    return tf.reshape(tf.broadcast_to(values, shape), shape)


def _keep_newest(ids: tf.Tensor, limit: int) -> tf.Tensor:
    """[B, T] ids -> [B, T] bool: the last `limit` places of each row that hold something."""
    holds = tf.not_equal(ids, PAD_ID)
    return holds & (tf.cumsum(tf.cast(holds, tf.int32), axis=1, reverse=True) <= limit)


def _pad_one(values: tf.Tensor) -> tf.Tensor:
    """[B, T] -> [B, T + 1], 0 in the last place."""
    return tf.pad(values, [[0, 0], [0, 1]])


def _cut_by_powers(numbers: tf.Tensor, buckets: int) -> tf.Tensor:
    """int32 bucket of each number: 0, 1, 2-3, 4-7, ...; the last holds everything larger."""
    powers = tf.constant([2**place for place in range(buckets - 1)], tf.int64)
    return tf.reduce_sum(tf.cast(numbers[..., None] >= powers, tf.int32), axis=-1)


def _find_buckets(numbers: tf.Tensor, edges: Sequence[float] | None) -> tf.Tensor:
    """int32 ids of float64 numbers, as `BucketIds` finds them."""
    if edges is None:
        return tf.ones_like(numbers, tf.int32)
    above = tf.cast(numbers[..., None] >= tf.constant(edges, tf.float64), tf.int32)
    is_finite = tf.abs(numbers) < LARGEST_NUMBER
    return tf.where(is_finite, FIRST_REAL_ID + tf.reduce_sum(above, axis=-1), UNKNOWN_ID)


def _standardize(numbers: tf.Tensor, mean: float, deviation: float) -> tf.Tensor:
    """[B] float64 -> [B, 2] float32, as `standardize` has them."""
    is_finite = tf.abs(numbers) < LARGEST_NUMBER
    scaled = tf.where(is_finite, (numbers - mean) / deviation, 0.0)
    return tf.cast(tf.stack([scaled, tf.cast(~is_finite, tf.float64)], axis=1), tf.float32)


def _choose_values(ids: tf.Tensor, max_values: int, width: int | None) -> tf.Tensor:
    """[B, V] ids of several values -> those that count: as `ListIds` finds them, and `ItemEmbedding` keeps them.

    Of the first `max_values` values the known ones; the unknown id if there is none.

    Args:
        width: of the result, which has the first known ones in its first places; None: V + 1, in the places they have.
    """
    ids = _pad_one(ids)
    is_value = tf.not_equal(ids, PAD_ID)
    first = is_value & (tf.cumsum(tf.cast(is_value, tf.int32), axis=1) <= max_values)
    chosen = tf.where(first & (ids >= FIRST_REAL_ID), ids, PAD_ID)
    if width is not None:
        known = tf.cast(chosen > PAD_ID, tf.int32)
        place = tf.cumsum(known, axis=1) - 1
        at_place = tf.equal(place[:, :, None], tf.range(width)) & (known[:, :, None] > 0)  # [B, V + 1, width]
        chosen = tf.reduce_sum(tf.where(at_place, chosen[:, :, None], 0), axis=1)
    nothing = tf.reduce_all(tf.equal(chosen, PAD_ID), axis=1, keepdims=True)
    is_place = tf.equal(tf.range(tf.shape(chosen)[1]), 0)
    return tf.where(nothing & is_place, UNKNOWN_ID, chosen)


def _interpolate(scores: tf.Tensor, points: Any, values: Any) -> tf.Tensor:
    """[M] float64, as `np.interp` has it."""
    if len(points) == 1:
        return tf.zeros_like(scores) + values[0]
    above = tf.reduce_sum(tf.cast(scores[:, None] >= points, tf.int32), axis=1)
    place = tf.minimum(tf.maximum(above - 1, 0), len(points) - 2)
    start, width = (tf.gather(tf.constant(each, tf.float64), place) for each in (points[:-1], np.diff(points)))
    low, rise = (tf.gather(tf.constant(each, tf.float64), place) for each in (values[:-1], np.diff(values)))
    return low + rise * tf.minimum(tf.maximum((scores - start) / width, 0.0), 1.0)

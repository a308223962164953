"""What `predict`'s scoring gives for requests: what an artefact has to give."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.config.model import WEIGHING
from din_train.dataset.category_search import CategorySearch
from din_train.dataset.names import Names, build_id_finder
from din_train.dataset.store import NO_EVENT, PreparedData, Samples, Slices
from din_train.dataset.time_fields import compute_time_field
from din_train.dataset.vocabulary import UNKNOWN_ID, RawIds
from din_train.export.golden import Request
from din_train.export.request import LARGEST_NUMBER, RequestInput, name_input
from din_train.predict.new_items import NewItemReader
from din_train.predict.predict import correct_scores
from din_train.scoring import OpenedRun, score_samples

if TYPE_CHECKING:
    from din_train.explain.weights import WeighingModel

# The largest difference in logits between what an artefact and `predict` give; of a logit beyond 1 that share of it.
TOLERANCE = 1e-5

# Where float32 itself rounds to more: how often what it rounds to (ONNX without folded Dice was at 0.8 to 1.4 of it on
# three trained runs), and the most that is ever allowed.
_ROUNDINGS, _MOST_TOLERANCE = 2, 5e-5

# Rows whose behaviours are weighed at once.
_AT_ONCE = 1000


@dataclass(frozen=True)
class ScoredRequest:
    """What `predict`'s scoring gives.

    logit, click_probability: [M]. probability_bounds: [M] the probabilities of logits that are lower and higher by what
    is allowed, between which that of an artefact is. counts: `known` [M], `behaviours` and `known_behaviours` [M or 1],
    as `OUTPUTS` names them. activation_weights: [M, T] as `explain` has them, 0 where no behaviour counts; None of a
    model without any.
    """

    request: Request
    logit: NDArray[np.float32]
    click_probability: NDArray[np.float64]
    probability_bounds: tuple[NDArray[np.float64], NDArray[np.float64]]
    counts: Mapping[str, NDArray[Any]]
    activation_weights: NDArray[np.float32] | None = None


def score_requests(
    opened: OpenedRun,
    names: Names,
    prior_shift: float,
    inputs: Sequence[RequestInput],
    requests: Sequence[Request],
    tolerance: float = TOLERANCE,
) -> list[ScoredRequest]:
    """What `predict` gives for such rows: from raw values to samples as it makes them, then by its one scoring path."""
    rows = _Rows(opened, names, inputs, requests)
    scores = rows.score()
    calibration = opened.calibration
    logits, probabilities = correct_scores(scores, calibration, prior_shift)
    steps = tolerance * np.maximum(np.abs(logits.astype(np.float64)), 1.0)
    low, high = (
        correct_scores((scores + step).astype(np.float32), calibration, prior_shift)[1] for step in (-steps, steps)
    )
    ends = np.cumsum([len(each.inputs["item"]) for each in requests])[:-1]
    parts = zip(*(np.split(each, ends) for each in (logits, probabilities, low, high)), strict=True)
    starts = [0, *ends]
    return [
        ScoredRequest(request, logit, probability, (lower, higher), *rows.describe(request, start))
        for request, start, (logit, probability, lower, higher) in zip(requests, starts, parts, strict=True)
    ]


def find_tolerance(opened: OpenedRun, score: Callable[[], Sequence[ScoredRequest]]) -> float:
    """What is allowed of a run whose scores float32 rounds to more than `TOLERANCE`.

    Its weights are known to their last bit. Where a move of that bit changes the logits of `predict` itself by r, sums
    in another order do as well, and a difference of a few r says nothing.

    Args:
        score: what `predict` gives for the requests, with the weights as they are then.
    """
    before, weights = score(), [(each, each.numpy()) for each in opened.model.trainable_weights]
    random = np.random.default_rng(0)
    try:
        for variable, values in weights:
            up = np.where(random.random(values.shape) < 0.5, np.inf, -np.inf).astype(values.dtype)
            variable.assign(np.nextafter(values, up))
        after = score()
    finally:
        for variable, values in weights:
            variable.assign(values)
    logits, moved = (
        np.concatenate(
            [part.ravel() for each in scored for part in (each.logit, each.activation_weights) if part is not None]
        ).astype(np.float64)
        for scored in (before, after)
    )
    rounding = float((np.abs(moved - logits) / np.maximum(np.abs(logits), 1.0)).max(initial=0.0))
    return min(max(_ROUNDINGS * rounding, TOLERANCE), _MOST_TOLERANCE)


class _Rows:
    """The rows of some requests, each with all that is sent for it."""

    def __init__(
        self,
        opened: OpenedRun,
        names: Names,
        inputs: Sequence[RequestInput],
        requests: Sequence[Request],
    ) -> None:
        self._opened, self._names = opened, names
        self._by_name = {each.name: each for each in inputs}
        self._values = {each.name: list(_list_rows(requests, each.name)) for each in inputs}
        self._items = {*names.items.drop_null().to_pylist()}
        self._known = np.empty(0, np.bool_)
        self._places: list[list[int]] = []  # of each row the places in its history of the behaviours that are used
        self._weights: list[NDArray[np.float32]] = []

    def score(self) -> NDArray[np.float32]:
        """[S] scores of the model; `describe` then tells of them."""
        opened, data = self._opened, self._opened.data
        size, longest = len(self._values["item"]), opened.config.data.max_history_length
        events: dict[str, list[Any]] = {
            name: [] for name in ("item", "place", *opened.config.model.behaviour_fields, "time")
        }
        slices: dict[str, Slices] = {}
        last = np.full(size, -1, np.int64)
        recent = longest if opened.config.model.search is None else opened.config.model.search.recent
        for sequence in ("history", *data.sequences):
            start, length = np.zeros(size, np.int64), np.zeros(size, np.int32)
            for row in range(size):
                behaviours = self._list_behaviours(sequence, row)
                kept = behaviours[-longest:]
                start[row], length[row] = len(events["item"]), len(kept)
                for each in kept:
                    for name, value in each.items():
                        events[name].append(value)
                if sequence == "history":
                    self._places.append([each["place"] for each in kept][-recent:])
                    last[row] = behaviours[-1]["time"] if behaviours else -1
            slices[sequence] = (start, length)
        items = RawIds(self._names.items.to_pylist())
        data = replace(
            data,
            event_item_ids=items.find(pa.array(events["item"], pa.string())),
            event_fields={
                name: self._find(name, events[name])
                for name in opened.config.model.behaviour_fields
                if name != TIME_GAP
            },
            event_times=np.array(events["time"], np.int64),
        )
        target_ids = items.find(pa.array(self._values["item"], pa.string()))
        self._known = target_ids != UNKNOWN_ID
        unknown = np.flatnonzero(~self._known)
        if len(unknown):
            reader = NewItemReader(data, self._names, tuple(data.item_fields))
            columns = {name: self._column(name, name_input("item", name), unknown) for name in data.item_fields}
            new_items = reader.read(
                pa.array([self._values["item"][row] for row in unknown], pa.string()), columns
            ).items
            target_ids[unknown] = len(data.training_events) + np.arange(len(unknown), dtype=np.int32)
            opened.model.add_items(new_items)
            data = data.with_items(new_items.category_ids)
        seconds = np.array(self._values["timestamp"], np.int64) if "timestamp" in self._values else None
        context = {}
        for name in data.context_fields:
            if name in TIME_FIELDS and seconds is not None:
                context[name] = compute_time_field(name, seconds, last)
            else:
                context[name] = self._find(name, self._values[name_input(name)])
        samples = Samples(
            user_ids=RawIds(self._names.users.to_pylist()).find(pa.array(self._values["user"], pa.string())),
            target_item_ids=target_ids,
            history_start=slices["history"][0],
            history_length=slices.pop("history")[1],
            labels=np.zeros(size, np.int8),
            events=np.full(size, NO_EVENT),
            context=context,
            timestamps=seconds,
            sequences=slices,
        )
        if opened.config.model.name in WEIGHING:
            self._weights = self._weigh(data, samples)
        return score_samples(opened.model, opened.config, data, samples)

    def _weigh(self, data: PreparedData, samples: Samples) -> list[NDArray[np.float32]]:
        """[S] rows of the weights of the behaviours in `_places`, as `explain` computes them."""
        from din_train.batches import build_batch

        model, config = cast("WeighingModel", self._opened.model), self._opened.config
        search, longest = CategorySearch.of(config.model.search, data), config.data.max_history_length
        found = []
        for rows in np.split(np.arange(len(samples)), range(_AT_ONCE, len(samples), _AT_ONCE)):
            inputs, _ = build_batch(data, samples, rows, longest, config.model.behaviour_fields, search=search)
            weights, candidates = (each.numpy() for each in model.compute_activation_weights(inputs))
            ends = np.cumsum(np.bincount(candidates, minlength=len(rows)))[:-1]
            found += np.split(weights[np.argsort(candidates, kind="stable")].astype(np.float32), ends)
        return found

    def describe(self, request: Request, start: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32] | None]:
        """`counts` and `activation_weights` of a request, whose rows begin at this one."""
        history, size = request.inputs["history"], len(request.inputs["item"])
        places = self._places[start : start + size]
        counts = {
            "known": self._known[start : start + size],
            "behaviours": np.array([len(of) for of in places[: len(history)]]),
            "known_behaviours": np.array(
                [sum(sent[place] in self._items for place in of) for sent, of in zip(history, places, strict=False)]
            ),
        }
        if not self._weights:
            return counts, None
        weights = np.zeros((size, len(history[0])), np.float32)
        for row, of in enumerate(places):
            weights[row, of] = self._weights[start + row]
        return counts, weights

    def _list_behaviours(self, sequence: str, row: int) -> list[dict[str, Any]]:
        """A row's behaviours, oldest first, and the place of each in what was sent."""
        fields = {name: name_input(sequence, name) for name in self._opened.config.model.behaviour_fields}
        fields = {name: of for name, of in fields.items() if name != TIME_GAP}
        times = self._values.get(f"{sequence}_timestamp")
        return [
            {
                "place": place,
                "item": text,
                **{name: self._values[of][row][place] for name, of in fields.items()},
                "time": -1 if times is None else times[row][place],
            }
            for place, text in enumerate(self._values[sequence][row])
            if text not in ("", self._by_name[sequence].padding)
        ]

    def _find(self, field: str, values: Sequence[Any]) -> NDArray[np.int32]:
        """Ids of raw values, as every data set's are found."""
        return build_id_finder(self._opened.data, self._names, field).find(self._to_arrow(field, values))

    def _column(self, field: str, name: str, rows: NDArray[np.int64]) -> Any:
        return self._to_arrow(field, [self._values[name][row] for row in rows])

    def _to_arrow(self, field: str, values: Sequence[Any]) -> Any:
        """Texts or lists, as a file has them; numbers as the data set's are written."""
        if values and isinstance(values[0], list):
            return pa.array(values, pa.list_(pa.string()))
        if any(isinstance(each, float) for each in values):
            counted = self._opened.data.manifest.field_values[field]
            mark = "." if counted.style is None else counted.style.mark
            values = [repr(each).replace(".", mark) if abs(each) < LARGEST_NUMBER else None for each in values]
        return pa.array([None if each == "" else each for each in values], pa.string())


def _list_rows(requests: Sequence[Request], name: str) -> Iterator[Any]:
    """An input's value for each row of the requests, one after the other."""
    for request in requests:
        values = request.inputs[name]
        for row in range(len(request.inputs["item"])):
            yield values[row if len(values) > 1 else 0]

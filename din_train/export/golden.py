"""Requests with what `predict`'s scoring gives for them, by which every artefact is checked.

The golden requests travel with an artefact: they hold odd cases, of made-up users and histories. The sweep holds every
value of every vocabulary, or a large sample of it, and is only used for the check.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.dataset.names import Names, build_id_finder
from din_train.dataset.store import NO_EVENT, Samples, Slices
from din_train.dataset.time_fields import compute_time_field
from din_train.dataset.vocabulary import UNKNOWN_ID, RawIds, hash_values
from din_train.export.request import LARGEST_NUMBER, UNKNOWN_NUMBER, RequestInput, Vocabulary, name_input
from din_train.predict.new_items import NewItemReader
from din_train.predict.predict import correct_scores
from din_train.scoring import OpenedRun, score_samples

# The largest difference in logits between what an artefact and `predict` give.
TOLERANCE = 1e-5

# The most rows of the sweep, and the most behaviours that a published history has.
_SWEEP_ROWS, _MOST_PUBLISHED = 10_000, 2_000

_UNICODE = "Zo\u00eb \u65e5\u672c \U0001f60a"
_ODD_TEXTS = ("two words", " blanks ", "\"quoted\" 'text'", _UNICODE, "a\tb\\n", "end\r", "line\nline")
_TIMES = (1_700_000_000, 1_709_251_199, 951_782_400, 86_399, 0, -1, -2, -86_401)


@dataclass(frozen=True)
class Request:
    """inputs: name -> nested lists of raw values in the input's shape; of a hashed input the texts themselves."""

    name: str
    inputs: Mapping[str, Any]

    def encode(self, inputs: Sequence[RequestInput]) -> dict[str, Any]:
        """The request as it is sent: with the ids of hashed texts."""
        hashed = {each.name: each.hash_buckets for each in inputs if each.hash_buckets is not None}
        return {
            name: values if name not in hashed else _hash(values, hashed[name]) for name, values in self.inputs.items()
        }


@dataclass(frozen=True)
class ScoredRequest:
    """What `predict`'s scoring gives.

    logit, click_probability: [M]. probability_bounds: [M] the probabilities of logits that are `TOLERANCE` lower and
    higher, between which that of an artefact is.
    """

    request: Request
    logit: NDArray[np.float32]
    click_probability: NDArray[np.float64]
    probability_bounds: tuple[NDArray[np.float64], NDArray[np.float64]]


def _hash(values: Any, buckets: int) -> Any:
    if isinstance(values, list):
        return [_hash(each, buckets) for each in values]
    return 0 if values == "" else int(hash_values(pa.array([values]), buckets)[0])


def build_golden(inputs: Sequence[RequestInput], vocabularies: Mapping[str, Vocabulary], longest: int) -> list[Request]:
    """The requests that are published.

    Args:
        longest: how many behaviours of a history are used.
    """
    draw = _Drawer(inputs, vocabularies)
    items = draw.items
    first = items[0]
    near = [first + " ", " " + first, first + "\r", first + "\n", first.swapcase()]
    padded = [[*items[:3], "", ""], ["", items[-1], "", first, ""], [""] * 5]
    category = vocabularies["category"].texts if "category" in vocabularies else []
    known: dict[str, Any] = {"item_category": [category[-1]]} if category else {}
    return [
        draw.request("one user, many candidates", len(items), history=[items[:5]], rows_of_user=1),
        draw.request("rows of three users", 3, history=padded),
        draw.request("empty history", 2, history=[[]], rows_of_user=1),
        draw.request("empty histories, padded", 2, history=[["", ""], ["", ""]]),
        draw.request("unknown item, nothing known of it", 1, item=["no such item"], nothing_known=True),
        draw.request("unknown items, described", 3, item=["no such item", "nor this", "nor that"], rows_of_user=1),
        draw.request("known item, described otherwise", 1, item=[first], **known),
        draw.request("unknown ids in a history", 2, history=[["no such item", first, "nor this"]], rows_of_user=1),
        draw.request("unknown ids alone", 1, history=[["no such item"]]),
        *([draw.over_long(longest)] if longest <= _MOST_PUBLISHED else []),
        draw.request("odd ids", len(_ODD_TEXTS), item=list(_ODD_TEXTS), history=[[*_ODD_TEXTS, first]], rows_of_user=1),
        draw.request("ids that are nearly known", len(near), item=near, history=[near], rows_of_user=1),
        *(draw.request(f"drawn {number}", 4) for number in range(3)),
    ]


def build_unpublished(
    inputs: Sequence[RequestInput], vocabularies: Mapping[str, Vocabulary], longest: int
) -> list[Request]:
    """The sweep, which has all values of all vocabularies, or `_SWEEP_ROWS` of each.

    Then an over-long history, if none is golden.
    """
    draw = _Drawer(inputs, vocabularies, published=False)
    most = max(len(each.texts) for each in vocabularies.values())
    sweep = draw.sweep(max(8, min(most, _SWEEP_ROWS)))
    return [sweep] if longest <= _MOST_PUBLISHED else [sweep, draw.over_long(longest)]


class _Drawer:
    """Draws requests, always the same ones.

    Args:
        published: with made-up users, and without what JSON cannot say.
    """

    def __init__(
        self, inputs: Sequence[RequestInput], vocabularies: Mapping[str, Vocabulary], *, published: bool = True
    ) -> None:
        self._inputs, self._vocabularies, self._published = inputs, vocabularies, published
        self._random = np.random.default_rng(0)
        self.items = _choose(vocabularies["item"].texts, 8) or ["no item"]

    def request(
        self, name: str, rows: int, *, rows_of_user: int | None = None, nothing_known: bool = False, **given: Any
    ) -> Request:
        """A request of M rows, in which what is not given is drawn.

        Args:
            rows_of_user: 1: one row of the user and the history stands for all. nothing_known: of the items.
        """
        of_user = rows_of_user or rows
        width = len(given["history"][0]) if "history" in given else 4
        heights = len(given["history"]) if "history" in given else of_user
        values: dict[str, Any] = {}
        for each in self._inputs:
            if each.name in given:
                values[each.name] = given[each.name]
            elif each.name == "item":
                values[each.name] = [self.items[place % len(self.items)] for place in range(rows)]
            elif each.name == "item_hash":
                values[each.name] = values["item"]
            else:
                is_history = each.name == "history" or each.name.startswith("history_")
                size = rows if each.name.startswith("item_") else heights if is_history else of_user
                positions = width if is_history else 3
                shape = [size, *(positions if "positions" in of else 3 for of in each.shape[1:])]
                values[each.name] = self._draw(each, shape, unknown=nothing_known and each.name.startswith("item_"))
        return Request(name, values)

    def over_long(self, longest: int) -> Request:
        """A request whose history has seven behaviours too many, the oldest, which are alike."""
        history = [self.items[-1]] * 7 + [self.items[place % len(self.items)] for place in range(longest)]
        return self.request("over-long history", 2, history=[history], rows_of_user=1)

    def sweep(self, rows: int) -> Request:
        """See `build_unpublished`."""
        values: dict[str, Any] = {}
        for each in self._inputs:
            shape = [rows, *(5 if "positions" in of else 3 for of in each.shape[1:])]
            values[each.name] = values["item"] if each.name == "item_hash" else self._draw_all(each, shape)
        return Request("sweep", values)

    def _draw_all(self, asked: RequestInput, shape: Sequence[int]) -> Any:
        """Every text in turn, in each place another one."""
        if asked.vocabulary is None or not self._vocabularies[asked.vocabulary].texts:
            return self._draw(asked, shape)
        texts = np.array(_choose(self._vocabularies[asked.vocabulary].texts, shape[0]), object)
        places = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        if len(shape) == 2:
            places = places * (1 + np.arange(shape[1])) + np.arange(shape[1])
        return texts[places % len(texts)].tolist()

    def _draw(self, asked: RequestInput, shape: Sequence[int], *, unknown: bool = False) -> Any:
        pool = np.empty(0, object)
        if unknown:
            pool = np.array([""] if asked.datatype == "BYTES" or asked.hash_buckets else [UNKNOWN_NUMBER], object)
        elif asked.hash_buckets is not None:
            pool = np.array(["alpha", "beta", "", *_ODD_TEXTS], object)
        elif asked.datatype == "FP64":
            pool = np.array(self._list_numbers(asked), object)
        elif asked.datatype == "INT64":
            pool = np.array(_TIMES, object)
        else:
            vocabulary = self._vocabularies[str(asked.vocabulary)]
            texts = vocabulary.texts
            if asked.vocabulary == "user" and self._published:
                known = {*texts}
                texts = [each for each in ("a made-up user", *_ODD_TEXTS) if each not in known]
            pool = np.array([*_choose(texts, 24), *vocabulary.nulls[:2], "", "no such value", _UNICODE], object)
        drawn: Any = pool[self._random.integers(len(pool), size=shape)].tolist()
        return drawn

    def _list_numbers(self, asked: RequestInput) -> list[float]:
        """Numbers on edges, and as near to them as float64 has any, which float32 cannot tell apart; beyond all."""
        if asked.scale is not None:
            mean, deviation = asked.scale
            numbers = [mean, mean - deviation, mean + 0.1 * deviation, mean + 0.2 * deviation]
        else:
            numbers = [0.0, -1.5, 0.1 + 0.2, 1e12, -1e12]
        for edge in _choose(list(asked.edges or ()), 20):
            numbers += [edge, float(np.nextafter(edge, -np.inf)), float(np.nextafter(edge, np.inf))]
        return [*numbers, UNKNOWN_NUMBER if self._published else float("nan")]


def _choose(values: Sequence[Any], most: int) -> list[Any]:
    """At most this many of them, evenly spread; the first and the last among them."""
    places = np.unique(np.linspace(0, max(len(values) - 1, 0), min(most, len(values))).astype(int))
    return [values[place] for place in places.tolist()]


def score_requests(
    opened: OpenedRun,
    names: Names,
    prior_shift: float,
    inputs: Sequence[RequestInput],
    vocabularies: Mapping[str, Vocabulary],
    requests: Sequence[Request],
) -> list[ScoredRequest]:
    """What `predict` gives for such rows: from raw values to samples as it makes them, then by its one scoring path."""
    samples, counts = (
        _Rows(opened, names, inputs, vocabularies, requests),
        [len(each.inputs["item"]) for each in requests],
    )
    scores = samples.score()
    calibration = opened.calibration
    logits, probabilities = correct_scores(scores, calibration, prior_shift)
    low, high = (
        correct_scores((scores.astype(np.float64) + step).astype(np.float32), calibration, prior_shift)[1]
        for step in (-TOLERANCE, TOLERANCE)
    )
    ends = np.cumsum(counts)[:-1]
    parts = zip(*(np.split(each, ends) for each in (logits, probabilities, low, high)), strict=True)
    return [
        ScoredRequest(request, logit, probability, (lower, higher))
        for request, (logit, probability, lower, higher) in zip(requests, parts, strict=True)
    ]


class _Rows:
    """The rows of some requests, each with all that is sent for it."""

    def __init__(
        self,
        opened: OpenedRun,
        names: Names,
        inputs: Sequence[RequestInput],
        vocabularies: Mapping[str, Vocabulary],
        requests: Sequence[Request],
    ) -> None:
        self._opened, self._names = opened, names
        self._by_name = {each.name: each for each in inputs}
        self._none = {"", *vocabularies["item"].nulls}  # no behaviour
        self._values = {each.name: list(_list_rows(requests, each.name)) for each in inputs}

    def score(self) -> NDArray[np.float32]:
        """[S] scores of the model."""
        opened, data = self._opened, self._opened.data
        size, longest = len(self._values["item"]), opened.config.data.max_history_length
        events: dict[str, list[Any]] = {name: [] for name in ("item", *opened.config.model.behaviour_fields, "time")}
        slices: dict[str, Slices] = {}
        last = np.full(size, -1, np.int64)
        for sequence in ("history", *data.sequences):
            start, length = np.zeros(size, np.int64), np.zeros(size, np.int32)
            for row in range(size):
                behaviours = self._list_behaviours(sequence, row)
                kept = behaviours[-longest:]
                start[row], length[row] = len(events["item"]), len(kept)
                for each in kept:
                    for name, value in each.items():
                        events[name].append(value)
                if sequence == "history" and behaviours:
                    last[row] = behaviours[-1]["time"]
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
        unknown = np.flatnonzero(target_ids == UNKNOWN_ID)
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
        return score_samples(opened.model, opened.config, data, samples)

    def _list_behaviours(self, sequence: str, row: int) -> list[dict[str, Any]]:
        """A row's behaviours, oldest first."""
        fields = {name: name_input(sequence, name) for name in self._opened.config.model.behaviour_fields}
        fields = {name: of for name, of in fields.items() if name != TIME_GAP}
        times = self._values.get(f"{sequence}_timestamp")
        return [
            {
                "item": text,
                **{name: self._values[of][row][place] for name, of in fields.items()},
                "time": -1 if times is None else times[row][place],
            }
            for place, text in enumerate(self._values[sequence][row])
            if text not in self._none
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

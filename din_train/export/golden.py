"""The requests by which every artefact is checked.

The golden requests travel with an artefact: they hold odd cases, of made-up users and histories. The sweep holds every
value of every vocabulary, or a large sample of it, and is only used for the check.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from din_train.dataset.vocabulary import hash_values
from din_train.export.request import UNKNOWN_NUMBER, RequestInput, Vocabulary

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
        self,
        name: str,
        rows: int,
        *,
        rows_of_user: int | None = None,
        nothing_known: bool = False,
        others: int = 3,
        **given: Any,
    ) -> Request:
        """A request of M rows, in which what is not given is drawn.

        Args:
            rows_of_user: 1: one row of the user and the history stands for all. nothing_known: of the items. others:
                the positions of further sequences.
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
                positions = width if is_history else others
                shape = [size, *(positions if "positions" in of else 3 for of in each.shape[1:])]
                values[each.name] = self._draw(each, shape, unknown=nothing_known and each.name.startswith("item_"))
        return Request(name, values)

    def over_long(self, longest: int) -> Request:
        """A request whose sequences have seven behaviours too many; the oldest ones of the history are alike."""
        history = [self.items[-1]] * 7 + [self.items[place % len(self.items)] for place in range(longest)]
        return self.request("over-long history", 2, history=[history], rows_of_user=1, others=2 * (longest + 7))

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
            others = [*vocabulary.nulls[:2], *vocabulary.paddings[:2], *([asked.padding] if asked.padding else [])]
            pool = np.array([*_choose(texts, 24), *others, "", "no such value", _UNICODE], object)
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

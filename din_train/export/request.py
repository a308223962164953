"""What a request to a served model carries: M candidates of one user, or of M users, in raw ids.

The same inputs, in the same shapes, are those of the SavedModel, the ONNX file and every server. A dimension of
`rows or 1` is M, or 1 where one row stands for all candidates: of one user the history is sent once.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from din_train.config import Config
from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.dataset.fields import BucketIds
from din_train.dataset.names import Names, build_id_finder
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import FIRST_REAL_ID, PAD_ID, UNKNOWN_ID
from din_train.errors import ConfigError

Datatype = Literal["BYTES", "INT64", "FP64"]

ROWS, ROWS_OR_ONE = "rows", "rows or 1"

# Of an answer; the last one only if it was asked for.
OUTPUTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "click_probability": ("FP32", (ROWS,)),
    "logit": ("FP32", (ROWS,)),
    "known": ("BOOL", (ROWS,)),
    "behaviours": ("INT64", (ROWS_OR_ONE,)),
    "known_behaviours": ("INT64", (ROWS_OR_ONE,)),
    "activation_weights": ("FP32", (ROWS, "positions")),
}

# A moment, in examples.
_EXAMPLE_TIME = 1_700_000_000

# A number of this size is unknown, as NaN is, which JSON cannot say.
LARGEST_NUMBER, UNKNOWN_NUMBER = 1e300, 1e308

_NUMBER = f"a number; NaN or {UNKNOWN_NUMBER:g} if it is unknown"


@dataclass(frozen=True)
class RequestInput:
    """One tensor of a request. At most one of `vocabulary`, `edges`, `scale` and `hash_buckets` is given.

    shape: names of the dimensions. vocabulary: which list numbers its texts ("" has id 0, no value; a text that is not
    in the list has id 1, unknown). edges: between the buckets of its numbers; None of a field without buckets, all of
    whose numbers are unknown. scale: mean and standard deviation of its numbers. hash_buckets: n of a text that the
    client has hashed: 0 for no value, else 2 + (the first 8 bytes of its SHA-256, as a big-endian number) mod n.
    max_values: of a field of several values, of which the first ones are kept. padding: a text that is no behaviour in
    this sequence, though it may be an item elsewhere.
    """

    name: str
    datatype: Datatype
    shape: tuple[str, ...]
    meaning: str
    example: Any
    vocabulary: str | None = None
    edges: tuple[float, ...] | None = None
    scale: tuple[float, float] | None = None
    hash_buckets: int | None = None
    max_values: int | None = None
    padding: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `export.json` has it."""
        said: dict[str, Any] = {
            "name": self.name,
            "datatype": self.datatype,
            "shape": list(self.shape),
            "meaning": self.meaning,
            "example": self.example,
            "vocabulary": self.vocabulary,
        }
        if self.hash_buckets is not None:
            said["hash"] = {"sha256_buckets": self.hash_buckets}
        return said


def name_input(*parts: str) -> str:
    """The name of an input, of ASCII's letters, digits and `_` alone, as every server takes it.

    A letter beyond ASCII becomes its number, so that names in other scripts stay different ones.
    """
    joined = "_".join(parts)
    return re.sub(r"[^0-9A-Za-z]", lambda found: "_" if found[0].isascii() else f"u{ord(found[0]):x}", joined)


def is_of_one_user(asked: RequestInput) -> bool:
    """Whether an input has one value for all candidates of signature `rank`, which then has no dimension of rows."""
    return asked.shape[0] != ROWS and not asked.name.startswith("item_")


@dataclass(frozen=True)
class Vocabulary:
    """texts: by id from 2. nulls: other texts that stand for no value, id 0, as "" does. paddings: further texts, which
    are no behaviour in some sequences and unknown elsewhere.
    """

    texts: list[str]
    nulls: list[str] = field(default_factory=list)
    paddings: list[str] = field(default_factory=list)

    @property
    def other_ids(self) -> dict[str, int]:
        """The ids of what is not in `texts`: of paddings they are negative."""
        return {
            "": PAD_ID,
            **dict.fromkeys(self.nulls, PAD_ID),
            **{text: -1 - n for n, text in enumerate(self.paddings)},
        }

    def find(self, text: str) -> int:
        """A text's id."""
        if text in self.other_ids:
            return self.other_ids[text]
        return self.texts.index(text) + FIRST_REAL_ID if text in self.texts else UNKNOWN_ID


def list_inputs(config: Config, data: PreparedData, names: Names) -> tuple[RequestInput, ...]:
    """The inputs of a run's requests, in a fixed order.

    Raises:
        ConfigError: if two of them would have one name, or one has that of an output.
    """
    inputs = tuple(_Lister(config, data, names).list_all())
    seen = set(OUTPUTS)
    for each in inputs:
        if each.name in seen:
            other = "an output is called so" if each.name in OUTPUTS else "another one is called so"
            raise ConfigError(
                f"export: a request would have an input called '{each.name}', and {other}; rename the context field or "
                "the sequence of that name in the config, and train again"
            )
        seen.add(each.name)
    return inputs


def read_vocabularies(
    config: Config, data: PreparedData, names: Names, inputs: tuple[RequestInput, ...]
) -> dict[str, Vocabulary]:
    """The lists that the inputs name."""
    lists = config.data.list_fields or {}
    found = {}
    for name in dict.fromkeys(each.vocabulary for each in inputs if each.vocabulary is not None):
        if name in ("item", "user"):
            column = names.items if name == "item" else names.users
            is_used = name == "item" or bool(data.user_fields)  # no other model looks users up
            texts, nulls = column[FIRST_REAL_ID:].to_pylist() if is_used else [], []
        else:
            texts = [str(each) for each in names.values(name)[FIRST_REAL_ID:]]
            nulls = list(data.manifest.recipe["data.null_values"]) if name in lists else []
        known = set(texts)
        paddings = [each.padding for each in inputs if each.vocabulary == name and each.padding is not None]
        nulls, paddings = ([each for each in dict.fromkeys(of) if each not in known] for of in (nulls, paddings))
        found[name] = Vocabulary(texts, [each for each in nulls if each != ""], paddings)
    return found


class _Lister:
    def __init__(self, config: Config, data: PreparedData, names: Names) -> None:
        self._config, self._data, self._names = config, data, names
        self._lists = config.data.list_fields or {}
        self._hashed: Mapping[str, int] = config.vocabulary.hash_buckets
        self._behaviour_fields = config.model.behaviour_fields

    def list_all(self) -> Iterator[RequestInput]:
        items = self._names.items[FIRST_REAL_ID:]
        item = str(items[0].as_py()) if len(items) else ""
        yield RequestInput("item", "BYTES", (ROWS,), "the candidate's raw id", item, vocabulary="item")
        yield RequestInput("user", "BYTES", (ROWS_OR_ONE,), "the user's raw id", "someone", vocabulary="user")
        for sequence in ("history", *self._data.sequences):
            yield from self._list_sequence(sequence, item)
        context = self._data.context_fields
        if {*context} & {*TIME_FIELDS} or TIME_GAP in self._behaviour_fields:
            yield RequestInput(
                "timestamp", "INT64", (ROWS_OR_ONE,), "the moment of the request, unix seconds", _EXAMPLE_TIME
            )
        for name in context:
            if name not in TIME_FIELDS:
                yield self._describe_field(name_input(name), name, "context field")
        for name in self._data.item_fields:
            yield self._describe_field(
                name_input("item", name), name, 'of a candidate that the model does not know, "" or NaN if unknown: its'
            )
        if "item" in self._hashed:
            yield RequestInput(
                "item_hash",
                "INT64",
                (ROWS_OR_ONE,),
                "the hash of the candidate's raw id; used if the model does not know the id",
                2,
                hash_buckets=self._hashed["item"],
            )

    def _list_sequence(self, name: str, item: str) -> Iterator[RequestInput]:
        shape = (ROWS_OR_ONE, "positions" if name == "history" else f"positions of {name}")
        kept, whose = self._config.data.max_history_length, "" if name == "history" else f" of '{name}'"
        sequences = list((self._config.data.sequences or {}).values())  # the first one is the history
        place = 1 + [*self._data.sequences].index(name) if name != "history" else 0
        padding = sequences[place].padding if sequences else None
        none = '""' if padding is None else f'"" or {padding!r}'
        yield RequestInput(
            name,
            "BYTES",
            shape,
            f"raw ids of the behaviours{whose}, oldest first; {none} is none; the newest {kept} are used",
            [item],
            vocabulary="item",
            padding=padding,
        )
        for each in self._behaviour_fields:
            if each != TIME_GAP:
                yield self._describe_field(name_input(name, each), each, "of each behaviour: its", shape)
        has_gap = TIME_GAP in self._behaviour_fields
        if has_gap or (name == "history" and "days_since_last" in self._data.context_fields):
            yield RequestInput(
                f"{name}_timestamp",
                "INT64",
                shape,
                "the time of each behaviour, unix seconds; -1 if it is unknown",
                [_EXAMPLE_TIME - 3600],
            )

    def _describe_field(
        self, name: str, of_data: str, meaning: str, shape: tuple[str, ...] = (ROWS_OR_ONE,)
    ) -> RequestInput:
        """An input with the values of a field of the data set."""
        what, is_list = f"{meaning} {of_data}", len(shape) > 1

        def describe(datatype: Datatype, what: str, example: object, **numbering: Any) -> RequestInput:
            return RequestInput(name, datatype, shape, what, [example] if is_list else example, **numbering)

        if of_data in self._data.item_fields and self._data.item_fields[of_data].dtype != np.int32:
            counted = self._data.manifest.field_values[of_data]
            scale = (counted.mean or 0.0, counted.standard_deviation or 1.0)
            return describe("FP64", f"{what}, {_NUMBER}", scale[0], scale=scale)
        if of_data in self._config.data.numeric_fields:
            finder = build_id_finder(self._data, self._names, of_data)
            has_buckets = isinstance(finder, BucketIds) and finder.first is not None
            edges = tuple(finder.edges.tolist()) if isinstance(finder, BucketIds) and has_buckets else None
            return describe("FP64", f"{what}, {_NUMBER}", edges[0] if edges else 1.0, edges=edges)
        max_values = None
        if of_data in self._lists:
            shape, max_values = (*shape, f"values of {of_data}"), self._lists[of_data].max_values
            what, is_list = f"{what}, its values", True
        if of_data in self._hashed:
            return describe("INT64", f"{what}, hashed", 2, hash_buckets=self._hashed[of_data], max_values=max_values)
        texts = self._names.values(of_data)[FIRST_REAL_ID:]
        return describe("BYTES", what, str(texts[0]) if texts else "", vocabulary=of_data, max_values=max_values)

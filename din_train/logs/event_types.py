"""Logs of events of several types: which are clicks, which are impressions, and which are left out."""

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from din_train.config.column_roles import EventTypesConfig
from din_train.errors import DataError
from din_train.logs.expressions import Mask
from din_train.logs.log import FileReport
from din_train.printable import make_printable

_MOST_TYPES = 50  # counted by name; a column of more is none of types
_TYPES_SHOWN = 10
_NAME_LENGTH = 40


class EventTypes:
    """The types of one log's events, of however many files.

    Args:
        config: which types are clicks and which are impressions.
        key: the config key that names the clicks, for messages.
        what: what a type is called in the counts of what is left out.
        known: every type there can be, if the format says so: another one is a bad line.
    """

    def __init__(
        self,
        config: EventTypesConfig,
        *,
        key: str = "data.columns.events.click",
        what: str = "event",
        known: Sequence[str] = (),
    ) -> None:
        self.config, self._key, self.what = config, key, what
        self._known, self._seen = known, Counter[str]()

    def read(self, types: Any, usable: Mask, report: FileReport) -> tuple[Mask, Mask, Mask]:
        """[n] whether a row is a click, is wanted (a click or an impression), and is of no known type.

        Args:
            types: strings; null and "" are a type of no name.
            usable: [n] the rows that are good otherwise: those that are not wanted are counted in the report.
        """
        distinct = pc.fill_null(types, "").dictionary_encode()
        names, codes = distinct.dictionary.to_pylist(), distinct.indices.to_numpy()
        clicks, named = set(self.config.click), {*self.config.click, *self.config.impression}
        is_click, is_wanted, is_known = (
            np.array([name in some for name in names], bool)[codes]
            for some in (clicks, named, set(self._known or names))
        )
        counted = codes[usable & is_known]
        counts = np.bincount(counted, minlength=len(names))
        first = np.zeros(len(names), np.int64)
        first[counted[::-1]] = np.arange(len(counted))[::-1]  # of several values for a place the last one stays
        order = np.flatnonzero(counts)
        for code in order[np.argsort(first[order])].tolist():
            name, count = names[code], int(counts[code])
            is_named = name in named
            if not is_named and name not in self._seen and len(self._seen) >= _MOST_TYPES:
                name = ""
            self._seen[name] += count
            if not is_named:
                report.skip(f"{self.what} {_show(name)}" if name else f"{self.what}s of other types", count)
        return is_click, is_wanted, ~is_known

    def add(self, other: "EventTypes") -> None:
        """Count the types of a part of the log, after those of the parts before."""
        self._seen.update(other._seen)

    def check(self, path: object) -> tuple[str, ...]:
        """Look at the types that the config names and no row has.

        Returns:
            A sentence for each.

        Raises:
            DataError: if no row is of any type that is a click, or of any that is an impression.
        """
        groups = {self._key: self.config.click, "data.columns.events.impression": self.config.impression}
        shown = ", ".join(f"{_show(name)} {count:,}" for name, count in self._seen.most_common(_TYPES_SHOWN))
        remarks = []
        for key, names in groups.items():
            unseen = [name for name in names if name not in self._seen]
            if unseen and len(unseen) == len(names):
                raise DataError(
                    f"{path}: {key}: no row is of the type {' or '.join(map(_show, unseen))}; the types are "
                    f"{shown or 'none'}{self._advise(unseen)}; name those that are there"
                )
            remarks += [
                f"{key}: no row is of the type {_show(name)}{self._advise([name])}; the types are {shown}"
                for name in unseen
            ]
        return tuple(remarks)

    def _advise(self, unseen: Sequence[str]) -> str:
        others = [name for name in self._seen if name not in (*self.config.click, *self.config.impression)]
        close = [each for name in unseen for each in difflib.get_close_matches(name, others, n=1)]
        return f" (did you mean {_show(close[0])}?)" if close else ""


def _show(name: str) -> str:
    return make_printable(name[:_NAME_LENGTH])

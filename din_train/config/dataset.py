"""`filters`, `vocabulary` and `negatives`: how a log becomes samples."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from din_train.config.data import Time, find_disorder
from din_train.config.section import Section


class FiltersConfig(Section):
    """`filters`: events to leave out before anything else, in the order of the keys; each is counted."""

    since: Annotated[Time | None, Field(description="leave out what is before: unix seconds or a date (UTC)")] = None
    until: Annotated[Time | None, Field(description="leave out what is at or after: unix seconds or a date")] = None
    duplicates: Annotated[
        Literal["keep", "drop-same-time", "drop-same-item"],
        Field(
            description="drop-same-time: of a user's events with one item and time keep the first; drop-same-item: "
            "of a user's events with one item keep the first"
        ),
    ] = "keep"
    k_core: Annotated[
        int, Field(ge=1, lt=2**31, description="leave out users and items of fewer events, until none is left; 1: none")
    ] = 1

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """The window must not be empty."""
        yield from find_disorder(self, "since", "until")


class VocabularyConfig(Section):
    """`vocabulary`: what becomes of ids the model does not know."""

    unknown_rate: Annotated[
        float,
        Field(ge=0, lt=1, description="share of training ids replaced by 'unknown', so that its row is trained"),
    ] = 0.001
    min_count: Annotated[
        int,
        Field(
            ge=0,
            lt=2**31,
            description="least training events of an item for a row of its own, else it is 'unknown'; 1: items seen "
            "in training; 0: every item of the log",
        ),
    ] = 0
    hash_buckets: Annotated[
        dict[str, Annotated[int, Field(ge=2, lt=2**31)]],
        Field(
            description="fields too large to list (item, category or a declared field), and how many rows they hash to"
        ),
    ] = {}  # noqa: RUF012 - pydantic copies it


class NegativesConfig(Section):
    """`negatives`: items a user did not choose, drawn where the log has no impressions of its own."""

    per_positive: Annotated[int, Field(ge=1, le=10_000, description="training negatives a positive")] = 1
    evaluation_per_positive: Annotated[
        int, Field(ge=1, le=10_000, description="validation and test negatives a positive")
    ] = 1
    distribution: Annotated[
        Literal["uniform", "popularity"],
        Field(description="uniform over all items, or in proportion to an item's training events"),
    ] = "uniform"
    exclude: Annotated[
        Literal["all", "history"],
        Field(description="never draw an item of the user's whole list (all), or of the history and target (history)"),
    ] = "all"
    resample: Annotated[
        Literal["never", "epoch"],
        Field(description="epoch: fresh training negatives every epoch; validation and test never change"),
    ] = "never"
    seed: Annotated[
        int, Field(ge=0, lt=2**63, description="apart from `seed`, so that training seeds share the same test rows")
    ] = 1

"""`data`, `vocabulary` and `negatives`: which log to read and how it becomes samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from din_train.config.section import Section

Source = Literal["amazon-2014", "amazon-2018", "table"]
Protocol = Literal["holdout", "paper"]

AMAZON_SOURCES = ("amazon-2014", "amazon-2018")


def _refuse_nameless(path: Path) -> Path:
    if path.name in ("", ".."):
        raise ValueError("expected a path that ends in the name of a file or folder")
    return path


FilePath = Annotated[Path, Field(strict=False), AfterValidator(_refuse_nameless)]


class ColumnsConfig(Section):
    """Header names of a `table` log."""

    user: Annotated[str, Field(min_length=1, description="the column of user ids")]
    item: Annotated[str, Field(min_length=1, description="the column of item ids")]
    timestamp: Annotated[
        str, Field(min_length=1, description="the column of times: whole numbers, of which only the order matters")
    ]
    category: Annotated[
        str | None, Field(min_length=1, description="the column of item categories; without it all are unknown")
    ] = None


class DataConfig(Section):
    """`data`: the log, the protocol, and where the prepared data set goes."""

    source: Annotated[Source, Field(description="format of the log")]
    reviews: Annotated[FilePath | None, Field(description="Amazon: the reviews file, plain or .gz")] = None
    items: Annotated[FilePath | None, Field(description="Amazon: the metadata file, plain or .gz")] = None
    events: Annotated[FilePath | None, Field(description="table: a CSV, TSV (plain or .gz) or Parquet file")] = None
    columns: Annotated[ColumnsConfig | None, Field(description="table: which column is which")] = None
    prepared: Annotated[FilePath, Field(description="folder of the prepared data set")]
    protocol: Annotated[
        Protocol,
        Field(description="holdout: validate on the second-last event, test on the last; paper: test on the last"),
    ] = "holdout"
    max_history_length: Annotated[
        int, Field(ge=1, lt=2**31, description="the newest this many behaviours are kept")
    ] = 100
    max_bad_share: Annotated[
        float, Field(ge=0, le=1, description="share of unreadable lines a file may have; 0 forbids even one")
    ] = 0.01
    memory_limit: Annotated[
        str,
        Field(
            pattern=r"^\d+(\.\d+)?(MB|GB)$",
            description="a size such as 500MB or 2GB: DuckDB's memory; beyond it, it spills to disk",
        ),
    ] = "2GB"

    @classmethod
    def find_problems(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Each source needs its own keys and no other source's."""
        source = values.get("source")
        if source not in get_args(Source):
            return
        needed = ("reviews", "items") if source in AMAZON_SOURCES else ("events", "columns")
        for key in ("reviews", "items", "events", "columns"):
            given = values.get(key) is not None
            if key in needed and not given:
                yield key, f"missing; source '{source}' needs it"
            if key not in needed and given:
                yield key, f"not used by source '{source}'; remove it or change data.source"


class VocabularyConfig(Section):
    """`vocabulary`: what becomes of ids the model does not know."""

    unknown_rate: Annotated[
        float,
        Field(ge=0, lt=1, description="share of training ids replaced by 'unknown', so that its row is trained"),
    ] = 0.001


class NegativesConfig(Section):
    """`negatives`: items a user did not choose, drawn uniformly over all items."""

    per_positive: Annotated[int, Field(ge=1, le=10_000, description="training negatives a positive")] = 1
    evaluation_per_positive: Annotated[
        int, Field(ge=1, le=10_000, description="validation and test negatives a positive")
    ] = 1
    exclude: Annotated[
        Literal["all", "history"],
        Field(description="never draw an item of the user's whole list (all), or of the history and target (history)"),
    ] = "all"
    seed: Annotated[
        int, Field(ge=0, lt=2**63, description="apart from `seed`, so that training seeds share the same test rows")
    ] = 1

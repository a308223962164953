"""`data`: which log to read, by which protocol it is split, and where the prepared data set goes."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from din_train.config.column_roles import FILE_ORDER, ROLES, ColumnsConfig
from din_train.config.field_kinds import ItemVectorsConfig, ListFieldConfig
from din_train.config.file_formats import Column, FilePath, FormatConfig, LocalPath, SideTable, SideTableConfig
from din_train.config.rows import RowSplitConfig, SequenceConfig
from din_train.config.section import Section

Source = Literal["amazon-2014", "amazon-2018", "amazon-2023", "movielens", "taobao", "table", "rows", "x1"]
Protocol = Literal["holdout", "paper", "time", "user", "presampled"]
Behaviour = Literal["pv", "buy", "cart", "fav"]

# Sources whose rows are samples with their histories.
PRESAMPLED = ("rows", "x1")
AMAZON_SOURCES = ("amazon-2014", "amazon-2018", "amazon-2023")

# Source -> the keys that it needs, and those that it may have as well.
SOURCE_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(AMAZON_SOURCES, (("reviews",), ("items",))),
    "movielens": (("events",), ("items", "users", "click_rating")),
    "taobao": (("events",), ("behaviours",)),
    "table": (("events", "columns"), ("items", "users", "format", "list_fields", "item_vectors", "behaviour_fields")),
    "rows": (
        ("train", "columns", "sequences"),
        (
            *("validation", "test", "row_split", "items", "users", "format", "history_separator", "impressions"),
            *("list_fields", "item_vectors", "behaviour_fields"),
        ),
    ),
    "x1": (("train", "test"), ("history_separator",)),
}
# Source -> values for its keys that are left out, so that a resolved config shows what happens.
FILLED_IN: dict[str, dict[str, Any]] = {
    "movielens": {"click_rating": 4.0},
    "taobao": {"behaviours": ["pv"]},
    "x1": {"history_separator": "^"},
}

# Texts that programs write for a missing value. `none` is not among them: it is an occupation in MovieLens.
NULL_VALUES = (
    *("\\N", "NULL", "null", "Null", "(null)", "<null>", "None", "NONE", "nil", "undefined"),
    *("NaN", "nan", "NAN", "-nan", "NaT", "NA", "N/A", "n/a", "#N/A", "<NA>", "<nil>"),
)

# Source -> its fields besides the category. The fields of a table are its columns.
ITEM_FIELDS = {
    "amazon-2014": ("brand", "price"),
    "amazon-2018": ("brand", "price", "main_category"),
    "amazon-2023": ("store", "price", "main_category"),
    "movielens": ("year",),
    "taobao": (),
}
USER_FIELDS = {"movielens": ("age", "gender", "occupation")}
TIME_FIELDS = ("hour", "weekday", "days_since_last")
# Of `behaviour_fields`: the time from a behaviour to the candidate.
TIME_GAP = "time_gap"
CONTEXT_FIELDS = {"taobao": ("behaviour",)}

# Names that the store and a batch use themselves.
RESERVED_FIELDS = {
    *("user", "user_id", "item", "item_id", "category", "category_id", "title", "label", "timestamp"),
    *("training_events", "target_item_id", "history_item_ids", "history_start", "history_length"),
}
# Besides, of the columns that the store has of events and samples.
RESERVED_EVENT_FIELDS = {*RESERVED_FIELDS, "event", "ordinal", "request", "weight"}


def resolve_protocol(data: dict[str, Any]) -> str | None:
    """`data.protocol` of an unchecked section: the default if it is left out, None if it is not a text."""
    protocol = data.get("protocol")
    if protocol is None:
        return "presampled" if data.get("source") in PRESAMPLED else "holdout"
    return protocol if isinstance(protocol, str) else None


def parse_moment(value: object) -> object:
    """A date or a time as YAML reads it, or as text; UTC if it names no time zone."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    return value


def find_disorder(
    section: Section, earlier: str, later: str, *, may_be_equal: bool = False
) -> Iterator[tuple[str, str]]:
    """Find the problem of two times of a section that are not in order."""
    first, second = getattr(section, earlier), getattr(section, later)
    if first is None or second is None or first < second or (may_be_equal and first == second):
        return
    yield later, f"received {second}, expected a time after {earlier} ({first})"


Time = Annotated[int, BeforeValidator(parse_moment), Field(ge=0, lt=2**40)]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]


class TimeSplitConfig(Section):
    """`data.time_split`: where protocol `time` cuts; unix seconds, or a date such as 2014-05-01 (UTC)."""

    validation_from: Annotated[
        Time, Field(description="the first moment of the validation split; equal to test_from: there is no such split")
    ]
    test_from: Annotated[Time, Field(description="the first moment of the test split")]

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """The cuts must be in order."""
        yield from find_disorder(self, "validation_from", "test_from", may_be_equal=True)

    def has_split(self, split: str, until: int | None) -> bool:
        """Whether the cuts leave time for `validation` or `test` in a log that ends before `until`."""
        ends = [each for each in (self.test_from if split == "validation" else None, until) if each is not None]
        return not ends or getattr(self, f"{split}_from") < min(ends)


class UserSplitConfig(Section):
    """`data.user_split`: the disjoint users of protocol `user`; below 1 a value is a share of them, else a number.

    A hash of the raw id decides, so that a user keeps its split when the log grows; of a number, see `assign_users`.
    """

    validation: Annotated[
        float, Field(ge=0, strict=False, description="users to choose the epoch on: a share below 1, or a number")
    ] = 0.1
    test: Annotated[
        float, Field(gt=0, strict=False, description="users to score at the end: a share below 1, or a number")
    ] = 0.1
    seed: Annotated[int, Field(ge=0, lt=2**63, description="decides which users")] = 1


class SparkConfig(Section):
    """`data.spark`: the session that prepares a log, if none is there already (spark-submit, a notebook)."""

    master: Annotated[
        str | None,
        Field(pattern=r"^\S+$", description="such as spark://HOST:7077 or local[4]; what the session says if left out"),
    ] = None
    shards: Annotated[
        int | None,
        Field(
            ge=1,
            le=100_000,
            description="parts the data set is written in, each of whole users; default: twice the cores",
        ),
    ] = None
    folder: Annotated[
        FilePath | None,
        Field(
            description="where tasks put their files, which driver and executors must see: a path, or a URL such as "
            "hdfs://HOST/tmp; beside prepared (or in temp_folder) if left out"
        ),
    ] = None
    settings: Annotated[
        dict[Annotated[str, Field(pattern=r"^spark\.\S+$")], str | int | float | bool],
        Field(
            default_factory=dict, description="settings of Spark by their full names, such as spark.executor.memory: 8g"
        ),
    ]


class DataConfig(Section):
    """`data`: the log, the protocol, and where the prepared data set goes."""

    source: Annotated[Source, Field(description="format of the log")]
    reviews: Annotated[
        FilePath | None, Field(description="Amazon: the reviews file, plain or .gz, a glob or a folder of them")
    ] = None
    items: Annotated[
        SideTable | None,
        Field(
            description="Amazon: the metadata file; MovieLens: the movies file; table and rows: a table of item "
            "fields, FILE or {path: FILE, key: COLUMN}"
        ),
    ] = None
    events: Annotated[
        FilePath | None,
        Field(
            description="table: a CSV, TSV (plain or .gz) or Parquet file, a glob or a folder of them; "
            "MovieLens: the ratings file, and Taobao: UserBehavior.csv, likewise"
        ),
    ] = None
    users: Annotated[
        SideTable | None, Field(description="table and rows: a table of user fields; MovieLens: users.dat or u.user")
    ] = None
    train: Annotated[
        FilePath | None, Field(description="rows and x1: the training samples; of rows also a glob or a folder")
    ] = None
    validation: Annotated[
        FilePath | None, Field(description="rows: the validation samples; data.row_split if left out")
    ] = None
    test: Annotated[
        FilePath | None, Field(description="x1: the test samples; rows: likewise, or data.row_split if left out")
    ] = None
    format: Annotated[
        FormatConfig | None,
        Field(description="table and rows: the dialect of text files, told by their content"),
    ] = None
    columns: Annotated[ColumnsConfig | None, Field(description="table and rows: which column is which")] = None
    sequences: Annotated[
        dict[str, SequenceConfig] | None,
        Field(
            min_length=1,
            description="rows: the histories that a row holds, by name; the first one is the history, and "
            "each further one is pooled beside it (din, base, pnn)",
        ),
    ] = None
    row_split: Annotated[
        RowSplitConfig | None, Field(description="rows: how training rows are shared out where a split has no file")
    ] = None
    impressions: Annotated[
        Column | None,
        Field(
            description="rows: the column of a request's items and labels, such as 'N1-1 N2-0': one row for each; "
            "data.columns.item and label are then left out"
        ),
    ] = None
    click_rating: Annotated[
        float | None, Field(strict=False, description="MovieLens: a rating of at least this is a click, else none")
    ] = None
    behaviours: Annotated[
        Annotated[tuple[Behaviour, ...], Field(strict=False, min_length=1)] | None,
        Field(description="Taobao: which behaviour types are events; rows of others are left out"),
    ] = None
    item_fields: Annotated[Names, Field(description="item fields beside the category, such as brand or price")] = ()
    user_fields: Annotated[Names, Field(description="user profile fields")] = ()
    context_fields: Annotated[
        Names,
        Field(description="hour, weekday, days_since_last, or columns of the log known when the item is shown"),
    ] = ()
    numeric_fields: Annotated[
        Names,
        Field(description="those item, user and behaviour fields that are numbers; they are cut into quantile buckets"),
    ] = ()
    standardized_fields: Annotated[
        Names, Field(description="which of the item and user fields are numbers that enter the model as such")
    ] = ()
    list_fields: Annotated[
        dict[str, ListFieldConfig] | None, Field(description="which of the fields hold several values, by name")
    ] = None
    item_vectors: Annotated[
        dict[str, ItemVectorsConfig] | None, Field(description="given dense vectors of items, by name")
    ] = None
    behaviour_fields: Annotated[
        Names,
        Field(
            description="what is kept of every behaviour beside its item: columns of the log (a type, a price), fields "
            "of data.sequences, or time_gap (the time from a behaviour to the candidate)"
        ),
    ] = ()
    num_buckets: Annotated[int, Field(ge=2, le=10_000, description="buckets of each numeric field")] = 10
    max_unread_share: Annotated[
        float,
        Field(ge=0, le=1, description="share of a numeric field's values that may be no numbers; these become unknown"),
    ] = 0.05
    null_values: Annotated[
        Annotated[tuple[str, ...], Field(strict=False)],
        Field(description="texts that stand for no value, in ids, categories, fields, labels and times; [] for none"),
    ] = NULL_VALUES
    history_separator: Annotated[
        str | None,
        Field(
            pattern=r"^[^A-Za-z0-9\[\]\"']{1,8}$",
            description="rows and x1: what joins the ids of a history, in quotes: '|'; lists such as [1, 2] are read "
            "as well",
        ),
    ] = None
    unmatched: Annotated[
        Literal["refuse", "allow"],
        Field(
            description="what to do if a table of items or users has no id of the log, or if a named field or category "
            "has no value at all: refuse it, or allow it to be unknown everywhere"
        ),
    ] = "refuse"
    prepared: Annotated[LocalPath, Field(description="folder of the prepared data set")]
    protocol: Annotated[
        Protocol,
        Field(
            description="holdout: validate on the second-last event, test on the last; paper: test on the last; time: "
            "cut at two moments; user: disjoint users; presampled: rows and x1"
        ),
    ] = "holdout"
    time_split: Annotated[TimeSplitConfig | None, Field(description="where protocol time cuts")] = None
    user_split: Annotated[UserSplitConfig | None, Field(description="how protocol user divides the users")] = None
    since_base: Annotated[
        bool,
        Field(
            description="train on targets after the last event of vocabulary.base alone; histories, validation and "
            "test stay as they are"
        ),
    ] = False
    min_history: Annotated[
        int,
        Field(ge=0, lt=2**31, description="an event is a sample only if at least this many behaviours come before it"),
    ] = 1
    history_lag: Annotated[
        int,
        Field(
            ge=0,
            lt=2**40,
            description="a log of impressions: a request's history ends this many seconds before it (see docs/data.md)",
        ),
    ] = 0
    ties: Annotated[
        Literal["file_order", "apart"],
        Field(
            description="a log of clicks: if a user has several events at one time, an event's history holds those "
            "above it in the file (file_order), or none of them (apart)"
        ),
    ] = "file_order"
    max_history_length: Annotated[
        int, Field(ge=1, lt=2**31, description="the newest this many behaviours are kept")
    ] = 100
    max_bad_share: Annotated[
        float, Field(ge=0, le=1, description="share of a file's lines that may be unreadable; 0 allows none")
    ] = 0.01
    memory_limit: Annotated[
        str,
        Field(
            pattern=r"^\d+(\.\d+)?(MB|GB)$",
            description="a size such as 500MB or 2GB: DuckDB's memory; beyond it, it spills to disk",
        ),
    ] = "2GB"
    threads: Annotated[
        int | None,
        Field(ge=1, le=1024, description="threads of preparation, all cores if left out; changes no result"),
    ] = None
    temp_folder: Annotated[
        LocalPath | None, Field(description="for preparation's temporary files; beside `prepared` if left out")
    ] = None
    engine: Annotated[
        Literal["duckdb", "spark"],
        Field(
            description="what prepares a log: this machine, or a Spark cluster; changes no row (see docs/scaling.md)"
        ),
    ] = "duckdb"
    spark: Annotated[SparkConfig | None, Field(description="engine spark: where it runs, and how")] = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        source, protocol = values.get("source"), resolve_protocol(values)
        filled = dict(FILLED_IN.get(source, {})) if isinstance(source, str) else {}
        filled["protocol"] = protocol
        if protocol == "user":
            filled["user_split"] = {}
        return {**values, **{key: value for key, value in filled.items() if values.get(key) is None}}

    @property
    def holds_histories(self) -> bool:
        """Whether rows are samples that come with their histories, all of which are kept."""
        return self.source in PRESAMPLED

    @property
    def further_sequences(self) -> list[str]:
        """Names of the sequences of a row beside its history, which is the first."""
        return list(self.sequences or ())[1:]

    @property
    def is_labelled(self) -> bool:
        """Whether rows say what was not clicked, so that no negatives are drawn."""
        of_columns = self.columns is not None and self.columns.is_labelled
        return self.source in ("movielens", "x1") or self.impressions is not None or of_columns

    def path_of(self, key: str) -> Path | None:
        """The path of a key such as `events` or `item_vectors.image`; None if it is left out."""
        section, _, name = key.partition(".")
        if name:
            given: ItemVectorsConfig = (getattr(self, section) or {})[name]
            return given.path
        value = getattr(self, key)
        return value.path if isinstance(value, SideTableConfig) else value

    def at(self, places: Mapping[str, Path]) -> Self:
        """The same log and data set at other paths, by key; a table of items or users keeps its key and format."""
        sides = {key: getattr(self, key) for key in ("items", "users")}
        update = {
            key: side.model_copy(update={"path": path}) if (side := sides.get(key)) else path
            for key, path in places.items()
        }
        return self.model_copy(update=update)

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """Each source and protocol needs its own keys and no other's; the source must have the fields."""
        yield from _find_protocol_problems(self)
        needed, allowed = SOURCE_KEYS[self.source]
        for key in dict.fromkeys(key for keys in SOURCE_KEYS.values() for group in keys for key in group):
            given = getattr(self, key) not in (None, ())
            if key in needed and not given:
                yield key, f"missing; source '{self.source}' needs it"
            if key not in (*needed, *allowed) and given:
                yield key, f"not used by source '{self.source}'; remove it or change data.source"
        if self.engine == "spark" and self.source not in ("table", "movielens", "taobao"):
            yield (
                "engine",
                f"spark prepares logs of the sources table, movielens and taobao, received '{self.source}'; set "
                "duckdb, or read reviews in JSON lines with data.source 'table'",
            )
        yield from _find_field_problems(self)
        yield from _find_role_problems(self)
        fields = {
            "numeric_fields": (
                self.numeric_fields,
                (*self.item_fields, *self.user_fields, *(set(self.behaviour_fields) - {TIME_GAP})),
            ),
            "standardized_fields": (self.standardized_fields, (*self.item_fields, *self.user_fields)),
            "list_fields": (
                self.list_fields or (),
                (*self.item_fields, *self.user_fields, *(set(self.context_fields) - set(TIME_FIELDS))),
            ),
        }
        kinds = {"list_fields": "item, user or context", "numeric_fields": "item, user or behaviour"}
        forms: dict[str, str] = {}
        for key, (names, known) in fields.items():
            for name in names:
                if name not in known:
                    kind = kinds.get(key, "item or user")
                    yield key, f"received '{name}', which is no {kind} field; name it in one of those"
                if forms.setdefault(name, key) != key:
                    yield key, f"received '{name}', which is in data.{forms[name]} already; a field has one form"
        taken = {*RESERVED_EVENT_FIELDS, *self.item_fields, *self.user_fields, *(self.list_fields or ()), *TIME_FIELDS}
        taken |= {"item_ids", "length"}  # a batch has history_item_ids and history_length
        for name in self.behaviour_fields:
            if name in taken:
                yield "behaviour_fields", f"received '{name}', a name that is taken; name another column"
        for name in self.item_vectors or {}:
            if name in RESERVED_FIELDS or name in self.item_fields:
                yield "item_vectors", f"received '{name}', a name that is taken; choose another name"
        if self.source == "table" and self.columns is not None and self.columns.timestamp is None:
            yield "columns.timestamp", "missing; name the column of times, or file-order for a log without times"
        if self.source == "rows":
            yield from _find_row_problems(self)
        if self.source == "table" and self.columns is not None:
            if self.columns.item is None:
                yield "columns.item", "missing; name the column of item ids"
            if self.columns.request is not None and not self.columns.is_labelled:
                yield (
                    "columns.request",
                    "not used without data.columns.label: a log of clicks has no requests; remove it",
                )
        for key, names in {"items": self.item_fields, "users": self.user_fields}.items():
            if self.source in (*AMAZON_SOURCES, "movielens") and names and getattr(self, key) is None:
                yield key, f"missing; data.{key[:-1]}_fields needs the file they are in"


def _find_row_problems(data: DataConfig) -> Iterator[tuple[str, str]]:
    """Rows need an item or a request's items, a split, and sequences whose names and fields fit the store."""
    columns, sequences = data.columns, data.sequences
    if columns is None or sequences is None:
        return
    if data.impressions is None and columns.item is None:
        yield "columns.item", "missing; name the column of item ids, or that of a request's items in data.impressions"
    for role in ("item", "label"):
        if data.impressions is not None and getattr(columns, role) is not None:
            yield f"columns.{role}", "not used beside data.impressions, which says items and labels; remove it"
    if columns.events is not None:
        yield "columns.events", "not used by source 'rows', whose rows are samples; name the column of labels"
    if columns.timestamp == FILE_ORDER:
        yield "columns.timestamp", f"received '{FILE_ORDER}', which rows do not need; leave it out"
    if data.test is None and data.row_split is None:
        yield "test", "missing; name a file, or say in data.row_split how the rows of data.train are shared out"
    if data.row_split is not None:
        for name in ("validation", "test"):
            if getattr(data, name) is None and not getattr(data.row_split, name):
                yield f"row_split.{name}", f"received 0, but there is no data.{name} either; give a share"
        if data.validation is not None and data.test is not None:
            yield "row_split", "not used beside data.validation and data.test; remove it"
        if data.row_split.by == "time" and columns.timestamp is None:
            yield (
                "row_split.by",
                "received 'time', which needs data.columns.timestamp; name it, or split by user",
            )
    known = {field for each in sequences.values() for field in each.fields}
    for name in data.behaviour_fields:
        if name not in (*known, "time_gap"):
            yield "behaviour_fields", f"received '{name}', which is none of the fields of data.sequences; name it there"
        if name in (*data.item_fields, *data.user_fields, *data.context_fields, *RESERVED_FIELDS):
            yield "behaviour_fields", f"received '{name}', a name that is taken; give the field another one"
    for place, name in enumerate(sequences):
        if not name.isidentifier() or (place and name in ("history", *RESERVED_FIELDS)):
            yield (
                "sequences",
                f"received the name '{name}'; expected letters, digits and '_', and no taken name",
            )
    for name in data.further_sequences:
        columns_of = {f"{name}_{what}" for what in ("item_ids", "start", "length", *data.behaviour_fields)}
        for taken in sorted(columns_of & {*data.context_fields, *RESERVED_FIELDS}):
            yield "sequences", f"received '{name}', whose column '{taken}' is a taken name; give it another name"


def _find_protocol_problems(data: DataConfig) -> Iterator[tuple[str, str]]:
    source, protocol = data.source, data.protocol
    if data.holds_histories != (protocol == "presampled"):
        given, drawn = "presampled, the split its files come with", "holdout, paper, time or user"
        expected = given if data.holds_histories else drawn
        yield "protocol", f"received '{protocol}', but source '{source}' has {expected}"
    if protocol == "time" and data.time_split is None:
        yield "time_split", "missing; protocol 'time' needs its validation_from and test_from"
    for key, owner in (("time_split", "time"), ("user_split", "user")):
        if getattr(data, key) is not None and protocol != owner:
            yield key, f"not used by protocol '{protocol}'; remove it or set data.protocol to {owner}"


def _find_field_problems(data: DataConfig) -> Iterator[tuple[str, str]]:
    source = data.source
    known = {
        "item_fields": ITEM_FIELDS.get(source, ()),
        "user_fields": USER_FIELDS.get(source, ()),
        "context_fields": () if source == "x1" else (*TIME_FIELDS, *CONTEXT_FIELDS.get(source, ())),
    }
    seen: set[str] = set()
    for key, names in known.items():
        for name in getattr(data, key):
            if name in seen:
                yield key, f"received '{name}' twice; a field has one place"
            seen.add(name)
            if name in (RESERVED_EVENT_FIELDS if key == "context_fields" else RESERVED_FIELDS):
                yield key, f"received '{name}', a name that is taken; rename the column"
            elif source not in ("table", "rows") and name not in names:
                has = f"has {', '.join(names)}" if names else "has none"
                yield key, f"received '{name}', but source '{source}' {has}"


def _find_role_problems(data: DataConfig) -> Iterator[tuple[str, str]]:
    """No field may be a column that has a role: a label among the context fields would give the answer away."""
    if data.columns is None:
        return
    if data.items is None and isinstance(data.columns.category, int):
        for role, problem in data.columns.find_equal(is_category_of_items=False):
            yield f"columns.{role}", problem
    every = ROLES
    # A separate table of items has the columns of item id and category, one of users that of the user id.
    roles_of = {
        "item_fields": every if data.items is None else ("item", "category"),
        "user_fields": every if data.users is None else ("user",),
        "context_fields": every,
    }
    for key, roles in roles_of.items():
        taken = {getattr(data.columns, role): role for role in roles}
        for name in getattr(data, key):
            if name in taken:
                yield key, f"received '{name}', the column of data.columns.{taken[name]}; leave it out"

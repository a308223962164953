"""The whole config with its small sections, and the checks that need more than one section."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from din_train.config.data import TIME_FIELDS, TIME_GAP, DataConfig, Time, find_disorder, resolve_protocol
from din_train.config.file_formats import LocalPath
from din_train.config.model import PAIRWISE, SEVERAL_SEQUENCES, ModelConfig
from din_train.config.section import Section
from din_train.config.training import TrainingConfig
from din_train.remote_path import describe_credentials

GaucWeighting = Literal["impressions", "positives", "uniform"]


class FiltersConfig(Section):
    """`filters`: which events are left out first, in the order of the keys; each kind is counted."""

    since: Annotated[Time | None, Field(description="leave out what is before: unix seconds or a date (UTC)")] = None
    until: Annotated[Time | None, Field(description="leave out what is at or after: unix seconds or a date")] = None
    duplicates: Annotated[
        Literal["keep", "drop-same-time", "drop-same-item"],
        Field(
            description="drop-same-time: if a user has several events with one item and time, keep the first; "
            "drop-same-item: if a user has several events with one item, keep the first"
        ),
    ] = "keep"
    k_core: Annotated[
        int,
        Field(
            ge=1,
            lt=2**31,
            description="leave out users and items with fewer events, until none is left; 1: keep all",
        ),
    ] = 1

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """The window must not be empty."""
        yield from find_disorder(self, "since", "until")


class VocabularyConfig(Section):
    """`vocabulary`: how the model treats ids that it does not know."""

    unknown_rate: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of the item ids in training that are hidden: such an item has the unknown row and keeps "
            "its category and other fields, as items that come after training",
        ),
    ] = 0.001
    min_count: Annotated[
        int,
        Field(
            ge=0,
            lt=2**31,
            description="an item with fewer training events is 'unknown'; 1: only items seen in training have an id; "
            "0: every item of the log has one",
        ),
    ] = 0
    hash_buckets: Annotated[
        dict[str, Annotated[int, Field(ge=2, lt=2**31)]],
        Field(
            description="fields too large to list (item, category or a declared field), and how many rows they hash to"
        ),
    ] = {}  # noqa: RUF012 - pydantic copies it
    base: Annotated[
        LocalPath | None,
        Field(
            description="folder of an earlier prepared data set: its items, values and buckets keep their ids, new "
            "ones come after them; set by `fit --warm-start`"
        ),
    ] = None
    expire_after: Annotated[
        int | None,
        Field(
            ge=1,
            lt=2**20,
            description="an item without an event in this many days before the log's last one is 'unknown'; left out: "
            "items do not expire",
        ),
    ] = None


class NegativesConfig(Section):
    """`negatives`: items that a user did not choose, drawn if the log has no impressions."""

    per_positive: Annotated[int, Field(ge=1, le=10_000, description="training negatives per positive")] = 1
    evaluation_per_positive: Annotated[
        int, Field(ge=1, le=10_000, description="validation and test negatives per positive")
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
        Field(
            description="epoch: fresh training negatives every epoch; under presampled they take the place of the "
            "training file's own; validation and test never change"
        ),
    ] = "never"
    seed: Annotated[
        int,
        Field(ge=0, lt=2**63, description="separate from `seed`, so that training seeds share the test rows"),
    ] = 1


class MetricsConfig(Section):
    """`metrics`: GAUC's weights, and the intervals."""

    gauc_weighting: Annotated[
        GaucWeighting,
        Field(description="weight of a user in GAUC: impressions (the paper), positives, or all users alike"),
    ] = "impressions"
    group: Annotated[
        str,
        Field(
            min_length=1,
            description="whose rows GAUC ranks against each other: user, request, or a context field such as a session",
        ),
    ] = "user"
    resamples: Annotated[
        int, Field(ge=0, le=1_000_000, description="bootstrap resamples of the users for intervals; 0: no intervals")
    ] = 1000
    confidence: Annotated[float, Field(gt=0, lt=1, description="share of resamples inside an interval")] = 0.95


class TrackingConfig(Section):
    """`tracking`: a server that is told of the run. If it fails, the training goes on."""

    mlflow: Annotated[
        str,
        Field(
            min_length=1,
            description="MLflow's tracking URI, such as http://localhost:5000; needs the extra `din-train[mlflow]`",
        ),
    ]
    experiment: Annotated[
        str | None,
        Field(min_length=1, description="MLflow's experiment; default: din-train, or the study's or the sweep's name"),
    ] = None

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """The config is copied into the run directory, so it holds no password."""
        if describe_credentials(self.mlflow):
            yield "mlflow", "holds a password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"


# What `training.select_on` may be under each protocol; the first is the default.
SELECT_ON = {
    "holdout": ("validation", "none"),
    "paper": ("none", "test"),
    "time": ("validation", "none"),
    "user": ("validation", "none"),
    "presampled": ("validation", "none", "test"),
}

# Protocols that always lack validation rows.
WITHOUT_VALIDATION = ("paper",)

# One file each in `presets/`, whose header says what it follows.
Preset = Literal["din", "din-paper", "din-official", "din-blog", "din-blog-3", "din-bars", "din-strong"]


class Config(Section):
    """A run: data, model, training. See `din-train config show` for every key resolved."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
            description="letters, digits, '.', '_' and '-', a letter or digit first; the run directory is runs/<name>",
        ),
    ]
    preset: Annotated[
        Preset | None,
        Field(description="settings of `model`, `negatives` and `training` to start from; the config's own keys win"),
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**31, description="initial weights, sample order, dropout")] = 1
    data: DataConfig
    filters: FiltersConfig = FiltersConfig()
    vocabulary: VocabularyConfig = VocabularyConfig()
    negatives: NegativesConfig = NegativesConfig()
    model: ModelConfig
    training: TrainingConfig
    metrics: MetricsConfig = MetricsConfig()
    tracking: TrackingConfig | None = None

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """`training.select_on` must suit the protocol, and `name` must not hide the pointer to the newest run."""
        if self.name == "latest":
            yield "name", "received 'latest', which points at the newest run; choose another name"
        protocol, select_on = self.data.protocol, self.training.select_on
        if select_on not in SELECT_ON[protocol]:
            allowed = " or ".join(SELECT_ON[protocol])
            yield "training.select_on", f"received '{select_on}', but protocol '{protocol}' allows {allowed}"
        if self.training.refit and protocol == "paper":
            yield "training.refit", "received true, but protocol 'paper' has no validation rows to add; remove it"
        if self.training.calibration != "none" and protocol in WITHOUT_VALIDATION:
            yield (
                "training.calibration",
                f"received '{self.training.calibration}', which is fitted on validation rows, but protocol "
                f"'{protocol}' has none; use none, or another protocol",
            )
        yield from _find_base_problems(self)
        yield from _find_sampling_problems(self)
        yield from _find_width_problems(self)
        yield from _find_field_problems(self)

    @model_validator(mode="before")
    @classmethod
    def _resolve_training(cls, values: Any) -> Any:
        """Fill `training.select_on` and `calibration` in, so that a resolved config shows what happens."""
        if not isinstance(values, dict):
            return values
        values = {key: value.model_dump() if isinstance(value, Section) else value for key, value in values.items()}
        training, protocol = values.get("training"), _protocol(values)
        if not isinstance(training, dict) or protocol not in SELECT_ON:
            return values
        loss = training.get("loss")
        is_of_lists = isinstance(loss, dict) and loss.get("name", "logloss") != "logloss"
        defaults = {
            "select_on": SELECT_ON[protocol][0],
            "calibration": "platt" if is_of_lists and protocol not in WITHOUT_VALIDATION else "none",
        }
        filled_in = {key: value for key, value in defaults.items() if training.get(key) is None}
        return {**values, "training": {**training, **filled_in}}


def _protocol(values: dict[str, Any]) -> str | None:
    """`data.protocol` of an unchecked config; None if it is no text."""
    data = values.get("data")
    return resolve_protocol(data) if isinstance(data, dict) else None


def _find_base_problems(config: Config) -> Iterator[tuple[str, str]]:
    """What counts from an earlier data set needs one, and a log of events whose times are known."""
    base, given = config.vocabulary.base, config.data.holds_histories
    if config.data.since_base and base is None:
        yield "data.since_base", "received true without vocabulary.base; name it, or give `fit --warm-start`"
    for key, is_set in (
        ("data.since_base", config.data.since_base),
        ("vocabulary.expire_after", config.vocabulary.expire_after is not None),
    ):
        if is_set and given:
            yield key, f"not used by source '{config.data.source}', whose rows hold their histories; remove it"
    if config.training.warm_start is not None and base is None:
        yield (
            "vocabulary.base",
            "missing; training.warm_start needs the data set of that run; give `fit --warm-start`, which sets both",
        )


def _find_field_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Keys that name fields must name declared ones, of a form that suits them."""
    data, model = config.data, config.model
    for name in model.behaviour_fields:
        if name not in data.behaviour_fields:
            yield "model.behaviour_fields", f"received '{name}', which is not in data.behaviour_fields; name it there"
    if model.behaviour_fields and model.name == "lr":
        yield "model.behaviour_fields", "not used by 'lr', which has no vectors of behaviours; remove it"
    if data.further_sequences and model.name not in SEVERAL_SEQUENCES:
        yield (
            "data.sequences",
            f"received '{data.further_sequences[0]}' beside the history, which '{model.name}' does not take; only "
            f"{', '.join(SEVERAL_SEQUENCES)} take several sequences: remove it, or choose one of these",
        )
    if model.search is not None and data.further_sequences:
        yield "model.search", "not used beside further sequences (data.sequences); remove one of them"
    columns = [name for name in (*data.context_fields, *data.behaviour_fields) if name not in (*TIME_FIELDS, TIME_GAP)]
    numbers = (*data.numeric_fields, *data.standardized_fields)
    for name in config.vocabulary.hash_buckets:
        if name not in ("item", "category", *data.item_fields, *data.user_fields, *columns) or name in numbers:
            yield (
                f"vocabulary.hash_buckets.{name}",
                f"received '{name}', expected item, category, or a declared field that is no number; correct the name",
            )
    group = config.metrics.group
    if group not in ("user", "request", *data.context_fields) or group in (data.list_fields or {}):
        yield (
            "metrics.group",
            f"received '{group}', expected user, request, or one of data.context_fields that has a single value",
        )


def _find_width_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Models that multiply fields with each other need every declared field to be as wide as an item's row."""
    data, model = config.data, config.model
    keys = ("item_fields", "user_fields", "context_fields", "behaviour_fields")
    declared = [key for key in keys if getattr(data, key)]
    size, width = model.field_embedding_size, model.item_embedding_size
    for name, vectors in (data.item_vectors or {}).items():
        if model.name in PAIRWISE and vectors.units != width:
            yield (
                f"data.item_vectors.{name}.units",
                f"received {vectors.units} beside a model.item_embedding_size of {width}, but '{model.name}' "
                "multiplies rows of different fields with each other; give both the same width",
            )
    if model.name in PAIRWISE and declared and size != width:
        yield (
            "model.field_embedding_size",
            f"received {size} beside an item_embedding_size of {width}, but '{model.name}' multiplies rows of "
            f"different fields (data.{declared[0]}) with each other; give both the same width",
        )


def _find_sampling_problems(config: Config) -> Iterator[tuple[str, str]]:
    """What is drawn, or filtered, must be sampled: a log may come with its negatives, or with its samples."""
    data = config.data
    labelled, given = data.is_labelled, data.holds_histories
    is_drawn = not labelled or (given and config.negatives.resample == "epoch")
    if config.negatives.resample == "epoch" and not is_drawn:
        yield "negatives.resample", "received 'epoch', but the log has negatives of its own, which are never drawn"
    if config.training.leave_one_out and not is_drawn:
        yield (
            "training.leave_one_out",
            f"received {config.training.leave_one_out:g}, but the rows have labels, and a positive would see one click "
            "fewer than the rows beside it; remove it"
            + (", or draw negatives with negatives.resample=epoch" if given else ""),
        )
    if config.training.leave_one_out and config.negatives.exclude == "history":
        yield (
            "training.leave_one_out",
            f"received {config.training.leave_one_out:g} beside negatives.exclude: history, by which a negative could "
            "be one of the later behaviours in its own history; use exclude: all",
        )
    if config.training.leave_one_out and TIME_GAP in config.model.behaviour_fields:
        yield (
            "training.leave_one_out",
            f"received {config.training.leave_one_out:g} beside model.behaviour_fields: {TIME_GAP}, which later "
            "behaviours do not have; remove one of the two",
        )
    if labelled and data.ties == "apart":
        yield "data.ties", "received 'apart', but only a log of clicks alone has ties to break; remove it"
    if data.history_lag and (not labelled or given):
        yield "data.history_lag", "used only by a log of impressions (data.columns.label, MovieLens); remove it"
    if given:
        for key, value in config.filters:
            if value != FiltersConfig.model_fields[key].default:
                yield f"filters.{key}", f"not used by source '{data.source}', whose rows are all kept; remove it"
        if data.min_history != DataConfig.model_fields["min_history"].default:
            yield "data.min_history", f"not used by source '{data.source}', whose rows are all kept; remove it"

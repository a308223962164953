"""The whole config, and the checks that need more than one section."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from din_train.config.data import DataConfig, resolve_protocol
from din_train.config.dataset import FiltersConfig, NegativesConfig, VocabularyConfig
from din_train.config.model import PAIRWISE, ModelConfig
from din_train.config.section import Section
from din_train.config.training import TrainingConfig

GaucWeighting = Literal["impressions", "positives", "uniform"]


class MetricsConfig(Section):
    """`metrics`: GAUC's weights, and the intervals."""

    gauc_weighting: Annotated[
        GaucWeighting,
        Field(description="of a user in GAUC's mean: impressions (the paper), positives, or all users alike"),
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


# What `training.select_on` may be under each protocol; the first is taken where it is left out.
SELECT_ON = {
    "holdout": ("validation", "none"),
    "paper": ("none", "test"),
    "time": ("validation", "none"),
    "user": ("validation", "none"),
    "presampled": ("validation", "none", "test"),
}

# One file each in `presets/`, whose header says what it follows.
Preset = Literal["din", "din-paper", "din-official", "din-blog", "din-blog-3", "din-bars"]


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
        Field(description="settings of `model` and `training` to start from; the config's own keys win over them"),
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**31, description="initial weights, sample order, dropout")] = 1
    data: DataConfig
    filters: FiltersConfig = FiltersConfig()
    vocabulary: VocabularyConfig = VocabularyConfig()
    negatives: NegativesConfig = NegativesConfig()
    model: ModelConfig
    training: TrainingConfig
    metrics: MetricsConfig = MetricsConfig()

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
        yield from _find_sampling_problems(self)
        yield from _find_width_problems(self)

    @model_validator(mode="before")
    @classmethod
    def _resolve_select_on(cls, values: Any) -> Any:
        """Fill `training.select_on` in from the protocol, so that a resolved config shows what happens."""
        if not isinstance(values, dict):
            return values
        values = {key: value.model_dump() if isinstance(value, Section) else value for key, value in values.items()}
        training, protocol = values.get("training"), _protocol(values)
        if isinstance(training, dict) and training.get("select_on") is None and protocol in SELECT_ON:
            return {**values, "training": {**training, "select_on": SELECT_ON[protocol][0]}}
        return values


def _protocol(values: dict[str, Any]) -> str | None:
    """`data.protocol` of an unchecked config; None if it is no text."""
    data = values.get("data")
    return resolve_protocol(data) if isinstance(data, dict) else None


def _find_width_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Models that multiply fields with each other need every declared field to be as wide as an item's row."""
    data, model = config.data, config.model
    declared = [key for key in ("item_fields", "user_fields", "context_fields") if getattr(data, key)]
    size, width = model.field_embedding_size, model.item_embedding_size
    if model.name in PAIRWISE and declared and size != width:
        yield (
            "model.field_embedding_size",
            f"received {size} beside an item_embedding_size of {width}, but '{model.name}' multiplies rows of "
            f"different fields (data.{declared[0]}) with each other; give both the same width",
        )


def _find_sampling_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Negatives are resampled, and events filtered, only where the log does not come with its samples."""
    data = config.data
    labelled, given = data.is_labelled, data.holds_histories
    if labelled and config.negatives.resample == "epoch":
        yield "negatives.resample", "received 'epoch', but the log has negatives of its own, which are never drawn"
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

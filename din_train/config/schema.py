"""The whole config, and the checks that need more than one section."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import Field, model_validator

from din_train.config.data import DataConfig, NegativesConfig, VocabularyConfig
from din_train.config.model import ModelConfig
from din_train.config.section import Section
from din_train.config.training import SelectOn, TrainingConfig

# What `training.select_on` may be under each protocol; the first is taken where it is left out.
SELECT_ON = {"holdout": ("validation", "none"), "paper": ("none", "test")}


class Config(Section):
    """A run: data, model, training. See `din-train config show` for every key resolved."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
            description="letters, digits, '.', '_' and '-', a letter or digit first; the run directory is runs/<name>",
        ),
    ]
    seed: Annotated[int, Field(ge=0, lt=2**31, description="initial weights, sample order, dropout")] = 1
    data: DataConfig
    vocabulary: VocabularyConfig = VocabularyConfig()
    negatives: NegativesConfig = NegativesConfig()
    model: ModelConfig
    training: TrainingConfig

    @classmethod
    def find_problems(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """`training.select_on` must suit the protocol, and `name` must not hide the pointer to the newest run."""
        if values.get("name") == "latest":
            yield "name", "received 'latest', which points at the newest run; choose another name"
        training, protocol = values.get("training"), _protocol(values)
        if isinstance(training, dict) and protocol in SELECT_ON:
            select_on, allowed = training.get("select_on"), SELECT_ON[protocol]
            if select_on in get_args(SelectOn) and select_on not in allowed:
                yield (
                    "training.select_on",
                    f"received '{select_on}', but protocol '{protocol}' allows {' or '.join(allowed)}",
                )

    @model_validator(mode="before")
    @classmethod
    def _resolve_select_on(cls, values: Any) -> Any:
        """Fill `training.select_on` in from the protocol, so that a resolved config shows what happens."""
        if not isinstance(values, dict):
            return values
        training, protocol = values.get("training"), _protocol(values)
        if isinstance(training, dict) and training.get("select_on") is None and protocol in SELECT_ON:
            return {**values, "training": {**training, "select_on": SELECT_ON[protocol][0]}}
        return values


def _protocol(values: dict[str, Any]) -> str | None:
    """`data.protocol` of an unchecked config: its default where left out, None where it is not a text."""
    data = values.get("data")
    protocol = data.get("protocol", DataConfig.model_fields["protocol"].default) if isinstance(data, dict) else None
    return protocol if isinstance(protocol, str) else None

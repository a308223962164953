"""The base of every config section: frozen, strict, no unknown keys, all problems reported at once."""

from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

CROSS_FIELD = "cross_field"


class Section(BaseModel):
    """One level of the config. A subclass with rules that need several keys overrides `find_problems`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)

    @classmethod
    def find_problems(cls, values: dict[str, Any]) -> Iterable[tuple[str, str]]:  # noqa: ARG003
        """Problems that need several keys to see.

        Args:
            values: the section as given, unchecked: any key may be missing or of a wrong type, and a rule whose
                keys are not usable says nothing, since those keys have problems of their own.

        Returns:
            Pairs of a dotted key within this section and what is wrong with it.
        """
        return ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_together(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Add `find_problems` to the fields' own problems; pydantic's `after` would hide them behind those."""
        if not isinstance(values, dict):
            return handler(values)
        values = {key: value.model_dump() if isinstance(value, Section) else value for key, value in values.items()}
        problems = [
            InitErrorDetails(type=PydanticCustomError(CROSS_FIELD, message), loc=tuple(key.split(".")), input=values)
            for key, message in cls.find_problems(values)
        ]
        try:
            section = handler(values)
        except ValidationError as error:
            of_fields = [
                InitErrorDetails(
                    type=PydanticCustomError(each["type"], each["msg"], each.get("ctx")),
                    loc=each["loc"],
                    input=each["input"],
                )
                for each in error.errors()
            ]
            raise ValidationError.from_exception_data(cls.__name__, [*of_fields, *problems]) from None
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return section

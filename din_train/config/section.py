"""The base of every config section: frozen, strict, no unknown keys, all problems of a section reported at once."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

CROSS_FIELD = "cross_field"


class Section(BaseModel):
    """One level of the config. A subclass with rules that need several keys overrides `find_problems`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)

    def find_problems(self) -> Iterable[tuple[str, str]]:
        """Problems that need several keys to see; asked where every key by itself is right.

        Returns:
            Pairs of a dotted key within this section and what is wrong with it.
        """
        return ()

    @model_validator(mode="after")
    def _report_problems(self) -> Self:
        problems = [
            InitErrorDetails(type=PydanticCustomError(CROSS_FIELD, message), loc=tuple(key.split(".")), input=None)
            for key, message in self.find_problems()
        ]
        if problems:
            raise ValidationError.from_exception_data(type(self).__name__, problems)
        return self

"""What of a log matched and what did not, beside its lines: kept in the manifest and shown by `prepare`."""

from dataclasses import asdict, dataclass, field
from typing import Any

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs.rejects import count_allowed
from din_train.samples.joins import Join
from din_train.samples.moments import Moments


@dataclass(frozen=True)
class FieldValues:
    """A field's values over `size` items, users or events (`kind`): how many are missing, and how many are no number.

    example: one that is no number.
    """

    kind: str
    size: int
    missing: int
    unread: int = 0
    example: str | None = None


@dataclass
class Account:
    """moments: None of a log without times. remarks: sentences. repeated_rows: see `count_repeats`."""

    moments: Moments | None = None
    joins: list[Join] = field(default_factory=list)
    fields: dict[str, FieldValues] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    repeated_rows: int = 0

    def add_field(self, name: str, values: FieldValues, data: DataConfig) -> None:
        """Count a field's values.

        Raises:
            DataError: where a field that the config names has no value at all, or too many that are no numbers.
        """
        self.fields[name] = values
        given = values.size - values.missing
        if not given and values.size:
            key = _find_key(name, data)
            if key is not None and data.unmatched == "refuse":
                raise DataError(
                    f"{key}: {name}: none of {values.size:,} {values.kind} has a value; leave it out, check the column "
                    "and the file it is in, or set data.unmatched to allow"
                )
            self.remarks.append(f"{name}: none of {values.size:,} {values.kind} has a value, so all are unknown")
        if values.unread > count_allowed(data.max_unread_share, given):
            raise DataError(
                f"data.numeric_fields: {name}: {values.unread:,} of {given:,} values are no numbers, such as "
                f"{values.example!r}, more than data.max_unread_share = {data.max_unread_share:g} allows; write plain "
                "numbers, take the field out of data.numeric_fields, or raise data.max_unread_share"
            )

    def to_json(self) -> dict[str, Any]:
        """What the manifest says."""
        return {
            "time": None if self.moments is None else asdict(self.moments),
            "joins": [asdict(each) for each in self.joins],
            "field_values": {name: asdict(values) for name, values in self.fields.items()},
            "remarks": self.remarks,
        }


def _find_key(name: str, data: DataConfig) -> str | None:
    """The config key that names a field; None where it is the source's own category, which some logs lack."""
    if name == "category":
        return "data.columns.category" if data.columns is not None and data.columns.category is not None else None
    return next(
        key for key in ("data.item_fields", "data.user_fields", "data.context_fields") if name in getattr(data, key[5:])
    )

"""Taobao's UserBehavior.csv: user, item, category, behaviour type, unix seconds; no header."""

from typing import get_args

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.column_roles import EventTypesConfig
from din_train.config.data import Behaviour
from din_train.config.file_formats import Column, FormatConfig
from din_train.logs.event_types import EventTypes
from din_train.logs.log import field_column
from din_train.logs.table import TableSource

_USER, _ITEM, _CATEGORY, _BEHAVIOUR, _TIMESTAMP = range(1, 6)


def describe_taobao(data: DataConfig) -> TableSource:
    """The columns of the file, and the behaviour types of `data.behaviours`; rows of the others are left out."""
    known = get_args(Behaviour)
    types = EventTypesConfig(column=_BEHAVIOUR, click=data.behaviours or known)
    fields: dict[str, tuple[str, Column]] = {"category": ("column category", _CATEGORY)}
    if "behaviour" in data.context_fields:
        fields[field_column("behaviour")] = ("column behaviour", _BEHAVIOUR)
    return TableSource(
        columns=ColumnsConfig(user=_USER, item=_ITEM, timestamp=_TIMESTAMP, time_unit="seconds", events=types),
        format=FormatConfig(delimiter=",", header=False),
        fields=fields,
        types=EventTypes(types, key="data.behaviours", what="behaviour", known=known),
    )

"""Kinds of fields beside a single text: several values, and given vectors."""

from typing import Annotated, Literal

from pydantic import Field

from din_train.config.file_formats import Column, FilePath
from din_train.config.section import Section


class ListFieldConfig(Section):
    """`data.list_fields.<name>`: an item, user or context field with several values, such as genres or tags."""

    separator: Annotated[
        str, Field(min_length=1, max_length=8, description="of text; lists are read as well, in brackets or as such")
    ] = "|"
    pooling: Annotated[Literal["sum", "mean", "max"], Field(description="of the rows of a field's values")] = "mean"
    max_values: Annotated[int, Field(ge=1, le=10_000, description="the first this many values are kept")] = 16


class ItemVectorsConfig(Section):
    """`data.item_vectors.<name>`: a given dense vector per item, such as a text or image embedding."""

    path: Annotated[
        FilePath, Field(description="a Parquet or Arrow file of one row per item: its id, and a list of floats")
    ]
    key: Annotated[Column | None, Field(description="the column of item ids; that of data.columns if left out")] = None
    column: Annotated[Column, Field(description="the column of lists")] = "vector"
    units: Annotated[int, Field(ge=1, description="width of the linear layer that the vectors go through")] = 16
    trained: Annotated[bool, Field(description="whether training moves the vectors themselves")] = False

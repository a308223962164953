"""A file of items as `data.items` may name one, read by itself: what is known of items that came after training."""

import io
from collections.abc import Collection, Container
from pathlib import Path

import pyarrow as pa

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.file_formats import SideTableConfig
from din_train.errors import ConfigError
from din_train.logs.amazon import read_items
from din_train.logs.columns import has_column
from din_train.logs.log import FileReport
from din_train.logs.movielens import read_movies
from din_train.logs.rejects import Rejects
from din_train.logs.row_files import open_row_file
from din_train.logs.sample_rows import describe_rows
from din_train.logs.side_table import read_side_table


class _Others(Container[str]):
    """Every text but the given ones."""

    def __init__(self, texts: Collection[str]) -> None:
        self._texts = texts

    def __contains__(self, text: object) -> bool:
        return text not in self._texts


def read_items_file(data: DataConfig, path: Path, known: Collection[str]) -> tuple[pa.Table, FileReport]:
    """The items of a file that are not among the known ones.

    Args:
        data: says the file's format, and the columns of ids, category and fields, as for its own `data.items`.

    Returns:
        A table of `item`, `category` and fields, as `read_side_table` gives it, each column if the file has it; and an
        account of the file's lines.

    Raises:
        ConfigError: if the file has no column of a category or of an item field of the run.
        DataError: if it cannot be read or has too many bad lines.
    """
    report, wanted = FileReport(path), _Others(known)
    if data.source in ("amazon-2014", "amazon-2018", "amazon-2023"):
        rejects = Rejects(io.BytesIO(), report, data)
        return read_items(data, data.source, wanted, rejects, lambda _: None), report
    if data.source == "movielens":
        table = read_movies(data, Rejects(io.BytesIO(), report, data), lambda _: None)
    else:
        data, side = _describe_file(data, path)
        file = open_row_file(path, side.format)
        columns = {"category": None if data.columns is None else data.columns.category}
        columns |= {name: name for name in data.item_fields}
        fields = [name for name, column in columns.items() if column is not None and has_column(column, file)]
        if not fields:
            names = ", ".join(str(column) for column in columns.values() if column is not None) or "category"
            raise ConfigError(
                f"--items {path}: has none of the columns {names} (read as {file.form}), so it says nothing of an item "
                "that the run could use; name its columns as the run's config does"
            )
        table = read_side_table(data, "item", side, fields, Rejects(io.BytesIO(), report, data), lambda _: None)
    return table.filter(pa.array([item in wanted for item in table["item"].to_pylist()], pa.bool_())), report


def _describe_file(data: DataConfig, path: Path) -> tuple[DataConfig, SideTableConfig]:
    """The config as `read_side_table` takes it; positions of columns mean nothing if the run has no file of items."""
    columns = data.columns
    if data.source == "x1":
        columns = describe_rows(data).columns
    elif columns is None:
        columns = ColumnsConfig(user="user", item="item", category="category")
    side = SideTableConfig(path=path) if data.items is None else data.items.model_copy(update={"path": path})
    if data.items is None:
        named = {role: role for role in ("item", "category") if not isinstance(getattr(columns, role), str)}
        columns = columns.model_copy(update=named)
    return data.model_copy(update={"columns": columns}), side

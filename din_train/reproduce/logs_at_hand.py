"""Where a data set's logs are: in a folder that the user names, or where the download scripts put them."""

from collections.abc import Sequence
from pathlib import Path

from din_train.errors import DataError
from din_train.reproduce.catalogue import Dataset


def find_files(dataset: Dataset, data_dir: Path | None) -> dict[str, Path]:
    """Config key -> file, all from the first folder that has them all.

    Args:
        data_dir: looked in, and in its subfolders of the usual names; None: where the download scripts put logs.

    Raises:
        DataError: with one line that says what to fetch and where to put it.
    """
    usual = [Path(folder) for folder in dataset.folders]
    folders = (
        usual if data_dir is None else [data_dir, data_dir / dataset.name, *(data_dir / each.name for each in usual)]
    )
    for folder in folders:
        found = {key: _find(folder, name) for key, name in dataset.files.items()}
        if all(found.values()):
            return {key: path for key, path in found.items() if path is not None}
    raise DataError(describe_missing(dataset, folders))


def describe_missing(dataset: Dataset, folders: Sequence[Path]) -> str:
    """The one line."""
    files = " and ".join(dataset.files.values())
    return (
        f"--data {dataset.name}: no {files} in {folders[0]}; fetch them with {dataset.fetch} and put them there, or "
        "name their folder with --data-dir (`make reproduce-paper DATA_DIR=...`), or try the shipped log with "
        "--data sample (`make reproduce-paper DATA=sample`)"
    )


def _find(folder: Path, name: str) -> Path | None:
    """The file, packed or not."""
    for each in (name, name.removesuffix(".gz")):
        if (folder / each).is_file():
            return folder / each
    return None

"""Where a data set's logs are: in a folder that the user names, or where the download scripts put them."""

from collections.abc import Sequence
from pathlib import Path

from din_train.reproduce.catalogue import Dataset


def find_files(dataset: Dataset, data_dir: Path | None) -> dict[str, Path] | None:
    """Config key -> file, all from the first folder that has them all; None where no folder does.

    Args:
        data_dir: looked in, and in its subfolders of the usual names; None: where the download scripts put logs.
    """
    for folder in _list_folders(dataset, data_dir):
        found = {key: _find(folder, name) for key, name in dataset.files.items()}
        if all(found.values()):
            return {key: path for key, path in found.items() if path is not None}
    return None


def describe_missing(datasets: Sequence[Dataset], data_dir: Path | None) -> str:
    """One line: what to fetch, where to put it, and what can be done without."""
    wanted = [
        f"{' and '.join(each.files.values())} in {_list_folders(each, data_dir)[0]} (fetch with {each.fetch})"
        for each in datasets
    ]
    return (
        f"--data {','.join(each.name for each in datasets)}: missing {'; '.join(wanted)}. Put them there, or name "
        "their folder with --data-dir (`make reproduce-paper DATA_DIR=...`), or try the shipped log with --data sample "
        "(`make reproduce-paper DATA=sample`)"
    )


def _list_folders(dataset: Dataset, data_dir: Path | None) -> list[Path]:
    usual = [Path(folder) for folder in dataset.folders]
    return usual if data_dir is None else [data_dir, data_dir / dataset.name, *(data_dir / each.name for each in usual)]


def _find(folder: Path, name: str) -> Path | None:
    """The file, packed or not."""
    for each in (name, name.removesuffix(".gz")):
        if (folder / each).is_file():
            return folder / each
    return None

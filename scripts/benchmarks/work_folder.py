"""Where a benchmark's logs and data sets go."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(folder: Path | None) -> Iterator[Path]:
    """The folder, made if missing, or a temporary one."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
            yield Path(temporary)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()

"""What an artefact says beside its scores."""

from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from din_train.export import artefact


def test_titles_are_those_of_the_items_that_have_one() -> None:
    names: Any = SimpleNamespace(
        items=pa.array([None, None, "a", "b", "c"]), titles=pa.array([None, None, "A title", None, ""])
    )
    assert artefact._find_titles(names) == {"a": "A title"}
    names.titles = pa.nulls(5, pa.string())
    assert artefact._find_titles(names) == {}

"""The README.md of an artefact, with requests that work."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from din_train.export.request import RequestInput, is_of_one_user


def render_readme(
    record: Mapping[str, Any],
    inputs: Sequence[RequestInput],
    example: Mapping[str, Any],
    formats: Mapping[str, bool],
    *,
    has_titles: bool,
) -> str:
    """The text.

    Args:
        record: of export.json.
        example: the values of a request of one user.
        formats: which ones were written.
    """
    templates = Environment(  # noqa: S701 - Markdown
        loader=PackageLoader("din_train.export"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return templates.get_template("README.md.jinja").render(
        **record,
        formats=formats,
        has_titles=has_titles,
        rank_request=orjson.dumps(build_rank_request(inputs, example)).decode(),
        v2_request=orjson.dumps(build_v2_request(inputs, example)).decode(),
    )


def build_rank_request(inputs: Sequence[RequestInput], values: Mapping[str, Any]) -> dict[str, Any]:
    """TensorFlow Serving's request of signature `rank`, from one of one user."""
    of_one = {each.name for each in inputs if is_of_one_user(each) and len(each.shape) > 1}
    return {
        "signature_name": "rank",
        "inputs": {name: each[0] if name in of_one else each for name, each in values.items()},
    }


def build_v2_request(inputs: Sequence[RequestInput], values: Mapping[str, Any]) -> dict[str, Any]:
    """The request of the Open Inference Protocol."""
    described = []
    for each in inputs:
        shape, data, rest = [], values[each.name], each.shape
        for place in range(len(rest)):
            shape.append(len(data))
            data = [value for row in data for value in row] if place + 1 < len(rest) else data
            shape[-1] //= shape[0] if place else 1
        described.append({"name": each.name, "shape": shape, "datatype": each.datatype, "data": data})
    return {"inputs": described}

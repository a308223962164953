"""The scores of an earlier run on another data set, such as that of a later day.

Nothing is trained. Ids are matched by raw id or value, as in a warm start (see `training/warm_start.py`):

    an item or value that the run knows    has the run's row
    one that it does not know              has the row of the unknown id
    what an item or a user has             is as the other data set says (categories, fields, given vectors)
    all other weights                      are the run's, moving statistics included

The other data set must have kept the run's ids, buckets and scales (`vocabulary.base`). Otherwise a number would fall
into another bucket than in training, and a known item might have no id, without a sign of it.
"""

from collections.abc import Sequence
from pathlib import Path

from din_train.config import Config, NegativesConfig
from din_train.dataset.manifest import Manifest
from din_train.dataset.names import read_names
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.errors import DataError
from din_train.evaluation.scores import ScoredRows
from din_train.run_metrics import RunMetrics
from din_train.scoring import build_configured_model, open_run, score_split

# Keys of a data set's recipe that say which fields it has, and in which form.
_OF_FIELDS = (
    *("vocabulary.hash_buckets", "data.item_fields", "data.user_fields", "data.context_fields", "data.list_fields"),
    *("data.behaviour_fields", "data.numeric_fields", "data.num_buckets", "data.standardized_fields"),
    *("data.item_vectors", "data.sequences", "data.null_values"),
)


def score_on(
    run_dir: Path, data: PreparedData, split: Split, overrides: Sequence[str] = ()
) -> tuple[RunMetrics, ScoredRows]:
    """Score an earlier run's best weights on another prepared data set, with the run's calibration.

    On the run's own data set these are the bits that `din-train eval` gives; on another one they are those of a model
    that was warm started from the run with `new_rows: unknown`, before its first step.

    Args:
        overrides: of the run's config, see `open_run`.

    Returns:
        The metrics, whose protocol, negatives and fingerprint are those of the other data set, and the rows.

    Raises:
        DataError: if the data set has other fields, buckets or scales, or has not kept the run's ids.
        ConfigError: if the split has no row.
    """
    opened = open_run(run_dir, overrides)  # starts TensorFlow
    from din_train.training.warm_start import EarlierModel, match_ids

    problem = _find_difference(opened.data, data)
    if problem is not None:
        raise DataError(
            f"{data.folder}: cannot be scored by {run_dir}: {problem}; prepare it with the run's config and "
            f"vocabulary.base={opened.data.folder}, so that it keeps the run's ids, buckets and scales"
        )
    config = _describe_data(opened.config, data)
    model = build_configured_model(config, data)
    earlier = EarlierModel.of(str(run_dir), opened.model, model, match_ids(opened.data, data), None)
    earlier.carry_weights(model, data, "unknown")
    return score_split(model, config, data, split, opened.checkpoint, opened.calibration)


def _describe_data(config: Config, data: PreparedData) -> Config:
    """The run's config with the other data set's folder, protocol and negatives."""
    recipe = data.manifest.recipe
    drawn = {key: recipe[f"negatives.{key}"] for key in NegativesConfig.model_fields if f"negatives.{key}" in recipe}
    negatives = NegativesConfig.model_validate({**config.negatives.model_dump(mode="json"), **drawn})
    placed = config.data.model_copy(update={"prepared": data.folder, "protocol": data.manifest.protocol})
    return config.model_copy(update={"data": placed, "negatives": negatives})


def _find_difference(earlier: PreparedData, data: PreparedData) -> str | None:
    """Why the same text would not mean the same in both data sets; None if it does."""
    there, here = earlier.manifest, data.manifest
    if there.fingerprint == here.fingerprint:
        return None
    for key in _OF_FIELDS:
        if there.recipe.get(key) != here.recipe.get(key):
            return f"its {key} is another one"
    before, now = read_names(earlier), read_names(data)
    for name in there.recipe["data.numeric_fields"]:
        if before.values(name)[FIRST_REAL_ID:] and before.values(name) != now.values(name):
            return f"the buckets of '{name}' have other edges"
    for name in there.field_values:
        if _read_scale(there, name) != _read_scale(here, name):
            return f"the numbers of '{name}' are read or scaled otherwise"
    lost = len(set(before.items.to_pylist()) - set(now.items.to_pylist()))
    if lost and here.recipe["vocabulary.expire_after"] is None:
        return f"{lost:,} items that the run knows have no id"
    return "it was prepared without vocabulary.base" if here.base is None else None


def _read_scale(manifest: Manifest, name: str) -> tuple[object, ...] | None:
    """Mean, standard deviation and way of writing of a numeric field; None of other fields."""
    said = manifest.field_values.get(name)
    if said is None or said.style is None:
        return None
    return said.mean, said.standard_deviation, said.style

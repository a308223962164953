"""`din-train export`: a run becomes a folder that servers take, once new processes have scored with it as `predict`.

run -> ids and texts in the graph -> a temporary folder -> checked in new processes -> its own name

DIR/1/                 a SavedModel, in TensorFlow Serving's layout
DIR/onnx/model.onnx    the same for onnxruntime
DIR/triton/din/        the same in Triton's layout
DIR/titles.json        raw item id -> title, if the log has titles: for the page of `din-train serve`
DIR/export.json        what it was made from, its inputs and outputs, golden requests with their results
DIR/README.md          how to serve it
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from din_train import terminal
from din_train.config.model import WEIGHING
from din_train.errors import ConfigError
from din_train.export import FORMATS
from din_train.export.artefact import EXPORT_FILE, build_artefact, compute_in_float32, score_difference
from din_train.files import atomic_folder, follow_links, hold, scratch_folder
from din_train.predict.predict import find_prior_shift
from din_train.run_directory import open_run_directory
from din_train.scoring import open_run


def export(
    run_dir: Path,
    output: Path,
    *,
    formats: Collection[str] = FORMATS,
    positive_share: float | None = None,
    activation_weights: bool = False,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
) -> None:
    """Write the artefact, if what it scores is what `predict` gives.

    Args:
        positive_share: as `predict` takes it.
        activation_weights: whether these are an output, too.
        overrides: see `open_run`.

    Raises:
        ConfigError: if the output is there, or the run cannot be exported.
        RunError: if a new process scores otherwise with it; nothing is published then.
    """
    output = follow_links(output)
    _check_output(output, overwrite=overwrite)
    overrides = [*overrides, "training.device=cpu"]  # as the new processes score
    _, config = open_run_directory(run_dir, overrides)
    if activation_weights and config.model.name not in WEIGHING:
        raise ConfigError(f"--activation-weights: '{config.model.name}' weighs no behaviours; leave the option out")
    opened = open_run(run_dir, overrides)
    shift, training_share = find_prior_shift(opened, positive_share)
    with hold(output), scratch_folder(output) as scratch, atomic_folder(output) as folder:
        _check_output(output, overwrite=overwrite)  # another process may have written it meanwhile
        artefact = build_artefact(compute_in_float32(opened), shift, activation_weights=activation_weights)
        if opened.config.training.precision != "float32":
            artefact.rounded = score_difference(artefact, build_artefact(opened, shift))
        artefact.write(folder, scratch, formats)
        artefact.describe(folder, training_share)
    written = " and ".join(each for each in FORMATS if each in formats)
    terminal.say(
        f"{output}: written as {written}; new processes scored {len(artefact.golden)} golden requests and "
        f"{len(artefact.others[0].logit):,} rows with the vocabularies' values as `predict` does (largest difference "
        f"in logits: {artefact.largest:.1e}{artefact.say_tolerance()})"
    )
    if artefact.rounded is not None:
        terminal.say(
            f"{output}: computes in float32, and was checked so; `predict` computes this run in "
            f"{opened.config.training.precision}, and its logits differ by up to {artefact.rounded:.2g}"
        )


def _check_output(output: Path, *, overwrite: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / EXPORT_FILE).is_file():
        raise ConfigError(f"--output: {output}: already there, and no export; choose another name")
    if not overwrite:
        raise ConfigError(f"--output: {output}: already there; give --overwrite to replace it")

"""`din-train export`: make a finished run into an artefact for servers."""

from pathlib import Path

import click

from din_train.cli.options import positive_share_option, run_dir_option, set_option
from din_train.export import FORMATS


def _split(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    del context, parameter
    given = text.split(",")
    unknown = [each for each in given if each not in FORMATS]
    if unknown:
        raise click.BadParameter(f"received '{unknown[0]}', expected {' or '.join(FORMATS)}, joined by commas")
    return given


@click.command("export")
@run_dir_option
@click.option(
    "--output",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where the artefact goes; see its README.md for how to serve it.",
)
@click.option(
    "--format",
    "formats",
    metavar="FORMAT,...",
    default=",".join(FORMATS),
    show_default=True,
    callback=_split,
    help="savedmodel for TensorFlow Serving; onnx for onnxruntime, Triton and din-train serve.",
)
@positive_share_option
@click.option(
    "--activation-weights",
    is_flag=True,
    help="Also put out how much each behaviour weighs (din, dien, bst, tin).",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@set_option
def command(
    run_dir: Path,
    output: Path,
    formats: list[str],
    positive_share: float | None,
    activation_weights: bool,
    overwrite: bool,
    overrides: tuple[str, ...],
) -> None:
    """Make a finished run into an artefact that servers take, with raw ids in and click probabilities out.

    New processes, without din-train and Keras, score golden requests with it. If a logit is not the one that `predict`
    gives, nothing is written. --set takes data.prepared=FOLDER and the like.
    """
    from din_train.export.export import export

    export(
        run_dir,
        output,
        formats=formats,
        positive_share=positive_share,
        activation_weights=activation_weights,
        overwrite=overwrite,
        overrides=overrides,
    )

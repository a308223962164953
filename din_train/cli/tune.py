"""`din-train tune`: search for better settings, and score the winner."""

from pathlib import Path

import click

from din_train.cli.options import config_option, set_option


@click.command("tune")
@config_option
@set_option
@click.option(
    "--space",
    required=True,
    metavar="SPACE.yaml",
    type=click.Path(path_type=Path),
    help="The keys to search over, with choices or a range each, such as configs/spaces/din-small.yaml.",
)
@click.option(
    "--trials",
    required=True,
    metavar="N",
    type=click.IntRange(min=1, max=100_000),
    help="How many trials the study has in the end, those of earlier starts included.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Trials at once.")
@click.option(
    "--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Where the study goes. [default: runs/<name>]"
)
@click.option("--no-test", is_flag=True, help="Search only: the winner is neither trained again nor scored.")
def command(
    config: Path,
    overrides: tuple[str, ...],
    space: Path,
    trials: int,
    workers: int,
    out: Path | None,
    no_test: bool,
) -> None:
    """Search for better settings on the validation split, and score the winner on the test split once.

    Each trial is a run in a process of its own, without its test split; bad ones are stopped early. The winner is
    trained again with training.refit. study.html shows the search, study.json has its numbers, winner.yaml its
    config. If the command was stopped or killed, run it again to go on.
    """
    from din_train.tune.tune import tune

    tune(config, overrides, space, trials=trials, workers=workers, out=out, search_only=no_test)

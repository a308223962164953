"""`din-train fit`: train a model, and score it on the test split once."""

from pathlib import Path

import click

from din_train.cli.options import config_option, set_option, warm_start_option


def parse_seeds(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """`1,2,3` -> (1, 2, 3)."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    seeds = [int(part) if part.isascii() and part.isdigit() and len(part) <= 10 else -1 for part in parts]
    if len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**31 for seed in seeds):
        raise click.BadParameter(
            f"received '{text}', expected different whole numbers below 2147483648, such as 1,2,3", ctx, param
        )
    return tuple(seeds)


@click.command("fit")
@config_option
@set_option
@click.option(
    "--run-dir", metavar="FOLDER", type=click.Path(path_type=Path), help="Where the run goes. [default: runs/<name>]"
)
@click.option("--overwrite", is_flag=True, help="Replace what an earlier run left in the run directory.")
@click.option("--resume", is_flag=True, help="Go on where a stopped run saved its state; begin if there is none.")
@warm_start_option
@click.option("--seeds", metavar="1,2,...", callback=parse_seeds, help="Train once per seed, in FOLDER-seed<k>.")
@click.option("--no-test", is_flag=True, help="Read no test row; a later --resume without it scores the test split.")
def command(
    config: Path,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    overwrite: bool,
    resume: bool,
    warm_start: Path | None,
    seeds: tuple[int, ...] | None,
    no_test: bool,
) -> None:
    """Train a model and score it on the test split once.

    Prepares the data set first if it is missing or does not match the config. The run directory holds the
    resolved config, the history of the epochs, the metrics and the weights; runs/latest points at the newest.
    A run that was stopped or killed goes on with the same command and --resume.
    """
    if overwrite and resume:
        raise click.UsageError("--overwrite and --resume exclude each other; give one of them")
    from din_train.config import load_config
    from din_train.earlier_run import set_warm_start
    from din_train.fit import fit

    if warm_start is not None:
        overrides = (*set_warm_start(warm_start), *overrides)
    settings = load_config(config, overrides)
    fit(settings, run_dir=run_dir, overwrite=overwrite, resume=resume, seeds=seeds, score_test=not no_test)

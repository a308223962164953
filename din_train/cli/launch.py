"""`din-train launch`: train with several workers on this machine."""

import click


@click.command("launch", context_settings={"allow_interspersed_args": False})
@click.option("--workers", required=True, type=click.IntRange(min=1, max=1000), help="How many processes train.")
@click.option(
    "--restarts",
    default=3,
    show_default=True,
    type=click.IntRange(min=0),
    help="How often all are started again, with --resume, because one was killed.",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- fit ...")
def command(workers: int, restarts: int, arguments: tuple[str, ...]) -> None:
    """Train with several workers on this machine.

    What follows `--` is a `fit` command. Each worker trains on a share of every batch (training.strategy:
    multi_worker). Lines begin with the worker's number. If a worker is killed, all are started again and go on from
    the newest saved state.
    """
    from din_train.cli.fit import command as fit_command

    name, *options = arguments
    if name != "fit":
        raise click.UsageError(f"received '{name}', expected fit: only training has several workers")
    given = fit_command.make_context("fit", list(options)).params
    if given["overwrite"] and given["resume"]:
        raise click.UsageError("--overwrite and --resume exclude each other; give one of them")
    from din_train.config import load_config
    from din_train.earlier_run import set_warm_start
    from din_train.launch import launch_fit

    begun = [] if given["warm_start"] is None else set_warm_start(given["warm_start"])
    config = load_config(given["config"], [*begun, *given["overrides"], "training.strategy=multi_worker"])
    launch_fit(
        options,
        config,
        run_dir=given["run_dir"],
        overwrite=given["overwrite"],
        resume=given["resume"],
        seeds=given["seeds"],
        score_test=not given["no_test"],
        workers=workers,
        restarts=restarts,
    )

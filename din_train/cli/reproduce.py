"""`din-train reproduce`: the paper's tables, run and set beside what is published."""

from collections.abc import Callable
from pathlib import Path

import click

from din_train.reproduce import DATASETS, MODELS, RECIPES, SUITES

Names = tuple[str, ...]


def parse_choices(allowed: Names, *, all_word: bool = False) -> Callable[[click.Context, click.Parameter, str], Names]:
    """`a,b` -> (a, b) in the order of `allowed`; `all` stands for all of them if `all_word` is set."""

    def parse(ctx: click.Context, param: click.Parameter, text: str) -> Names:
        names = [part.strip() for part in text.split(",")] if text else []
        if all_word and names == ["all"]:
            return allowed
        if not set(names) <= set(allowed):
            choices = ", ".join(allowed) + (" or all" if all_word else "")
            raise click.BadParameter(f"received '{text}', expected one or more of {choices}", ctx, param)
        return tuple(name for name in allowed if name in names)

    return parse


@click.command("reproduce")
@click.option(
    "--suite",
    default="table3",
    show_default=True,
    metavar="NAME,...",
    callback=parse_choices(SUITES, all_word=True),
    help="table3: the models; table4: the regularisations; figure5: attention pictures; "
    "leaderboard: DIN, DIEN, BST, TIN; or all.",
)
@click.option(
    "--data",
    default="electronics",
    show_default=True,
    metavar="NAME,...",
    callback=parse_choices(DATASETS),
    help="electronics, movielens, sports, sample, rehearsal (a generated log of Electronics' size), or the ready-made "
    "rows sports-x1 and electronics-x1.",
)
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(min=1), help="Seeds 1 to N of recipes ours.")
@click.option(
    "--recipes",
    default=",".join(RECIPES),
    show_default=True,
    metavar="NAME,...",
    callback=parse_choices(RECIPES),
    help="ours: honest selection; ours-strong: the same with preset din-strong; paper: its settings; official: the "
    "authors' code, chosen on the test set.",
)
@click.option(
    "--models",
    default="",
    metavar="NAME,...",
    callback=parse_choices(MODELS),
    help=f"Only these rows. [default: all: {', '.join(MODELS)}]",
)
@click.option(
    "--data-dir",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where the logs are. [default: where the download scripts put them, data/...]",
)
@click.option(
    "--out",
    default="reports/paper",
    show_default=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Tables, runs and prepared data go there.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Show the plan and run nothing.")
def command(
    suite: Names,
    data: Names,
    seeds: int,
    recipes: Names,
    models: Names,
    data_dir: Path | None,
    out: Path,
    plan_only: bool,
) -> None:
    """Reproduce the paper's tables and set them beside the published values.

    Plans first: cells, time from a short probe, memory, disk. Every cell is a run directory, trained in a process of
    its own; if one fails, the others still run. If the command was stopped or killed, run it again to go on.
    """
    from din_train.reproduce.paper_suites import ReproduceOptions
    from din_train.reproduce.reproduce import reproduce

    options = ReproduceOptions(suite, data, seeds, recipes, models, data_dir)
    reproduce(options, out, plan_only=plan_only)

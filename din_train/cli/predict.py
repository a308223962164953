"""`din-train predict`: score new rows with a finished run."""

from pathlib import Path

import click

from din_train.cli.options import InputPath, positive_share_option, run_dir_option, set_option


@click.command("predict")
@run_dir_option
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    type=InputPath(),
    help="Users and items to score: CSV or TSV (plain or .gz) or Parquet, in raw ids.",
)
@click.option(
    "--output",
    required=True,
    metavar="FILE.parquet",
    type=click.Path(path_type=Path),
    help="Where the rows go, with click_probability and logit.",
)
@click.option(
    "--columns",
    multiple=True,
    metavar="ROLE=COLUMN,...",
    help="Which column is which: user, item, history, timestamp, event (the log's row); an empty name: not used.",
)
@click.option(
    "--items",
    metavar="FILE",
    type=InputPath(),
    help="Items that came after training, with category and fields: a file as data.items may name one.",
)
@click.option(
    "--history-separator",
    metavar="TEXT",
    help="What joins the ids of a history; else data.history_separator of the run, else '^'. Lists are read as well.",
)
@click.option(
    "--allow-unmatched",
    multiple=True,
    type=click.Choice(["user", "item", "history", "timestamp", "context"]),
    help="Score rows even if none of their users, items, history ids or context values is known, or no time fits.",
)
@positive_share_option
@click.option(
    "--chunk-rows",
    metavar="ROWS",
    type=click.IntRange(min=1),
    default=1 << 16,
    show_default=True,
    help="Rows in memory at once; after each such chunk the command can go on.",
)
@click.option("--overwrite", is_flag=True, help="Replace the output, and begin anew if another request was begun.")
@set_option
def command(
    run_dir: Path,
    source: Path,
    output: Path,
    columns: tuple[str, ...],
    items: Path | None,
    history_separator: str | None,
    allow_unmatched: tuple[str, ...],
    positive_share: float | None,
    chunk_rows: int,
    overwrite: bool,
    overrides: tuple[str, ...],
) -> None:
    """Score new logs or candidate lists with a finished run.

    A row's history is its history column, else the user's stored events before its timestamp, else all of them.
    Ids that training did not see count as unknown, which training has prepared the model for. If the command was
    stopped or killed, run it again to go on. --set takes data.prepared=FOLDER, data.max_bad_share=SHARE and the like,
    and the keys of data.format, which say how the text of the input is written.
    """
    from din_train.predict.predict import predict

    predict(
        run_dir,
        source,
        output,
        columns=columns,
        items=items,
        history_separator=history_separator,
        allow_unmatched=allow_unmatched,
        positive_share=positive_share,
        chunk_rows=chunk_rows,
        overwrite=overwrite,
        overrides=overrides,
    )

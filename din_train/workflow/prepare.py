"""`din-train prepare`: raw logs -> prepared data set."""

from din_train.config import Config
from din_train.logs import input_files
from din_train.report import terminal
from din_train.samples.prepare import prepare_data


def prepare(config: Config, *, force: bool = False) -> None:
    """Make the prepared data set where it is missing or does not match, and show what it holds."""
    total = sum(path.stat().st_size for path in input_files(config.data))
    with terminal.reading_progress(total) as progress:
        preparation = prepare_data(config, force=force, progress=progress)
    if preparation.reason is None:
        terminal.say(f"{config.data.prepared}: up to date")
    else:
        terminal.say(f"{config.data.prepared}: prepared, because {preparation.reason}")
        terminal.show_table(terminal.build_preparation_table(preparation.manifest))

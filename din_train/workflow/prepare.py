"""`din-train prepare`: raw logs -> prepared data set."""

from din_train.config import Config
from din_train.logs import find_missing, input_files
from din_train.logs.feedback import describe_unused_feedback
from din_train.report import terminal
from din_train.samples.manifest import Manifest
from din_train.samples.prepare import prepare_data


def prepare(config: Config, *, force: bool = False) -> Manifest:
    """Make the prepared data set where it is missing or does not match, and show what it holds."""
    total = 0 if find_missing(config.data) else sum(path.stat().st_size for path in input_files(config.data))
    with terminal.reading_progress(total) as progress:
        preparation = prepare_data(config, force=force, progress=progress, say=terminal.say)
    if preparation.missing:
        terminal.say(
            f"{config.data.prepared}: {', '.join(map(str, preparation.missing))}: no longer there; going on with what "
            "was prepared from it, which only `din-train prepare --force` or a changed config would do again"
        )
    if preparation.reason is None:
        terminal.say(f"{config.data.prepared}: up to date")
    else:
        terminal.say(f"{config.data.prepared}: prepared, because {preparation.reason}")
        terminal.show_table(terminal.build_preparation_table(preparation.manifest))
        unused = describe_unused_feedback(config.data, input_files(config.data)[0])
        if unused is not None:
            terminal.say(unused)
    return preparation.manifest

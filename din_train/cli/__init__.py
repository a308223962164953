"""The `din-train` command, and the one place where errors become lines on stderr and exit codes.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 on Ctrl-C, 143 on SIGTERM.
"""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from din_train import __version__
from din_train.errors import DinTrainError, Interrupted
from din_train.files import is_disk_full
from din_train.printable import make_lines_printable, make_printable, shorten
from din_train.signals import interrupted_exit_code, received_signal, watch_signals

# A command's module is imported when the command is asked for, and imports no more than click until it runs.
COMMANDS = {
    "init": "din_train.cli.init",
    "data": "din_train.cli.data",
    "config": "din_train.cli.config",
    "prepare": "din_train.cli.prepare",
    "plan": "din_train.cli.plan",
    "fit": "din_train.cli.fit",
    "launch": "din_train.cli.launch",
    "eval": "din_train.cli.evaluate",
    "tune": "din_train.cli.tune",
    "sweep": "din_train.cli.sweep",
    "backtest": "din_train.cli.backtest",
    "compare": "din_train.cli.compare",
    "report": "din_train.cli.report",
    "explain": "din_train.cli.explain",
    "predict": "din_train.cli.predict",
    "export": "din_train.cli.export",
    "serve": "din_train.cli.serve",
    "audit": "din_train.cli.audit",
    "drift": "din_train.cli.drift",
    "reproduce": "din_train.cli.reproduce",
}


class CommandLine(click.Group):
    """Imports commands when they are asked for, and ends every failure with one line per problem."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order in which a user needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The click command of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever it raises becomes lines on stderr and an exit code."""
        try:
            _check_arguments([*ctx._protected_args, *ctx.args])
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = make_printable(shorten(error.message, _LONGEST_LINE))  # type: ignore[misc]
            raise  # click handles these: usage errors end with 2, and a closed pipe ends quietly
        except (click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params["debug"]:
                click.echo(make_lines_printable(traceback.format_exc()), err=True, nl=False)
            stopped = received_signal() is not None and not isinstance(error, Interrupted)
            lines, exit_code = describe_failure(KeyboardInterrupt() if stopped else error)
            for line in lines:
                click.echo(line, err=True)
            ctx.exit(exit_code)


_LONGEST_LINE, _MOST_LINES = 2000, 50


def _check_arguments(arguments: Sequence[str]) -> None:
    """A NUL cannot stand in a path, and bytes that are not UTF-8 can be neither shown nor written."""
    for each in arguments:
        if "\0" in each or any("\ud800" <= letter <= "\udfff" for letter in each):
            raise click.UsageError(f"'{each}': holds a NUL character, or bytes that are not UTF-8; give another name")


def describe_failure(error: BaseException) -> tuple[list[str], int]:
    """The lines to show for an error, printable and of bounded length, and the exit code."""
    lines, exit_code = _describe(error)
    shown = [make_printable(shorten(line, _LONGEST_LINE)) for line in lines[:_MOST_LINES]]
    more = [f"error: and {len(lines) - _MOST_LINES:,} more problems"] if len(lines) > _MOST_LINES else []
    return [*shown, *more], exit_code


def _describe(error: BaseException) -> tuple[list[str], int]:
    match error:
        case Interrupted():
            return [f"interrupted; {problem}" for problem in error.problems], error.exit_code
        case DinTrainError():
            return [f"error: {problem}" for problem in error.problems], error.exit_code
        case KeyboardInterrupt():
            lines = ["interrupted; files are written whole or not at all, so the same command can run again"]
            return lines, interrupted_exit_code()
        case Exception() if is_disk_full(error):
            path = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
            return [f"error: {path}no space left on the disk; free some, or choose another path"], 1
        case Exception() if isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
            return [
                "error: out of memory or of address space (`ulimit -v`); lower training.batch_size or "
                f"data.memory_limit, or use a larger machine ({_on_one_line(error)})"
            ], 1
        case Exception() if type(error).__name__ == "ResourceExhaustedError":  # by name: no import
            return [f"error: the device is out of memory; lower training.batch_size ({_on_one_line(error)})"], 1
        case OSError(filename=str() as path, strerror=str() as reason):
            return [f"error: {path}: {reason}"], 1
        case OSError(strerror=str() as reason):
            return [f"error: {reason}"], 1
        case OSError():
            return [f"error: {_on_one_line(error)}"], 1
        case Exception() if type(error).__module__.lstrip("_").startswith("duckdb"):
            return [f"error: DuckDB failed: {_on_one_line(error)}; raise data.memory_limit or free disk space"], 1
    what = f"{type(error).__name__}: {_on_one_line(error)}"
    return [f"error: a bug in din-train ({what}); run again with `din-train --debug ...` and report it"], 1


# Parts of the messages with which libraries report that memory or address space ran out.
_OUT_OF_MEMORY = ("failed to map segment", "annot allocate memory", "std::bad_alloc", "can't start new thread")


def _on_one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="din-train")
def cli(debug: bool) -> None:
    """From raw behaviour logs to a trained, honestly evaluated Deep Interest Network.

    Start with `din-train init`, edit the config it writes, then `din-train fit --config din-train.yaml`.
    """


def main() -> None:
    """The console entry point."""
    watch_signals()
    try:
        cli.main(prog_name="din-train")
    except SystemExit as end:
        if end.code and "tensorflow" in sys.modules:
            _leave_at_once(int(end.code))
        raise


def _leave_at_once(exit_code: int) -> None:
    """End without the interpreter's tear-down.

    If a pass over a `tf.data.Dataset` was cut short, its tear-down waits for a thread that waits for the interpreter,
    and the process may hang. All files are written and closed by now.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader has closed the pipe
            stream.flush()
    os._exit(exit_code)

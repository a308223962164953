"""The command line's own promises: help, quick start-up, one line a problem, exit codes."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import duckdb
import pytest
from click.testing import CliRunner, Result

from din_train import __version__
from din_train.cli import COMMANDS, CommandLine, cli, describe_failure
from din_train.errors import ConfigError, DataError, Interrupted, RunError
from din_train.tensorflow_setup import start_tensorflow

HEAVY = ("pydantic", "yaml", "numpy", "pandas", "pyarrow", "duckdb", "ibis", "rich", "keras", "tensorflow")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="din-train")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL_COMMANDS = dict(commands(cli))


def test_the_commands_in_the_order_a_user_meets_them() -> None:
    assert list(COMMANDS) == [
        "init",
        "data",
        "config",
        "prepare",
        "plan",
        "fit",
        "launch",
        "eval",
        "tune",
        "sweep",
        "backtest",
        "compare",
        "report",
        "explain",
        "predict",
        "export",
        "serve",
        "audit",
        "drift",
        "reproduce",
    ]
    shown = run("--help").output.partition("Commands:\n")[2].split("\n")
    assert [line.split()[0] for line in shown if line] == list(COMMANDS)


@pytest.mark.parametrize("path", ALL_COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: din-train {' '.join(path)}")
    command = ALL_COMMANDS[path]
    assert command.help
    assert command.help.split("\n")[0].endswith((".", "to be edited."))
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_help_imports_click_and_nothing_heavy() -> None:
    code = (
        "import sys; from din_train.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "cli.main(['fit', '--help'], standalone_mode=False)\n"
        "cli.main(['data', 'inspect', '--help'], standalone_mode=False)\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"
    assert done.stderr == ""


def test_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"din-train, version {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["--nope"],
        ["prepare"],
        ["fit"],
        ["fit", "--config", "c.yaml", "--nope"],
        ["fit", "--config", "c.yaml", "--seeds", "1,1"],
        ["fit", "--config", "c.yaml", "--seeds", "1,x"],
        ["fit", "--config", "c.yaml", "--seeds", ""],
        ["eval", "--split", "train"],
        ["compare"],
        ["predict", "--input", "a.csv"],
        ["predict", "--input", "a.csv", "--output", "b.parquet", "--positive-share", "1"],
        ["predict", "--input", "a.csv", "--output", "b.parquet", "--positive-share", "nan"],
        ["drift", "--run-dir", "a", "--input", "b.csv", "--max-psi", "nan"],
        ["predict", "--input", "a.csv", "--output", "b.parquet", "--chunk-rows", "0"],
        ["drift"],
        ["drift", "--input", "a.csv", "--max-unknown", "1.5"],
        ["explain"],
        ["explain", "--user", "u"],
        ["config", "validate"],
        ["data", "inspect"],
        ["init", "--source", "csv"],
    ],
    ids=" ".join,
)
def test_a_wrong_option_ends_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: din-train")
    assert result.stdout == ""


def failing(error: BaseException) -> click.Group:
    """The command line with one command, which raises `error`."""

    class Failing(CommandLine):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002
            @click.command("fail")
            def command() -> None:
                raise error

            return command

    return Failing("din-train", params=list(cli.params), callback=lambda debug: None)  # noqa: ARG005


@pytest.mark.parametrize(
    ("error", "exit_code", "stderr"),
    [
        (ConfigError(["a: wrong", "b: wrong too"]), 2, "error: a: wrong\nerror: b: wrong too\n"),
        (DataError("log.csv:3: cut short"), 1, "error: log.csv:3: cut short\n"),
        (RunError("runs/a: gone"), 1, "error: runs/a: gone\n"),
        (Interrupted("runs/a: kept 2 epochs", 143), 143, "interrupted; runs/a: kept 2 epochs\n"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted; files are written whole or not at all, so the same command can run again\n",
        ),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a"),
            1,
            "error: runs/a: no space left on the disk; free some, or choose another path\n",
        ),
        (
            RuntimeError("UnknownError: events.v2; No space left on device"),  # as TensorFlow has it
            1,
            "error: no space left on the disk; free some, or choose another path\n",
        ),
        (
            duckdb.TransactionException("TransactionContext Error: Failed to commit: could not write\nStack Trace"),
            1,
            "error: DuckDB failed: TransactionContext Error: Failed to commit: could not write Stack Trace; raise "
            "data.memory_limit or free disk space\n",
        ),
        (ConfigError("\x1b]0;x\x07 \u202e \udcff\nb"), 2, "error: \\x1b]0;x\\x07 \\u202e \\udcff\\nb\n"),
        (OSError("cannot\n  spill"), 1, "error: cannot spill\n"),
        (
            MemoryError(),
            1,
            "error: out of memory or of address space (`ulimit -v`); lower training.batch_size or data.memory_limit, "
            "or use a larger machine (MemoryError)\n",
        ),
        (
            ImportError("libtensorflow_cc.so.2: failed to map segment from shared object"),
            1,
            "error: out of memory or of address space (`ulimit -v`); lower training.batch_size or data.memory_limit, "
            "or use a larger machine (libtensorflow_cc.so.2: failed to map segment from shared object)\n",
        ),
        (
            ZeroDivisionError("by\nzero"),
            1,
            "error: a bug in din-train (ZeroDivisionError: by zero); run again with `din-train --debug ...` "
            "and report it\n",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_become_lines_and_exit_codes(error: BaseException, exit_code: int, stderr: str) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert (result.exit_code, result.stderr, result.stdout) == (exit_code, stderr, "")


def test_a_full_device_is_no_bug() -> None:
    start_tensorflow("cpu")
    import tensorflow as tf

    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\ntensor with shape[9,9]")
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == 1
    assert result.stderr == (
        "error: the device is out of memory; lower training.batch_size (OOM when allocating tensor with shape[9,9])\n"
    )


@pytest.mark.parametrize("error", [ConfigError("a: wrong"), ZeroDivisionError("zero")], ids=["user's", "ours"])
def test_debug_shows_the_traceback_before_the_line(error: Exception) -> None:
    plain, debug = (CliRunner().invoke(failing(error), arguments) for arguments in (["fail"], ["--debug", "fail"]))
    assert "Traceback" not in plain.stderr
    assert debug.stderr.startswith("Traceback (most recent call last):\n")
    assert debug.stderr.endswith(plain.stderr)
    assert debug.exit_code == plain.exit_code


def test_a_reader_that_went_away_ends_quietly() -> None:
    result = CliRunner().invoke(failing(BrokenPipeError(errno.EPIPE, "Broken pipe")), ["fail"])
    assert (result.exit_code, result.stderr) == (1, "")


def test_a_long_message_stays_one_line_of_some_length() -> None:
    lines, _ = describe_failure(ValueError("x" * 5000))
    assert len(lines) == 1
    assert len(lines[0]) < 450


def test_many_long_problems_stay_some_lines_of_some_length() -> None:
    lines, _ = describe_failure(ConfigError([f"{number}: {'x' * 9000}" for number in range(1000)]))
    assert len(lines) == 51
    assert max(map(len, lines)) < 2100
    assert lines[-1] == "error: and 950 more problems"


@pytest.mark.parametrize("argument", ["a\0b", "a\udcffb"])
def test_a_name_that_no_file_can_have_is_a_wrong_request(argument: str) -> None:
    for arguments in (["config", "validate", argument], ["report", "--run-dir", argument], ["fit", "--set", argument]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "holds a NUL character, or bytes that are not UTF-8" in result.stderr
        assert argument not in result.stderr


def test_options_that_control_a_terminal_are_shown_as_text() -> None:
    for arguments in (
        ["config", "validate", "\x1b[2J.yaml"],
        ["fit", "--config", "a", "\x1b[2J"],
        ["fit", "--seeds", "\x1b[2J"],
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "\x1b" not in result.stderr
        assert r"\x1b[2J" in result.stderr


@pytest.mark.parametrize("seeds", ["1" * 5000, "1,99999999999"])
def test_a_seed_of_any_number_of_digits_is_a_wrong_option(seeds: str) -> None:
    result = run("fit", "--config", "a.yaml", "--seeds", seeds)
    assert result.exit_code == 2
    assert "expected different whole numbers below 2147483648" in result.stderr


def test_too_little_address_space_for_tensorflow() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000,) * 2)\n"
        "from din_train.tensorflow_setup import start_tensorflow; start_tensorflow('cpu')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        "may have 2,000,000,000 bytes of address space (`ulimit -v`), and TensorFlow needs 3,000,000,000" in done.stderr
    )


def test_the_module_runs_as_the_command(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "din_train", "config", "validate", str(missing)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {missing}: no such config file; `din-train init {missing}` writes one to start from\n"
    )

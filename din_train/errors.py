"""The errors a user can cause or fix; each carries the exit code the command ends with.

A message says what is wrong, where, what was expected and what to do next, with one line per problem.
Anything else that escapes a command is a bug in din-train.
"""

from collections.abc import Sequence


class DinTrainError(Exception):
    """Base of every error reported without a traceback.

    Args:
        problems: one line each; a single string is one problem.
    """

    exit_code = 1

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ConfigError(DinTrainError):
    """The request was wrong: a config key, an option, or two of them together."""

    exit_code = 2


class DataError(DinTrainError):
    """The data cannot be used: missing, cut short, of another format, or empty."""


class EmptySplitError(DataError):
    """A split that the config asks for has no row."""


class RunError(DinTrainError):
    """The work failed: a run directory that cannot be read, a path that cannot be written."""


class DamagedError(RunError):
    """A file is not as din-train wrote it."""


class Interrupted(DinTrainError):  # noqa: N818 - not an error of anyone's making
    """Ctrl-C (SIGINT) or SIGTERM stopped the command; what was finished is kept.

    Args:
        problems: what was kept and where.
        exit_code: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, problems: str | Sequence[str], exit_code: int) -> None:
        super().__init__(problems)
        self.exit_code = exit_code

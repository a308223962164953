"""din-train: from raw behaviour logs to a trained, evaluated Deep Interest Network."""

from importlib.metadata import version

__version__ = version("din-train")

"""`din-train reproduce`: the paper's tables, planned, run a cell a process, and set beside the published values."""

from din_train.reproduce.reproduce import Request, reproduce

__all__ = ["Request", "reproduce"]

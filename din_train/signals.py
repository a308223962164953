"""Ctrl-C (SIGINT) and SIGTERM: both raise `KeyboardInterrupt`, at once, or when the current work can end cleanly.

A library may hand the exception on as one of its own (DuckDB raises `RuntimeError: Query interrupted`), so the first
signal is remembered, and the process will end.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    received: signal.Signals | None = None
    deferred = False


def watch_signals() -> None:
    """Handle both signals from here on; a signal that the parent process ignores (`nohup`, `&`) stays ignored."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def received_signal() -> signal.Signals | None:
    """The first signal that came, if one did."""
    return _State.received


def note_signal(number: int) -> None:
    """Take a signal that came to another worker of this training for one that came here."""
    _State.received = _State.received or signal.Signals(number)


def name_signal() -> str:
    """The signal that came, as the user knows it: `Ctrl-C` or `SIGTERM`."""
    return "SIGTERM" if received_signal() is signal.SIGTERM else "Ctrl-C"


def interrupted_exit_code() -> int:
    """128 + the signal's number, as in shells: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (received_signal() or signal.SIGINT)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Inside, the first signal is only remembered (ask `received_signal`); a second one raises at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    watch_signals()
    _State.deferred = True
    try:
        yield
    finally:
        _State.deferred = False
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def prompt_signals() -> Iterator[None]:
    """Inside `deferred_signals`: a part that may be left at any point, so a signal raises at once."""
    deferred, _State.deferred = _State.deferred, False
    try:
        if _State.received is not None:
            raise KeyboardInterrupt
        yield
    finally:
        _State.deferred = deferred


def _handle(number: int, frame: FrameType | None) -> None:
    del frame
    again = _State.received is not None
    _State.received = _State.received or signal.Signals(number)
    if again or not _State.deferred:
        raise KeyboardInterrupt

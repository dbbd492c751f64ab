"""An interrupt that ends the process at once: one line and exit status 130, whatever library code is running.

A ``KeyboardInterrupt`` is lost where it is raised in a destructor or in a callback of foreign code, and caught where a sampler takes it for
its own; in an import it ends in a traceback. What keeps nothing half done needs none of that.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["as_exception", "ignore", "leave_at_once", "leaving_at_once"]

_CLEAR, _SHOW_CURSOR = b"\r\x1b[2K", b"\x1b[?25h"  # of a terminal, in which a progress bar may be under way


def leave_at_once(said: str = "", clean: Callable[[], None] = lambda: None) -> None:
    """From now on an interrupt cleans up, says one line and ends the process.

    Left alone where interrupts are ignored, as in a job that a shell began in the background, and in other threads than the main one.

    Parameters
    ----------
    said : str
        What follows ``interrupted``: what becomes of what was done.
    clean : callable
        Called first.
    """

    def leave(_number: int, _frame: Any) -> None:
        with suppress(BaseException):
            clean()
        with suppress(OSError):
            terminal = _CLEAR + _SHOW_CURSOR if os.isatty(2) else b""
            os.write(2, terminal + f"duality: interrupted{said and '; '}{said}\n".encode())
        os._exit(130)

    _handle(leave)


@contextmanager
def leaving_at_once(said: str, clean: Callable[[], None] = lambda: None) -> Iterator[None]:
    """As `leave_at_once`, for a time."""
    before = signal.getsignal(signal.SIGINT)
    leave_at_once(said, clean)
    try:
        yield
    finally:
        _handle(before)


def as_exception() -> None:
    """From now on an interrupt is Python's own ``KeyboardInterrupt``."""
    _handle(signal.default_int_handler)


def ignore() -> None:
    """From now on an interrupt does nothing."""
    _handle(signal.SIG_IGN)


def _handle(handler: Any) -> None:
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if not ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)

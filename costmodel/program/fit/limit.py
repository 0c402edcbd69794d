"""A time limit for what runs in Python in the main thread."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

TRACE_LIMIT = 60.0  # seconds for a symbolic trace, after which ``fit="auto"`` goes on with a fit
_AGAIN = 0.5  # seconds between two alarms


class TimeLimit(BaseException):
    """The time is up. No Exception, so that nothing on the way takes it for an error of its own."""


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises TimeLimit inside once ``seconds`` have passed. Without an alarm (in another thread, on Windows, or where one is set
    already) there is no limit."""
    usable = (seconds is not None and seconds > 0 and hasattr(signal, "setitimer")
              and threading.current_thread() is threading.main_thread() and signal.getitimer(signal.ITIMER_REAL)[0] == 0)
    if not usable:
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, ring)
    # Again and again: what is raised while a weak reference's or the garbage collector's callback runs is only printed, not raised.
    signal.setitimer(signal.ITIMER_REAL, seconds or 0, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

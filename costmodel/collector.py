"""Python's collector of cycles, out of the way while something large is built.

A deep network becomes some hundred thousand small objects, none of them in a cycle and all of them kept. Each time the heap has
grown by a quarter, the collector looks at everything that jax has traced, too: half of the time of a derivation.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_pauses = 0  # of all threads: the collector is one for the process
_was_on = False
_rare = 0
_before = gc.get_threshold()


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """No collection inside, in any thread; a decorator, too. A model never runs in it: its author may count on the collector.
    A collector that was off stays off.

    >>> import gc
    >>> with paused():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    global _pauses, _was_on
    with _lock:
        if _pauses == 0:
            _was_on = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if _pauses == 0 and _was_on:
                gc.enable()


@contextlib.contextmanager
def rare() -> Iterator[None]:
    """Collections far apart while it lasts: for a model's trace, whose objects stay, and for a process of one command, which is
    at its end before they would pay. The first of several threads sets what the last sets back."""
    global _rare, _before
    with _lock:
        if _rare == 0:
            _before = gc.get_threshold()
            gc.set_threshold(500_000, 100, 100)
        _rare += 1
    try:
        yield
    finally:
        with _lock:
            _rare -= 1
            if _rare == 0:
                gc.set_threshold(*_before)

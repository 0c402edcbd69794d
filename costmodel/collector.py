"""Python's collector of cycles, out of the way while something large is built.

A deep network becomes some hundred thousand small objects, none of them in a cycle and all of them kept. Each time the heap has
grown by a quarter, the collector looks at everything that jax has traced, too: half of the time of a derivation.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import threading
from collections.abc import Callable, Iterator


class _Shared:
    """What the first of several threads to come sets, and the last to leave sets back: the collector is one for the process."""

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        """``change`` sets it and returns what sets it back."""
        self._change = change
        self._undo: Callable[[], None] | None = None
        self._inside = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._undo = self._change()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0 and self._undo is not None:
                    self._undo()


def _off() -> Callable[[], None]:
    was_on = gc.isenabled()
    gc.disable()
    return gc.enable if was_on else lambda: None


def _far_apart() -> Callable[[], None]:
    before = gc.get_threshold()
    gc.set_threshold(*_FAR_APART)
    return lambda: gc.set_threshold(*before)


_FAR_APART = (500_000, 100, 100)
_paused, _rare = _Shared(_off), _Shared(_far_apart)


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
    with _paused():
        yield


@contextlib.contextmanager
def rare() -> Iterator[None]:
    """Collections far apart while it lasts: for a model's trace, whose objects stay, and for a command, which is at its end before
    they would pay."""
    with _rare():
        yield


def at_end() -> None:
    """For a process that ends after one command: collections far apart until then, and none when it ends. Whatever is there goes
    with the process; Python would look through all of it first, a fifth of the time of a first ``costmodel show``."""
    gc.set_threshold(*_FAR_APART)
    atexit.register(gc.freeze)

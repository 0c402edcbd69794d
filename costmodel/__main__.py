"""The process of a command, ``costmodel`` or ``python -m costmodel``: an interrupt ends it with 130 and no traceback, whenever it
comes. Importing this costs nothing, so that there is hardly a moment before."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # as type checkers know it, without the time that typing takes to import

if TYPE_CHECKING:
    from typing import Any, NoReturn

INTERRUPTED = 128 + signal.SIGINT  # as a shell has it


def listen() -> bool:
    """From now on an interrupt ends this process. Returns whether it hears one: a shell's background job does not."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    signal.signal(signal.SIGINT, _leave)
    return True


def run(heard: bool | None = None) -> NoReturn:
    """Run the command of this process. ``heard``: what :func:`listen` returned, where it was called before."""
    heard = listen() if heard is None else heard
    from costmodel.cli import main

    try:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # what writes files cleans up
        main()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        if heard:
            signal.signal(signal.SIGINT, _leave)
    raise SystemExit(0)


def _leave(*_: Any) -> NoReturn:
    """While nothing is under way that is to be put in order, where an exception would be shown."""
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    run()

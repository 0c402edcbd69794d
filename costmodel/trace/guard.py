"""Whose mistake an exception is: of the model that is traced (one line for the user), or of costmodel (a traceback)."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError
from costmodel.trace.places import place_of

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


class UsersMistake(Exception):
    """Wraps ``error``, which jax, a library or the user's own code raised.

    place:     the expression of the model's source that it comes from; None if there is none.
    undecided: what jax could not decide about dimensions, if it was that; see :func:`costmodel._jax_compat.undecided`.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.place, self.undecided = place_of(error), compat.undecided(error)  # both read the whole traceback
        self.error = compat.without_jax_frames(error)


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call what the user wrote. Where the call itself fails (too many arguments, say) that is the user's mistake."""
    return function(*args, **kwargs)


@contextmanager
def guarded() -> Iterator[None]:
    """Raises UsersMistake for what is raised inside, but for a CostModelError and for what a line of costmodel itself raised."""
    try:
        with compat.whole_tracebacks():  # jax leaves its own frames out of what it raises: the innermost one would be ours
            yield
    except CostModelError:
        raise
    except Exception as error:
        if _is_ours(error):
            raise
        raise UsersMistake(error) from None


def _is_ours(error: Exception) -> bool:
    """Whether it was raised by a line of costmodel, and not by what that line called."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    file = os.path.abspath(frame.f_code.co_filename)
    return file.startswith(_PACKAGE) and file != os.path.abspath(__file__)

"""The line of a model that an equation stems from, for what is said of it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from costmodel import _jax_compat as compat
from costmodel.program.raw import Raw

_OURS = str(Path(__file__).parents[1])
_LIBRARIES = tuple(f"/site-packages/{name}/" for name in ("flax", "optax", "haiku", "equinox"))


def line(r: Raw) -> tuple[str, int] | None:
    """The innermost line of the user's; of a library's or of ours where no other called."""
    frames: tuple[Any, ...] = compat.user_frames(r.source)
    own = (f for f in frames if not f.file_name.startswith(_OURS) and not any(part in f.file_name for part in _LIBRARIES))
    found = next(own, next(iter(frames), None))
    return None if found is None else (str(found.file_name), int(found.start_line))


def where(r: Raw) -> str:
    """That line as text, or the equation's module."""
    found = line(r)
    return "{}:{}".format(*found) if found else "/".join(r.path) or "the top level"


def warn(text: str, at: tuple[str, int] | None = None) -> None:
    """Warn of a line; by default of the one that called us."""
    if at is None:
        frame, level = sys._getframe(1), 2
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
            frame, level = frame.f_back, level + 1
        warnings.warn(text, stacklevel=level)
    else:
        warnings.warn_explicit(text, UserWarning, *at)

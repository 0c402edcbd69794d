"""Measured against predicted: the programs that were counted, run on this machine, and compiled for others.

The names are loaded when they are used: a process that compiles for a device without having it is prepared before jax starts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costmodel.bench.run import CheckResult, Prediction, check

__all__ = ["CheckResult", "Prediction", "check"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("costmodel.bench.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Measured against predicted: the programs that were counted, run on this machine, and compiled for others.

The names are loaded when they are used: a process that compiles for a device without having it is prepared before jax starts.
"""

from __future__ import annotations

import importlib
from typing import Any

_FROM = {"CheckResult": "checked", "Prediction": "checked", "check": "run"}

# What other rooms may use.
__all__ = ["CheckResult", "Prediction", "calibrate", "check", "compilers", "judge", "mesh", "mfu", "runs"]


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(f"costmodel.bench.{_FROM[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

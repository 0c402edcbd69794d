"""costmodel: what does a neural network cost, and why? Closed forms from one symbolic trace of an unmodified model.

Everything public is named here and imported when first used, so that ``import costmodel`` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costmodel import solve as solve
    from costmodel.cost import Cost as Cost
    from costmodel.cost import CostAt as CostAt
    from costmodel.cost import analyze as analyze
    from costmodel.dims import Domain as Domain
    from costmodel.dims import dims as dims
    from costmodel.dims import expression as expression
    from costmodel.dims import symbols as symbols
    from costmodel.errors import CostModelError as CostModelError
    from costmodel.errors import DomainError as DomainError
    from costmodel.errors import TraceError as TraceError
    from costmodel.errors import UnknownPrimitive as UnknownPrimitive
    from costmodel.forms import CeilDiv as CeilDiv
    from costmodel.forms import FloorDiv as FloorDiv
    from costmodel.forms import PeakMax as PeakMax
    from costmodel.hardware import Hardware as Hardware
    from costmodel.metrics import metric as metric
    from costmodel.models import ModelEntry as ModelEntry
    from costmodel.models import Published as Published
    from costmodel.models import model as model
    from costmodel.rules import rule as rule
    from costmodel.serialize import from_json as from_json
    from costmodel.taps import TapCount as TapCount
    from costmodel.trace import abstract as abstract
    from costmodel.trace import spec as spec
    from costmodel.training import analyze_training as analyze_training

__version__ = "0.1.0"

# Public name -> the file that defines it, "" for a module of that name. The block above says the same to type checkers; a test
# holds them together.
_HOMES = {
    "Cost": "cost", "CostAt": "cost", "analyze": "cost", "analyze_training": "training",
    "Domain": "dims", "dims": "dims", "expression": "dims", "symbols": "dims",
    "CostModelError": "errors", "DomainError": "errors", "TraceError": "errors", "UnknownPrimitive": "errors",
    "CeilDiv": "forms", "FloorDiv": "forms", "PeakMax": "forms", "TapCount": "taps",
    "Hardware": "hardware", "metric": "metrics", "rule": "rules",
    "ModelEntry": "models", "Published": "models", "model": "models",
    "from_json": "serialize", "abstract": "trace", "spec": "trace", "solve": "",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'costmodel' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"costmodel.{home}"), name) if home else importlib.import_module(f"costmodel.{name}")
    globals()[name] = value
    return value


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        """Importing a submodule binds its name here. Where a public name is the same (dims), the public name stays."""
        super().__setattr__(name, getattr(value, name) if _HOMES.get(name) and isinstance(value, ModuleType) else value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

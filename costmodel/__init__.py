"""costmodel: what does a neural network cost, and why? Closed forms from one symbolic trace of an unmodified model.

Everything public is named here and imported when first used, so that ``import costmodel`` costs nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as type checkers know it, without typing, which takes longer to import than all of this

if TYPE_CHECKING:
    from typing import Any

    from costmodel import solve as solve
    from costmodel.cost import Cost as Cost
    from costmodel.cost import CostAt as CostAt
    from costmodel.cost import analyze as analyze
    from costmodel.cost import analyze_training as analyze_training
    from costmodel.cost import from_json as from_json
    from costmodel.errors import CostModelError as CostModelError
    from costmodel.errors import DomainError as DomainError
    from costmodel.errors import TraceError as TraceError
    from costmodel.errors import UnknownPrimitive as UnknownPrimitive
    from costmodel.hardware import Hardware as Hardware
    from costmodel.models import ModelEntry as ModelEntry
    from costmodel.models import Published as Published
    from costmodel.models import model as model
    from costmodel.pricing.metrics import metric as metric
    from costmodel.report.side_by_side import side_by_side as side_by_side
    from costmodel.rules import rule as rule
    from costmodel.symbolic.dimensions import dims as dims
    from costmodel.symbolic.dimensions import expression as expression
    from costmodel.symbolic.dimensions import symbols as symbols
    from costmodel.symbolic.domain import Domain as Domain
    from costmodel.symbolic.forms import CeilDiv as CeilDiv
    from costmodel.symbolic.forms import FloorDiv as FloorDiv
    from costmodel.symbolic.forms import PeakMax as PeakMax
    from costmodel.symbolic.receptive import receptive_field as receptive_field
    from costmodel.symbolic.taps import TapCount as TapCount
    from costmodel.trace.requests import abstract as abstract
    from costmodel.trace.requests import spec as spec

__version__ = "0.1.0"

# Public name -> the file that defines it, "" for a module of that name. The block above says the same to type checkers; a test
# holds them together.
_HOMES = {
    "Cost": "cost", "CostAt": "cost", "analyze": "cost", "analyze_training": "cost", "from_json": "cost",
    "Domain": "symbolic.domain", "dims": "symbolic.dimensions", "expression": "symbolic.dimensions",
    "symbols": "symbolic.dimensions",
    "CostModelError": "errors", "DomainError": "errors", "TraceError": "errors", "UnknownPrimitive": "errors",
    "CeilDiv": "symbolic.forms", "FloorDiv": "symbolic.forms", "PeakMax": "symbolic.forms", "TapCount": "symbolic.taps",
    "Hardware": "hardware", "metric": "pricing.metrics", "rule": "rules",
    "ModelEntry": "models", "Published": "models", "model": "models",
    "abstract": "trace.requests", "spec": "trace.requests", "solve": "",
    "receptive_field": "symbolic.receptive", "side_by_side": "report.side_by_side",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'costmodel' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"costmodel.{home}"), name) if home else importlib.import_module(f"costmodel.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

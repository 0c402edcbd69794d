"""An equation's parameters as a skeleton and the integers in it, and back."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np
from sympy import Expr

from costmodel.program.costing import SHOWN
from costmodel.program.raw import Raw
from costmodel.rules import lookup

# What passes read beside the rules.
_ALSO = ("unique_indices", "padding_config", "slice_sizes", "dimensions", *SHOWN)


class _Noting(dict[str, Any]):
    """Parameters that note which of them are read."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default


def read_parameters(r: Raw) -> frozenset[str] | None:
    """The parameters of an equation that its primitive's rule names or its family has, and those that are shown; None for all of
    them, where the rule may read any (``**params``), or there is none."""
    rule = lookup(r.primitive)
    if rule is None:
        return None
    named = list(inspect.signature(rule.function).parameters.values())[1:]
    if any(p.kind is p.VAR_KEYWORD and not p.name.startswith("_") for p in named):
        return None
    noting = _Noting(r.params)
    if rule.family is not None:
        rule.family(noting)
    return frozenset(p.name for p in named if p.kind is not p.VAR_KEYWORD) | frozenset(_ALSO) | noting.read


def _is_integer(p: Any) -> bool:
    return isinstance(p, int | np.integer) and not isinstance(p, bool | Enum)


def _is_record(p: Any) -> bool:
    return dataclasses.is_dataclass(p) and not isinstance(p, type)


def _fields(p: Any) -> dict[str, Any]:
    return {f.name: getattr(p, f.name) for f in dataclasses.fields(p)}


def skeleton(p: Any, read: bool) -> Any:
    """The parameter without its integers, as text or tuples of it. Of what no rule reads only flags and words."""
    if _is_integer(p):
        return "#"
    if p is None or isinstance(p, bool | str | Enum | np.dtype | type):
        return str(p)
    if isinstance(p, tuple | list):
        return tuple(skeleton(q, read) for q in p)
    if isinstance(p, dict):
        return tuple((str(k), skeleton(v, read)) for k, v in p.items())
    if _is_record(p):
        return type(p).__name__, skeleton(_fields(p), read)
    return repr(p) if read and isinstance(p, float | complex | frozenset) else type(p).__name__


def integers_in(p: Any) -> list[int]:
    """The integers of a parameter, in order."""
    if _is_integer(p):
        return [int(p)]
    if isinstance(p, tuple | list):
        return [i for q in p for i in integers_in(q)]
    if isinstance(p, dict):
        return [i for q in p.values() for i in integers_in(q)]
    return integers_in(_fields(p)) if _is_record(p) else []


def filled(p: Any, forms: Iterator[Expr]) -> Any:
    """The parameter with its integers replaced by the next forms; those that are numbers stay Python integers."""
    if _is_integer(p):
        form = next(forms)
        return int(form) if form.is_Integer else form
    if isinstance(p, tuple | list):
        made = [filled(q, forms) for q in p]
        return type(p)(*made) if hasattr(p, "_fields") else type(p)(made)
    if isinstance(p, dict):
        return {k: filled(v, forms) for k, v in p.items()}
    if _is_record(p) and integers_in(p):
        return dataclasses.replace(p, **filled(_fields(p), forms))
    return p

"""A program at other types: a price at other widths, not another trace.

What is floating-point changes its type by its role: ``weights`` are trained parameters and what is only a view, a slice or a cast
of them, ``activations`` all that is computed or given as data; state that is not trained (batch statistics, an optimizer's) is
neither. A product runs as a quantised program runs it: of integers in integers, and adds them up in int32 (jax's
``preferred_element_type=int32``, as AQT, TFLite and CMSIS-NN have it), its result stored at the activations' type in the same
kernel; of integers by floats in the floats' type, to which the weights are cast on the way (weights-only quantisation).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.rules.traits import Trait
from costmodel.rules.work import BITS, DTYPE_ALIASES, Array, CostTable, Equation, OpKind, Value, is_floating
from costmodel.surface import brief
from costmodel.text import did_you_mean

ROLES = ("weights", "activations")
ACCUMULATED = "int32"  # what products of integers are added up in


@dataclass(frozen=True)
class Types:
    """The type of each role; None for that which was traced. ``state`` is of what has neither role."""

    weights: str | None
    activations: str | None
    state: str | None = None

    @classmethod
    def of(cls, text: Any) -> Types:
        """``"bf16"`` or a dtype for everything, or ``"weights=int8,activations=bf16"``. Raises CostModelError for another role or
        type.

        >>> Types.of("weights=int8, activations=bf16")
        Types(weights='int8', activations='bfloat16', state=None)
        """
        text = text if isinstance(text, str) else _name(text)
        if "=" not in text:
            return cls(*[_type(text)] * 3)
        given: dict[str, str] = {}
        for part in text.split(","):
            role, _, dtype = (each.strip() for each in part.partition("="))
            if role not in ROLES:
                raise CostModelError(f"no role is called {role!r};{did_you_mean(role, ROLES)} write e.g. "
                                     "weights=int8,activations=bf16")
            if role in given:
                raise CostModelError(f"{text!r} gives {role} two types; give one")
            given[role] = _type(dtype)
        return cls(given.get("weights"), given.get("activations"))

    def __str__(self) -> str:
        if self.weights == self.activations == self.state:
            return str(self.weights)
        return ", ".join(f"{role} in {dtype}" for role, dtype in zip(ROLES, (self.weights, self.activations), strict=True) if dtype)


def _name(dtype: Any) -> str:
    """What numpy calls a type, such as ``jnp.bfloat16``."""
    try:
        return np.dtype(dtype).name if dtype is not None else "None"
    except (TypeError, ValueError):
        return brief(dtype)


def _type(name: str) -> str:
    wanted = DTYPE_ALIASES.get(name, name)
    numbers = [dtype for dtype, bits in BITS.items() if bits and dtype.startswith(("float", "bfloat", "int", "uint", "complex"))]
    if wanted not in numbers:
        known = sorted([*numbers, *DTYPE_ALIASES])
        raise CostModelError(f"{name!r} is not a dtype to price in;{did_you_mean(name, known)} use one of {', '.join(known)}")
    return wanted


def retype(table: CostTable, types: Types) -> CostTable:
    """The same program with every floating-point array and operation in the type of its role."""
    weights = _weights(table)
    made: dict[Value, Value] = {}

    def wanted(v: Value) -> str | None:
        return types.weights if v in weights else types.state if v.origin in ("buffer", "optimizer") else types.activations

    def value(v: Value) -> Value:
        if v not in made:
            dtype = (is_floating(v.array.dtype) and wanted(v)) or v.array.dtype
            made[v] = replace(v, array=Array(v.array.shape, dtype))
        return made[v]

    def product(k: OpKind, operands: list[str], e: Equation) -> OpKind:
        floats = [dtype for dtype in operands if is_floating(dtype)]
        dtype = max(floats or operands, key=lambda each: BITS[each])
        sums = value(e.outs[0]).array.dtype if e.outs else dtype
        return replace(k, dtype=dtype, accumulate=ACCUMULATED if not floats else k.accumulate and (
            sums if is_floating(sums) else dtype))

    def equation(e: Equation) -> Equation:
        floating = [v for v in e.ins if is_floating(v.array.dtype)]
        operands = [value(v).array.dtype for v in floating]
        others = [v for v in floating if wanted(v) == types.activations] or [v for v in floating if v not in weights] or floating
        beside = value(others[0]).array.dtype if others else None

        def kind(k: OpKind) -> OpKind:
            if not is_floating(k.dtype):
                return k
            dtype = beside or types.activations or k.dtype
            if k.name == "mac":
                return product(k, operands[:2] or [dtype], e)
            return replace(k, dtype=dtype, accumulate=k.accumulate and dtype)

        work = replace(e.work, ops=tuple((kind(k), dense, valid) for k, dense, valid in e.work.ops))
        return replace(e.of_values(value), work=work)

    return replace(table, equations=tuple(map(equation, table.equations)), inputs=tuple(map(value, table.inputs)),
                   outputs=tuple(map(value, table.outputs)), carried=tuple((value(a), value(b)) for a, b in table.carried))


def _weights(table: CostTable) -> frozenset[Value]:
    """Trained parameters, and what is made of them without computing or looking anything up."""
    found = set(table.parameters)
    for e in table:
        if not e.work.ops and not e.has(Trait.INDEXED, Trait.IN_PLACE) and _all_in(e.ins, found):
            found.update(e.outs)
    return frozenset(found)


def _all_in(values: Iterable[Value], found: set[Value]) -> bool:
    floating = [v for v in values if is_floating(v.array.dtype)]
    return bool(floating) and all(v in found for v in floating)

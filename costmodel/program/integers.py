"""Integer scalars that follow from shapes: jax computes with them while a program runs, but they are known before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sympy import Expr, Integer

from costmodel import _jax_compat as compat
from costmodel.symbolic.forms import PeakMax
from costmodel.symbolic.translate import internal

_OPERATIONS: dict[str, Callable[..., Expr]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: (a * b).expand(),
    "neg": lambda a: -a,
    "max": lambda a, b: PeakMax(a, b),
    "min": lambda a, b: -PeakMax(-a, -b),
    "convert_element_type": lambda a: a,
    "squeeze": lambda a: a,
    "reshape": lambda a: a,
    "copy": lambda a: a,
    "stop_gradient": lambda a: a,
}


def integer_result(eqn: Any, operands: Sequence[Expr | None]) -> Expr | None:
    """The result of an equation, if it is one integer scalar that follows from shapes. None among the operands is unknown."""
    if len(eqn.outvars) != 1 or not is_integer_scalar(eqn.outvars[0].aval):
        return None
    if eqn.primitive.name == "dim_as_value":
        return internal(eqn.params["dim"])
    operation = _OPERATIONS.get(eqn.primitive.name)
    return None if operation is None or None in operands else operation(*operands)


def is_integer_scalar(aval: Any) -> bool:
    """Whether an abstract value is one integer."""
    return getattr(aval, "shape", None) == () and str(aval.dtype).startswith(("int", "uint"))


def integer_value(atom: Any, known: Mapping[Any, Expr | None]) -> Expr | None:
    """What is known of a literal or a variable."""
    if not compat.is_literal(atom):
        return known.get(atom)
    return Integer(int(np.asarray(atom.val))) if is_integer_scalar(atom.aval) else None

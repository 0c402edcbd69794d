"""The exact value of a form at a point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from sympy import Expr, Symbol

from costmodel.errors import Undefined


def evaluate(expr: Expr, values: Mapping[Symbol, int], memo: dict[Expr, int | Fraction] | None = None) -> int | Fraction:
    """The exact value of ``expr`` with every symbol bound to a Python integer. Share ``memo`` among calls at one point.

    Raises KeyError with the symbol for an unbound one, Undefined where a divisor is zero. Never uses floating point.
    """
    memo = {} if memo is None else memo
    known = memo.get(expr)
    if known is not None:
        return known
    result: Any
    if expr.is_Symbol:
        result = values[expr]
    elif expr.is_Integer:
        result = int(expr)
    elif expr.is_Rational:
        result = Fraction(int(expr.p), int(expr.q))
    else:
        args = [evaluate(arg, values, memo) for arg in expr.args]
        try:
            result = _combined(expr, args)
        except ZeroDivisionError:
            raise Undefined(f"{type(expr).__name__}({', '.join(str(arg)[:20] for arg in args)}) divides by zero at "
                            f"{', '.join(f'{s}={str(value)[:20]}' for s, value in list(values.items())[:8])}") from None
    if isinstance(result, Fraction) and result.denominator == 1:
        result = result.numerator
    memo[expr] = result
    return result


def _combined(expr: Expr, args: list[Any]) -> Any:
    """The value of a node from those of its arguments."""
    if expr.is_Add:
        return sum(args)
    if expr.is_Mul:
        return math.prod(args)
    if expr.is_Pow:
        return args[0] ** args[1] if args[1] >= 0 else Fraction(1) / args[0] ** -args[1]
    return exact_function(type(expr))(*args)


def exact_function(form: Any) -> Any:
    """The exact Python function behind an opaque form, which carries it as ``exact``."""
    try:
        return form.exact
    except AttributeError:
        raise TypeError(f"costmodel has no exact evaluation for {form.__name__}; it is not one of its forms") from None

"""What is known at the points: values of forms, exactly, as arrays of Python integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from sympy import Expr, Symbol

from costmodel.program.fit.box import Point
from costmodel.symbolic.forms import PeakMax, exact_function

Values = tuple[Any, ...]


def values_of(expr: Expr, env: Mapping[Symbol, Any], memo: dict[Expr, Any]) -> Any:
    """The exact values of ``expr`` where symbols are arrays of Python integers (dtype object): never floating point, never int64.
    Share ``memo`` among forms at the same points."""
    known = memo.get(expr)
    if known is not None:
        return known
    if expr.is_Symbol:
        result = env[expr]
    elif expr.is_Integer:
        result = int(expr)
    elif expr.is_Add:
        result = sum(values_of(arg, env, memo) for arg in expr.args)
    elif expr.is_Rational:
        return Fraction(int(expr.p), int(expr.q))
    elif expr.is_Mul:
        result = 1
        for arg in expr.args:
            result = result * values_of(arg, env, memo)
    elif expr.is_Pow and expr.args[1].is_Integer and expr.args[1] > 0:
        result = values_of(expr.args[0], env, memo) ** int(expr.args[1])
    else:
        args = [values_of(arg, env, memo) for arg in expr.args]
        exact = max if isinstance(expr, PeakMax) else exact_function(type(expr))
        result = np.frompyfunc(exact, len(args), 1)(*args)
    memo[expr] = result
    return result


class Sample:
    """Points of one structure, and the forms' values there."""

    def __init__(self, symbols: Sequence[Symbol], points: Sequence[Point]) -> None:
        self.points = list(points)
        columns = np.array(self.points, dtype=object).reshape(len(self.points), len(symbols))
        self.env = {s: columns[:, i] for i, s in enumerate(symbols)}
        self._memo: dict[Expr, Any] = {}

    def __len__(self) -> int:
        return len(self.points)

    def values(self, expr: Expr) -> Values:
        """One value a point."""
        found = values_of(expr, self.env, self._memo)
        if isinstance(found, np.ndarray) and any(isinstance(v, Fraction) for v in found):
            found = np.array([v.numerator if isinstance(v, Fraction) and v.denominator == 1 else v for v in found], dtype=object)
        return tuple(found) if isinstance(found, np.ndarray) else (found,) * len(self.points)

"""The domain along one symbol, and searches on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd, lcm

from sympy import Add, Expr, Integer, Mul, Pow, Symbol

from costmodel.errors import CostModelError, DomainError
from costmodel.pricing.core import Point, Symbolic
from costmodel.surface import brief, named, point, said
from costmodel.symbolic.domain import Variable
from costmodel.symbolic.forms import CeilDiv, FloorDiv, PeakMax, evaluate, surely_nonnegative, symbol
from costmodel.text import did_you_mean

# A search that has doubled its step this often without an answer will not find one.
DOUBLINGS = 62


@dataclass(frozen=True)
class Line:
    """The domain along one symbol, all others bound: its values are ``step`` · i for ``first`` <= i <= ``last`` (None: no end),
    where the internal variable is ``scale`` · i."""

    cost: Symbolic
    name: str
    at: Mapping[str, int]
    variable: Variable
    step: int
    first: int
    last: int | None
    scale: int = 1

    def value(self, i: int) -> int:
        """The symbol's value at a step."""
        return self.step * i

    def point(self, i: int) -> Point:
        """The cost there, verified as :meth:`Symbolic.at` does."""
        return self.cost.at(**{**self.at, self.name: self.value(i)})

    def another(self, *steps: int | None) -> bool:
        """Whether the model is another program than the line's at one of these steps: its formulas do not hold there."""
        return any(i is not None and i >= self.first and self.point(i).cost is not self.cost for i in steps)

    def between(self, low: int, high: int) -> list[int]:
        """The values from ``low`` to ``high``, both included. Raises DomainError where there is none."""
        least, most = max(self.first, -(-low // self.step)), high // self.step
        values = [self.value(i) for i in range(least, 1 + (most if self.last is None else min(most, self.last)))]
        if not values:
            raise DomainError(f"{self.name} has no value from {low} to {high}: the domain is {self.cost.domain}")
        return values

    @property
    def unknown(self) -> Symbol:
        """The internal variable of the symbol."""
        return symbol(self.variable.name)

    def along(self, expr: Expr) -> Expr:
        """An internal expression with all other symbols bound."""
        others: dict[Expr, Expr] = {s: Integer(v) for s, v in _others(self.cost, self.name, self.at).items()}
        return expr.xreplace({**others, self.unknown: self.scale * self.unknown}).expand()


def _others(cost: Symbolic, name: str, at: Mapping[str, int]) -> dict[Symbol, int]:
    """The internal variables other than the symbol's, bound."""
    bound: dict[Symbol, int] = {}
    for v in cost.domain.ordered:
        if v.symbol != name:
            bound[symbol(v.name)] = at[v.symbol] // evaluate(v.divisor, bound)
    return bound


def line_of(cost: Symbolic, name: str, at: Mapping[str, int]) -> Line:
    """Raises DomainError for a symbol that the cost does not have or that ``at`` leaves unbound."""
    if not isinstance(cost, Symbolic):
        raise CostModelError(f"{brief(cost)} has no formulas: solve a cost" + said(", as cm.analyze(...) gives it, with the other "
                                                                                   "symbols in at={...}", ""))
    name, at = named("symbol", name, "n"), point(at)
    if name not in cost.symbols or name in at:
        free = ", ".join(s for s in cost.symbols if s not in at)
        if name in cost.symbols:
            raise DomainError(f"{name} has a value here: leave it out, or solve for one of {free or 'none, since all are bound'}")
        raise DomainError(f"{name} is no symbol of {cost.name}:{did_you_mean(name, cost.symbols)} solve for one of "
                          f"{free or ', '.join(cost.symbols) or 'none'}")
    at = {**{k: v for k, v in cost.domain.defaults.items() if k != name}, **at}
    missing = sorted(set(cost.symbols) - set(at) - {name})
    if missing or set(at) - set(cost.symbols):
        cost.domain.bind(dict.fromkeys(at, 1) | {name: 1})  # raises, naming them
    variable = next(v for v in cost.domain.variables if v.symbol == name)
    dependent = [v.symbol for v in cost.domain.variables if symbol(variable.name) in v.divisor.free_symbols]
    if dependent:
        raise DomainError(f"{', '.join(dependent)} must be a multiple of {name}: solve for {dependent[0]} at a fixed {name}")
    others = _others(cost, name, at)
    step = int(evaluate(variable.divisor, others))
    first, last = -(-max(variable.lower, 1) // step), None if variable.upper is None else variable.upper // step
    for relation in cost.domain.relations:
        inside = relation.difference.xreplace({s: Integer(v) for s, v in others.items()}).expand()
        if (parts := linear(inside, symbol(variable.name))) and parts[0] != 0:
            slope, constant = map(int, parts)
            if slope > 0:
                first = max(first, -(constant // slope))
            else:
                end = constant // -slope
                last = end if last is None else min(last, end)
    scale = _scale(cost, variable, others)
    first, last = -(-first // scale), last if last is None else last // scale
    if last is not None and last < first:
        raise DomainError(f"{name} has no value at {text(at)}: the domain is {cost.domain}")
    line = Line(cost, name, dict(at), variable, step * scale, first, last, scale)
    cost.domain.bind({**at, name: line.value(first)})  # raises where the others leave the domain
    return line


def _scale(cost: Symbolic, variable: Variable, others: Mapping[Symbol, int]) -> int:
    """What the internal variable is a multiple of, so that devices share it evenly. Raises DomainError for an axis of a mesh."""
    unknown, scale = symbol(variable.name), 1
    for m in cost.domain.multiples:
        if unknown in m.part.free_symbols:
            raise DomainError(f"{variable.symbol} must divide {cost.domain.in_user_symbols(m.whole)}: give its sizes one by one, "
                              f"as in {said('cost.sweep(...)', '`costmodel sweep`')}")
        if unknown in m.whole.free_symbols:
            part = int(evaluate(m.part, others))
            slope = m.whole.xreplace({s: Integer(v) for s, v in others.items()}).expand().coeff(unknown, 1)
            scale = lcm(scale, part // gcd(part, int(slope)) if slope.is_Integer else part)
    return scale


def linear(expr: Expr, unknown: Symbol) -> tuple[Expr, Expr] | None:
    """(slope, constant) of an expanded expression, or None where it is not linear in the unknown."""
    slope, constant = expr.coeff(unknown, 1), expr.coeff(unknown, 0)
    alone = unknown not in slope.free_symbols | constant.free_symbols
    return (slope, constant) if alone and (expr - slope * unknown - constant).expand() == 0 else None


def first_true(holds: Callable[[int], bool], first: int, last: int | None) -> int | None:
    """The least i at which a condition holds that stays true once it is; None where it does not up to the end."""
    below, i = first - 1, first
    for doubling in range(DOUBLINGS):
        if holds(i):
            break
        if i == last:
            return None
        below, i = i, i + 2**doubling if last is None else min(i + 2**doubling, last)
    else:
        return None
    while i - below > 1:
        middle = (i + below) // 2
        below, i = (below, middle) if holds(middle) else (middle, i)
    return i


def grows(expr: Expr) -> bool:
    """Is it certain that the expression does not fall when a symbol in it grows? (False decides nothing.)"""
    if expr.is_Symbol or expr.is_Rational:
        return True
    if isinstance(expr, Add | PeakMax):
        return all(map(grows, expr.args))
    if isinstance(expr, FloorDiv | CeilDiv):
        return expr.args[1].is_Integer and grows(expr.args[0])
    if isinstance(expr, Pow):
        return bool(expr.args[1].is_Integer and expr.args[1] > 0) and _rises(expr.args[0])
    return isinstance(expr, Mul) and all(map(_rises, expr.args))


def _rises(factor: Expr) -> bool:
    return grows(factor) and surely_nonnegative(factor)


def text(at: Mapping[str, int]) -> str:
    """A point as text: "n=1, h=224"."""
    return ", ".join(f"{k}={v}" for k, v in at.items())

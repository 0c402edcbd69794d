"""What a symbolic trace asks of the sizes: the comparisons that decide which program a model writes.

jax refuses an undecided ``>=`` and silently denies an undecided ``==``. Here both are answered as at a witness point and noted,
so that the trace goes on: two points at which all noted comparisons come out alike have the same program, if the trace came to its
end.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy
from sympy import Expr, Symbol

from costmodel.errors import CostModelError
from costmodel.program.fit.box import Box, Point
from costmodel.program.fit.limit import TimeLimit, time_limit
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate, symbol
from costmodel.symbolic.translate import internal

if TYPE_CHECKING:
    from costmodel.trace.requests import Traceable

Env = Mapping[Symbol, int]

# Conditions beyond so many say nothing to a reader and cost time.
_MOST = 400


@dataclass(frozen=True)
class Condition:
    """``difference`` ≥ 0, or = 0 where ``equal``."""

    difference: Expr
    equal: bool

    def holds(self, env: Mapping[Symbol, int]) -> bool:
        """How the comparison comes out at a point."""
        found = evaluate(self.difference, env)
        return found == 0 if self.equal else found >= 0

    def text(self, true: bool, user: Any = lambda e: e) -> str:
        """As a reader writes it; ``user`` puts an expression into the user's symbols."""
        constant, rest = user(self.difference).as_coeff_Add()
        if rest.could_extract_minus_sign():
            sides, signs = (-rest, constant), ("<=", ">")
        else:
            sides, signs = (rest, -constant), (">=", "<")
        sign = ("==" if true else "!=") if self.equal else signs[0 if true else 1]
        return f"{sides[0]} {sign} {sides[1]}"


@dataclass(frozen=True)
class Conditions:
    """The comparisons that a trace met; ``complete`` if it came to its end and never asked for an integer."""

    tests: tuple[Condition, ...] = ()
    complete: bool = False

    def outcome(self, env: Mapping[Symbol, int]) -> tuple[bool, ...]:
        """How each comparison comes out at a point."""
        return tuple(test.holds(env) for test in self.tests)

    def separating(self, inside: Sequence[Env], outside: Sequence[Env]) -> tuple[list[tuple[Condition, bool]], list[Env]]:
        """Few conditions that come out alike at all points inside, with how, and otherwise at those outside; and the points outside
        that no condition tells from those inside."""
        alike = [(test, test.holds(inside[0])) for test in self.tests if len({test.holds(env) for env in inside}) == 1]
        found, left = [], list(outside)
        while left:
            rests = [([env for env in left if test.holds(env) == true], test, true) for test, true in alike]
            rest, test, true = min(rests, key=lambda each: (len(each[0]), len(each[1].text(each[2]))), default=(left, None, False))
            if test is None or len(rest) == len(left):
                break
            found.append((test, true))
            left = rest
        return found, left


def edges(box: Box, start: Point, asked: Conditions, most: int = 12) -> list[Point]:
    """Points along each symbol on both sides of where a comparison comes out otherwise, and where the two are equal."""
    found: dict[Point, None] = {}
    for test in asked.tests:
        for k, s in enumerate(box.symbols):
            if len(found) < most and s in test.difference.free_symbols:
                found |= dict.fromkeys(_edge(box, start, k, test.difference))
    return list(found)


def _edge(box: Box, start: Point, k: int, difference: Expr) -> list[Point]:
    """Where the sign of a difference changes along one symbol."""
    def sign(v: int) -> bool:
        return evaluate(difference, dict(zip(box.symbols, (*start[:k], v, *start[k + 1:]), strict=True))) >= 0

    low, high = box.axes[k].low, box.axes[k].top(96)
    if sign(low) == sign(high):
        return []
    at_low = sign(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sign(middle) == at_low else (low, middle)
    return box.along(start, k, [low, high] if not evaluate(difference, dict(zip(box.symbols, (*start[:k], low, *start[k + 1:]),
                                                                               strict=True))) == 0 else [low])


_numbers = itertools.count()


def conditions(request: Traceable, domain: Domain, env: Env, seconds: float) -> Conditions:
    """The comparisons that the symbolic trace of a request meets where its internal variables are ``env``; what was met by then
    where jax refuses to go on, or after ``seconds``.

    It is traced in variables of its own: jax remembers what it has traced, and an answer that holds at one point must be found by
    no other trace.
    """
    from costmodel import _jax_compat as compat  # a fit from a file has its conditions and needs no jax

    number = next(_numbers)
    own = {s: compat.variable(f"{s.name}_asked_{number}") for s in env}
    there = {symbol(f"{s.name}_asked_{number}"): s for s in env}
    found: dict[Condition, None] = {}
    whole = True

    def value(dim: Any) -> int:
        return int(evaluate(internal(dim).xreplace(there), env))

    def note(sort: str, a: Any, b: Any) -> None:
        nonlocal whole
        difference = sympy.expand((internal(a) - internal(b)).xreplace(there))
        if not difference.free_symbols <= env.keys():
            return  # with a dimension of another program, from which jax remembers parts
        whole = whole and sort != "int" and len(found) < _MOST
        if sort != "int" and difference.free_symbols and len(found) < _MOST:
            found[Condition(difference, sort == "==")] = None

    try:
        with time_limit(seconds), compat.comparisons_noted(value, note):
            request.at(domain, own).run()
    except (CostModelError, TimeLimit, compat.InconclusiveDimensionOperation):
        whole = False
    return Conditions(tuple(found), whole)

"""Loops whose iterations differ: a counter's value is a formula in the iteration's number, and what runs as often as an inner loop
that counts to it (a triangular loop) is summed over the iterations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sympy import Add, Dummy, Expr, Rational, Symbol, bernoulli, collect

from costmodel.program.inliner import Inliner
from costmodel.program.scopes import Place
from costmodel.program.trips import increment
from costmodel.rules.work import Value
from costmodel.symbolic.forms import ONE, Assumptions

# A value that a loop's body sees, and what it is in the first iteration and from one to the next.
Counter = tuple[Value, Expr, int]


def counters(to: Inliner, body: Any, variables: Sequence[Any], before: Sequence[Value], start: Sequence[Value]) -> list[Counter]:
    """Carried integers with a known start to which the body adds a constant. ``variables`` are the body's of what is carried."""
    jaxpr = getattr(body, "jaxpr", body)
    found = []
    for var, after, value, initial in zip(variables, jaxpr.outvars, before, start, strict=False):
        first, step = to.integers.get(initial), increment(jaxpr, var, after)
        if first is not None and step:
            found.append((value, first, step))
    return found


def assumptions(to: Inliner) -> Assumptions:
    """What is known of the program's symbols and of the iterations'."""
    known = to.domain.assumptions
    return replace(known, nonnegative=(*known.nonnegative, *to.iterations)) if to.iterations else known


def depends(to: Inliner, expr: Expr) -> bool:
    """Whether a number differs between the iterations of a loop around."""
    return any(_numbers(left) & expr.free_symbols for left in to.iterations)


def summable(to: Inliner, expr: Expr) -> bool:
    """Whether a number can be summed over the iterations of the loops around: a polynomial in theirs."""
    numbers = set().union(*map(_numbers, to.iterations))
    return all(expr.is_polynomial(n) for n in numbers & expr.free_symbols)


def _numbers(left: Expr) -> set[Symbol]:
    return {s for s in left.free_symbols if isinstance(s, Dummy)}


def over(to: Inliner, count: Expr, loop: int, at: Place, known: Sequence[Counter], body: Callable[[Place], list[Value]], *,
         exact: bool = True) -> list[Value]:
    """``body``'s results, whose equations run ``count`` times here, in a loop of that number. Where counters are known, what runs
    differently often in each iteration is summed over them."""
    if not known:
        return body(at.repeated(count, loop, exact=exact))
    number = Dummy("iteration", integer=True, nonnegative=True)
    first = len(to.equations)
    to.integers.update((value, start + step * number) for value, start, step in known)
    to.iterations.append((count - 1 - number).expand())
    results = body(at.repeated(ONE, loop, exact=exact))
    to.equations[first:] = [replace(r, times=total_over(r.times, number, count)) for r in to.equations[first:]]
    to.iterations.pop()
    to.integers = {value: known for value, known in to.integers.items() if number not in known.free_symbols}
    return results


def total_over(times: Expr, number: Symbol, count: Expr) -> Expr:
    """Σ of a polynomial in ``number`` over 0 … count - 1: Faulhaber's formula, with Bernoulli's polynomials.

    >>> from costmodel.symbolic.forms import symbol
    >>> i, n = symbol("i"), symbol("n")
    >>> total_over(2*i + 1, i, n), total_over(i**2, i, n)
    (n**2, n**3/3 - n**2/2 + n/6)
    """
    if number not in times.free_symbols:
        return (times * count).expand()
    powers = collect(times.expand(), number, evaluate=False)
    return Add(*(factor * _power_sum(term, number, count) for term, factor in powers.items())).expand()


def _power_sum(term: Expr, number: Symbol, count: Expr) -> Expr:
    power = int(term.as_base_exp()[1]) if term != 1 else 0
    return (bernoulli(power + 1, count) - bernoulli(power + 1, 0)) * Rational(1, power + 1)

"""What a program read from a file must hold to be one: it is counted without being expanded, run or traced.

Every name stands once, a value is made once and before it is used, no count is negative at a point of the domain, and no product
that pricing will form (a shape's, how often times how much) is larger than :mod:`costmodel.symbolic.extent` allows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from sympy import Expr, Symbol

from costmodel.errors import CostModelError, Undefined
from costmodel.program.regions import Regions
from costmodel.rules.work import CostTable, Equation, Value
from costmodel.symbolic.domain import Domain, Variable
from costmodel.symbolic.extent import SYMBOL_BITS, UNKNOWN, Extent, extent, product
from costmodel.symbolic.forms import evaluate, symbol

MAX_RANK = 64
# Of an array's size, which a peak compares with all others: twelve symbols multiplied. Every program that was met has 400 terms.
MAX_SHAPE_TERMS = 1000
MAX_SHAPE_BITS = 12 * SYMBOL_BITS
_BEYOND_LEAST = (0, 1, 7)  # where counts are looked at: so far from the least value of every variable


def check_program(table: CostTable, domain: Domain, regions: Regions) -> None:
    """Raises ValueError, naming what is wrong, for a program that cannot be one."""
    _once("variable", (v.name for v in domain.variables))
    _once("symbol", (v.symbol for v in domain.variables))
    _bounds(domain.variables)
    _order(table)
    _sides(table)
    counts = dict.fromkeys(count for e in table for count in _counts(e))
    counts |= dict.fromkeys(d for v in _values(table) for d in v.array.shape)
    _sizes(table, domain)
    for point in _points(domain, regions):
        _not_negative(counts, point)
    _parameters(table)


def _once(what: str, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"the {what} {name[:60]} is there {times} times")


def _bounds(variables: Iterable[Variable]) -> None:
    for v in variables:
        if v.lower < 0 or (v.upper is not None and v.upper < v.lower):
            raise ValueError(f"{v.symbol[:60]} is to be at least {v.lower} and at most {v.upper}")


def _order(table: CostTable) -> None:
    """Inputs and what equations make, each once, and nothing used before it is made."""
    made: dict[Value, Equation | None] = dict.fromkeys(table.inputs)
    used: set[Value] = set()
    for e in table:
        used.update((*e.ins, *e.same))
        if e.same and [v.array for v in e.same] != [v.array for v in e.outs]:
            raise ValueError(f"equation {e.index} is said to be equal to what has another shape")
        for out in e.outs:
            if out in made:
                raise ValueError(f"equation {e.index} makes a value that is an input or was made before")
            if out in used:
                raise ValueError(f"equation {e.index} makes a value that was used before")
            made[out] = e


def _sides(table: CostTable) -> None:
    """Every ``cond`` has one number of sides."""
    known: dict[int, int] = {}
    for side in dict.fromkeys(side for e in table for side in e.branch):
        if known.setdefault(side.cond, side.of) != side.of:
            raise ValueError(f"cond {side.cond} has {known[side.cond]} sides, and {side.of}")


def _counts(e: Equation) -> Iterator[Expr]:
    yield e.times
    for _, dense, valid in e.work.ops:
        yield from (dense, valid)
    yield from (*e.work.read, *e.work.written)


def _values(table: CostTable) -> Iterable[Value]:
    return dict.fromkeys(v for e in table for v in (*e.ins, *e.outs)) | dict.fromkeys((*table.inputs, *table.outputs))


def _sizes(table: CostTable, domain: Domain) -> None:
    """Raises for a shape or an equation whose products are too large, in the program's variables and in the user's symbols."""
    user: dict[Symbol, Extent] = {}
    for v in domain.ordered:
        # A quotient by a single term expands to as many terms as what is divided.
        user[symbol(v.name)] = UNKNOWN if not v.divisor.is_Add else UNKNOWN * extent(v.divisor, user).to_the(-1)
    known: dict[Expr, Extent] = {}

    def of(expr: Expr) -> Extent:
        if expr not in known:
            known[expr] = extent(expr, user)
        return known[expr]

    for shape in dict.fromkeys(v.array.shape for v in _values(table)):
        if len(shape) > MAX_RANK:
            raise ValueError(f"an array of rank {len(shape)}; the bound is {MAX_RANK}")
        size = product(map(of, shape))
        if size.terms > MAX_SHAPE_TERMS or size.above > MAX_SHAPE_BITS:
            raise ValueError(f"an array's size of {size.terms} terms and {size.above} bits where every symbol has {SYMBOL_BITS}; "
                             f"the bounds are {MAX_SHAPE_TERMS} and {MAX_SHAPE_BITS}")
    for times, count in dict.fromkeys((e.times, count) for e in table for count in _counts(e)):
        of(times) * of(count)


def _parameters(table: CostTable) -> None:
    for e in table:
        ins, outs = (tuple(len(v.array.shape) for v in values) for values in (e.ins, e.outs))
        if e.params is not None and not e.params.fits(ins, outs):
            raise ValueError(f"{type(e.params).__name__} of equation {e.index} does not fit operands of rank "
                             f"{', '.join(map(str, ins))}")


def _points(domain: Domain, regions: Regions) -> Iterator[dict[Symbol, int]]:
    """Points of the domain on no boundary, where the program holds; not all, and none where relations leave out the few tried."""
    for beyond in _BEYOND_LEAST:
        point: dict[Symbol, int] = {}
        try:
            for v in domain.ordered:
                divisor = math.floor(evaluate(v.divisor, point))
                if divisor < 1:
                    raise Undefined(v.name)
                point[symbol(v.name)] = value = max(-(-v.lower // divisor), int(v.is_dimension)) + beyond
                if v.upper is not None and value * divisor > v.upper:
                    raise Undefined(v.name)
            if all(evaluate(r.difference, point) >= 0 for r in domain.relations) and not regions.signature(point):
                yield point
        except Undefined:
            continue


def _not_negative(counts: Iterable[Expr], point: Mapping[Symbol, int]) -> None:
    memo: dict[Expr, int] = {}
    for count in counts:
        try:
            value = evaluate(count, point, memo)  # type: ignore[arg-type]
        except Undefined:
            continue
        if value < 0:
            at = ", ".join(f"{s}={n}" for s, n in list(point.items())[:8])
            raise CostModelError(f"a damaged cost file: a count is {str(value)[:20]}" + (f" at {at}" if at else ""))

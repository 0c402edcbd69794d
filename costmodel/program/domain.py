"""What a raw program says of its symbols: where its sizes and trip counts are defined, and what its reshapes demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from sympy import Expr

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Value
from costmodel.symbolic.domain import Domain, Relation
from costmodel.symbolic.forms import FloorDiv, lower_bound, symbol
from costmodel.symbolic.translate import internal


def domain_of(program: RawProgram) -> Domain:
    """The domain over every dimension of the program, its run-time symbols and what its reshapes demand."""
    domain = domain_over(dimensions(program.equations, program.inputs), program)
    return replace(domain, relations=(*domain.relations, *reshapes_hold(program.equations, domain)))


def domain_over(dims: Iterable[Expr], program: RawProgram) -> Domain:
    """The domain over these dimensions and the program's run-time symbols (trip counts, branch weights)."""
    own = {v.name for v in (*program.run_time, *program.axes)}
    domain = Domain.of(*(symbol(s.name) for d in dims for s in d.free_symbols if s.name not in own))
    clash = {v.name for v in program.run_time} & {v.symbol for v in domain.variables}
    if clash:
        raise CostModelError(f"{', '.join(sorted(clash))} names a run-time quantity; call your dimension otherwise")
    return replace(domain, variables=(*domain.variables, *program.run_time, *program.axes),
                   relations=(*domain.relations, *program.relations), multiples=program.multiples)


def dimensions(equations: Iterable[Raw], values: Iterable[Value]) -> set[Expr]:
    """Every dimension of equations and values, also those that only a parameter has (a padding, a stride)."""
    arrays = {v.array for v in values}
    found: set[Expr] = set()
    for r in equations:
        arrays.update(v.array for v in r.outs)
        found.update(internal(d) for p in r.params.values() if type(p) not in _WITHOUT for d in _symbolic(p))
        found.add(r.times)
    return found.union(*(array.shape for array in arrays))


_WITHOUT = frozenset({bool, int, str, type(None)})


def _symbolic(parameter: Any) -> Iterator[Any]:
    if compat.is_symbolic(parameter) or isinstance(parameter, Expr):
        yield parameter
    elif isinstance(parameter, tuple | list):
        for part in parameter:
            yield from _symbolic(part)


def _divides(difference: Expr) -> str | None:
    """``k | x`` where a difference is zero if and only if k divides x: a multiple of x - k*FloorDiv(x, k)."""
    floors = difference.atoms(FloorDiv)
    if len(floors) != 1:
        return None
    (floor,) = floors
    x, k = floor.args
    times = -difference.coeff(floor) / k
    if times == 0 or (difference - times * (x - k * floor)).expand() != 0:
        return None
    return f"{k} | {x}"


def reshapes_hold(equations: Iterable[Raw], domain: Domain) -> tuple[Relation, ...]:
    """What the sizes of reshapes demand of the symbols: jax does not check that they agree where a dimension is symbolic.

    Raises CostModelError for a reshape whose sizes agree nowhere in the domain.
    """
    found: dict[Expr, Relation] = {}
    for r in equations:
        if r.jax != "reshape":
            continue
        before, after = (v.array.size for v in (r.ins[0], r.outs[0]))
        difference = (before - after).expand()
        if difference == 0 or difference in found:
            continue
        sizes = [str(domain.in_user_symbols(size)) for size in (before, after)]
        if max(lower_bound(difference, domain.assumptions), lower_bound(-difference, domain.assumptions)) > 0:
            raise CostModelError(f"reshape at {'/'.join(r.path) or 'the top level'} of {r.ins[0].array} to {r.outs[0].array} turns "
                                 f"{sizes[0]} elements into {sizes[1]}, which jax does not check")
        text = _divides(domain.in_user_symbols(difference)) or " = ".join(sizes)
        found[difference] = Relation(text, difference)
        found[-difference] = Relation(text, -difference)
    return tuple(found.values())

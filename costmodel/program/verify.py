"""Check a symbolic result against a fresh concrete trace at a point.

jax decides an undecided ``==`` between dimensions as False, so a model that branches on its shapes can trace otherwise than it
runs. Comparing every counting equation with a concrete trace finds that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from costmodel.errors import CostModelError
from costmodel.rules.work import CostTable, Equation
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import ZERO, evaluate

if TYPE_CHECKING:
    from costmodel.trace.requests import Traceable


def verify(program: CostTable, domain: Domain, env: Mapping[Any, int], values: Mapping[str, int], table: CostTable,
           left: Domain) -> None:
    """Raises CostModelError naming the first equation whose counts at the point differ from a concrete trace's, ``table``."""
    found = difference(program, domain, env, table, left)
    if found:
        point = ", ".join(f"{k}={v}" for k, v in sorted(values.items()))
        raise CostModelError(f"the symbolic trace does not hold at {point}: {found}; the model branches on its shapes there, so "
                             "analyse it with that dimension as an integer")


def concrete(domain: Domain, request: Traceable | None, env: Mapping[Any, int], *, branches: str,
             name: str) -> tuple[CostTable, Domain]:
    """The program as a concrete trace at a point has it, and the domain of what only the data decides."""
    if request is None:
        raise CostModelError("this cost was loaded from a file and has no model to trace again; verify before saving")
    from costmodel.program.walk import walk  # where there is nothing to trace, jax is not needed

    table, left = walk(request.again(domain, env).run(), unknown="warn", branches=branches)
    stuck = sorted(v.symbol for v in left.variables if v.is_dimension)
    if stuck:
        raise CostModelError(f"{', '.join(stuck)} cannot be replaced by an integer in {name}, so it cannot be verified: "
                             "give it as a module's attribute or with functools.partial, not inside a function")
    return table, left


def difference(program: CostTable, domain: Domain, env: Mapping[Any, int], table: CostTable, left: Domain) -> str:
    """What differs first between a program at a point and its concrete trace there, in words; empty if nothing does.

    Compared are the operations of every equation that counts something, in order, and the results' shapes.
    """
    run_time = set(left.symbols) - set(domain.symbols)
    if run_time:
        return f"only a concrete trace has {', '.join(sorted(run_time))}"
    ours, theirs = _counting(program, env), _counting(table, env)  # both in the same trip counts and weights
    for (mine, counts), (other, expected) in zip(ours, theirs, strict=False):
        if mine.primitive != other.primitive or counts != expected:
            return (f"at {mine.module or 'the top level'} it has {mine.primitive} {_text(counts)}, a concrete trace has "
                    f"{other.primitive} {_text(expected)} at {other.module or 'the top level'}")
    if len(ours) != len(theirs):
        longer, which = (ours, "symbolic") if len(ours) > len(theirs) else (theirs, "concrete")
        extra = longer[min(len(ours), len(theirs))][0]
        return f"only the {which} trace has {extra.primitive} at {extra.module or 'the top level'}"
    shapes = [tuple(evaluate(d, env) for d in v.array.shape) for v in program.outputs]
    expected_shapes = [tuple(int(d) for d in v.array.shape) for v in table.outputs]
    if shapes != expected_shapes:
        return f"its results have shapes {shapes}, a concrete trace's {expected_shapes}"
    return ""


def moves_otherwise(program: CostTable, env: Mapping[Any, int], table: CostTable) -> tuple[str, bool]:
    """What differs in the memory traffic of equations between a program at a point and its concrete trace there, in words; and
    whether they run in the same order, with other values held at a time where not."""
    mine, expected = _moving(program, env), _moving(table, env)
    ours, theirs = Counter(mine), Counter(expected)
    if ours == theirs:
        return "", mine == expected
    read, written, _ = next(iter((ours - theirs) or (theirs - ours)))
    which = "the symbolic" if ours - theirs else "a concrete"
    return f"only {which} trace has an equation that reads {_list(read)} and writes {_list(written)} bits", False


def _list(numbers: tuple[Any, ...]) -> str:
    return ", ".join(map(str, numbers)) or "0"


def _moving(table: CostTable, env: Mapping[Any, int]) -> list[Any]:
    """What equations read and write at the point, in bits, and how often, in order: those that touch something."""
    memo: dict[Any, Any] = {}
    found = []
    for e in table:
        read = tuple(evaluate(n * v.array.bits, env, memo) for v, n in zip(e.ins, e.work.read, strict=True) if n is not ZERO)
        written = tuple(evaluate(n * v.array.bits, env, memo) for v, n in zip(e.outs, e.work.written, strict=True) if n is not ZERO)
        if read or written:
            found.append((read, written, evaluate(e.times, env, memo)))
    return found


def _counting(table: CostTable, env: Mapping[Any, int]) -> list[tuple[Equation, dict[Any, tuple[Any, Any]]]]:
    """Equations that count something at the point, with their operations."""
    memo: dict[Any, Any] = {}
    found = []
    for e in table:
        counts = {kind: (evaluate(dense * e.times, env, memo), evaluate(valid * e.times, env, memo))
                  for kind, dense, valid in e.work.ops}
        counts = {kind: c for kind, c in counts.items() if c[0]}
        if counts:
            found.append((e, counts))
    return found


def _text(counts: Mapping[Any, tuple[Any, Any]]) -> str:
    return ", ".join(f"{dense:,} {kind.name}" for kind, (dense, _) in counts.items())

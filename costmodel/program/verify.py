"""Check a symbolic result against a fresh concrete trace at a point.

jax decides an undecided ``==`` between dimensions as False, so a model that branches on its shapes can trace otherwise than it
runs. Comparing every counting equation with a concrete trace finds that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from costmodel.errors import CostModelError
from costmodel.program.walk import walk
from costmodel.rules.work import CostTable, Equation
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate
from costmodel.trace.requests import Traced


class Traceable(Protocol):
    """What can be traced, again at a point: a request, or a training step."""

    def at(self, domain: Domain, env: Mapping[Any, int]) -> Traceable: ...

    def run(self) -> Traced: ...


def verify(program: CostTable, domain: Domain, request: Traceable | None, env: Mapping[Any, int], values: Mapping[str, int], *,
           branches: str, name: str) -> None:
    """Raises CostModelError naming the first equation whose counts at the point differ from a concrete trace's."""
    if request is None:
        raise CostModelError("this cost was loaded from a file and has no model to trace again; verify before saving")
    concrete, left = walk(request.at(domain, env).run(), unknown="warn", branches=branches)
    stuck = sorted(v.symbol for v in left.variables if v.is_dimension)
    if stuck:
        raise CostModelError(f"{', '.join(stuck)} cannot be replaced by an integer in {name}, so it cannot be verified: "
                             "give it as a module's attribute or with functools.partial, not inside a function")
    point = ", ".join(f"{k}={v}" for k, v in sorted(values.items()))
    run_time = set(left.symbols) - set(domain.symbols)
    if run_time:
        raise CostModelError(f"the symbolic trace does not hold at {point}: only a concrete trace has "
                             f"{', '.join(sorted(run_time))}; the model branches on its shapes there, so analyse it with that "
                             "dimension as an integer")
    ours, theirs = _counting(program, env), _counting(concrete, env)  # both in the same trip counts and weights
    for (mine, counts), (other, expected) in zip(ours, theirs, strict=False):
        if mine.primitive != other.primitive or counts != expected:
            raise CostModelError(
                f"the symbolic trace does not hold at {point}: at {mine.module or 'the top level'} it has {mine.primitive} "
                f"{_text(counts)}, a concrete trace has {other.primitive} {_text(expected)} at {other.module or 'the top level'}; "
                "the model branches on its shapes there, so analyse it with that dimension as an integer")
    if len(ours) != len(theirs):
        longer, which = (ours, "symbolic") if len(ours) > len(theirs) else (theirs, "concrete")
        extra = longer[min(len(ours), len(theirs))][0]
        raise CostModelError(f"the symbolic trace does not hold at {point}: only the {which} trace has {extra.primitive} at "
                             f"{extra.module or 'the top level'}; analyse it with that dimension as an integer")
    shapes = [tuple(evaluate(d, env) for d in v.array.shape) for v in program.outputs]
    expected_shapes = [tuple(int(d) for d in v.array.shape) for v in concrete.outputs]
    if shapes != expected_shapes:
        raise CostModelError(f"the symbolic trace does not hold at {point}: its results have shapes {shapes}, a concrete trace's "
                             f"{expected_shapes}")


def _counting(table: CostTable, env: Mapping[Any, int]) -> list[tuple[Equation, dict[Any, tuple[Any, Any]]]]:
    """Equations that count something at the point, with their operations; data movement may differ (a slice of a symbolic
    array is a gather)."""
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

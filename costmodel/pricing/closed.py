"""A program's time on a device as a closed form, in which figures of the device may be symbols."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Add, Expr, Max, Min

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, load
from costmodel.pricing.clock import Clock, clock
from costmodel.pricing.core import Symbolic
from costmodel.pricing.figures import figure_of, figure_symbol
from costmodel.pricing.workload import policy_of, working
from costmodel.rules.branches import Branches, combined
from costmodel.symbolic.forms import symbol


def free_clock(cost: Symbolic, hardware: str | Hardware, free: Sequence[str], policy: str | None) -> Clock:
    """The clock of a cost on a device whose figures in ``free`` are symbols. Raises CostModelError for a name that is no figure of
    the device, or that the cost has too."""
    device = hardware if isinstance(hardware, Hardware) else load(hardware)
    working(cost.program, policy_of(device, policy))
    names = (free,) if isinstance(free, str) else tuple(free)
    for name in names:
        figure_of(device, name)
        if figure_symbol(name).name in cost.symbols:
            raise CostModelError(f"{figure_symbol(name)} is a symbol of {cost.name} too: rename the model's dimension")
    return clock(cost.program, device, policy_of(device, policy), {name: figure_symbol(name) for name in names})


def seconds(cost: Symbolic, hardware: str | Hardware, *, free: Sequence[str] = (), bound: str = "lower",
            policy: str | None = None) -> Expr:
    """Seconds of the whole program in the user's symbols, with sympy's ``Max``: at least ("lower": resources overlap) or "upper".
    What is sent goes on beside what is computed, unless nothing is left to compute meanwhile.

    Raises CostModelError for a figure that the device does not state; MissingPeak.
    """
    if bound not in ("lower", "upper"):
        raise CostModelError(f"a time bound is lower or upper; {bound!r} is neither")
    found = free_clock(cost, hardware, free, policy)
    if bound == "upper":
        return cost.evaluate(found.upper().expand())
    if found.chosen:
        computing = _of_branches(cost, found)
    else:
        settled, left = found.grouped()
        computing = Add(cost.evaluate(settled), *(cost.evaluate(times) * _longest(cost, parts) for parts, times in left.items()))
    lanes = [cost.evaluate(each) for each in found.sending().values()]
    waits = [cost.evaluate(each) for each in found.sending(alone=True).values()]
    if not lanes:
        return computing
    return Max(computing + (Max(*waits, evaluate=False) if len(waits) > 1 else Add(*waits)), *lanes, evaluate=False)


def sending(cost: Symbolic, hardware: str | Hardware, policy: str | None = None) -> dict[str, Expr]:
    """Seconds by connection to other devices, in the user's symbols; the mesh is laid on links as it is at its own sizes."""
    found = free_clock(cost, hardware, (), policy)
    return {lane: cost.evaluate(each).expand() for lane, each in found.sending().items()}


def communication(cost: Symbolic, hardware: str | Hardware, *, large: Sequence[str] = (), policy: str | None = None) -> Expr:
    """Seconds of the busiest connection in closed form; in the limit of ``large`` axes. Zero for a program that sends nothing."""
    lanes = dict.fromkeys(in_the_limit(each, large) for each in sending(cost, hardware, policy).values())
    return Max(*lanes, evaluate=False) if len(lanes) > 1 else Add(*lanes)


def in_the_limit(expr: Expr, large: Sequence[str]) -> Expr:
    """An expression for large axes of a mesh, of which arrays have a part or the whole: 1/p is 0 beside what has no p. Raises
    CostModelError where it grows with an axis (a latency a step, say)."""
    for axis in large:
        p = symbol(axis)
        terms = Add.make_args(expr.expand())
        powers = [term.as_coeff_exponent(p)[1] for term in terms]
        if max(powers) > 0:
            raise CostModelError(f"this time grows with {axis} without limit: {expr}")
        expr = Add(*(term for term, power in zip(terms, powers, strict=True) if power == max(powers)))
    return expr


def _longest(cost: Symbolic, parts: Sequence[Expr]) -> Expr:
    """A maximum that sympy knows, unevaluated: it would compare each pair."""
    shown = [cost.evaluate(part.expand()) for part in parts]
    return Max(*shown, evaluate=False) if len(shown) > 1 else shown[0]


def _of_branches(cost: Symbolic, found: Clock) -> Expr:
    """Of the sides of each branch the longest, or where the least counts the shortest."""
    extreme = Max if found.branches is Branches.MAX else Min
    seconds = [(k.branch, cost.evaluate(k.times) * (_longest(cost, k.longest) + found.launch))
               for k in found.kernels if not k.lanes]
    return combined(seconds, found.branches, add=lambda parts: Add(*parts), join=lambda parts: Add(*parts),
                    choose=lambda sides: extreme(*sides, evaluate=False))

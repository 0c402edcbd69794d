"""A random program analysed once with symbols, and concretely at each of its points: what differs between the two."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
from random_programs import Program

import costmodel as cm
from costmodel.fusion import policies
from costmodel.trace import undecided

COUNTS = ("macs", "flops", "ops", "transcendentals")
TRIPS = 3  # of every loop whose trip count the data decides
Metric = tuple[str, dict[str, str]]


def metrics() -> Iterator[Metric]:
    """Every metric that is compared, with its option."""
    yield from ((name, {}) for name in COUNTS)
    yield "macs", {"taps": "valid"}
    yield from (("bytes", {"form": form}) for form in ("compulsory", *policies()))
    yield from (("live_peak", {"policy": policy}) for policy in policies())
    yield from (("activations", {"rule": rule}) for rule in ("total", "peak"))


def is_count(metric: Metric) -> bool:
    return metric[0] in COUNTS


@dataclass(frozen=True)
class Difference:
    """A metric at a point: the closed form's value, and that of a concrete trace."""

    program: Program
    point: dict[str, int]
    metric: Metric
    symbolic: Any
    concrete: Any

    def __str__(self) -> str:
        name, option = self.metric
        return (f"{self.program}\n    {name} {' '.join(option.values())} at {self.point}: "
                f"{self.symbolic} symbolic, {self.concrete} concrete")


@dataclass
class Compared:
    """What became of one program.

    refused:    why there is no closed form; "" if there is one.
    points:     at how many points it was compared.
    outside:    points outside of what a fitted program's forms hold for, which says so.
    boundary:   points on a boundary, or of a fitted program, which are compared with a concrete trace, or priced by one.
    different:  the differences.
    retraced:   points on no boundary that were priced by a concrete trace of their own: the symbolic trace is another program.
    below:      policies under which less is moved than is compulsory, as differences (``symbolic`` is the compulsory figure).
    doubted:    points of which the cost says that it was not verified there.
    """

    program: Program
    refused: str = ""
    fitted: bool = False
    points: int = 0
    outside: list[dict[str, int]] = field(default_factory=list)
    boundary: list[dict[str, int]] = field(default_factory=list)
    different: list[Difference] = field(default_factory=list)
    retraced: list[dict[str, int]] = field(default_factory=list)
    below: list[Difference] = field(default_factory=list)
    doubted: list[dict[str, int]] = field(default_factory=list)


def compare(program: Program, chosen: Callable[[Metric], bool] = lambda _: True, *, verify: bool = True) -> Compared:
    """Analyse a program with symbols, and compare it at its points with concrete traces there, as in a process of its own: what
    other programs asked of the same symbols would be boundaries of this one, which hide what it does not ask itself."""
    jax.clear_caches()
    undecided.forget()
    found = Compared(program)
    asked = [m for m in metrics() if chosen(m)]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # what it says of fits and of points that are traced by themselves
            cost = cm.analyze(program, *program.symbolic, params=1, verify=verify)
            found.fitted = cost.fitted is not None
            for point in program.points:
                _compare_at(found, cost, point, asked)
    except cm.CostModelError as refusal:
        found.refused = f"{type(refusal).__name__}: {refusal}"
    return found


def _compare_at(found: Compared, cost: cm.Cost, point: dict[str, int], asked: list[Metric]) -> None:
    program = found.program
    bound = {name: point.get(name, TRIPS) for name in cost.symbols}
    concrete = cm.analyze(program, *program.inputs(point), params=1)
    expected = concrete.at(**dict.fromkeys(concrete.symbols, TRIPS))
    try:
        at = cost.at(**bound)
    except cm.DomainError:
        if cost.fitted is None:
            raise
        found.outside.append(point)
        return
    for metric in asked:
        name, option = metric
        value = expected.metric(name, **option)
        if (mine := at.metric(name, **option)) != value:
            found.different.append(Difference(program, point, metric, mine, value))
    if _on_boundary(cost, at.env):
        found.boundary.append(point)
    elif at.cost is not cost:
        found.retraced.append(point)
    if at.doubts:
        found.doubted.append(point)
    found.points += 1
    least = expected.bytes("compulsory")
    found.below += [Difference(program, point, ("bytes", {"form": policy}), least, moved) for policy in policies()
                    if (moved := expected.bytes(policy)) < least]


def _on_boundary(cost: cm.Cost, env: Any) -> bool:
    return cost.fitted is not None or bool(cost.compared.signature(env))

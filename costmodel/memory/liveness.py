"""The live peak: the most bytes that a program holds at once, in closed form, and the profile of what it holds when.

The buffers are those of :mod:`costmodel.memory.buffers`, held as :mod:`costmodel.memory.lifetimes` has it. Live bytes are kept as
integer combinations of monomials, and only local maxima that no other one covers become expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any, TypeVar

from sympy import Add, Expr, Mul, Rational

from costmodel.errors import CostModelError
from costmodel.fusion import policy as policy_named
from costmodel.memory.buffers import KINDS, Memory, memory
from costmodel.memory.lifetimes import Buffer, lifetimes
from costmodel.memory.results import reserved
from costmodel.memory.rules import highest
from costmodel.memory.schedule import schedule
from costmodel.pictures import Stack
from costmodel.rules.branches import Branches
from costmodel.rules.work import CostTable
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.surface import said
from costmodel.symbolic.forms import ONE, ZERO, PeakMax, lower_bound
from costmodel.symbolic.plain import cell
from costmodel.text import shown

# An integer combination of monomials: monomial -> coefficient, none of them 0.
Sum = dict[Expr, int | Fraction]
T = TypeVar("T")


def live_peak(table: CostTable, policy: str = "unfused", order: str = "program", donate: tuple[str, ...] = ()) -> Expr:
    """The maximum over the schedule of live bytes; see :meth:`costmodel.cost.Cost.live_peak`."""
    held = memory(table, policy, donate)
    ran = schedule(held, order)
    steps = _sweep(_buffers(held, ran, policy, order), _terms)
    if table.branches is Branches.MIN and any(k.branch for k in held.kernels):  # what is held on other sides does not count
        return highest(table, [(held.kernels[k].branch, _expression(_add({}, *live.values())))
                               for k, (live, _) in zip(ran, steps, strict=False)])
    maxima = ((_add({}, *live.values()), None) for live, is_maximum in steps if is_maximum)
    kept = _hull([total for total, _ in _uncovered(maxima)])
    return PeakMax(*map(_expression, kept)) if kept else ZERO


def _buffers(held: Memory, ran: Sequence[int], policy: str, order: str) -> list[Buffer]:
    """Where all that can runs at once, a policy may take the memory of results before the program starts."""
    early = order == "breadth"
    if early and policy_named(policy).reserves_results:
        return reserved(held, ran)
    return lifetimes(held, ran, early)


# -- sums of monomials --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def _terms(expr: Expr) -> Sum:
    return {term: int(c) if c.is_Integer else Fraction(int(c.p), int(c.q)) for term, c in expr.as_coefficients_dict().items()
            if c != 0}


def _expression(total: Sum) -> Expr:
    return Add(*(Rational(c) * term for term, c in total.items()))


def _add(total: Sum, *more: Sum, sign: int = 1) -> Sum:
    """``total`` with the others added, in place."""
    for other in more:
        for term, c in other.items():
            value = total.get(term, 0) + sign * c
            if value:
                total[term] = value
            else:
                del total[term]
    return total


def _covers(greater: Sum, smaller: Sum) -> bool:
    """greater ≥ smaller, term by term."""
    return all(c >= 0 and (c == 0 or _never_negative(term))
               for term in greater.keys() | smaller.keys() for c in [greater.get(term, 0) - smaller.get(term, 0)])


@lru_cache(maxsize=65536)
def _never_negative(term: Expr) -> bool:
    return lower_bound(term) >= 0


def _uncovered(sums: Iterable[tuple[Sum, T]]) -> list[tuple[Sum, T]]:
    """Of (sum, anything), those whose sum no other one covers; of equal ones the first."""
    kept: list[tuple[Sum, T]] = []
    for total, what in sums:
        if not any(_covers(other, total) for other, _ in kept):
            kept = [pair for pair in kept if not _covers(total, pair[0])]
            kept.append((total, what))
    return kept


def _hull(kept: list[Sum]) -> list[Sum]:
    """``kept`` without those that are never above the greater of two others: λ·a + (1 - λ)·b covers them for some λ.

    They are compared times what they are divided by, the sizes of a mesh's axes, so that x/data covers x/(data·model)."""
    divisors = _divisors(kept)
    hull = [(_add({}, *({one: k * c for one, k in _above_least(term * divisors).items()} for term, c in total.items())), total)
            for total in kept]
    for pair in list(hull):
        others = [other for other in hull if other is not pair]
        if any(_between(pair[0], a, b) for (a, _), (b, _) in combinations_with_replacement(others, 2)):
            hull = others
    return [total for _, total in hull]


def _divisors(sums: Iterable[Sum]) -> Expr:
    """The least product of symbols that are at least 1 with which no sum divides by them."""
    powers: dict[Expr, Expr] = {}
    for term in {term for total in sums for term in total}:
        for base, power in term.as_powers_dict().items():
            if base.is_Symbol and power.is_Integer and power < 0 and lower_bound(base) >= 1:
                powers[base] = max(powers.get(base, ZERO), -power)
    return Mul(*(base**power for base, power in powers.items()))


@lru_cache(maxsize=65536)
def _above_least(term: Expr) -> Sum:
    """A monomial with each factor written as what it is at least (1 for a dimension) + the rest, which keeps its name."""
    factors = [factor for factor in term.as_powers_dict() if not factor.is_number]
    return _terms(term.xreplace({f: f + Rational(lower_bound(f)) for f in factors if _never_negative(f)}).expand())


def _between(total: Sum, a: Sum, b: Sum) -> bool:
    """Whether some λ in [0, 1] has λ·a + (1 - λ)·b ≥ total, term by term."""
    low, high = Fraction(0), Fraction(1)
    for term in a.keys() | b.keys() | total.keys():
        excess, slope = b.get(term, 0) - total.get(term, 0), a.get(term, 0) - b.get(term, 0)
        if (excess < 0 and slope <= 0) or not (excess == slope == 0 or _never_negative(term)):
            return False
        if slope > 0:
            low = max(low, Fraction(-excess) / slope)
        elif slope < 0:
            high = min(high, Fraction(-excess) / slope)
    return low <= high


# -- the sweep ----------------------------------------------------------------------------------------------------------------


def _sweep(buffers: list[Buffer], terms: Callable[[Expr], Sum]) -> Iterator[tuple[dict[str, Sum], bool]]:
    """(live bytes by kind, whether it is a local maximum) of every step. The sums are changed for the next step: copy them."""
    steps = 1 + max((b.last for b in buffers), default=-1)
    born: list[list[Buffer]] = [[] for _ in range(steps)]
    dying: list[list[Buffer]] = [[] for _ in range(steps)]
    for b in buffers:
        born[b.first].append(b)
        dying[b.last].append(b)
    live: dict[str, Sum] = {kind: {} for kind in KINDS}
    grown = False
    for step in range(steps):
        for b in born[step]:
            _add(live[b.kind], terms(b.bytes))
        grown = grown or bool(born[step])
        yield live, grown and bool(dying[step])
        for b in dying[step]:
            _add(live[b.kind], terms(b.bytes), sign=-1)
        grown = grown and not dying[step]


# -- the profile --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What is held while one kernel runs: ``split`` has the bytes of each kind of :data:`~costmodel.memory.buffers.KINDS`,
    ``live`` their sum. ``label`` is the kernel's module, ``operation`` its kind and main primitive."""

    index: int
    label: str
    operation: str
    live: Any
    split: dict[str, Any]


@dataclass(frozen=True)
class LiveProfile(Result):
    """Live bytes step by step. ``highest`` are the steps at which the ``peak`` is first reached: one at a point, in closed form one
    for each term of the maximum."""

    title: str
    steps: Sequence[Step]
    highest: tuple[Step, ...]
    peak: Any

    @property
    def where(self) -> tuple[str, ...]:
        """The modules in which the peak is reached."""
        return tuple(dict.fromkeys(step.label for step in self.highest))

    def chart(self, limit: tuple[str, float] | None = None) -> Stack:
        """Live bytes over the schedule, stacked by what they are held for; ``limit`` is a (name, bytes) of a memory."""
        if self.steps and isinstance(self.steps[0].live, Expr) and not self.steps[0].live.is_number:
            raise CostModelError("memory over time is drawn at a point: " + said("cost.at(…).live_profile(…).plot()", "give --at"))
        steps = list(self.steps)
        layers = tuple((kind, tuple(float(step.split[kind]) for step in steps)) for kind in KINDS)
        return Stack(self.title, layers, tuple(step.label for step in steps), limit)

    def sheet(self, most: int | None = 12) -> Sheet:
        """The steps that hold most, ``most`` of them at a point (None: every step); in closed form those that hold most somewhere
        in the domain."""
        return _sheet(self, most)


class _Steps(Sequence[Step]):
    """Steps whose expressions are written when they are looked at: a training step has thousands."""

    def __init__(self, rows: list[tuple[str, str, dict[str, Sum]]], numeric: bool) -> None:
        self._rows, self._numeric = rows, numeric

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        label, operation, split = self._rows[index]
        value = (lambda total: total.get(ONE, 0)) if self._numeric else _expression
        return Step(range(len(self))[index], label, operation, value(_add({}, *split.values())),
                    {kind: value(total) for kind, total in split.items()})


def live_profile(program: CostTable, name: str, evaluate: Callable[[Expr], Any], policy: str, order: str,
                 donate: tuple[str, ...]) -> LiveProfile:
    """The profile of a program called ``name``, in closed form or at a point as ``evaluate`` has it; see
    :meth:`costmodel.cost.Cost.live_profile`."""
    held = memory(program, policy, donate)
    ran = schedule(held, order)
    buffers = _buffers(held, ran, policy, order)
    values = {b.bytes: evaluate(b.bytes) for b in buffers}
    numeric = not any(isinstance(value, Expr) for value in values.values())
    sizes = {size: _terms(value) if not numeric else {ONE: value} if value else {} for size, value in values.items()}
    rows: list[tuple[str, str, dict[str, Sum]]] = []
    maxima: list[tuple[Sum, int]] = []
    for live, is_maximum in _sweep(buffers, sizes.__getitem__):
        kernel = held.kernels[ran[len(rows)]] if ran else None
        label, operation = ("", "") if kernel is None else (kernel.path, f"{kernel.kind}: {kernel.main.primitive}")
        split = {kind: dict(total) for kind, total in live.items()}
        if is_maximum:
            maxima.append((_add({}, *split.values()), len(rows)))
        rows.append(("/".join(label) or "(root)", operation, split))
    steps = _Steps(rows, numeric)
    title = f"{name}: live bytes, policy {policy!r}, {order} order" + (f", {', '.join(donate)} donated" if donate else "")
    peak = evaluate(live_peak(program, policy, order, donate))
    terms = peak.args if isinstance(peak, PeakMax) else (peak,)
    highest = tuple(step for _, i in _uncovered(maxima) if (step := steps[i]).live in terms)
    return LiveProfile(title, steps, highest, peak)


# -- as text ------------------------------------------------------------------------------------------------------------------


def _sheet(profile: LiveProfile, most: int | None) -> Sheet:
    first = profile.steps[0].live if profile.steps else 0
    at_a_point = not isinstance(first, Expr) or first.is_number
    largest = profile.highest if not at_a_point else sorted(profile.steps, key=lambda step: -step.live)[:most]
    chosen = sorted(profile.steps if most is None else largest, key=lambda step: step.index)
    note = (f"the {len(chosen)} of {len(profile.steps)} steps that hold "
            f"{'most' if at_a_point else 'most somewhere in the domain'}; "
            f"peak {cell(profile.peak)} B in {', '.join(map(shown, profile.where))}")
    kinds = [kind for kind in (chosen[0].split if chosen else ()) if any(step.split[kind] != 0 for step in chosen)]
    columns = (Column("step"), Column("module", style="text"), Column("kernel", style="text"),
               *(Column(name, "B") for name in ("live", *kinds)))
    rows = tuple(Line(str(step.index), (step.label, step.operation, step.live, *(step.split[kind] for kind in kinds)))
                 for step in chosen)
    return Sheet(profile.title, columns, rows, (), (note,))

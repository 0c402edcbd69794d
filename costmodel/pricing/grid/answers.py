"""What a sweep is reduced to on the way: the best value of some axes, the points that no other beats, conditions."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware.schema import UNITS
from costmodel.pricing import metrics
from costmodel.pricing.figures import figure_symbol, units_of
from costmodel.pricing.grid.job import Job, tracked
from costmodel.surface import option
from costmodel.symbolic.blocks import Slices

SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "<": operator.lt, ">": operator.gt}
_SECONDS = {"ms": 1e-3, "µs": 1e-6}
# A short name for a variable: the safe side of the time, and memory by the unfused program.
ALIASES = {"time": "time_upper", "memory": "live_peak"}
_GREATEST = ("throughput",)


@dataclass(frozen=True)
class Condition:
    """``left`` ``sign`` ``right``: names of variables or axes, or on the right a number."""

    left: str
    sign: str
    right: str | float

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that it is about."""
        return (self.left, *([self.right] if isinstance(self.right, str) else []))


def conditions(text: str | Sequence[str]) -> tuple[Condition, ...]:
    """Conditions, as texts or one text with commas between them.

    >>> conditions("live_peak <= 80GB, n >= 4")
    (Condition(left='live_peak', sign='<=', right=80000000000.0), Condition(left='n', sign='>=', right=4.0))
    """
    parts = text.split(",") if isinstance(text, str) else [p for each in text for p in each.split(",")]
    found = []
    for part in filter(None, map(str.strip, parts)):
        match = re.fullmatch(r"([^<>=]+?)\s*(<=|>=|==|<|>)\s*([^<>=]+)", part)
        if not match:
            raise CostModelError(f"{option('where', part, '--keep')} is no condition: write e.g. 'live_peak <= 80GB'")
        left = match[1].strip()
        found.append(Condition(_variable(left), match[2], _right(match[3].strip(), _units_of(left))))
    return tuple(found)


def _right(text: str, units: Sequence[str]) -> str | float:
    return quantity(text, units) if text[0].isdigit() or text[0] in "+-." else _variable(text)


def _variable(name: str) -> str:
    """A name in a condition as a sweep's axis has it: matrix.bfloat16 is the axis matrix_bfloat16."""
    return figure_symbol(name).name if units_of(name) else name


def _units_of(name: str) -> tuple[str, ...]:
    """The base unit of a variable of a sweep, where a number may be stated in it."""
    name = ALIASES.get(name, name)
    if name.startswith("time"):
        return ("s",)
    if name == "energy":
        return ("J",)
    if name in metrics.available():
        return (metrics.get(name).unit,)
    return units_of(name)


def quantity(text: str, of: Sequence[str] = ()) -> float:
    """A number with or without a unit, in base units; ``of``: the base units that are meant, any where there is none. Raises
    CostModelError for text that is none, and for another unit.

    >>> quantity("80GB"), quantity("1.5 TB/s"), quantity("4e6"), quantity("50ms", of=("s",))
    (80000000000.0, 1500000000000.0, 4000000.0, 0.05)
    """
    match = re.fullmatch(r"([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(.*)", text.strip())
    unit = match[2] if match else ""
    if not match or (unit and unit not in UNITS and unit not in _SECONDS):
        raise CostModelError(f"{text!r} is no quantity: write a number and, if it has one, a unit such as GB, TB/s or ms")
    base, factor = ("s", _SECONDS[unit]) if unit in _SECONDS else (UNITS[unit][0], float(UNITS[unit][1])) if unit else ("", 1.0)
    if base and of and base not in of:
        raise CostModelError(f"{text!r} is in {base}, and {' or '.join(of)} is meant here")
    return float(match[1]) * factor


@dataclass(frozen=True, eq=False)
class Chunk:
    """Every variable of a chunk over all axes: ("hardware",) and those of the grid."""

    job: Job
    slices: Slices
    values: Mapping[str, np.ndarray]

    @property
    def dims(self) -> tuple[str, ...]:
        """The axes that it runs along."""
        return all_dims(self.job)

    def whole(self, name: str) -> np.ndarray:
        """A variable or the coordinate of an axis, so that it broadcasts over all axes."""
        name = ALIASES.get(name, name)
        own = self.job.plan.dims(name) if name in self.values else (name,)
        if name in self.values:
            array = self.values[name]
        elif name == "hardware":
            array = np.arange(len(self.job.devices))
        else:
            array = self.job.coords[name][self.slices[list(self.job.coords).index(name)]]
        lengths = iter(array.shape)
        return array.reshape([next(lengths) if dim in own else 1 for dim in self.dims])

    @property
    def shape(self) -> tuple[int, ...]:
        """Its length along each axis."""
        own = tuple(s.stop - s.start for s in self.slices)
        return (len(self.job.devices), *own) if self.job.devices else own

    def allowed(self, where: Sequence[Condition]) -> np.ndarray:
        """Where every condition holds."""
        holds = np.ones([1] * len(self.dims), dtype=bool)
        for c in where:
            right = self.whole(c.right) if isinstance(c.right, str) else c.right
            holds = holds & SIGNS[c.sign](self.whole(c.left), right)
        return np.broadcast_to(holds, self.shape)


def all_dims(job: Job) -> tuple[str, ...]:
    """Every axis that a variable may have, in order."""
    return (*(["hardware"] if job.devices else []), *job.lengths)


def lengths(job: Job) -> dict[str, int]:
    """The length of each axis, by name."""
    return {**({"hardware": len(job.devices)} if job.devices else {}), **job.lengths}


def check_names(job: Job, names: Sequence[str]) -> None:
    """Raises CostModelError for what is neither a variable of the sweep nor an axis."""
    known = {*job.plan.variables, *all_dims(job)} - {"bound"}
    wrong = [name for name in names if ALIASES.get(name, name) not in known]
    if wrong:
        raise CostModelError(f"{', '.join(wrong)} is no variable or axis of this sweep; there are {', '.join(sorted(known))}"
                             f" ({', '.join(f'{a} for {b}' for a, b in ALIASES.items())})")


def criterion(text: str) -> tuple[str, int]:
    """A variable, and 1 where the least is best, -1 where the greatest: of throughput, and of ``max NAME``.

    >>> criterion("time"), criterion("max macs"), criterion("throughput")
    (('time_upper', 1), ('macs', -1), ('throughput', -1))
    """
    first, _, rest = text.strip().partition(" ")
    if rest and first in ("min", "max"):
        return ALIASES.get(rest.strip(), rest.strip()), 1 if first == "min" else -1
    name = ALIASES.get(text.strip(), text.strip())
    return name, -1 if name in _GREATEST else 1


def wanted(best: Sequence[str], pareto: Sequence[str], where: Sequence[Condition]) -> list[str]:
    """The names that reductions ask for: variables, metrics or axes."""
    return [*(criterion(c)[0] for c in (*best[:1], *pareto)), *(ALIASES.get(n, n) for c in where for n in c.names)]


def best(job: Job, asked: Sequence[str], where: Sequence[Condition]) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Over the axes that are left: the variables where a criterion is best over the others, and the values of these axes there.
    NaN, and an index of -1 of a device, where no point meets the conditions."""
    (name, sign), axes = criterion(asked[0]), tuple(asked[1:]) or all_dims(job)
    check_names(job, [name])
    if wrong := [a for a in axes if a not in all_dims(job)]:
        raise CostModelError(f"{option('best', asked[0])} over {', '.join(wrong)}: the axes of this sweep are "
                             f"{', '.join(all_dims(job))}")
    left = tuple(d for d in all_dims(job) if d not in axes)
    size = lengths(job)
    store = {n: np.full([size[d] for d in left], np.nan) for n in (*job.plan.variables, *axes)}
    top = np.full([size[d] for d in left], np.inf)
    for slices in tracked(list(job.chunks(job.chunk_lengths())), "best"):
        chunk = Chunk(job, slices, job.chunk(slices))
        _improve(chunk, (name, sign), where, left, axes, top, store)
    return left, store


def _improve(chunk: Chunk, by: tuple[str, int], where: Sequence[Condition], left: Sequence[str], axes: Sequence[str],
             top: np.ndarray, store: Mapping[str, np.ndarray]) -> None:
    dims = chunk.dims
    order = [dims.index(d) for d in (*left, *axes)]
    cut = dict(zip(chunk.job.lengths, chunk.slices, strict=True))
    here = tuple(cut.get(d, slice(None)) for d in left)

    def rows(array: np.ndarray) -> np.ndarray:
        moved = np.broadcast_to(array, chunk.shape).transpose(order)
        return moved.reshape(int(np.prod(moved.shape[:len(left)], dtype=int)), -1)

    scores = rows(by[1] * chunk.whole(by[0])).astype(np.float64)
    if where:
        scores = np.where(rows(chunk.allowed(where)), scores, np.inf)
    first = scores.argmin(axis=1)
    least = scores[np.arange(len(first)), first].reshape(top[here].shape)
    better = least < top[here]
    top[here] = np.where(better, least, top[here])
    for name, kept in store.items():
        chosen = rows(chunk.whole(name))[np.arange(len(first)), first].reshape(better.shape)
        kept[here] = np.where(better, chosen, kept[here])


def pareto(job: Job, asked: Sequence[str], where: Sequence[Condition]) -> dict[str, np.ndarray]:
    """The points that no other point is at least as good as in every criterion and better in one: their axes and variables, in
    order of the first criterion. Of points that are alike the first is there."""
    criteria = [criterion(each) for each in asked]
    check_names(job, [name for name, _ in criteria])
    names = (*all_dims(job), *job.plan.variables)
    kept: dict[str, np.ndarray] = {name: np.empty(0) for name in names}
    scores = np.empty((0, len(criteria)))
    for slices in tracked(list(job.chunks(job.chunk_lengths())), "pareto"):
        chunk = Chunk(job, slices, job.chunk(slices))
        own = np.stack([np.broadcast_to(sign * chunk.whole(name), chunk.shape).ravel() for name, sign in criteria], axis=1)
        places = np.flatnonzero(chunk.allowed(where).ravel())
        places = places[front(own[places].astype(np.float64))]
        values = {name: np.broadcast_to(chunk.whole(name), chunk.shape).ravel()[places] for name in names}
        scores = np.concatenate([scores, own[places]])
        stay = front(scores)
        kept = {name: np.concatenate([kept[name], values[name]])[stay] if len(kept[name]) else values[name][
            stay[stay >= len(kept[name])] - len(kept[name])] for name in names}
        scores = scores[stay]
    return kept


def front(scores: np.ndarray) -> np.ndarray:
    """Indices of the rows that no other row is at most in every column (of equal rows the first), in order of the first column.

    >>> front(np.array([[3, 1], [1, 3], [2, 2], [2, 3], [2, 2]])).tolist()
    [1, 2, 0]
    """
    order = np.lexsort((np.arange(len(scores)), *scores.T[::-1]))
    ordered = scores[order]
    if scores.shape[1] == 1:
        return order[:1]
    if scores.shape[1] == 2:  # what comes later is larger in the first column: it must be below all before in the second
        before = np.concatenate([[np.inf], np.minimum.accumulate(ordered[:-1, 1])]) if len(ordered) else np.empty(0)
        return order[ordered[:, 1] < before]
    found = []
    while len(order):  # the first is beaten by none that is left
        found.append(order[0])
        stays = (ordered < ordered[0]).any(axis=1)
        order, ordered = order[stays], ordered[stays]
    return np.array(found, dtype=np.intp)

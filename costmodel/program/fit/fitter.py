"""The loop: sample, search, tell hypotheses apart, verify at fresh points, and begin again with what contradicted."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sympy import Expr

from costmodel.program.fit.box import Axis, Box, Point
from costmodel.program.fit.plan import fresh, starting, telling
from costmodel.program.fit.refusal import Ambiguous, Exhausted, Unfitted, Varies, diagnosis
from costmodel.program.fit.sample import Sample, Values
from costmodel.program.fit.search import PLAIN, Column, Search, described
from costmodel.program.fit.steps import steps

# The integers at a point, always as many; None where the structure is another one, or there is none.
Oracle = Callable[[Mapping[str, int]], Sequence[int] | None]

BUDGET = 96  # points that may be asked
_FRESH = 24  # fresh points of a verification, at most
_LEAST_FRESH = 6
_ROUNDS = 10
_ELSEWHERE = 16  # points of another structure met while telling hypotheses apart


@dataclass(frozen=True)
class Fitted:
    """An exact form for each integer, the points that it was found at, and those that verified it afterwards. ``elsewhere`` are
    points at which the structure is another one. ``open`` says that other forms fit as well, which differ only
    where the structure was another one when asked: who evaluates the forms must see to the structure there."""

    box: Box
    forms: tuple[Expr, ...]
    points: tuple[Point, ...]
    verified: tuple[Point, ...]
    elsewhere: tuple[Point, ...]
    open: bool = False

    @property
    def asked(self) -> int:
        """How many points were asked."""
        return len(self.points) + len(self.verified) + len(self.elsewhere)


class Asked:
    """An oracle that remembers its answers and counts its calls."""

    def __init__(self, oracle: Oracle, box: Box, budget: int) -> None:
        self.oracle, self.box, self.budget = oracle, box, budget
        self.answers: dict[Point, tuple[int, ...] | None] = {}

    def __call__(self, point: Point) -> tuple[int, ...] | None:
        if point not in self.answers:
            if self.spent >= self.budget:
                raise Exhausted(f"{self.budget} traces did not suffice to find and verify the sizes; "
                                "give a symbol as an integer, or bound it")
            answer = self.oracle({axis.name: v for axis, v in zip(self.box.axes, point, strict=True)})
            self.answers[point] = None if answer is None else tuple(answer)
        return self.answers[point]

    @property
    def spent(self) -> int:
        """Points asked; those of another structure count a third."""
        return len(self.inside) + len(self.elsewhere) // 3

    @property
    def left(self) -> int:
        """How many points may still be asked."""
        return self.budget - self.spent

    def like(self) -> list[Point]:
        """The points of this structure, if most others have another one: then only what resembles them is worth asking."""
        return self.inside if len(self.elsewhere) > len(self.inside) > 0 else []

    @property
    def inside(self) -> list[Point]:
        """The points that have this structure."""
        return [p for p, answer in self.answers.items() if answer is not None]

    @property
    def elsewhere(self) -> list[Point]:
        """The points that have another structure, or none."""
        return [p for p, answer in self.answers.items() if answer is None]


def fit_columns(oracle: Oracle, box: Box, columns: Sequence[Column] = (), *, budget: int = BUDGET, seed: int = 0,
                also: Sequence[Point] = (), strict: bool = True) -> Fitted:
    """The exact form of each integer that ``oracle`` gives, in the symbols of ``box``.

    columns: what is known of each integer beforehand; in program order, as the integers are.
    also:    points that must be asked too, such as those where something was compared.
    strict:  refuse forms that stay ``open``.

    Raises FitError, saying which and why, where an integer has no form, several, or too few points verify it.
    """
    return _Loop(Asked(oracle, box, budget), columns, random.Random(seed), strict).run(also)


class _Loop:
    """State of one fit: what was asked, which points are in the sample, and each integer's hypotheses."""

    def __init__(self, ask: Asked, columns: Sequence[Column], rng: random.Random, strict: bool) -> None:
        self.ask, self.box, self.columns, self.rng, self.strict = ask, ask.box, columns, rng, strict
        self.alive: dict[int, list[Expr]] = {}
        self.widened = False
        self.strange = 0
        self.open = False

    def run(self, also: Sequence[Point]) -> Fitted:
        self._start()
        for p in also:
            self.ask(p)
        for _ in range(_ROUNDS):
            points = self._told_apart()
            forms = self._forms(points)
            verified = self._verify(forms, points)
            if verified is not None:
                return Fitted(self.box, tuple(forms), tuple(points), tuple(verified), tuple(self.ask.elsewhere),
                              self.open)
        raise Exhausted(f"no form held after {_ROUNDS} rounds and {len(self.ask.answers)} traces")

    def _start(self) -> None:
        """Points of the box, until enough of them share the structure and each symbol takes three values among them."""
        count = 8 + 2 * len(self.box.axes)
        for p in starting(self.box, self.rng, count):
            self.ask(p)
        for _ in range(3 * count):
            if len(self.ask.inside) >= min(count, 6 + 2 * len(self.box.axes)) and not self._stuck():
                return
            times = self.rng.choice((1, 1, 4))
            like = self.ask.like()
            near = like and self.rng.random() < 0.7
            self.ask(self.box.like(self.rng, like, 4 * times) if near else self.box.draw(self.rng, times))
        if len(self.ask.inside) < 6 or self._stuck():
            names = self._stuck() or [axis.name for axis in self.box.axes]
            raise Varies(f"the structure changes with {', '.join(names)}: of {len(self.ask.answers)} points "
                         f"{len(self.ask.inside)} share one")

    def _stuck(self) -> list[str]:
        """Symbols that take fewer than three values within the structure (or than they have)."""
        return [axis.name for k, axis in enumerate(self.box.axes)
                if len({p[k] for p in self.ask.inside}) < min(3, axis.values or 3)]

    # -- search ----------------------------------------------------------------------------------------------------------------

    def _told_apart(self) -> list[Point]:
        """The sample, grown until no two hypotheses of an integer differ anywhere that was tried."""
        while True:
            points = self.ask.inside
            try:
                self._search(points)
            except Unfitted as refusal:
                self._widen(refusal, points)
                continue
            several = list({tuple(h): h for h in self.alive.values() if len(h) > 1}.values())
            point = telling(self.box, self.rng, several, lambda p: p not in self.ask.answers,
                            self.ask.like()) if several else None
            if point is None:
                return points
            if self.ask(point) is None:
                self.strange += 1
                if self.strange >= _ELSEWHERE and not self.strict:
                    self.open = True
                    return points
                if self.strange >= _ELSEWHERE:
                    raise Ambiguous(f"{several[0][0]} and {several[0][1]} both fit, and no point that tells them apart has this "
                                    "structure")

    def _search(self, points: Sequence[Point]) -> None:
        """Hypotheses for every integer at these points; Unfitted for the first without."""
        search = Search(Sample(self.box.symbols, points), self.box.symbols)
        rows = [self.ask.answers[p] or () for p in points]
        done: dict[Values, list[Expr]] = {}
        forms: list[Expr] = []
        alive: dict[int, list[Expr]] = {}
        for i, y in enumerate(zip(*rows, strict=True)):
            if y not in done:
                column = self.columns[i] if i < len(self.columns) else PLAIN
                done[y] = search.hypotheses(y, column, forms, self.alive.get(i, ()))
                if not done[y]:
                    raise Unfitted(f"no exact form for the size {described(y)} at "
                                   f"{', '.join(map(self._text, points[:4]))} …", i)
            alive[i] = done[y]
            forms.append(done[y][0])
        self.alive = alive

    def _widen(self, refusal: Unfitted, points: Sequence[Point]) -> None:
        """Ask along each symbol, once; where that does not help, refuse with what the sizes look like."""
        if self.widened:
            raise Unfitted(f"{refusal}: {self._diagnosis(refusal.column)}", refusal.column) from None
        self.widened = True
        start = self._outer(points)
        for k in range(len(self.box.axes)):
            for p in self.box.line(start, k, 12):
                if self.ask.left > _FRESH:
                    self.ask(p)
            self._sharpen(k, start, refusal.column)

    def _outer(self, points: Sequence[Point]) -> Point:
        """A point of this structure where all symbols are large, so that products and quotients show along each."""
        wanted = self.box.clip([2 * axis.high + 1 for axis in self.box.axes])
        if self.ask(wanted) is not None:
            return wanted
        return max(points, key=lambda p: min(v / axis.high for axis, v in zip(self.box.axes, p, strict=True)))

    def _sharpen(self, k: int, start: Point, column: int) -> None:
        """Ask along symbol ``k`` until at most one step fits the integer there, or none differ."""
        for _ in range(12):
            on = [p for p in self.ask.inside if (*p[:k], *p[k + 1:]) == (*start[:k], *start[k + 1:])]
            seen = [(self.ask.answers[p] or ())[column] for p in on]
            found = steps(tuple(p[k] for p in on), tuple(seen)) if len(on) > 5 else []
            values = [v for v in _spread(self.box.axes[k]) if self.box.along(start, k, [v])[0] not in self.ask.answers]
            if len(found) < 2 or not values or self.ask.left <= _FRESH:
                return
            best = max(values, key=lambda v: len({step.at(v) for step in found}))
            if len({step.at(best) for step in found}) < 2:
                return
            self.ask(self.box.along(start, k, [best])[0])

    def _diagnosis(self, column: int) -> str:
        """Of the integer along the longest line of points, for a message."""
        best = "it follows none of the families of forms"
        for k, axis in enumerate(self.box.axes):
            lines: dict[Point, list[Point]] = {}
            for p in self.ask.inside:
                lines.setdefault((*p[:k], *p[k + 1:]), []).append(p)
            longest = max(lines.values(), key=len)
            said = diagnosis([p[k] for p in longest], [(self.ask.answers[p] or ())[column] for p in longest])
            if said != best:
                return f"along {axis.name} {said}"
        return best

    def _forms(self, points: Sequence[Point]) -> list[Expr]:
        return [self.alive[i][0] for i in range(len(self.ask.answers[points[0]] or ()))]

    # -- verification ----------------------------------------------------------------------------------------------------------

    def _verify(self, forms: Sequence[Expr], points: Sequence[Point]) -> list[Point] | None:
        """The fresh points at which all forms hold; None as soon as one does not, with that point known from now on."""
        distinct = list(dict.fromkeys(forms))
        position = {form: i for i, form in enumerate(distinct)}
        held: list[Point] = []
        wanted = fresh(self.box, self.rng, distinct, points, self.ask.answers, _FRESH, self.ask.like())
        while wanted or len(held) < _LEAST_FRESH:
            if not wanted and held and self._left() == []:
                break  # there is no other point: the forms hold at all there are
            if not wanted:
                wanted = self._more(len(held))
            p = wanted.pop(0)
            if p in self.ask.answers or (answer := self.ask(p)) is None:
                continue
            sample = Sample(self.box.symbols, [p])
            values = [sample.values(form)[0] for form in distinct]
            if any(values[position[form]] != v for form, v in zip(forms, answer, strict=True)):
                return None
            held.append(p)
        return held

    def _more(self, held: int) -> list[Point]:
        """More fresh points, of a larger box. Raises Exhausted where there are none."""
        like = self.ask.like()
        draws = (self.box.like(self.rng, like, 16) if like else self.box.draw(self.rng, 4) for _ in range(60))
        found = ([p for p in draws if p not in self.ask.answers] or self._left() or [])[:4]
        if not found:
            if held >= 1:
                raise Exhausted(f"only {held} fresh points verified the sizes; the symbols' bounds leave no others")
            raise Exhausted("the symbols' bounds leave no point to verify at")
        return found

    def _left(self) -> list[Point] | None:
        """The points that were not asked, of a box with few points at all; None of any other."""
        spans = [range(axis.low, axis.limit + 1) for axis in self.box.axes if axis.limit is not None]
        if len(spans) < len(self.box.axes) or math.prod(map(len, spans)) > self.ask.budget:
            return None
        return [p for p in itertools.product(*spans) if p not in self.ask.answers and self.box.allows(p)]

    def _text(self, p: Point) -> str:
        return "(" + ", ".join(f"{axis.name}={v}" for axis, v in zip(self.box.axes, p, strict=True)) + ")"




def _spread(axis: Axis) -> list[int]:
    """Neighbours at the low end, then values ever further apart."""
    top = axis.top(8)
    return sorted({min(axis.low + i, top) for i in range(40)} | {axis.low + (top - axis.low) * i // 97 for i in range(98)})

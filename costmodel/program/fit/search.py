"""One column's hypotheses: every form of the first family that has one, over symbols, the operands' sizes and earlier forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, Integer, Symbol

from costmodel.program.fit.algebraic import Atoms, affine, affine_in_two, polynomials, products
from costmodel.program.fit.sample import Sample, Values
from costmodel.program.fit.separable import separable
from costmodel.program.fit.steps import extremes, logarithms, moduli, quotients, ratios
from costmodel.symbolic.forms import ceil_div, floor_div

# Earlier forms offered to a family, beside the symbols and the operands' sizes.
_EARLIER, _NEAR = 40, 8
# Divisors by which models halve, pool, patch and pad.
_USUAL = (2, 3, 4, 7, 8, 14, 16, 32)

# The forms of earlier columns, by number -> what a shape rule says this column is.
ShapeRule = Callable[[Sequence[Expr]], Iterable[Expr]]


@dataclass(frozen=True)
class Column:
    """What is known of an integer before its values are: the earlier columns that it probably depends on (its operands'
    dimensions), and its shape rule, if it has one."""

    near: tuple[int, ...] = ()
    rule: ShapeRule | None = None


PLAIN = Column()


class Search:
    """The forms found so far at the points of a sample, and the search for the next."""

    def __init__(self, sample: Sample, symbols: Sequence[Symbol]) -> None:
        self.sample = sample
        self.symbols = tuple(symbols)
        self.known: dict[Values, Expr] = {}
        for s in symbols:
            self.known.setdefault(sample.values(s), s)

    def hypotheses(self, y: Values, column: Column, forms: Sequence[Expr], before: Sequence[Expr] = ()) -> list[Expr]:
        """Forms that are ``y`` at every point, the likeliest first; [] if no family has one. ``forms`` are the earlier columns',
        ``before`` what was found at fewer points."""
        found = self._simple(y, column, forms) or [e for e in before if self.sample.values(e) == y]
        if not found:
            found = self._checked(self._families(y, self._atoms(column, forms)), y)
        if found:
            self.known.setdefault(y, found[0])
        return found

    def _simple(self, y: Values, column: Column, forms: Sequence[Expr]) -> list[Expr]:
        """A constant, a form that is known, or what the shape rule says."""
        if len(set(y)) == 1:
            return [Integer(y[0])] if isinstance(y[0], int) else [sympy.Rational(y[0].numerator, y[0].denominator)]
        if y in self.known:
            return [self.known[y]]
        return self._checked(column.rule(forms), y)[:1] if column.rule is not None else []

    def _checked(self, offers: Iterable[Expr], y: Values) -> list[Expr]:
        """The offers that are exactly ``y``, each once."""
        return list(dict.fromkeys(e for offer in offers if self.sample.values(e := sympy.expand(offer)) == y))

    def _atoms(self, column: Column, forms: Sequence[Expr]) -> Atoms:
        near = [e for i in column.near if not (e := forms[i]).is_Symbol and not e.is_number]
        others = sorted((e for e in self.known.values() if not e.is_Symbol), key=sympy.count_ops)
        chosen = tuple(dict.fromkeys((*self.symbols, *dict.fromkeys(near[:_NEAR]), *others[:_EARLIER])))
        return Atoms(chosen, tuple(self.sample.values(e) for e in chosen), len(self.symbols))

    def _families(self, y: Values, atoms: Atoms, deep: bool = True) -> list[Expr]:
        for family in (affine, products, affine_in_two, polynomials, quotients, moduli, ratios, logarithms):
            found = family(y, atoms)
            if found:
                return found
        if not deep:
            return []
        return (extremes(y, atoms, lambda values, points: self._part(values, points, atoms)) or self._divided(y, atoms)
                or self._guessed(y, atoms) or separable(y, atoms, self.sample.points))

    def _guessed(self, y: Values, atoms: Atoms) -> list[Expr]:
        """Products, squares and polynomials of usual quotients that no earlier integer showed."""
        few = atoms.first(atoms.symbols + 3)
        made = dict.fromkeys((*few.forms, *(divide(e, Integer(d)) for e in few.forms for d in _USUAL
                                            for divide in (floor_div, ceil_div))))
        guessed = Atoms(tuple(made), tuple(self.sample.values(e) for e in made), atoms.symbols)
        found = products(y, guessed) or affine_in_two(y, guessed)
        for form, w in () if found else guessed:
            found = found or polynomials(y, Atoms((form,), (w,), 1))
        return found

    @staticmethod
    def _part(values: Values, points: Sequence[int], atoms: Atoms) -> list[Expr]:
        """Forms at some of the points only."""
        there = Atoms(atoms.forms, tuple(tuple(v[i] for i in points) for v in atoms.values), atoms.symbols)
        if len(set(values)) == 1:
            return [Integer(values[0])]
        for family in (affine, products, quotients, affine_in_two):
            found = family(values, there)
            if found:
                return found
        return []

    def _divided(self, y: Values, atoms: Atoms) -> list[Expr]:
        """x times a form, of an atom x that divides y everywhere."""
        for form, w in atoms.first(12):
            if all(u != 0 and v % u == 0 for u, v in zip(w, y, strict=True)) and len(set(w)) > 1:
                rest = tuple(v // u for u, v in zip(w, y, strict=True))
                found = (self._families(rest, atoms, deep=False) or separable(rest, atoms, self.sample.points)
                         or extremes(rest, atoms, lambda values, points: self._part(values, points, atoms)))
                if found:
                    return [form * other for other in found]
        return []


def described(y: Any) -> str:
    """A column's first values as text."""
    return ", ".join(map(str, y[:8])) + (" …" if len(y) > 8 else "")

"""Families of forms without steps: affine, products, polynomials, over atoms (symbols and earlier forms)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from sympy import Add, Expr, Mul, Rational

from costmodel.program.fit.linear import line, lines, may_span, planes, solve
from costmodel.program.fit.sample import Values

# How many points more than unknowns a form must hold at before it counts as one.
SPARE = 3


@dataclass(frozen=True)
class Atoms:
    """Forms that a family may build upon, each with its values at the sample's points; ``symbols`` of them stand first."""

    forms: tuple[Expr, ...]
    values: tuple[Values, ...]
    symbols: int

    @cached_property
    def floats(self) -> Any:
        """The values as an array (form, point)."""
        return np.array(self.values, dtype=float).reshape(len(self.forms), -1)

    def first(self, count: int) -> Atoms:
        """The first ``count`` forms with their values."""
        return Atoms(self.forms[:count], self.values[:count], min(self.symbols, count))

    def __iter__(self) -> Iterator[tuple[Expr, Values]]:
        return zip(self.forms, self.values, strict=True)

    def __len__(self) -> int:
        return len(self.forms)


def rational(q: Fraction) -> Rational:
    """A fraction as sympy has it."""
    return Rational(q.numerator, q.denominator)


def affine(y: Values, atoms: Atoms) -> list[Expr]:
    """a·x + b of one atom."""
    for form, w in atoms:
        found = line(w, y)
        if found is not None:
            return [rational(found[0]) * form + rational(found[1])]
    return []


def products(y: Values, atoms: Atoms) -> list[Expr]:
    """a·x·z + b and a·x·z·t + b."""
    floats = np.array(y, dtype=float)
    for degree, among in ((2, atoms.first(60)), (3, atoms.first(16))):
        combinations = list(itertools.combinations_with_replacement(range(len(among)), degree))
        if not combinations:
            continue
        index = np.array(combinations)
        for k in lines(np.prod(among.floats[index], axis=1), floats):
            chosen = combinations[k]
            w = [_product([among.values[c][i] for c in chosen]) for i in range(len(y))]
            found = line(w, y)
            if found is not None:
                return [rational(found[0]) * Mul(*(among.forms[c] for c in chosen)) + rational(found[1])]
    return []


def _product(factors: Sequence[Any]) -> Any:
    result = 1
    for factor in factors:
        result *= factor
    return result


def affine_in_two(y: Values, atoms: Atoms) -> list[Expr]:
    """a·x + b·z + c of two atoms."""
    for i, j in planes(atoms.floats, np.array(y, dtype=float)):
        found = solve([atoms.values[i], atoms.values[j], (1,) * len(y)], y) if len(y) >= 3 + SPARE else None
        if found is not None:
            return [rational(found[0]) * atoms.forms[i] + rational(found[1]) * atoms.forms[j] + rational(found[2])]
    return []


def polynomials(y: Values, atoms: Atoms) -> list[Expr]:
    """Polynomials of total degree 2, then 3, in up to three of the first atoms."""
    floats, few = np.array(y, dtype=float), atoms.first(max(6, atoms.symbols + 3))
    for degree in (2, 3):
        for size in (1, 2, 3):
            for chosen in itertools.combinations(range(len(few)), size):
                powers = [m for d in range(degree + 1) for m in itertools.combinations_with_replacement(chosen, d)]
                if len(powers) + SPARE > len(y):
                    continue
                columns = np.array([np.prod(few.floats[list(m)], axis=0) if m else np.ones(len(y)) for m in powers])
                if not may_span(columns, floats):
                    continue
                exact = [[_product([few.values[c][i] for c in m]) for i in range(len(y))] for m in powers]
                found = solve(exact, y)
                if found is not None:
                    return [Add(*(rational(q) * Mul(*(few.forms[c] for c in m)) for q, m in zip(found, powers, strict=True)))]
    return []

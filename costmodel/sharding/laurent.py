"""Numbers at several meshes -> one form in the sizes of their axes, exact at all of them or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations, product

from sympy import Add, Expr, Integer, Mul, Rational

from costmodel.symbolic.forms import ONE, symbol

Sizes = Mapping[str, int]


class NoForm(Exception):
    """Numbers that follow no form known here."""


def joined(exprs: Sequence[Expr], meshes: Sequence[Sizes]) -> Expr:
    """The expression in the axes' symbols that is each of ``exprs`` at its mesh; what is not one in other symbols is compared
    monomial by monomial. Raises NoForm."""
    if all(e == exprs[0] for e in exprs):
        return exprs[0]
    parts = [e.expand().as_coefficients_dict() for e in exprs]
    monomials = dict.fromkeys(m for part in parts for m in part)
    return Add(*(m * _form([_fraction(part.get(m, Integer(0))) for part in parts], meshes) for m in monomials))


def _form(values: Sequence[Fraction], meshes: Sequence[Sizes]) -> Expr:
    """A monomial in the axes, or a sum of two, that has these values."""
    if len(set(values)) == 1:
        return _rational(values[0])
    basis = [(m, [_at(m, sizes) for sizes in meshes]) for m in _monomials(tuple(meshes[0]))]
    for monomial, at in basis:
        if all(v * at[0] == values[0] * a for v, a in zip(values, at, strict=True)):
            return _rational(values[0] / at[0]) * _expression(monomial)
    for one, two in combinations(basis, 2):
        found = _two(values, one[1], two[1])
        if found is not None:
            return _rational(found[0]) * _expression(one[0]) + _rational(found[1]) * _expression(two[0])
    raise NoForm(f"{', '.join(map(str, values))} at meshes of {', '.join('x'.join(map(str, m.values())) for m in meshes)}")


def _two(values: Sequence[Fraction], one: Sequence[Fraction], two: Sequence[Fraction]) -> tuple[Fraction, Fraction] | None:
    """(a, b) with a·one + b·two = values everywhere."""
    for i, j in combinations(range(len(values)), 2):
        determinant = one[i] * two[j] - one[j] * two[i]
        if determinant:
            a = (values[i] * two[j] - values[j] * two[i]) / determinant
            b = (one[i] * values[j] - one[j] * values[i]) / determinant
            return (a, b) if all(a * x + b * y == v for v, x, y in zip(values, one, two, strict=True)) else None
    return None


Monomial = tuple[tuple[str, int], ...]


@cache
def _monomials(axes: tuple[str, ...]) -> tuple[Monomial, ...]:
    """Products of powers from -2 to 2 of the axes, those of small powers first."""
    found = (tuple(zip(axes, powers, strict=True)) for powers in product(range(-2, 3), repeat=len(axes)))
    return tuple(sorted(found, key=lambda m: sum(abs(power) for _, power in m)))


def _at(monomial: Monomial, sizes: Sizes) -> Fraction:
    value = Fraction(1)
    for axis, power in monomial:
        value *= Fraction(sizes[axis]) ** power
    return value


def _expression(monomial: Monomial) -> Expr:
    return Mul(*(symbol(axis) ** power for axis, power in monomial)) if monomial else ONE


def _fraction(number: Expr) -> Fraction:
    return Fraction(int(number.p), int(number.q))


def _rational(value: Fraction) -> Rational:
    return Rational(value.numerator, value.denominator)


def meshes_for(axes: Sequence[str]) -> Iterator[dict[str, int]]:
    """Meshes that tell the forms apart: a first one of different primes, each axis by itself at another, and two to verify."""
    first = dict(zip(axes, (2, 3, 5, 7, 11, 13), strict=False))
    yield first
    for axis in axes:
        yield {**first, axis: 17}
    yield {axis: size + 2 for axis, size in first.items()}
    yield {axis: 2 * size for axis, size in first.items()}

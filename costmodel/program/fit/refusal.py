"""Why no form was found, by name: what grows exponentially, by logarithms or roots, and what follows no formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from costmodel.errors import CostModelError


class FitError(CostModelError):
    """Sizes that no exact form was found for, or that were not verified."""


class Unfitted(FitError):
    """A size is no quasi-polynomial of the symbols. ``column`` is its number."""

    def __init__(self, message: str, column: int = -1) -> None:
        super().__init__(message)
        self.column = column


class Ambiguous(FitError):
    """Several forms fit and no point that tells them apart has this structure."""


class Exhausted(FitError):
    """The points that may be asked did not suffice."""


class Varies(FitError):
    """The structure changes with a symbol: no three values of it share one."""


def diagnosis(x: Sequence[int], y: Sequence[int]) -> str:
    """What y along growing x looks like, for a message.

    >>> diagnosis([1, 2, 3, 4, 5, 6], [6, 12, 24, 48, 96, 192])
    'it grows exponentially'
    >>> diagnosis([4, 9, 17, 30, 65], [2, 3, 4, 5, 8])
    'it is a root'
    """
    pairs = sorted(dict(zip(x, y, strict=True)).items())
    x, y = [p[0] for p in pairs], [p[1] for p in pairs]
    if len(x) < 5 or len(set(y)) < 3:
        return "it follows none of the families of forms"
    if _proportional(y, [math.isqrt(v) for v in x if v >= 0]):
        return "it is a root"
    if any(_proportional(y, [f(v) for v in x]) for f in (int.bit_length, lambda v: (v - 1).bit_length())):
        return "it is a logarithm"
    if _exponential(x, y):
        return "it grows exponentially"
    rises = [b - a for a, b in pairwise(y)]
    if min(rises) < 0 < max(rises):
        return "it rises and falls with no period found, as sizes from number theory do"
    return "it follows none of the families of forms"


def _proportional(y: Sequence[int], f: Sequence[int]) -> bool:
    """Whether y is affine in f, and f is not constant."""
    if len(f) != len(y) or len(set(f)) < 3:
        return False
    i, j = f.index(max(f)), f.index(min(f))
    return all((v - y[j]) * (f[i] - f[j]) == (u - f[j]) * (y[i] - y[j]) for u, v in zip(f, y, strict=True))


def _exponential(x: Sequence[int], y: Sequence[int]) -> bool:
    """Whether y multiplies by the same factor, at least 1.2, for each unit of x, wherever x runs through neighbours."""
    run = [(a, b) for (s, a), (t, b) in pairwise(zip(x, y, strict=True)) if t == s + 1]
    return len(run) >= 4 and all(a > 0 and b >= 1.2 * a and b * run[0][0] == run[0][1] * a for a, b in run)

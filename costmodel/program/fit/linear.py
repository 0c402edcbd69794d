"""Exact linear algebra over samples: floating point refutes, fractions decide."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

# Where a float residual is above this part of its terms, the exact one is not 0.
_TOLERANCE = 1e-7


def line(w: Sequence[Any], y: Sequence[Any]) -> tuple[Fraction, Fraction] | None:
    """(a, b) of y = a·w + b at every point; None where there is none, or ``w`` is constant."""
    i, j = max(range(len(w)), key=w.__getitem__), min(range(len(w)), key=w.__getitem__)
    run, rise = w[i] - w[j], y[i] - y[j]
    if run == 0 or any((v - y[j]) * run != (u - w[j]) * rise for u, v in zip(w, y, strict=True)):
        return None
    slope = Fraction(rise) / Fraction(run)
    return slope, Fraction(y[j]) - slope * w[j]


def lines(columns: Any, y: Any) -> Any:
    """Indices of the rows of ``columns`` (candidates × points, floats) of which ``y`` may be an affine function."""
    i, j = int(np.argmax(y)), int(np.argmin(y))
    rise, runs = y[i] - y[j], columns[:, i] - columns[:, j]
    left, right = (y - y[j])[None, :] * runs[:, None], (columns - columns[:, j:j + 1]) * rise
    close = np.abs(left - right) <= _TOLERANCE * (np.abs(left) + np.abs(right) + 1)
    return np.nonzero(close.all(1) & (runs != 0))[0]


def planes(columns: Any, y: Any) -> list[tuple[int, int]]:
    """Pairs of rows of ``columns`` of which ``y`` may be an affine function."""
    count = len(columns)
    if count < 2 or len(y) < 4:
        return []
    first, second = np.triu_indices(count, 1)
    d, dy = columns - columns[:, :1], y - y[0]
    best = np.zeros(len(first))
    a, b = np.zeros(len(first)), np.zeros(len(first))
    order = np.argsort(np.abs(dy))
    for p, q in zip(order[-3:], order[1:4], strict=False):
        determinant = d[first, p] * d[second, q] - d[first, q] * d[second, p]
        better = np.abs(determinant) > best
        safe = np.where(determinant == 0, 1, determinant)
        a = np.where(better, (dy[p] * d[second, q] - dy[q] * d[second, p]) / safe, a)
        b = np.where(better, (d[first, p] * dy[q] - d[first, q] * dy[p]) / safe, b)
        best = np.where(better, np.abs(determinant), best)
    u, v = a[:, None] * d[first], b[:, None] * d[second]
    close = np.abs(u + v - dy) <= _TOLERANCE * (np.abs(u) + np.abs(v) + np.abs(dy) + 1)
    return [(int(first[k]), int(second[k])) for k in np.nonzero(close.all(1) & (best > 0))[0]]


def may_span(columns: Any, y: Any) -> bool:
    """Whether ``y`` may be a combination of ``columns`` (candidates × points, floats): a least-squares test that only refutes."""
    scale = np.abs(columns).max(1) + 1e-300
    solution, _, rank, _ = np.linalg.lstsq((columns / scale[:, None]).T, y, rcond=None)
    terms = (columns / scale[:, None]).T * solution
    return rank == len(columns) and bool((np.abs(terms.sum(1) - y) <= _TOLERANCE * (np.abs(terms).sum(1) + np.abs(y) + 1)).all())


def solve(columns: Sequence[Sequence[Any]], y: Sequence[Any]) -> list[Fraction] | None:
    """The one exact combination of ``columns`` that is ``y`` at every point; None if there is none or more than one."""
    rows = [[Fraction(c[i]) for c in columns] + [Fraction(y[i])] for i in range(len(y))]
    width, rank = len(columns), 0
    for column in range(width):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column] != 0), None)
        if pivot is None:
            return None
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        head = rows[rank]
        for r in range(rank + 1, len(rows)):
            if rows[r][column] != 0:
                factor = rows[r][column] / head[column]
                rows[r] = [a - factor * b for a, b in zip(rows[r], head, strict=True)]
        rank += 1
    if any(row[width] != 0 for row in rows[rank:]):
        return None
    found = [Fraction(0)] * width
    for r in range(width - 1, -1, -1):
        rest = sum(rows[r][c] * found[c] for c in range(r + 1, width))
        found[r] = (rows[r][width] - rest) / rows[r][r]
    return found

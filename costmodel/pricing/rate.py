"""How many a second, and of what: at a point, and on a grid."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

# What throughput counts, by the name that a symbol is given: sequences, images, examples.
BATCH = ("n", "b", "batch")


def rate(count: Any, seconds: Any, out: np.ndarray | None = None) -> Any:
    """So many in so many seconds, as how many a second: numbers, or arrays that broadcast. What takes no time goes on without end.

    >>> rate(8, 2.0), rate(8, 0.0)
    (4.0, inf)
    """
    with np.errstate(divide="ignore"):
        found = np.divide(np.asarray(count, np.float64), seconds, out=out)
    return float(found) if np.ndim(found) == 0 else found


def item_of(tokens: Sequence[str]) -> str:
    """What a throughput counts, in words."""
    return "tokens" if tokens else "items"


def batch(values: Mapping[str, Any], tokens: Sequence[str] = ()) -> Any:
    """What throughput counts, at a point or on a grid; ``tokens`` are the symbols whose product it is in a language model."""
    if tokens and set(tokens) <= set(values):
        return prod(values[name] for name in tokens)
    counted = counts_examples(values)
    return 1 if counted is None else values[counted]


def counts_examples(symbols: Container[str]) -> str | None:
    """The symbol among these that counts examples: n, b or batch; None where there is none."""
    return next((name for name in BATCH if name in symbols), None)

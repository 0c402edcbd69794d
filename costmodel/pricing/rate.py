"""How many a second: at a point, and on a grid."""

from __future__ import annotations

from typing import Any

import numpy as np


def rate(count: Any, seconds: Any, out: np.ndarray | None = None) -> Any:
    """So many in so many seconds, as how many a second: numbers, or arrays that broadcast. What takes no time goes on without end.

    >>> rate(8, 2.0), rate(8, 0.0)
    (4.0, inf)
    """
    with np.errstate(divide="ignore"):
        found = np.divide(np.asarray(count, np.float64), seconds, out=out)
    return float(found) if np.ndim(found) == 0 else found

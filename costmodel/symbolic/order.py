"""The order of handwriting: which symbol comes first in a product or a sum."""

from __future__ import annotations

# Batch, sequence and space, then kernel, channels and groups, the way that shapes and the formulas of a layer are written.
_READING_ORDER = "nbtsdhwkcg"


def rank(name: str) -> int:
    """The place of a symbol among others.

    >>> sorted(["k_h", "c_i", "w", "n", "radius"], key=rank)
    ['n', 'w', 'k_h', 'c_i', 'radius']
    """
    place = _READING_ORDER.find(name.split("_")[0].lower() or "_")  # a name of several letters is no dimension's letter
    return place if place >= 0 else len(_READING_ORDER)

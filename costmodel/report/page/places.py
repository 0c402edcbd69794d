"""Distinct things, said once and known by their place from then on."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

H = TypeVar("H", bound=Hashable)


class Places(dict[H, int]):
    """Thing -> place, in order of first appearance."""

    def of(self, thing: H) -> int:
        """A thing's place; that of a new one is the next."""
        return self.setdefault(thing, len(self))

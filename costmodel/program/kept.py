"""A cost with all that concrete traces told of it, as JSON's dicts and lists and back: what the cache keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costmodel.program.regions import Key
from costmodel.program.serialize import Saved, data_of, key_from, saved_from


@dataclass(frozen=True)
class Kept:
    """What is needed to go on with a cost where it was left.

    saved:  its program and where that was compared.
    where:  by the variables that are fixed there, with their values, the cost that holds, and whether its equations are the same.
    within: points at which one of these holds.
    alone:  the programs of single points.
    alike:  points at which another program has the same equations.
    """

    saved: Saved
    where: tuple[tuple[frozenset[tuple[str, int]], Kept, bool], ...] = ()
    within: tuple[Key, ...] = ()
    alone: tuple[tuple[Key, Saved], ...] = ()
    alike: tuple[Key, ...] = ()


def kept_data(kept: Kept) -> dict[str, Any]:
    """As JSON's dicts and lists."""
    return {"cost": data_of(kept.saved, whole=True),
            "where": [[dict(fixed), kept_data(there), alike] for fixed, there, alike in kept.where],
            "within": list(map(dict, kept.within)), "alike": list(map(dict, kept.alike)),
            "alone": [[dict(point), data_of(saved)] for point, saved in kept.alone]}


def kept_from(data: Any) -> Kept:
    """What :func:`kept_data` was given. Raises as :func:`costmodel.program.serialize.refusals` has it for anything else."""
    return Kept(saved_from(data["cost"], whole=True), tuple(_where(*each) for each in data["where"]),
                tuple(map(key_from, data["within"])), tuple((key_from(point), saved_from(saved)) for point, saved in data["alone"]),
                tuple(map(key_from, data["alike"])))


def _where(fixed: Any, there: Any, alike: Any) -> tuple[frozenset[tuple[str, int]], Kept, bool]:
    if not isinstance(alike, bool) or not fixed:
        raise ValueError("a region is variables with their values, a cost, and true or false")
    return frozenset(key_from(fixed)), kept_from(there), alike

"""Figures of devices that may be axes of a sweep: those that a time depends on, the capacity of the main memory, which conditions
name, and energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.hardware import ENGINES, Energies, Hardware
from costmodel.pricing.clock import figure_of, figure_symbol, unit_of_figure
from costmodel.pricing.core import Symbolic

CAPACITY = "capacity"
_ENERGY = "energy."  # a memory, as energy.DRAM in J/B, or an operation of a type, as energy.mac.float32 in J


def units_of(name: str) -> tuple[str, ...]:
    """The base units in which a figure may be stated; none for what is no figure.

    >>> units_of("bandwidth"), units_of("matrix.int8"), units_of("energy.DRAM")
    (('B/s',), ('FLOP/s', 'OP/s'), ('J', 'J/B'))
    """
    known = {"bandwidth": ("B/s",), "link": ("B/s",), "launch_overhead": ("s",), CAPACITY: ("B",), "energy": ("J",)}
    if name.startswith(_ENERGY):
        return ("J", "J/B")
    return known.get(name, ("FLOP/s", "OP/s") if name.split(".")[0] in ENGINES and "." in name else ())


def axis_unit(name: str) -> str:
    """The base unit of the values along the axis of a figure.

    >>> axis_unit("capacity"), axis_unit("matrix.int8"), axis_unit("energy.DRAM"), axis_unit("energy.mac.float32")
    ('B', 'OP/s', 'J/B', 'J')
    """
    if name.startswith(_ENERGY):  # of an operation of a type, or else of a memory
        return "J" if name.count(".") > 1 else "J/B"
    return "B" if name == CAPACITY else unit_of_figure(name)


def check_figure(device: Hardware, name: str) -> None:
    """Raises CostModelError for what is no figure of the device that a sweep can vary, naming those that are."""
    if name == CAPACITY and device.capacity is not None:
        return
    if name.startswith(_ENERGY):
        if device.energies is None:
            raise CostModelError(f"{device.name} states no energies: vary those of one that does")
        if name not in (stated := _energies(device.energies)):
            raise CostModelError(f"{device.name} states no {name!r}; it has {', '.join(stated)}")
        return
    figure_of(device, name)


def _energies(energies: Energies) -> dict[str, Any]:
    """Where each energy stands, by the name of its axis."""
    return {**{f"{_ENERGY}{memory}": ("memory", memory) for memory in energies.memory},
            **{f"{_ENERGY}{operation}.{dtype}": ("operations", (operation, dtype)) for operation, dtype in energies.operations}}


def joules(cost: Symbolic, device: Hardware, policy: str, figures: Sequence[str]) -> Expr:
    """A program's energy in internal symbols, in which the energies among ``figures`` are symbols too. It is linear in them: what
    it is without them all, and what each adds a joule."""
    from costmodel.pricing.energy import energy

    free = [name for name in figures if name.startswith(_ENERGY)]
    if free and any(e.branch for e in cost.program):
        raise CostModelError(f"{cost.name} has branches, and which one takes the most joules depends on the energies: price "
                             "devices with other energies one by one")

    def total(one: str = "") -> Expr:
        changed = device if not free else replace(device, energies=_with(device.energies, free, one))
        return energy(cost, changed, policy=policy).total

    rest = total()
    return rest + sum((figure_symbol(name) * (total(name) - rest) for name in free), start=rest * 0)


def _with(energies: Any, free: Sequence[str], one: str) -> Energies:
    """The table in which the free energies are 0 J, and this one 1 J."""
    found = {"memory": dict(energies.memory), "operations": dict(energies.operations)}
    for name in free:
        table, key = _energies(energies)[name]
        found[table][key] = replace(found[table][key], value=1.0 if name == one else 0.0)
    return replace(energies, **found)

"""A program's energy on a grid along which a device's energies vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.hardware import Energies, Hardware
from costmodel.pricing.core import Symbolic
from costmodel.pricing.figures import ENERGY, figure_symbol, stated_energies


def joules(cost: Symbolic, device: Hardware, policy: str, figures: Sequence[str]) -> Expr:
    """A program's energy in internal symbols, in which the energies among ``figures`` are symbols too. It is linear in them: what
    it is without them all, and what each adds a joule."""
    from costmodel.pricing.energy import energy

    free = [name for name in figures if name.startswith(ENERGY)]
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
        table, key = stated_energies(energies)[name]
        found[table][key] = replace(found[table][key], value=1.0 if name == one else 0.0)
    return replace(energies, **found)

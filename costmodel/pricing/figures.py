"""Figures of a device by the names that people vary them by: their units, their values, and their symbols in formulas."""

from __future__ import annotations

from typing import Any

from sympy import Symbol

from costmodel.errors import CostModelError
from costmodel.hardware import ENGINES, Energies, Hardware
from costmodel.hardware.schema import INTEGERS
from costmodel.symbolic.forms import symbol

# Figures of a device that a time depends on, beside the peaks "engine.dtype".
FIGURES = {"bandwidth": "B/s", "launch_overhead": "s", "link": "B/s"}
CAPACITY = "capacity"  # of the main memory, which conditions name
ENERGY = "energy."  # of a memory, as energy.DRAM, or of an operation of a type, as energy.mac.float32


def units_of(name: str) -> tuple[str, ...]:
    """The base units in which a figure may be stated, its own first; none for what is no figure.

    >>> units_of("bandwidth"), units_of("capacity"), units_of("matrix.int8"), units_of("matrix.bfloat16")
    (('B/s',), ('B',), ('OP/s', 'FLOP/s'), ('FLOP/s', 'OP/s'))
    >>> units_of("energy.DRAM"), units_of("energy.mac.float32"), units_of("n")
    (('J/B',), ('J',), ())
    """
    if name.startswith(ENERGY):
        return ("J",) if name.count(".") > 1 else ("J/B",)
    engine, dot, dtype = name.partition(".")
    if dot:
        peaks = ("OP/s", "FLOP/s") if dtype in INTEGERS else ("FLOP/s", "OP/s")
        return peaks if engine in ENGINES else ()
    known = FIGURES.get(name, "B" if name == CAPACITY else "")
    return (known,) if known else ()


def figure_of(device: Hardware, name: str) -> float:
    """A figure of a device by name: "bandwidth", "launch_overhead", "link", or a peak as "matrix.bfloat16".

    Raises CostModelError for one that it does not state, naming those that it does.
    """
    peaks = {f"{engine}.{dtype}": figure.value for (engine, dtype), figure in device.peaks.items()}
    stated = {"bandwidth": device.bandwidth.value, **peaks}
    stated["launch_overhead"] = device.launch_overhead.value if device.launch_overhead else 0.0
    if device.links:
        stated["link"] = device.links[0].bandwidth.value
    if name not in stated:
        raise CostModelError(f"{device.name} states no figure {name!r} that time depends on; it has {', '.join(stated)}")
    return stated[name]


def figure_symbol(name: str) -> Symbol:
    """The symbol of a device's figure in a formula: "matrix.bfloat16" is matrix_bfloat16."""
    return symbol(name.replace(".", "_"))


def check_figure(device: Hardware, name: str) -> None:
    """Raises CostModelError for what is no figure of the device that a sweep can vary, naming those that are."""
    if name == CAPACITY and device.capacity is not None:
        return
    if name.startswith(ENERGY):
        if device.energies is None:
            raise CostModelError(f"{device.name} states no energies: vary those of one that does")
        if name not in (stated := stated_energies(device.energies)):
            raise CostModelError(f"{device.name} states no {name!r}; it has {', '.join(stated)}")
        return
    figure_of(device, name)


def stated_energies(energies: Energies) -> dict[str, Any]:
    """Where each energy stands, by the name of its axis."""
    return {**{f"{ENERGY}{memory}": ("memory", memory) for memory in energies.memory},
            **{f"{ENERGY}{operation}.{dtype}": ("operations", (operation, dtype)) for operation, dtype in energies.operations}}

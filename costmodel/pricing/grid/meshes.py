"""The links that a mesh is laid on over a whole grid, which has one form for all of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware
from costmodel.pricing.communication import laid, sent
from costmodel.pricing.core import Symbolic
from costmodel.pricing.grid.axes import Grid
from costmodel.surface import said


def mesh_of(cost: Symbolic, grid: Grid, devices: Sequence[Hardware]) -> tuple[tuple[str, int], ...]:
    """The greatest sizes of the mesh's axes in a grid, by which they are laid on links; none for a program that sends nothing.

    Raises CostModelError where a device has the mesh on other links at other sizes.
    """
    names = [name for name, _ in cost.program.axes]
    if not devices or not names or not sent(cost.kernels("unfused")):
        return ()
    values = [np.unique(np.asarray(grid.values[name])).tolist() for name in names]
    greatest = {name: each[-1] for name, each in zip(names, values, strict=True)}
    for device in devices:
        whole = laid(device, greatest)
        for point in itertools.product(*values):
            sizes = dict(zip(names, point, strict=True))
            if not laid(device, sizes).like(whole):
                raise CostModelError(f"{device.name} has the mesh on other links at {_told(sizes)} than at {_told(greatest)}: "
                                     "sweep such sizes apart, or price the points with "
                                     + said("cost.at(…).roofline(…)", "`costmodel roofline`"))
    return tuple(greatest.items())


def _told(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())

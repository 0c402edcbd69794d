"""A mesh: named axes of devices, whose sizes are symbols of a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from sympy import Expr, Integer, Mul

from costmodel.errors import CostModelError
from costmodel.symbolic.domain import Domain, Variable
from costmodel.symbolic.forms import ONE, symbol

MOST = 2**31 - 1  # devices, as jax counts them


@dataclass(frozen=True)
class Mesh:
    """Axes by name with their sizes where a point gives none, outermost first; those in ``fixed`` have no others."""

    axes: tuple[tuple[str, int], ...]
    fixed: frozenset[str] = frozenset()

    @property
    def sizes(self) -> dict[str, int]:
        """How many devices each axis has, by name."""
        return dict(self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes, in order."""
        return tuple(name for name, _ in self.axes)

    @property
    def devices(self) -> int:
        """Their number where a point gives no size."""
        return prod(size for _, size in self.axes)

    @property
    def count(self) -> Expr:
        """The number of devices in the symbols of the axes that can have other sizes."""
        return Mul(*(Integer(size) if name in self.fixed else symbol(name) for name, size in self.axes))

    def where(self, values: Mapping[str, int]) -> Mesh:
        """The mesh with these sizes of some axes, and no others."""
        return Mesh(tuple((name, values.get(name, size)) for name, size in self.axes), self.fixed | (set(self.names) & set(values)))

    def variables(self, *, fixed: bool = False) -> tuple[Variable, ...]:
        """The axes as variables of a domain, of at least one device each or, if ``fixed``, of their sizes and no others."""
        return tuple(Variable(name, name, ONE, size if fixed or name in self.fixed else 1,
                              size if fixed or name in self.fixed else None, size) for name, size in self.axes)

    def __str__(self) -> str:
        return " x ".join(f"{name}={size}" for name, size in self.axes)


def mesh_of(given: Any) -> Mesh:
    """A mesh from ``{"data": 2, "model": 4}`` or a mesh of jax's. Raises CostModelError for anything else."""
    if isinstance(given, Mesh):
        return given
    shape = given if isinstance(given, Mapping) else getattr(given, "shape", None)
    if not isinstance(shape, Mapping) or not shape:
        raise CostModelError(f"mesh={given!r} is no mesh: give its axes' sizes by name, such as mesh={{'data': 2, 'model': 4}}")
    for name, size in shape.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise CostModelError(f"mesh axis {name!r} needs a name of letters, digits and underscores: it is a symbol of results")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise CostModelError(f"mesh axis {name!r} has {size!r} devices; give an integer of at least 1")
    if prod(shape.values()) > MOST:
        raise CostModelError(f"a mesh of {prod(shape.values()):,} devices is more than jax counts: at most {MOST:,}")
    return Mesh(tuple((str(name), int(size)) for name, size in shape.items()))


def mesh_in(domain: Domain) -> Mesh | None:
    """The mesh whose axes are variables of a domain; None for a program of one device."""
    found = [v for v in domain.variables if v.default is not None]
    axes = tuple((v.symbol, v.default) for v in found if v.default is not None)
    return Mesh(axes, frozenset(v.symbol for v in found if v.lower == v.upper)) if axes else None


def check_names(mesh: Mesh, symbols: Iterable[str]) -> None:
    """Raises CostModelError for an axis that is named like a dimension."""
    both = sorted(set(mesh.names) & set(symbols))
    if both:
        raise CostModelError(f"{both[0]} is a dimension of the program and an axis of the mesh: rename one of them")

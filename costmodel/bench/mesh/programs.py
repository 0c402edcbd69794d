"""Sharded programs by name: those that the rules of :mod:`costmodel.sharding` were developed on, and those that were first compiled
when the rules were there.

A program is a function of its sizes and of what constrains an array (``on(x, "data", None)``): it gives the function, its inputs,
their partitions, and those of its results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from math import gcd
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from costmodel.errors import CostModelError
from costmodel.text import did_you_mean

if TYPE_CHECKING:
    from costmodel.cost import Cost
    from costmodel.sharding.analysis import Sharded

SIZES = {"data": 2, "model": 4}  # the mesh that the stored figures are of
Build = Callable[..., tuple[Any, Any, Any, Any]]


@dataclass(frozen=True)
class Program:
    """A sharded program at a point.

    half: ``developed`` or ``held out``; ``family`` is what kind of program it is.
    """

    name: str
    point: Mapping[str, int]
    build: Build
    half: str
    family: str

    def analyze(self, mesh: Mapping[str, int], dtype: str = "float32") -> Cost:
        """One device's cost, every size a symbol: a multiple of what it has in common with the number of devices."""
        import costmodel.cost as analysis
        from costmodel.sharding.mesh import mesh_of
        from costmodel.symbolic.dimensions import dims

        devices = mesh_of(mesh).devices
        sizes = {size: dims(size, multiple_of=gcd(value, devices)) for size, value in self.point.items()}
        function, specs, into, out = self.build(constraint(mesh), **sizes)
        cost = analysis.analyze(function, *in_type(specs, dtype), mesh=mesh, in_shardings=into, out_shardings=out, verify=False)
        cost.name = self.name
        return cost

    def at(self, mesh: Mapping[str, int], dtype: str = "float32", **point: int) -> Sharded:
        """The program itself with integers for its sizes, those of its point where none are given."""
        from costmodel.sharding.analysis import Sharded
        from costmodel.sharding.mesh import mesh_of
        from costmodel.sharding.requested import Shardings
        from costmodel.trace.requests import request

        function, specs, into, out = self.build(constraint(mesh), **{**self.point, **point})
        return Sharded(request(function, *in_type(specs, dtype)), mesh_of(mesh), Shardings(into, out))


def constraint(mesh: Mapping[str, int]) -> Callable[..., Any]:
    """``on(x, *axes)``: x sharded so over a mesh of these sizes."""
    over = AbstractMesh(tuple(mesh.values()), tuple(mesh), axis_types=(AxisType.Auto,) * len(mesh))
    return lambda x, *axes: lax.with_sharding_constraint(x, NamedSharding(over, PartitionSpec(*axes)))


def in_type(specs: Any, dtype: str) -> Any:
    """Specs whose floating-point arrays have this type."""
    def changed(s: Any) -> Any:
        return jax.ShapeDtypeStruct(s.shape, jnp.dtype(dtype)) if jnp.issubdtype(s.dtype, jnp.floating) else s

    return jax.tree.map(changed, specs)


# -- the list of them -----------------------------------------------------------------------------------------------------------

_PROGRAMS: dict[str, Program] = {}
_FILES = ("developed", "held_out", "unseen")


def programs() -> Mapping[str, Program]:
    """All of them by name, the developed ones first."""
    for file in _FILES:
        import_module(f"costmodel.bench.mesh.{file}")
    return _PROGRAMS


def program(name: str) -> Program:
    """Raises CostModelError for an unknown name, with those there are."""
    found = programs()
    if name not in found:
        raise CostModelError(f"unknown sharded program {name!r};{did_you_mean(name, found)} choose one of {', '.join(found)}")
    return found[name]


def enter(half: str, family: str, /, **point: int) -> Callable[[Build], Build]:
    """Enters a function as the program of its name (without the underscore in front), at a point."""
    def entered(build: Build) -> Build:
        name = build.__name__.removeprefix("_")
        _PROGRAMS[name] = Program(name, point, build, half, family)
        return build
    return entered


# -- what programs are written with ---------------------------------------------------------------------------------------------

P = PartitionSpec
relu = jax.nn.relu


def S(*shape: Any, dtype: str = "float32") -> Any:
    """An abstract array."""
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))


def stepped(loss: Callable[..., Any]) -> Callable[..., Any]:
    """A step of gradient descent."""
    def step(params: Any, *batch: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, *batch)
        return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    return step


def conv(x: Any, w: Any, stride: int = 1) -> Any:
    """A convolution of NHWC images."""
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

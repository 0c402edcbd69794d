"""Collectives: elements that one device puts on the wire, by the bandwidth-optimal ring algorithms, as formulas in the number p
of devices along the axes (Thakur, Rabenseifner & Gropp, *Optimization of collective communication operations in MPICH*, 2005).

>>> from costmodel.rules import golden
>>> golden("psum", "n", axes=("d",), axis_sizes={"d": 8})
'7*n/4 all_reduce, 7*n/8 add'
>>> golden("all_gather", "n", out="m", axis_name="d", axis_sizes={"d": 8})
'7*n all_gather'
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from sympy import Expr, Integer, Rational

from costmodel.forms import ZERO
from costmodel.rules import Eqn, Op, rule, vector
from costmodel.work import OpKind, Work


def _devices(axes: Any, axis_sizes: Mapping[str, int]) -> int:
    """Number of devices along the named axes; positional axes are local."""
    names = axes if isinstance(axes, tuple | list) else (axes,)
    return prod(axis_sizes.get(str(a), 1) for a in names if not isinstance(a, int))


def wire(name: str, dtype: str, elements: Expr) -> Op:
    """``elements`` sent by one device."""
    return OpKind(name, "link", dtype), elements, elements


_REDUCTIONS = {"psum": "add", "psum2": "add", "psum_invariant": "add", "pmax": "max", "pmin": "min", "unreduced_psum": "add"}


@rule(*_REDUCTIONS)
def all_reduce(eqn: Eqn, *, axes, axis_sizes=None, **_) -> Work:
    """2·(p-1)/p of each operand on the wire (reduce-scatter, then all-gather), and (p-1)/p operations."""
    share = Rational(1) - Rational(1, _devices(axes, axis_sizes or {}))
    ops: list[Op] = []
    for a in eqn.ins:
        ops += [wire("all_reduce", a.dtype, 2 * share * a.size), vector(_REDUCTIONS[eqn.primitive], a.dtype, share * a.size)]
    return eqn.work(*ops)


@rule("all_gather", "all_gather_invariant", "all_gather_reduced")
def all_gather(eqn: Eqn, *, axis_name, axis_sizes=None, axis_size=None, **_) -> Work:
    """Each device's part goes round the ring: p - 1 times."""
    p = axis_size or _devices(axis_name, axis_sizes or {})
    return eqn.work(*(wire("all_gather", a.dtype, (p - 1) * a.size) for a in eqn.ins))


@rule("reduce_scatter", "psum_scatter", "unreduced_reduce_scatter")
def reduce_scatter(eqn: Eqn, *, axis_name, axis_sizes=None, axis_size=None, **_) -> Work:
    """(p-1)/p of the operand on the wire, as many operations."""
    share = Rational(1) - Rational(1, axis_size or _devices(axis_name, axis_sizes or {}))
    a = eqn.operand
    return eqn.work(wire("reduce_scatter", a.dtype, share * a.size), vector("add", a.dtype, share * a.size))


@rule("all_to_all")
def all_to_all(eqn: Eqn, *, axis_name, axis_sizes=None, **_) -> Work:
    """Every device keeps 1/p of its operand and sends the rest."""
    share = Rational(1) - Rational(1, _devices(axis_name, axis_sizes or {}))
    return eqn.work(*(wire("all_to_all", a.dtype, share * a.size) for a in eqn.ins))


@rule("ragged_all_to_all", status="bounded", why="how much stays at home is decided at run time: all of it may be sent")
def ragged_all_to_all(eqn: Eqn, **_) -> Work:
    return eqn.work(wire("all_to_all", eqn.operand.dtype, eqn.operand.size))


@rule("precv", status="free", why="what arrives on the wire is counted where it is sent")
def precv(eqn: Eqn, **_) -> Work:
    return eqn.work(read=[ZERO] * len(eqn.ins))


@rule("ppermute", "pbroadcast", "collective_permute", "psend")
def ppermute(eqn: Eqn, **_) -> Work:
    """The whole operand, once, to one neighbour."""
    return eqn.work(*(wire("permute", a.dtype, a.size) for a in eqn.ins))


@rule("axis_index", "axis_size", status="free", why="a device knows its place")
def axis_index(eqn: Eqn, **_) -> Work:
    return eqn.work(read=[ZERO] * len(eqn.ins))


@rule("pcast", "reduced_vary_cast", "vary_unreduced_cast", "preduced", "core_pmap_view", status="free",
      why="a change of the type system's view of a sharded value")
def cast(eqn: Eqn, **_) -> Work:
    return eqn.work(read=[Integer(0)] * len(eqn.ins), written=[Integer(0)] * len(eqn.outs))

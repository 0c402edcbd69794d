"""Collectives: elements that one device puts on the wire, by the bandwidth-optimal ring algorithms, as formulas in the number p
of devices along the axes (Thakur, Rabenseifner & Gropp, *Optimization of collective communication operations in MPICH*, 2005).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Expr, Integer, Mul

from costmodel.rules import Eqn, Op, golden, rule, touched, vector  # noqa: F401 (golden, touched: for the doctests)
from costmodel.rules.params import Collective
from costmodel.rules.work import OpKind, Work
from costmodel.symbolic.forms import ZERO
from costmodel.symbolic.translate import internal


def _devices(axes: Any, axis_sizes: Mapping[str, int | Expr] | None, groups: Any = None) -> Expr:
    """Number of devices that take part: along the named axes, whose sizes are integers or symbols, or in a group; positional axes
    are local."""
    if groups is not None:
        return Integer(len(groups[0]))
    names = axes if isinstance(axes, tuple | list) else (axes,)
    return Mul(*(internal((axis_sizes or {}).get(str(a), 1)) for a in names if not isinstance(a, int)))


def _share(devices: Expr) -> Expr:
    """(p - 1)/p: what does not stay at home."""
    return 1 - 1 / devices


def wire(name: str, dtype: str, elements: Expr) -> Op:
    """``elements`` sent by one device."""
    elements = elements.expand()
    return OpKind(name, "link", dtype), elements, elements


_REDUCTIONS = {"psum": "add", "psum2": "add", "psum_invariant": "add", "unreduced_psum": "add", "psum_start": "add",
               "psum_invariant_start": "add", "unreduced_psum_start": "add", "pmax": "max", "pmin": "min", "unreduced_pmax": "max",
               "unreduced_pmin": "min"}


@rule(*_REDUCTIONS, params=Collective.of)
def all_reduce(eqn: Eqn, *, axes, axis_sizes=None, axis_index_groups=None, **_) -> Work:
    """2·(p-1)/p of each operand on the wire (reduce-scatter, then all-gather), and an operation an element, as XLA counts it: a
    device adds to each but the p-th part that starts there, which is no whole number of a scalar.

    >>> golden("psum", "n", axes=("d",), axis_sizes={"d": 8}), golden("pmax", "n", axes=("d",), axis_sizes={"d": 2})
    ('7*n/4 all_reduce, n add', 'n all_reduce, n max')
    """
    devices = _devices(axes, axis_sizes, axis_index_groups)
    ops: list[Op] = []
    for a in eqn.ins:
        ops += [wire("all_reduce", a.dtype, 2 * _share(devices) * a.size),
                vector(_REDUCTIONS[eqn.primitive], a.dtype, ZERO if devices == 1 else a.size)]
    return eqn.work(*ops)


@rule("all_gather", "all_gather_invariant", "all_gather_reduced", "all_gather_start", "all_gather_reduced_start",
      params=Collective.of)
def all_gather(eqn: Eqn, *, axis_name, axis_sizes=None, axis_index_groups=None, **_) -> Work:
    """Each device's part goes round the ring: p - 1 times.

    >>> golden("all_gather", "n", out="8*n", axis_name="d", axis_sizes={"d": 8})
    '7*n all_gather'
    """
    p = _devices(axis_name, axis_sizes, axis_index_groups)
    return eqn.work(*(wire("all_gather", a.dtype, (p - 1) * a.size) for a in eqn.ins))


@rule("reduce_scatter", "psum_scatter", "unreduced_reduce_scatter", "reduce_scatter_start", "unreduced_reduce_scatter_start",
      params=Collective.of)
def reduce_scatter(eqn: Eqn, *, axis_name, axis_sizes=None, axis_index_groups=None, **_) -> Work:
    """(p-1)/p of the operand on the wire, as many operations.

    >>> golden("reduce_scatter", "8*n", out="n", axis_name="d", axis_sizes={"d": 8})
    '7*n reduce_scatter, 7*n add'
    """
    share, a = _share(_devices(axis_name, axis_sizes, axis_index_groups)), eqn.operand
    return eqn.work(wire("reduce_scatter", a.dtype, share * a.size), vector("add", a.dtype, (share * a.size).expand()))


@rule("all_to_all", "all_to_all_start", params=Collective.of)
def all_to_all(eqn: Eqn, *, axis_name, axis_sizes=None, axis_index_groups=None, **_) -> Work:
    """Every device keeps 1/p of its operand and sends the rest.

    >>> golden("all_to_all", "8 n", axis_name="d", axis_sizes={"d": 8})
    '7*n all_to_all'
    """
    share = _share(_devices(axis_name, axis_sizes, axis_index_groups))
    return eqn.work(*(wire("all_to_all", a.dtype, share * a.size) for a in eqn.ins))


@rule("ragged_all_to_all", params=Collective.of, status="bounded",
      why="how much stays at home is decided at run time: all of it may be sent")
def ragged_all_to_all(eqn: Eqn, **_) -> Work:
    """
    >>> golden("ragged_all_to_all", "n c", "m c", *["int32[8]"] * 4, out="m c")
    'c*n all_to_all'
    """
    return eqn.work(wire("all_to_all", eqn.operand.dtype, eqn.operand.size))


@rule("ppermute", "ppermute_start", "psend", params=Collective.of)
def ppermute(eqn: Eqn, **_) -> Work:
    """The whole operand, once, of a device that has a partner.

    >>> golden("ppermute", "n", axis_name="d", perm=((0, 1), (2, 3)), axis_sizes={"d": 8})
    'n permute'
    """
    return eqn.work(*(wire("permute", a.dtype, a.size) for a in eqn.ins if a.dtype != "float0"))


@rule("halo_exchange", params=Collective.of)
def halo_exchange(eqn: Eqn, *, axis_name, axis_sizes=None, **_) -> Work:
    """The border of a neighbour's shard, which a window over a sharded dimension reaches into: the result, from each device but
    the last along the axis.

    >>> golden("halo_exchange", "n c", out="2 c", axis_name="d", axis_sizes={"d": 8})
    '7*c/4 halo'
    """
    share = _share(_devices(axis_name, axis_sizes))
    return eqn.work(wire("halo", eqn.out.dtype, share * eqn.out.size), read=[eqn.out.size])


@rule("pbroadcast", "pbroadcast_start", "pbroadcast_dynamic", params=Collective.of)
def pbroadcast(eqn: Eqn, *, axis_name, axis_sizes=None, **_) -> Work:
    """p - 1 copies leave one device: (p-1)/p of the operand in the mean over the devices.

    >>> golden("pbroadcast", "n", axis_name="d", axis_sizes={"d": 8})
    '7*n/8 broadcast'
    """
    a = eqn.operand
    return eqn.work(wire("broadcast", a.dtype, _share(_devices(axis_name, axis_sizes)) * a.size))


@rule("psum_done", "all_gather_done", "reduce_scatter_done", "all_to_all_done", "ppermute_done", "pbroadcast_done", "precv",
      status="free", why="what arrives on the wire is counted where it is sent")
def arrival(eqn: Eqn, **_) -> Work:
    """
    >>> touched("psum_done", "n")
    'reads 0; writes n'
    """
    return eqn.work(read=[ZERO] * len(eqn.ins))


@rule("axis_index", "axis_size", status="free", why="a device knows its place")
def axis_index(eqn: Eqn, **_) -> Work:
    """
    >>> touched("axis_index", out="int32[]")
    'reads nothing; writes 1'
    """
    return eqn.work(read=[ZERO] * len(eqn.ins))


@rule("pcast", "reduced_vary_cast", "reduced_vary_cast_p", "vary_unreduced_cast", "vary_unreduced_cast_p", "preduced",
      "core_pmap_view", status="free", why="a change of the type system's view of a sharded value")
def cast(eqn: Eqn, **_) -> Work:
    """
    >>> touched("pcast", "n")
    'reads 0; writes 0'
    """
    return eqn.work(read=[ZERO] * len(eqn.ins), written=[ZERO] * len(eqn.outs))

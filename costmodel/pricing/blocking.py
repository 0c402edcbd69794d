"""What must cross the main memory's border where the nearer memory is small: a bound on the traffic of products and convolutions.

A fusion policy moves each operand of a kernel once, as if nearer memory held whatever is used again. With room for S elements
there, a product or convolution of ``MACs`` multiply-accumulates moves at least

    2 · MACs / √(R · S) - 2 · S    elements,

whatever its tiles and the order of its loops. R is how often a convolution uses an element of its image for each of its filters:
⌈k_h / stride⌉ · ⌈k_w / stride⌉; 1 for a product. In a phase that moves 2·S elements no more than 3·S different ones are at hand, so
that by Loomis and Whitney at most √(R·S·S·S) products are made of them. Products: T. M. Smith et al., "A Tight I/O Lower Bound for
Matrix Multiplication", 2019, arXiv:1702.02017 (after Hong and Kung, 1981); R: X. Chen et al., "Communication Lower Bound in
Convolution Accelerators", HPCA 2020.

The bound is of kernels that make one product or convolution of operands that they read, and write a result of its size; of all
others, and wherever it is below, what the policy moves stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np
from sympy import Expr, Max, Rational
from sympy import sqrt as root

from costmodel.errors import CostModelError
from costmodel.fusion import Kernel, plan
from costmodel.hardware import Hardware
from costmodel.pricing.core import Symbolic
from costmodel.pricing.workload import Counts
from costmodel.rules.params import Contraction, Convolution
from costmodel.rules.work import Equation, total
from costmodel.surface import number, option
from costmodel.symbolic.forms import ZERO, symbol


@dataclass(frozen=True)
class Blocked:
    """A kernel's one product or convolution: its multiply-accumulates a run, R, and bytes of its narrowest element."""

    macs: Expr
    reuse: int
    width: Rational

    def least(self, macs: float, capacity: float) -> float:
        """Bytes at least, of so many multiply-accumulates, with so many bytes of nearer memory."""
        words = capacity / float(self.width)
        return float(self.width) * max(2 * macs / sqrt(self.reuse * words) - 2 * words, 0.0)

    @property
    def room(self) -> Rational:
        """Bytes that the least tile takes: an element of each operand and one of the result."""
        return 3 * self.width

    def form(self, capacity: Expr) -> Expr:
        """The same as a closed form; it may be negative."""
        return 2 * self.macs * self.width * root(self.width / self.reuse) / root(capacity) - 2 * capacity


def blocked(kernel: Kernel) -> Blocked | None:
    """What of a kernel the bound is of; None where it is of nothing."""
    sizes: list[tuple[Expr, int]] = []
    computing = [e for e in (*kernel.equations, *kernel.again) if any(kind.name == "mac" for kind, _, _ in e.work.ops)]
    if len(computing) != 1 or (reuse := _reuse(computing[0])) is None:
        return None
    e = computing[0]
    across = [(count.expand(), v.array.bits) for v, count in kernel.reads]
    for size in (v.array.size.expand() for v in e.ins[:2]):
        match = next((each for each in across if each[0] == size), None)
        if match is None:
            return None
        across.remove(match)
        sizes.append(match)
    written = next(((count, v.array.bits) for v, count in kernel.writes if count.expand() == e.outs[0].array.size.expand()), None)
    if written is None:
        return None
    width = Rational(min(bits for _, bits in (*sizes, written)), 8)
    return Blocked(total(valid for kind, _, valid in e.work.ops if kind.name == "mac"), reuse, width)


def _reuse(e: Equation) -> int | None:
    if isinstance(e.params, Contraction):
        return 1
    if not isinstance(e.params, Convolution):
        return None
    taps = [e.ins[1].array.shape[axis] for axis in e.params.kernel[2:]]
    if not all(size.is_Integer for size in (*taps, *e.params.strides)):
        return None
    found = 1
    for size, stride, holes in zip(taps, e.params.strides, e.params.image_dilation, strict=True):
        found *= ceil(int(size) / int(stride)) if holes == 1 else int(size)
    return found


def near_bytes(device: Hardware, near: str | float) -> float:
    """The capacity of a device's memory by name ("SRAM"), or so many bytes. Raises CostModelError for a name that it has not."""
    if not isinstance(near, str):
        if number(near, "nearer memory", "near=262144, or the name of one") <= 0:
            raise CostModelError(f"{option('near', near)} is no capacity: give the bytes of a memory, or the name of one")
        return float(near)
    found = {level.name: level.capacity.value for level in device.levels}
    if near not in found:
        raise CostModelError(f"{device.name} states no nearer memory {near!r}; it has {', '.join(found) or 'none'}: "
                             "name one, or give bytes")
    return found[near]


def crossing(cost: Symbolic, near: str | int = "S", *, policy: str = "layer") -> Expr:
    """Bytes at least that cross the main memory's border under a policy, in closed form, with ``near`` bytes of nearer memory: a
    number, or the name of a symbol. Raises CostModelError for fewer bytes than the least tile takes.

    >>> import jax.numpy as jnp
    >>> import costmodel as cm
    >>> m, n, k = cm.dims("m n k")
    >>> crossing(cm.analyze(jnp.matmul, (m, k), (k, n)))
    Max(-2*S + 16*k*m*n/sqrt(S), 4*k*m + 4*k*n + 4*m*n)
    """
    if isinstance(near, str) and near in cost.symbols:
        raise CostModelError(f"{near} is a symbol of {cost.name}: give near= another name")
    capacity = symbol(near) if isinstance(near, str) else Rational(near)
    return total([_crossing(kernel, capacity, cost) for kernel in plan(cost.program, policy)] or [ZERO])


def _crossing(kernel: Kernel, capacity: Expr, cost: Symbolic) -> Expr:
    found, moved = blocked(kernel), cost.evaluate(kernel.bytes)
    if found is None:
        return cost.evaluate(kernel.times) * moved
    if capacity.is_number:
        _check_room([found], float(capacity))
    shown = Blocked(cost.evaluate(found.macs), found.reuse, found.width)
    return cost.evaluate(kernel.times) * Max(moved, shown.form(capacity), evaluate=False)


def nearer(counts: Counts, kernels: Sequence[Kernel], capacity: float) -> Counts:
    """The counts at a point with so many bytes of nearer memory: no kernel moves less than the bound. Raises CostModelError where
    not even the least tile has room there."""
    bounds = [(i, found) for i, kernel in enumerate(kernels) if (found := blocked(kernel)) is not None]
    _check_room([found for _, found in bounds], capacity)
    macs = np.zeros_like(counts.bytes)
    for kind, which, ops in counts.ops:
        if kind.name == "mac":
            macs[which] += ops
    moved = counts.bytes.copy()
    for i, found in bounds:
        moved[i] = np.maximum(moved[i], found.least(float(macs[i, 0]), capacity))
    return replace(counts, bytes=moved)


def _check_room(found: Sequence[Blocked], capacity: float) -> None:
    needed = max((each.room for each in found), default=0)
    if capacity < needed:
        raise CostModelError(f"a nearer memory of {capacity:g} B has no room for an element of each operand and one of the result: "
                             f"give one of at least {float(needed):g} B, such as 256KiB")

"""Kernels that are predicted by the shape of their product, where a device file says how long products of a type take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sympy import Expr, Mul

from costmodel.hardware import Hardware
from costmodel.pricing.tiles import Products, products_of
from costmodel.rules.params import Contraction
from costmodel.rules.work import Equation, OpKind


@dataclass(frozen=True)
class Matmul:
    """What a kernel multiplies: ``batch`` products of m × k by k × n, all of its operations of the ``kind``."""

    kind: OpKind
    m: Expr
    n: Expr
    k: Expr
    batch: Expr

    @property
    def sizes(self) -> tuple[Expr, Expr, Expr, Expr]:
        """m, n, k and the batch."""
        return self.m, self.n, self.k, self.batch


def matmul_of(equations: Iterable[Equation]) -> Matmul | None:
    """The one product that equations of a kernel make, each element of it once; None where there is none, or several."""
    found = [e for e in equations if any(kind.name == "mac" for kind, _, _ in e.work.ops)]
    if len(found) != 1 or not isinstance(found[0].params, Contraction):
        return None
    macs = [(kind, valid) for kind, _, valid in found[0].work.ops if kind.engine == "matrix"]
    sizes = sizes_of(found[0])
    return Matmul(macs[0][0], *sizes) if len(macs) == 1 and (Mul(*sizes) - macs[0][1]).expand() == 0 else None


def sizes_of(dot: Equation) -> tuple[Expr, Expr, Expr, Expr]:
    """m, n, k and the batch of a contraction."""
    assert isinstance(dot.params, Contraction)
    sizes = []
    for operand, contracting, batch in zip(dot.ins[:2], dot.params.contracting, dot.params.batch, strict=True):
        shape = operand.array.shape
        rest = [axis for axis in range(len(shape)) if axis not in {*contracting, *batch}]
        sizes.append(tuple(Mul(*(shape[axis] for axis in axes)).expand() for axes in (rest, contracting, batch)))
    (m, k, count), (n, _, _) = sizes
    return m, n, k, count


def calibrated(device: Hardware, runs_as: str) -> Products | None:
    """How a device computes products in a format, if its file says."""
    found = next((each for each in device.products if each.dtype == runs_as), None)
    return None if found is None else products_of(device, found)



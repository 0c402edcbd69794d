"""Sparse arrays of ``jax.experimental.sparse``: what is stored counts, zeros that are not stored never do.

A BCOO array of a shape (batch, sparse, dense) is its data [batch, nse, dense] and its indices [batch, nse, number of sparse
dimensions]; a BCSR one has the columns and the starts of rows instead, COO and CSR are the same of matrices. ``nse`` is the number
of stored elements, a shape: where fewer of them are used because of the data, it bounds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sympy import Expr, Mul

from costmodel.rules import Eqn, Op, golden, multiply_accumulate, rule, touched, vector  # noqa: F401 (golden, touched: for the doctests)
from costmodel.rules.work import Array, Work
from costmodel.symbolic.forms import CeilLog2, at_most
from costmodel.symbolic.translate import internal

_BY_NSE = "which elements are stored, and which of them meet, depends on the data: nse bounds them"


def _without(shape: tuple[Expr, ...], axes: Iterable[int]) -> Expr:
    """The product of the dimensions that are not among ``axes``."""
    return Mul(*(d for i, d in enumerate(shape) if i not in axes))


def _entries(data: Array, batch: int, shape: Any) -> Expr:
    """Stored elements of an array of that shape with so many batch dimensions, over which its data may be broadcast."""
    return Mul(*(internal(d) for d in shape[:batch]), *data.shape[batch:]).expand()


def _met(eqn: Eqn, dense: Array, elements: Expr) -> list[Expr]:
    """Elements read where an operand of three is ``dense``, of which so many are met: each is read once."""
    return [at_most(elements.expand(), a.size, eqn.assumptions) if a is dense else a.size for a in eqn.ins]


def _product(eqn: Eqn, data: Array, dense: Array, stored: Expr, others: Expr) -> Work:
    """Each stored element meets ``others`` elements of the dense operand."""
    return eqn.work(multiply_accumulate(data.dtype, (stored * others).expand(), accumulate=eqn.out.dtype),
                    read=_met(eqn, dense, stored * others))


@rule("bcoo_dot_general", "bcsr_dot_general")
def sparse_dot(eqn: Eqn, *, dimension_numbers, lhs_spinfo, **_) -> Work:
    """Each stored element once for every element of the other operand's dimensions that are neither contracted nor batch.

    >>> from jax.experimental.sparse.util import SparseInfo
    >>> product = {"dimension_numbers": (((1,), (0,)), ((), ())), "lhs_spinfo": SparseInfo((9, 8))}
    >>> golden("bcoo_dot_general", "e", "int32[e 2]", "8 n", out="9 n", **product)
    'e*n mac'
    >>> touched("bcoo_dot_general", "5", "int32[5 2]", "8 n", out="9 n", **product)
    'reads 5, 10, 5*n; writes 9*n'
    """
    data, indices, dense = eqn.ins[0], eqn.ins[1], eqn.ins[-1]
    (_, contracted), (_, batch) = dimension_numbers
    stored = _entries(data, len(indices.shape) - (2 if eqn.primitive == "bcoo_dot_general" else 1), lhs_spinfo.shape)
    return _product(eqn, data, dense, stored, _without(dense.shape, (*contracted, *batch)))


@rule("coo_matvec", "coo_matmat", "csr_matvec", "csr_matmat", "coo_spmv", "coo_spmm", "csr_spmv", "csr_spmm")
def sparse_matrix_product(eqn: Eqn, **_) -> Work:
    """Each stored element once for every column of the dense operand.

    >>> golden("csr_matvec", "e", "int32[e]", "int32[m]", "k", out="m"), golden("coo_matmat", "e", "e", "e", "k n", out="m n")
    ('e mac', 'e*n mac')
    """
    data, dense = eqn.ins[0], eqn.ins[3]
    return _product(eqn, data, dense, data.size, Mul(*dense.shape[1:]))


@rule("bcoo_dot_general_sampled")
def sampled_dot(eqn: Eqn, *, dimension_numbers, **_) -> Work:
    """The elements of a dense product that are stored: each a sum over the contracted dimensions. Beyond products of two matrices
    or two vectors jax makes the whole product and then takes what is stored.

    >>> product = {"dimension_numbers": (((1,), (0,)), ((), ()))}
    >>> golden("bcoo_dot_general_sampled", "m k", "k n", "int32[e 2]", out="e", **product)
    'e*k mac'
    >>> golden("bcoo_dot_general_sampled", "m k", "k n p", "int32[e 3]", out="e", **product)
    'k*m*n*p mac'
    """
    left, right, indices = eqn.ins
    (contracted, contracted_r), (batch, batch_r) = dimension_numbers
    batches, sparse = len(indices.shape) - 2, indices.shape[-1]
    ranks = len(left.shape), len(right.shape)
    sampled = batches + sparse == 2 and batches < 2 and not batch and ranks == (len(contracted) + 1,) * 2 and len(contracted) < 2
    results = eqn.out.size if sampled else left.size / Mul(*(left.shape[d] for d in contracted)) * _without(
        right.shape, (*contracted_r, *batch_r))
    depth = Mul(*(left.shape[d] for d in contracted))
    return eqn.work(multiply_accumulate(left.dtype, (results * depth).expand(), accumulate=eqn.out.dtype),
                    read=[at_most((eqn.out.size * depth).expand(), a.size, eqn.assumptions) if sampled else a.size
                          for a in (left, right)] + [indices.size])


@rule("bcoo_spdot_general", status="bounded", why=_BY_NSE)
def sparse_sparse_dot(eqn: Eqn, *, dimension_numbers, **_) -> Work:
    """jax compares the contracted indices of every pair of stored elements and multiplies all pairs; then it sorts the results by
    their places and adds those of one place.

    >>> golden("bcoo_spdot_general", "e", "int32[e 2]", "f", "int32[f 2]", out=("8", "int32[8 2]"),
    ...        dimension_numbers=(((1,), (0,)), ((), ())))
    'e*f mac, 2*e*f*CeilLog2(e*f) + e*f compare'
    """
    left, left_indices, right, right_indices = eqn.ins
    (contracted, _), _ = dimension_numbers
    pairs = Mul(*eqn.out.shape[:-1], left.shape[-1], right.shape[-1]).expand()
    per_line = (left.shape[-1] * right.shape[-1]).expand()
    kept = left_indices.shape[-1] + right_indices.shape[-1] - 2 * len(contracted)
    return eqn.work(multiply_accumulate(left.dtype, pairs, accumulate=eqn.out.dtype),
                    vector("compare", left_indices.dtype, (pairs * (len(contracted) + kept * CeilLog2(per_line))).expand()))


def _sorted(indices: Array) -> Op:
    """Comparisons to sort stored elements by their indices: n ⌈log₂ n⌉ of all the indices (see the rule of ``sort``)."""
    return vector("compare", indices.dtype, (indices.size * CeilLog2(indices.shape[-2])).expand())


@rule("bcoo_sort_indices", status="bounded", why="comparisons depend on the data: n ⌈log₂ n⌉ is merge sort's upper bound")
def sort_indices(eqn: Eqn, **_) -> Work:
    """
    >>> golden("bcoo_sort_indices", "1024", "int32[1024 2]", out=("1024", "int32[1024 2]"))
    '20480 compare'
    """
    return eqn.work(_sorted(eqn.ins[1]))


@rule("bcoo_sum_duplicates", status="bounded", why=_BY_NSE)
def sum_duplicates(eqn: Eqn, **_) -> Work:
    """Sorts the indices, and adds what has the same ones.

    >>> golden("bcoo_sum_duplicates", "1024", "int32[1024 2]", out=("9", "int32[9 2]"))
    '20480 compare, 1024 add'
    """
    data, indices = eqn.ins
    return eqn.work(_sorted(indices), vector("add", data.dtype, data.size))


@rule("bcoo_fromdense", "bcsr_fromdense", "coo_fromdense", "csr_fromdense", status="bounded", why=_BY_NSE)
def from_dense(eqn: Eqn, *, n_batch: int = 0, n_dense: int = 0, **_) -> Work:
    """Compares every element with zero, finds the places of what is stored by a running count, and takes it. With dense dimensions
    what differs from zero anywhere in them is stored whole.

    >>> golden("bcoo_fromdense", "m k", out=("e", "int32[e 2]"))
    'k*m compare, k*m - 1 add'
    """
    size, rank = eqn.operand.size, len(eqn.operand.shape)
    cells = Mul(*eqn.operand.shape[:rank - n_dense])
    lines = Mul(*eqn.operand.shape[:n_batch])
    return eqn.work(vector("compare", eqn.operand.dtype, size), vector("or", "bool", (size - cells).expand()),
                    vector("add", "int32", (cells - lines).expand()))


@rule("bcoo_todense", "bcsr_todense", "coo_todense", "csr_todense", "todense")
def to_dense(eqn: Eqn, **_) -> Work:
    """Fresh zeros, to which each stored element is added at its place.

    >>> golden("bcoo_todense", "e", "int32[e 2]", out="m k"), touched("bcoo_todense", "e", "int32[e 2]", out="m k")
    ('e add', 'reads e, 2*e; writes k*m')
    """
    return eqn.work(vector("add", eqn.out.dtype, eqn.operand.size))


@rule("bcoo_extract", "bcsr_extract", traits=("indexed", "move"), status="free", why="moves data, computes nothing")
def extract(eqn: Eqn, **_) -> Work:
    """Reads what is stored, and the indices, the first operands.

    >>> touched("bcoo_extract", "int32[5 2]", "8 9", out="5")
    'reads 10, 5; writes 5'
    """
    *indices, dense = eqn.ins
    return eqn.work(read=[*(i.size for i in indices), at_most(eqn.out.size, dense.size, eqn.assumptions)])


@rule("bcoo_transpose", traits="copy", status="free", why="moves data, computes nothing")
def transpose(eqn: Eqn, **_) -> Work:
    """Other columns of the indices; the data as they are, or with their batch and dense dimensions in another order.

    >>> touched("bcoo_transpose", "e", "int32[e 2]", out=("e", "int32[e 2]"))
    'reads e, 2*e; writes e, 2*e'
    """
    return eqn.work()

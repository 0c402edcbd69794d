"""Indexing and ordering: costed by what is touched, never by the whole operand; comparisons of sorts as upper bounds."""

from __future__ import annotations

from sympy import Add

from costmodel.rules import Eqn, golden, real_dtype, rule, touched, vector  # noqa: F401 (golden, touched: for the doctests)
from costmodel.rules.params import Along, Largest, Places
from costmodel.rules.work import Work
from costmodel.symbolic.forms import ZERO, CeilLog2, at_most

_SCATTERS = {"scatter-add": "add", "scatter_add": "add", "scatter-sub": "sub", "scatter_sub": "sub", "scatter-mul": "mul",
             "scatter_mul": "mul", "scatter-min": "min", "scatter_min": "min", "scatter-max": "max", "scatter_max": "max"}


@rule("gather", traits="gather", status="free", why="moves data, computes nothing", params=Places.of)
@rule("dynamic_slice", traits=("indexed", "move"), status="free", why="moves data, computes nothing")
def gather(eqn: Eqn, **_) -> Work:
    """Reads one operand element per output element, each of them once, and the indices.

    >>> touched("gather", "2*n d", "int32[n 1]", out="n d"), touched("gather", "3 d", "int32[5 1]", out="5 d")
    ('reads d*n, n; writes d*n', 'reads 3*d, 5; writes 5*d')
    >>> touched("dynamic_slice", "v d", "int32[]", "int32[]", out="1 d")
    'reads d, 1, 1; writes d'
    """
    return eqn.work(read=[at_most(eqn.out.size, eqn.operand.size, eqn.assumptions), *(i.size for i in eqn.ins[1:])])


@rule("dynamic_update_slice", traits="update", status="free", why="moves data, computes nothing")
def dynamic_update_slice(eqn: Eqn, **_) -> Work:
    """Writes the update into its place; the rest of the operand is not touched.

    >>> touched("dynamic_update_slice", "v d", "1 d", "int32[]", "int32[]")
    'reads 0, d, 1, 1; writes d'
    """
    update = eqn.ins[1]
    return eqn.work(read=[ZERO, *(i.size for i in eqn.ins[1:])], written=[update.size])


@rule("scatter", traits="scatter", params=Places.of, status="free", why="moves data, computes nothing")
def scatter(eqn: Eqn, **_) -> Work:
    """Writes the updates into their places.

    >>> touched("scatter", "v d", "int32[n 1]", "n d")
    'reads 0, n, d*n; writes d*n'
    """
    indices, updates = eqn.ins[1], eqn.ins[2]
    return eqn.work(read=[ZERO, indices.size, updates.size], written=[updates.size])


@rule(*_SCATTERS, traits="scatter", params=Places.of)
def scatter_combine(eqn: Eqn, **_) -> Work:
    """One operation an update, on the element it meets: that element is read, combined and written.

    >>> golden("scatter-add", "v d", "int32[n 1]", "n d"), touched("scatter-add", "v d", "int32[n 1]", "n d")
    ('d*n add', 'reads d*n, n, d*n; writes d*n')
    """
    indices, updates = eqn.ins[1], eqn.ins[2]
    name, dtype = _SCATTERS[eqn.primitive], eqn.operand.dtype
    real = {"add": 2, "sub": 2, "mul": 6}.get(name, 1) if real_dtype(dtype) != dtype else 1
    return eqn.work(vector(name, dtype, real * updates.size), read=[updates.size, indices.size, updates.size],
                    written=[updates.size])


@rule("sort", traits="sort", params=Along.of, status="bounded",
      why="comparisons depend on the data: n ⌈log₂ n⌉ a line is merge sort's upper bound")
def sort(eqn: Eqn, *, dimension: int, num_keys: int = 1, **_) -> Work:
    """Knuth, The Art of Computer Programming 3, 5.2.4: merging n elements takes ⌈log₂ n⌉ passes of at most n comparisons.

    >>> golden("sort", "n 1024", dimension=1), golden("sort", "n", "n", out=("n", "n"), dimension=0, num_keys=2)
    ('10240*n compare', '2*n*CeilLog2(n) compare')
    """
    levels = CeilLog2(eqn.operand.shape[dimension])
    return eqn.work(vector("compare", eqn.operand.dtype, (num_keys * eqn.operand.size * levels).expand()))


@rule("top_k", "approx_top_k", params=Largest.of, status="bounded",
      why="comparisons depend on the data: a tree of the k kept takes at most 1 + ⌈log₂ k⌉ an element")
def top_k(eqn: Eqn, **_) -> Work:
    """Each element is compared with the least of the k kept; one that is larger replaces it in their tree of losers, whose ⌈log₂ k⌉
    levels are played again (Knuth, The Art of Computer Programming 3, 5.4.1).

    >>> golden("top_k", "n 1024", out=("n 8", "int32[n 8]"))
    '4096*n compare'
    """
    axis = next((i for i, (a, b) in enumerate(zip(eqn.operand.shape, eqn.out.shape, strict=True)) if a != b), -1)
    return eqn.work(vector("compare", eqn.operand.dtype, (eqn.operand.size * Add(1, CeilLog2(eqn.out.shape[axis]))).expand()))


@rule("get", "ref_get", status="free", why="moves data, computes nothing")
def get(eqn: Eqn, **_) -> Work:
    """Reads what it returns from a mutable reference.

    >>> touched("get", "v d", "int32[]", out="d")
    'reads d, 1; writes d'
    """
    return eqn.work(read=[eqn.out.size, *(i.size for i in eqn.ins[1:])])


@rule("swap", "ref_swap", status="free", why="moves data, computes nothing")
def swap(eqn: Eqn, **_) -> Work:
    """Writes a value into a mutable reference and returns what was there: an operand that is read and written, and a result.

    >>> touched("swap", "v d", "d", "int32[]", out="d")
    'reads 2*d, d, 1; writes d'
    """
    return eqn.work(read=[2 * eqn.out.size, *(i.size for i in eqn.ins[1:])])


@rule("ref_set", status="free", why="moves data, computes nothing")
def ref_set(eqn: Eqn, **_) -> Work:
    """A ``swap`` whose result nobody reads: it writes into a mutable reference.

    >>> touched("ref_set", "v d", "d", "int32[]", out=())
    'reads d, d, 1; writes nothing'
    """
    return eqn.work(read=[eqn.ins[1].size, *(i.size for i in eqn.ins[1:])])


@rule("addupdate", "ref_addupdate", "accum_grad_in_ref")
def addupdate(eqn: Eqn, **_) -> Work:
    """Adds a value into a mutable reference: an operand that is read and written, for there is no result.

    >>> golden("addupdate", "v d", "d", "int32[]", out=()), touched("addupdate", "v d", "d", "int32[]", out=())
    ('d add', 'reads 2*d, d, 1; writes nothing')
    """
    value = eqn.ins[1]
    return eqn.work(vector("add", value.dtype, value.size), read=[2 * value.size, *(i.size for i in eqn.ins[1:])],
                    written=[value.size] * len(eqn.outs))

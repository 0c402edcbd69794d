"""Indexing and ordering: costed by what is touched, never by the whole operand; comparisons of sorts as upper bounds.

>>> from costmodel.rules import golden
>>> golden("dynamic_slice", "v d", "", "", out="1 d")
''
>>> golden("scatter-add", "v d", "n 1", "n d", out="v d")
'd*n add'
>>> golden("sort", "n 1024", dimension=1, num_keys=1)
'10240*n compare'
"""

from __future__ import annotations

from sympy import Add

from costmodel.rules import Eqn, real_dtype, rule, vector
from costmodel.rules.params import Along
from costmodel.rules.work import Work
from costmodel.symbolic.forms import ZERO, CeilLog2

_SCATTERS = {"scatter-add": "add", "scatter_add": "add", "scatter-sub": "sub", "scatter_sub": "sub", "scatter-mul": "mul",
             "scatter_mul": "mul", "scatter-min": "min", "scatter_min": "min", "scatter-max": "max", "scatter_max": "max"}


@rule("gather", traits="gather", status="free", why="moves data, computes nothing")
@rule("dynamic_slice", traits=("indexed", "move"), status="free", why="moves data, computes nothing")
def gather(eqn: Eqn, **_) -> Work:
    """Reads one operand element per output element, and the indices."""
    return eqn.work(read=[eqn.out.size, *(i.size for i in eqn.ins[1:])])


@rule("dynamic_update_slice", traits="update", status="free", why="moves data, computes nothing")
def dynamic_update_slice(eqn: Eqn, **_) -> Work:
    """Writes the update into its place; the rest of the operand is not touched."""
    update = eqn.ins[1]
    return eqn.work(read=[ZERO, *(i.size for i in eqn.ins[1:])], written=[update.size])


@rule("scatter", traits="scatter", status="free", why="moves data, computes nothing")
def scatter(eqn: Eqn, **_) -> Work:
    """Writes the updates into their places."""
    indices, updates = eqn.ins[1], eqn.ins[2]
    return eqn.work(read=[ZERO, indices.size, updates.size], written=[updates.size])


@rule(*_SCATTERS, traits="scatter")
def scatter_combine(eqn: Eqn, **_) -> Work:
    """One operation an update, on the element it meets: that element is read, combined and written."""
    indices, updates = eqn.ins[1], eqn.ins[2]
    name, dtype = _SCATTERS[eqn.primitive], eqn.operand.dtype
    real = {"add": 2, "sub": 2, "mul": 6}.get(name, 1) if real_dtype(dtype) != dtype else 1
    return eqn.work(vector(name, dtype, real * updates.size), read=[updates.size, indices.size, updates.size],
                    written=[updates.size])


@rule("sort", traits="sort", params=Along.of, status="bounded",
      why="comparisons depend on the data: n ⌈log₂ n⌉ a line is merge sort's upper bound")
def sort(eqn: Eqn, *, dimension: int, num_keys: int = 1, **_) -> Work:
    """Knuth, The Art of Computer Programming 3, 5.2.4: merging n elements takes ⌈log₂ n⌉ passes of at most n comparisons."""
    levels = CeilLog2(eqn.operand.shape[dimension])
    return eqn.work(vector("compare", eqn.operand.dtype, (num_keys * eqn.operand.size * levels).expand()))


@rule("top_k", "approx_top_k", status="bounded",
      why="comparisons depend on the data: a heap of k takes at most 1 + ⌈log₂ k⌉ an element")
def top_k(eqn: Eqn, **_) -> Work:
    """Each element is compared with the least of the k kept, and sifted through a heap of k if it is larger."""
    axis = next((i for i, (a, b) in enumerate(zip(eqn.operand.shape, eqn.out.shape, strict=True)) if a != b), -1)
    return eqn.work(vector("compare", eqn.operand.dtype, (eqn.operand.size * Add(1, CeilLog2(eqn.out.shape[axis]))).expand()))


@rule("get", "ref_get", status="free", why="moves data, computes nothing")
def get(eqn: Eqn, **_) -> Work:
    """Reads what it returns from a mutable reference."""
    return eqn.work(read=[eqn.out.size, *(i.size for i in eqn.ins[1:])])


@rule("swap", "ref_swap", status="free", why="moves data, computes nothing")
def swap(eqn: Eqn, **_) -> Work:
    """Writes a value into a mutable reference and returns what was there."""
    return eqn.work(read=[eqn.out.size, *(i.size for i in eqn.ins[1:])])


@rule("addupdate", "ref_addupdate", "accum_grad_in_ref")
def addupdate(eqn: Eqn, **_) -> Work:
    """Adds a value into a mutable reference."""
    value = eqn.ins[1]
    return eqn.work(vector("add", value.dtype, value.size), read=[value.size, *(i.size for i in eqn.ins[1:])],
                    written=[value.size] * len(eqn.outs))

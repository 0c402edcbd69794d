"""What only the bodies of Pallas kernels have: places in the grid, masked loads and stores, semaphores and copies. Blocks are on
the chip, so what is moved among them costs nothing outside; see :mod:`costmodel.program.pallas`."""

from __future__ import annotations

from typing import Any

from costmodel.rules import Eqn, golden, rule, touched, vector  # noqa: F401 (golden, touched: for the doctests)
from costmodel.rules.work import Work
from costmodel.symbolic.forms import ZERO

_ON_CHIP: dict[str, Any] = {"status": "free", "why": "moves data within a kernel, computes nothing"}


@rule("program_id", "num_programs", traits="constant", status="free", why="a place in the grid: nothing is read")
@rule("multiple_of", "max_contiguous", "layout_cast", "with_memory_space_constraint", "einshape_lo", "add_dependency",
      traits="view", status="free", why="a view: the same elements under another shape or name")
@rule("masked_load", "masked_swap", "roll", "bitcast", "pack_elementwise", "unpack_elementwise", "dma_start", "dma_wait",
      "get_global", **_ON_CHIP)
@rule("semaphore_read", "semaphore_signal", "semaphore_wait", "get_barrier_semaphore", "debug_barrier_p", "delay", "commit_smem",
      status="free", why="waits for other parts of the device, computes nothing")
def on_chip(eqn: Eqn, **_) -> Work:
    """
    >>> touched("masked_load", "n c", out="n c"), touched("program_id", out="")
    ('reads 0; writes 0', 'reads nothing; writes 0')
    """
    return eqn.work(read=[ZERO] * len(eqn.ins), written=[ZERO] * len(eqn.outs))


@rule("atomic_rmw", traits="in place")
def atomic_rmw(eqn: Eqn, *, atomic_type="add", **_) -> Work:
    """One operation an element on what is there, of which the old value is the result.

    >>> golden("atomic_rmw", "n", "n", atomic_type="add"), golden("atomic_rmw", "n", "n", atomic_type="xchg")
    ('n add', '')
    """
    name = str(getattr(atomic_type, "value", atomic_type))
    return eqn.work(*([] if name == "xchg" else [vector(name, eqn.out.dtype, eqn.out.size)]))


@rule("reciprocal", traits="expensive")
def reciprocal(eqn: Eqn, **_) -> Work:
    """
    >>> golden("reciprocal", "n c")
    'c*n div'
    """
    return eqn.work(vector("div", eqn.out.dtype, eqn.out.size))

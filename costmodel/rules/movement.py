"""Data movement: no arithmetic. Declared one by one, so that nothing is free by accident.

A *view* renames what is there (reshape, squeeze) and touches nothing; a *copy* reads what it needs and writes its result.
"""

from __future__ import annotations

from typing import Any

from costmodel.rules import Eqn, golden, rule, touched  # noqa: F401 (golden, touched: for the doctests)
from costmodel.rules.params import Along, Broadcast, Permutation, Slice
from costmodel.rules.work import Work
from costmodel.symbolic.forms import ZERO

_VIEW: dict[str, Any] = {"status": "free", "why": "a view: the same elements under another shape or name"}
_MOVE: dict[str, Any] = {"status": "free", "why": "moves data, computes nothing"}


@rule("squeeze", "expand_dims", "stop_gradient", "copy_p", "optimization_barrier", "sharding_constraint", "pvary",
      "name", "device_put", "random_wrap", "random_unwrap", "random_clone", "shard_view", "dce_sink", "freeze", "free_ref",
      "to_edtype", "from_edtype", "layout_constraint", "relayout", "reshard", "shard_alike", "pin", "unpin", "stage", "tie",
      "xla_metadata_value", traits="view", **_VIEW)
@rule("reshape", traits="view", params=Permutation.if_known, **_VIEW)
@rule("loop_carry", traits="loop carry", **_VIEW)
def view(eqn: Eqn, **_) -> Work:
    """
    >>> golden("reshape", "n c", out="c n"), touched("reshape", "n c", out="c n"), touched("loop_carry", "n")
    ('', 'reads 0; writes 0', 'reads 0; writes 0')
    """
    return eqn.work(read=[ZERO] * len(eqn.ins), written=[ZERO] * len(eqn.outs))


@rule("rev", "copy", "bitcast_convert_type", "stack", "unstack", "new_ref", "zeros_like", traits="copy", **_MOVE)
@rule("pad", traits="pad", **_MOVE)
@rule("convert_element_type", "reduce_precision", traits=("copy", "elementwise"), **_MOVE)
@rule("broadcast_in_dim", traits="broadcast", params=Broadcast.of, **_MOVE)
@rule("broadcast_to", "tile", traits="broadcast", **_MOVE)
@rule("transpose", traits="transpose", params=Permutation.of, **_MOVE)
@rule("split", traits="copy", params=Along.of, **_MOVE)
@rule("concatenate", traits="concatenate", params=Along.of, **_MOVE)
def copy(eqn: Eqn, **_) -> Work:
    """
    >>> golden("transpose", "n c", out="c n"), touched("transpose", "n c", out="c n"), touched("broadcast_in_dim", "c", out="n c")
    ('', 'reads c*n; writes c*n', 'reads c; writes c*n')
    """
    return eqn.work()


@rule("slice", traits="move", params=Slice.of, **_MOVE)
def slice_(eqn: Eqn, **_) -> Work:
    """Reads only what it keeps.

    >>> touched("slice", "n c", out="2 c")
    'reads 2*c; writes 2*c'
    """
    return eqn.work(read=[eqn.out.size])


@rule("scan_read", traits="scan read", **_MOVE)
def scan_read(eqn: Eqn, **_) -> Work:
    """An iteration's slice of an array that a scan goes over.

    >>> touched("scan_read", "l n c", out="n c")
    'reads c*n; writes c*n'
    """
    return eqn.work(read=[eqn.out.size])


@rule("scan_write", traits="scan write", **_MOVE)
def scan_write(eqn: Eqn, **_) -> Work:
    """An iteration's slice of a stacked result.

    >>> touched("scan_write", "n c", out="l n c")
    'reads c*n; writes c*n'
    """
    return eqn.work(written=[eqn.operand.size])


@rule("branch_result", traits="branch result", status="free", why="the taken branch's result under another name")
def branch_result(eqn: Eqn, **_) -> Work:
    """
    >>> touched("branch_result", "int32[]", "n c", "n c", out="n c")
    'reads 0, 0, 0; writes 0'
    """
    return eqn.work(read=[ZERO] * len(eqn.ins), written=[ZERO])


@rule("iota", "iota_2x32_shape", "empty_ref", "create_linear", "after_all", "empty", "empty2", "dim_as_value", "platform_index",
      "create_token", "full", traits="constant", status="free", why="a constant or a shape's value: nothing is read")
def constant(eqn: Eqn, **_) -> Work:
    """
    >>> golden("iota", out="int32[n]"), touched("iota", out="int32[n]")
    ('', 'reads nothing; writes n')
    """
    return eqn.work(read=[ZERO] * len(eqn.ins))

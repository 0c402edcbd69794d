"""Data movement: no arithmetic. Declared one by one, so that nothing is free by accident.

A *view* renames what is there (reshape, squeeze) and touches nothing; a *copy* reads what it needs and writes its result.

>>> from costmodel.rules import golden
>>> golden("transpose", "n c", out="c n")
''
"""

from __future__ import annotations

from costmodel.rules import Eqn, rule
from costmodel.rules.work import Work
from costmodel.symbolic.forms import ZERO

VIEWS = ("reshape", "squeeze", "expand_dims", "stop_gradient", "copy_p", "optimization_barrier", "sharding_constraint", "pvary",
         "name", "device_put", "random_wrap", "random_unwrap", "random_clone", "loop_carry", "shard_view",
         "dce_sink", "freeze", "free_ref", "to_edtype", "from_edtype", "layout_constraint", "relayout", "reshard", "shard_alike",
         "pin", "unpin", "stage", "tie", "xla_metadata_value")
COPIES = ("broadcast_in_dim", "transpose", "concatenate", "pad", "rev", "copy", "convert_element_type", "bitcast_convert_type",
          "reduce_precision", "split", "stack", "unstack", "tile", "broadcast_to", "new_ref", "zeros_like")


@rule(*VIEWS, status="free", why="a view: the same elements under another shape or name")
def view(eqn: Eqn, **_) -> Work:
    return eqn.work(read=[ZERO] * len(eqn.ins), written=[ZERO] * len(eqn.outs))


@rule(*COPIES, status="free", why="moves data, computes nothing")
def copy(eqn: Eqn, **_) -> Work:
    return eqn.work()


@rule("slice", status="free", why="moves data, computes nothing")
def slice_(eqn: Eqn, **_) -> Work:
    """Reads only what it keeps."""
    return eqn.work(read=[eqn.out.size])


@rule("scan_read", status="free", why="moves data, computes nothing")
def scan_read(eqn: Eqn, **_) -> Work:
    """An iteration's slice of an array that a scan goes over."""
    return eqn.work(read=[eqn.out.size])


@rule("scan_write", status="free", why="moves data, computes nothing")
def scan_write(eqn: Eqn, **_) -> Work:
    """An iteration's slice of a stacked result."""
    return eqn.work(written=[eqn.operand.size])


@rule("branch_result", status="free", why="the taken branch's result under another name")
def branch_result(eqn: Eqn, **_) -> Work:
    return eqn.work(read=[ZERO] * len(eqn.ins), written=[ZERO])


@rule("iota", "iota_2x32_shape", "empty_ref", "create_linear", "after_all", "empty", "empty2", "dim_as_value", "platform_index",
      "create_token", "full", status="free", why="a constant or a shape's value: nothing is read")
def constant(eqn: Eqn, **_) -> Work:
    return eqn.work(read=[ZERO] * len(eqn.ins))

"""What cannot be seen into: kernels with an estimate of their own, and calls out of the program, which are refused by name.

>>> from costmodel.rules import golden
>>> golden("pure_callback", "n")
Traceback (most recent call last):
costmodel.errors.UnknownPrimitive: pure_callback runs Python on the host, ...
"""

from __future__ import annotations

from sympy import Integer

from costmodel.errors import UnknownPrimitive
from costmodel.rules import Eqn, rule, transcendental, vector
from costmodel.rules.work import Work


@rule("pallas_call", traits="library", status="bounded",
      why="the kernel's own cost_estimate; without one its body as often as the grid has places, every branch taken")
def pallas_call(eqn: Eqn, *, cost_estimate=None, ops=(), read=None, refusal=None, **_) -> Work:
    """The estimate that the kernel's author gave, else the work of its body (see :mod:`costmodel.program.pallas`)."""
    if refusal is not None:
        raise UnknownPrimitive(f"{refusal}; inside a pallas_call: pass cost_estimate=pl.CostEstimate(...) to it, or wrap it in a "
                               "named jit function and register @cm.rule for that name")
    if cost_estimate is None:
        return eqn.work(*ops, read=read)
    return eqn.work(vector("pallas", eqn.out.dtype, Integer(int(cost_estimate.flops))),
                    transcendental("pallas", eqn.out.dtype, Integer(int(cost_estimate.transcendentals))))


def _refuse(what: str):
    def refuse(eqn: Eqn, **_) -> Work:
        raise UnknownPrimitive(f"{eqn.primitive} {what}; register @cm.rule for the jit function around it, or take it out of what "
                               "you analyse")
    return refuse


for _name in ("pure_callback", "io_callback", "python_callback", "buffer_callback"):
    rule(_name)(_refuse("runs Python on the host, whose cost the program does not show"))
for _name in ("ffi_call", "custom_call", "triton_kernel_call", "cudnn_fusion", "mosaic_gpu_call", "tpu_custom_call"):
    rule(_name)(_refuse("calls foreign code, whose cost the program does not show"))
for _name in ("check", "unreachable"):
    rule(_name)(_refuse("may raise an error at run time; functionalise it with checkify.checkify"))
for _name in ("run_state", "call_hi_primitive_linearized"):
    rule(_name)(_refuse("is internal to jax and has no body that can be counted"))
for _name in ("infeed", "outfeed", "send", "recv"):
    rule(_name)(_refuse("exchanges data with the host"))

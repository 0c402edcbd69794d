"""What cannot be seen into: kernels with an estimate of their own, and calls out of the program, which are refused by name."""

from __future__ import annotations

from sympy import Integer

from costmodel.errors import UnknownPrimitive
from costmodel.rules import Eqn, golden, rule, transcendental, vector  # noqa: F401 (golden: for the doctests)
from costmodel.rules.work import Work
from costmodel.surface import said
from costmodel.symbolic.forms import ZERO


@rule("pallas_call", traits="library", status="bounded",
      why="the kernel's own cost_estimate; without one its body as often as the grid has places, of a branch the dearest side")
def pallas_call(eqn: Eqn, *, cost_estimate=None, ops=(), read=None, refusal=None, **_) -> Work:
    """The estimate that the kernel's author gave, else the work of its body (see :mod:`costmodel.program.pallas`).

    >>> from jax.experimental.pallas import CostEstimate
    >>> golden("pallas_call", "n", cost_estimate=CostEstimate(flops=8, transcendentals=2, bytes_accessed=64))
    '8 pallas, 2 pallas'
    """
    if refusal is not None:
        raise UnknownPrimitive(f"{refusal}; inside a pallas_call: give it a pl.CostEstimate as cost_estimate, or wrap it in a "
                               f"named jit function and register {said('@cm.rule', 'a rule')} for that name")
    if cost_estimate is None:
        return eqn.work(*ops, read=read)
    return eqn.work(vector("pallas", eqn.out.dtype, Integer(int(cost_estimate.flops))),
                    transcendental("pallas", eqn.out.dtype, Integer(int(cost_estimate.transcendentals))))


_REASONS = {
    "runs Python on the host, whose cost the program does not show": (
        "pure_callback", "io_callback", "python_callback", "buffer_callback"),
    "calls foreign code, whose cost the program does not show": (
        "ffi_call", "custom_call", "triton_kernel_call", "cudnn_fusion", "mosaic_gpu_call", "tpu_custom_call"),
    "may raise an error at run time; functionalise it with checkify.checkify": ("check", "unreachable"),
    "is internal to jax and has no body that can be counted": ("run_state", "call_hi_primitive_linearized"),
    "exchanges data with the host": ("infeed", "outfeed", "send", "recv"),
}
_REFUSED = {name: reason for reason, names in _REASONS.items() for name in names}


@rule(*_REFUSED.keys() - {"pure_callback"})
def refuse(eqn: Eqn, **_) -> Work:
    """
    >>> golden("io_callback", "n")
    Traceback (most recent call last):
    costmodel.errors.UnknownPrimitive: io_callback runs Python on the host, ...
    """
    raise UnknownPrimitive(f"{eqn.primitive} {_REFUSED[eqn.primitive]}; register {said('@cm.rule', 'a rule')} for the jit function "
                           "around it, or take it out of what you analyse")


@rule("pure_callback")
def pure_callback(eqn: Eqn, *, callback=None, **_) -> Work:
    """Refused, but for one that raises Equinox's errors (``equinox.error_if``) on the branch that a program never takes.

    >>> golden("pure_callback", "n")
    Traceback (most recent call last):
    costmodel.errors.UnknownPrimitive: pure_callback runs Python on the host, ...
    """
    if getattr(getattr(callback, "callback_func", None), "__module__", None) != "equinox._errors":
        return refuse(eqn)
    return eqn.work(read=[ZERO] * len(eqn.ins), written=[ZERO] * len(eqn.outs))

"""Reductions: inputs - outputs operations.

>>> from costmodel.rules import golden
>>> golden("reduce_sum", "n c", out="n", axes=(1,))
'c*n - n add'
"""

from __future__ import annotations

from costmodel.rules import Eqn, real_dtype, rule, vector
from costmodel.work import Work

_OPERATION = {
    "reduce_sum": "add", "reduce_prod": "mul", "reduce_max": "max", "reduce_min": "min", "reduce_and": "and", "reduce_or": "or",
    "reduce_xor": "xor", "argmax": "max", "argmin": "min",
}


@rule(*_OPERATION)
def reduce(eqn: Eqn, **_) -> Work:
    """A line of n elements takes n - 1 operations to reduce to one."""
    name, dtype = _OPERATION[eqn.primitive], eqn.operand.dtype
    real = {"add": 2, "mul": 6}.get(name, 1) if real_dtype(dtype) != dtype else 1
    return eqn.work(vector(name, dtype, real * (eqn.operand.size - eqn.out.size)))

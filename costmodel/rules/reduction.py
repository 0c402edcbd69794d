"""Reductions: inputs - outputs operations; cumulative ones: n - 1 a line."""

from __future__ import annotations

from sympy import Expr, Mul

from costmodel.rules import Eqn, golden, real_dtype, rule, transcendental, vector  # noqa: F401 (golden: for the doctests)
from costmodel.rules.params import Along, Reduction
from costmodel.rules.work import Work
from costmodel.symbolic.forms import ZERO, at_least_zero

# primitive -> the operation that its count is of; argmax compares as max does.
_OPERATION = {
    "reduce_sum": "add", "reduce_prod": "mul", "reduce_max": "max", "reduce_min": "min", "reduce_and": "and", "reduce_or": "or",
    "reduce_xor": "xor", "argmax": "max", "argmin": "min",
}


def reduce(eqn: Eqn, **_) -> Work:
    """A line of n elements takes n - 1 operations to reduce to one.

    >>> golden("reduce_sum", "n c", out="n", axes=(1,)), golden("argmax", "n c", out="int32[c]", axes=(0,))
    ('c*n - n add', 'c*n - c max')
    """
    name, dtype = _OPERATION[eqn.primitive], eqn.operand.dtype
    real = {"add": 2, "mul": 6}.get(name, 1) if real_dtype(dtype) != dtype else 1
    return eqn.work(vector(name, dtype, real * _reduced(eqn)))


for _name, _operation in _OPERATION.items():
    rule(_name, traits="reduction", params=Reduction.by(_name if _name.startswith("arg") else _operation))(reduce)


def _reduced(eqn: Eqn) -> Expr:
    """Elements but one of each line; a line without elements takes no operation."""
    if eqn.operand.size == 0:
        return ZERO
    return at_least_zero((eqn.operand.size - eqn.out.size).expand(), eqn.assumptions)


@rule("reduce", traits="reduction", params=Reduction.by("computation"))
def generic_reduce(eqn: Eqn, *, jaxpr, **_) -> Work:
    """``lax.reduce`` with a computation of the user's: its operations, inputs - outputs times. With k operands it reduces k arrays
    side by side by one computation of 2k scalars.

    >>> import jax
    >>> golden("reduce", "n c", "", out="n", jaxpr=jax.make_jaxpr(lambda a, b: a * b + a)(0.0, 0.0), dimensions=(1,))
    'c*n - n mul, c*n - n add'
    """
    steps = _reduced(eqn)
    body = getattr(jaxpr, "jaxpr", jaxpr)
    return eqn.work(*(vector(e.primitive.name, str(e.outvars[0].aval.dtype), steps) for e in body.eqns))


_CUMULATIVE = {"cumsum": "add", "cumprod": "mul", "cummax": "max", "cummin": "min"}


def _steps(eqn: Eqn, axis: int) -> Expr:
    """Elements but the first of each line."""
    if eqn.operand.size == 0:
        return ZERO
    lines = Mul(*(d for i, d in enumerate(eqn.operand.shape) if i != axis))
    return at_least_zero((eqn.operand.size - lines).expand(), eqn.assumptions)


@rule(*_CUMULATIVE, traits="cumulative", params=Along.of)
def cumulative(eqn: Eqn, *, axis: int, **_) -> Work:
    """A running reduction of n elements takes n - 1 operations. (XLA's lowered count of a cumsum is n²: it expands it.)

    >>> golden("cumsum", "n c", axis=1), golden("cumprod", "n c", axis=0, dtype="complex64")
    ('c*n - n add', '6*c*n - 6*c mul')
    """
    name, dtype = _CUMULATIVE[eqn.primitive], eqn.operand.dtype
    real = {"add": 2, "mul": 6}.get(name, 1) if real_dtype(dtype) != dtype else 1
    return eqn.work(vector(name, dtype, real * _steps(eqn, axis)))


@rule("cumlogsumexp", traits="cumulative", params=Along.of)
def cumlogsumexp(eqn: Eqn, *, axis: int, **_) -> Work:
    """Each step is logaddexp(a, b) = max(a, b) + log1p(exp(-|a - b|)): max, sub, abs, neg, add and two special functions.

    >>> golden("cumlogsumexp", "3", axis=0)
    '2 max, 2 sub, 2 abs, 2 neg, 2 add, 2 exp, 2 log1p'
    """
    steps, dtype = _steps(eqn, axis), eqn.operand.dtype
    return eqn.work(*(vector(name, dtype, steps) for name in ("max", "sub", "abs", "neg", "add")),
                    transcendental("exp", dtype, steps), transcendental("log1p", dtype, steps))

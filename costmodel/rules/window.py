"""Windows (pooling) and their gradients: outputs · (taps - 1) operations, with every tap counted."""

from __future__ import annotations

from sympy import Mul

from costmodel.rules import Eqn, golden, rule, vector  # noqa: F401 (golden: for the doctests)
from costmodel.rules.params import Window
from costmodel.rules.work import Work
from costmodel.symbolic.translate import internal

_OPERATION = {"reduce_window_sum": "add", "reduce_window_max": "max", "reduce_window_min": "min"}


@rule(*_OPERATION, traits="window", params=Window.of)
def reduce_window(eqn: Eqn, *, window_dimensions, **_) -> Work:
    """XLA counts the same: a tap in the padding still takes its operation with the initial value.

    >>> golden("reduce_window_max", "n h w c", out="n h//2 w//2 c", window_dimensions=(1, 2, 2, 1))
    '3*c*n*FloorDiv(h, 2)*FloorDiv(w, 2) max'
    """
    taps = Mul(*(internal(d) for d in window_dimensions))
    return eqn.work(vector(_OPERATION[eqn.primitive], eqn.out.dtype, (eqn.out.size * (taps - 1)).expand()))


@rule("select_and_scatter_add", traits="window gradient", params=Window.of)
def select_and_scatter_add(eqn: Eqn, *, window_dimensions, **_) -> Work:
    """Gradient of a max pool: taps - 1 comparisons to find each window's maximum, one addition to route its cotangent.

    >>> golden("select_and_scatter_add", "n h c", "n 3*h c", out="n 3*h c", window_dimensions=(1, 3, 1))
    '2*c*h*n compare, c*h*n add'
    """
    cotangent = eqn.ins[0]
    taps = Mul(*(internal(d) for d in window_dimensions))
    return eqn.work(vector("compare", eqn.out.dtype, (cotangent.size * (taps - 1)).expand()),
                    vector("add", eqn.out.dtype, cotangent.size))


@rule("reduce_window", traits="window", params=Window.of)
def generic_reduce_window(eqn: Eqn, *, jaxpr, window_dimensions, **_) -> Work:
    """A window with a computation of the user's: its operations, outputs · (taps - 1) times.

    >>> import jax
    >>> golden("reduce_window", "3*n", "", out="n", jaxpr=jax.make_jaxpr(lambda a, b: a * b)(0.0, 0.0), window_dimensions=(3,))
    '2*n mul'
    """
    taps = Mul(*(internal(d) for d in window_dimensions))
    steps = (eqn.out.size * (taps - 1)).expand()
    body = getattr(jaxpr, "jaxpr", jaxpr)
    return eqn.work(*(vector(e.primitive.name, str(e.outvars[0].aval.dtype), steps) for e in body.eqns))


@rule("select_and_gather_add", traits="window gradient", params=Window.of)
def select_and_gather_add(eqn: Eqn, *, window_dimensions, **_) -> Work:
    """Forward derivative of a max pool: taps - 1 comparisons an output, and the chosen tangent is moved.

    >>> golden("select_and_gather_add", "3*n", "3*n", out="n", window_dimensions=(3,))
    '2*n compare'
    """
    taps = Mul(*(internal(d) for d in window_dimensions))
    return eqn.work(vector("compare", eqn.out.dtype, (eqn.out.size * (taps - 1)).expand()))


@rule("select_and_scatter", traits="window gradient", params=Window.of)
def select_and_scatter(eqn: Eqn, *, select_jaxpr, scatter_jaxpr, window_dimensions, **_) -> Work:
    """As select_and_scatter_add, with computations of the user's for both.

    >>> import jax
    >>> select, scatter = (jax.make_jaxpr(f)(0.0, 0.0) for f in (jax.lax.ge, jax.lax.mul))
    >>> golden("select_and_scatter", "3*n", "n", "", out="3*n", select_jaxpr=select, scatter_jaxpr=scatter, window_dimensions=(3,))
    '2*n ge, n mul'
    """
    source = eqn.ins[1]
    taps = Mul(*(internal(d) for d in window_dimensions))
    compare = (source.size * (taps - 1)).expand()
    select, scatter = (getattr(j, "jaxpr", j) for j in (select_jaxpr, scatter_jaxpr))
    return eqn.work(*(vector(e.primitive.name, str(e.invars[0].aval.dtype), compare) for e in select.eqns),
                    *(vector(e.primitive.name, str(e.outvars[0].aval.dtype), source.size) for e in scatter.eqns))

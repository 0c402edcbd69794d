"""Blocks of random programs with a program inside: loops, branches, transformations. A new kind is a function and an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from random_base import Array, Choices, Run, axis_of, floating, needs

# -- around programs -----------------------------------------------------------------------------------------------------------
# ``run`` is a program; those of KEEPING need one that gives what it gets, in shape and type.


def scan(run: Run, x: Array, length: int, reverse: bool) -> Array:
    return lax.scan(lambda c, _: (run(c), None), x, length=length, reverse=reverse)[0]


def scan_stacking(run: Run, x: Array) -> Array:
    needs(0, x, 3)
    return lax.scan(lambda c, _: (run(c), c), x, length=3)[1]


def scan_rows(run: Run, x: Array, reverse: bool) -> Array:
    needs(1, x)
    x = floating(x)
    return lax.scan(lambda c, r: (c + r.sum(), run(r) + c), jnp.zeros((), x.dtype), x, reverse=reverse)[1]


def scan_state(run: Run, x: Array) -> Array:
    """A recurrent network over rows."""
    needs(2, x)
    x = floating(x)
    return lax.scan(lambda h, r: ((s := run(h + r)), s.sum()), x[0], x)[0]


def repeat_loop(run: Run, x: Array, count: int) -> Array:
    return lax.fori_loop(0, count, lambda i, c: run(c), x)


def rows_loop(run: Run, x: Array) -> Array:
    """As many iterations as there are rows."""
    needs(1, x)
    return lax.fori_loop(0, x.shape[0], lambda i, c: run(c), x)


def while_loop(run: Run, x: Array) -> Array:
    return lax.while_loop(lambda c: c.sum() < 100, run, x)


def branch(run: Run, x: Array, other: str) -> Array:
    sides = {"same": lambda x: x, "twice": lambda x: x + x, "sum": lambda x: x + x.sum().astype(x.dtype)}
    return lax.cond(x.sum() > 0, run, sides[other], x)


def switch(run: Run, x: Array) -> Array:
    return lax.switch((x > 0).sum() % 3, [run, lambda x: x, lambda x: run(run(x))], x)


def residual(run: Run, x: Array) -> Array:
    return x + run(x)


KEEPING: dict[Callable[..., Array], Choices] = {
    scan: {"length": (1, 3), "reverse": (True, False)}, scan_stacking: {}, scan_rows: {"reverse": (True, False)}, scan_state: {},
    repeat_loop: {"count": (2, 4)}, rows_loop: {}, while_loop: {}, branch: {"other": ("same", "twice", "sum")}, switch: {},
    residual: {},
}


def jit(run: Run, x: Array) -> Array:
    return jax.jit(lambda x: run(x))(x)


def checkpoint(run: Run, x: Array, policy: str) -> Array:
    policies = {"nothing": None, "dots": jax.checkpoint_policies.dots_saveable}
    return jax.checkpoint(lambda x: run(x), policy=policies[policy])(x)


def vmap(run: Run, x: Array, axis: int, out: int) -> Array:
    axis_of(x, axis)
    return jax.vmap(run, in_axes=axis, out_axes=out)(x)


def map_rows(run: Run, x: Array) -> Array:
    needs(1, x)
    return lax.map(run, x)


def squared(run: Run) -> Run:
    return lambda x: (floating(run(x)).astype("float32") ** 2).sum()


def gradient(run: Run, x: Array) -> Array:
    return jax.grad(squared(run))(floating(x))


def value_and_gradient(run: Run, x: Array) -> Array:
    value, slope = jax.value_and_grad(squared(run))(floating(x))
    return slope * value.astype(slope.dtype)


def gradient_of_gradient(run: Run, x: Array) -> Array:
    return jax.grad(lambda x: (jax.grad(squared(run))(x) ** 2).sum().astype("float32"))(floating(x))


def gradient_of_checkpoint(run: Run, x: Array) -> Array:
    return jax.grad(squared(jax.checkpoint(lambda x: run(x))))(floating(x))


def jacobian_product(run: Run, x: Array) -> Array:
    x = floating(x)
    return jax.jvp(lambda x: floating(run(x)), (x,), (x * 2,))[1]


def hessian_product(run: Run, x: Array) -> Array:
    x = floating(x)
    return jax.jvp(jax.grad(squared(run)), (x,), (jnp.ones_like(x),))[1]


def gradient_in_scan(run: Run, x: Array) -> Array:
    """Steps of gradient descent."""
    x = floating(x)
    return lax.scan(lambda c, _: (c - 0.5 * jax.grad(squared(run))(c), None), x, length=3)[0]


def custom_jvp(run: Run, x: Array) -> Array:
    @jax.custom_jvp
    def f(x: Array) -> Array:
        return floating(run(x))

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        return f(primals[0]), jax.jvp(lambda x: floating(run(x)), primals, tangents)[1] * 2

    return jax.grad(lambda x: f(x).astype("float32").sum())(floating(x))


def custom_vjp(run: Run, x: Array) -> Array:
    @jax.custom_vjp
    def f(x: Array) -> Array:
        return floating(run(x))

    def forward(x: Array) -> Any:
        return f(x), x

    def backward(x: Array, g: Array) -> Any:
        return (x * g.sum().astype(x.dtype),)

    f.defvjp(forward, backward)
    return jax.grad(lambda x: f(x).astype("float32").sum())(floating(x))


LAST_TWO = (-1, 0)

AROUND: dict[Callable[..., Array], Choices] = {
    jit: {}, checkpoint: {"policy": ("nothing", "dots")}, vmap: {"axis": LAST_TWO, "out": (0, 0, -1)}, map_rows: {}, gradient: {},
    value_and_gradient: {}, gradient_of_gradient: {}, gradient_of_checkpoint: {}, jacobian_product: {}, hessian_product: {},
    gradient_in_scan: {}, custom_jvp: {}, custom_vjp: {},
}

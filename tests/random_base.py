"""What the blocks of random programs have in common: a block takes an array of any rank and type and gives another; where it has no
meaning (a product of a vector with its transpose) it raises, and the generator draws another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

Array = Any
Run = Callable[[Array], Array]
Choices = dict[str, tuple[Any, ...]]


def needs(rank: int, x: Array, most: int = 4) -> None:
    if not rank <= x.ndim <= most:
        raise TypeError(f"rank {x.ndim} is not in {rank}..{most}")


def floating(x: Array) -> Array:
    """Differentiable: integers and booleans become float32."""
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def axis_of(x: Array, axis: int) -> int:
    needs(1, x)
    return axis % x.ndim


def ones(x: Array, *shape: Any) -> Array:
    return jnp.ones(shape, floating(x).dtype)


def channels(x: Array, count: int) -> Array:
    """The last dimension projected to a known number of channels."""
    needs(1, x)
    return floating(x) @ ones(x, x.shape[-1], count)


def image(x: Array, space: int, count: int) -> Array:
    """(batch, space …, channels), by inserting or merging leading dimensions."""
    needs(1, x)
    while x.ndim < space + 2:
        x = x[None]
    while x.ndim > space + 2:
        x = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    return channels(x, count)

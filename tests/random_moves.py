"""Blocks of random programs that move data: views, copies, slices, pads, gathers and scatters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from random_base import Array, axis_of, floating, needs

# -- movement ------------------------------------------------------------------------------------------------------------------


def transpose(x: Array, shift: int) -> Array:
    needs(2, x)
    order = [(d + shift) % x.ndim for d in range(x.ndim)]
    return jnp.transpose(x, order)


def merge(x: Array, first: bool) -> Array:
    needs(2, x)
    return x.reshape(-1, *x.shape[2:]) if first else x.reshape(*x.shape[:-2], -1)


def split_last(x: Array, parts: int) -> Array:
    needs(1, x, 3)
    return x.reshape(*x.shape[:-1], parts, -1)


def expand(x: Array, axis: int) -> Array:
    needs(0, x, 3)
    return jnp.expand_dims(x, axis % (x.ndim + 1))


def spread(x: Array, count: int, axis: int) -> Array:
    needs(0, x, 3)
    wide = jnp.expand_dims(x, axis % (x.ndim + 1))
    shape = list(wide.shape)
    shape[axis % wide.ndim] = count
    return jnp.broadcast_to(wide, tuple(shape))


def concatenate(x: Array, axis: int, other: str) -> Array:
    axis = axis_of(x, axis)
    more = {"itself": x, "negative": -floating(x), "constant": jnp.zeros_like(x)}[other]
    return jnp.concatenate([x, more], axis=axis)


def stack(x: Array, axis: int) -> Array:
    needs(0, x, 3)
    return jnp.stack([x, x], axis=axis % (x.ndim + 1))


def pad(x: Array, axis: int, low: int, high: int, interior: int) -> Array:
    axis = axis_of(x, axis)
    sizes = [(0, 0, 0)] * x.ndim
    sizes[axis] = (low, high, interior)
    return lax.pad(x, jnp.zeros((), x.dtype), sizes)


def pad_edges(x: Array, axis: int, mode: str) -> Array:
    axis = axis_of(x, axis)
    return jnp.pad(x, [(1, 2) if d == axis else (0, 0) for d in range(x.ndim)], mode=mode)


def take_slice(x: Array, axis: int, start: int | None, stop: int | None, step: int) -> Array:
    axis = axis_of(x, axis)
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def row(x: Array, axis: int, place: int) -> Array:
    axis = axis_of(x, axis)
    return x[(slice(None),) * axis + (place,)]


def neighbours(x: Array, axis: int) -> Array:
    """Overlapping slices."""
    axis = axis_of(x, axis)
    part = lambda *bounds: x[(slice(None),) * axis + (slice(*bounds),)]  # noqa: E731
    return part(1, None) - part(None, -1) if x.dtype != bool else part(1, None) ^ part(None, -1)


def reverse(x: Array, axis: int) -> Array:
    return jnp.flip(x, axis_of(x, axis))


def roll(x: Array, axis: int, shift: int) -> Array:
    return jnp.roll(x, shift, axis_of(x, axis))


def repeat(x: Array, axis: int, count: int) -> Array:
    return jnp.repeat(x, count, axis=axis_of(x, axis))


def tile(x: Array, count: int) -> Array:
    needs(1, x)
    return jnp.tile(x, (count,) + (1,) * (x.ndim - 1))


def part(x: Array, axis: int, which: int) -> Array:
    """One of two parts of what was doubled."""
    axis = axis_of(x, axis)
    return jnp.split(jnp.concatenate([x, x], axis), 2, axis)[which]


def diagonal(x: Array) -> Array:
    needs(2, x, 2)
    return jnp.diagonal(floating(x) @ floating(x).T)


def dynamic_slice(x: Array, axis: int, size: int) -> Array:
    axis = axis_of(x, axis)
    return lax.dynamic_slice_in_dim(x, (x > 0).sum().astype("int32") % 2, size, axis)


def dynamic_update(x: Array, axis: int) -> Array:
    axis = axis_of(x, axis)
    return lax.dynamic_update_slice_in_dim(x, x[(slice(None),) * axis + (slice(0, 1),)], (x > 0).sum().astype("int32") % 2, axis)


def gather(x: Array, axis: int, mode: str, count: int) -> Array:
    axis = axis_of(x, axis)
    return jnp.take(x, (jnp.arange(count) * 2) % 3 if count else jnp.array(1), axis=axis, mode=mode)


def gather_by_data(x: Array, axis: int, mode: str) -> Array:
    """At places that are data, as many as there are rows."""
    axis = axis_of(x, axis)
    places = jnp.argsort(floating(x).reshape(x.shape[0], -1).sum(-1)) % 3
    return jnp.take(x, places, axis=axis, mode=mode)


def take_along(x: Array, axis: int) -> Array:
    axis = axis_of(x, axis)
    return jnp.take_along_axis(x, jnp.argsort(x, axis=axis), axis=axis)


def embed(x: Array, width: int) -> Array:
    needs(1, x, 2)
    return jnp.ones((7, width)).at[x.astype("int32") % 7].get(mode="clip")


def one_hot(x: Array, classes: int) -> Array:
    needs(1, x, 3)
    return jax.nn.one_hot(x.astype("int32") % classes, classes)


def scatter(x: Array, op: str, where: str, mode: str) -> Array:
    needs(1, x)
    at = x.at[{"row": 0, "last": -1, "some": jnp.array([0, 1]), "half": slice(None, None, 2), "but one": slice(1, None)}[where]]
    return getattr(at, op)(jnp.ones((), x.dtype), mode=mode)


def scatter_by_data(x: Array, op: str) -> Array:
    needs(1, x)
    x = floating(x)
    places = jnp.argsort(x.reshape(x.shape[0], -1).sum(-1))
    return getattr(x.at[places], op)(x * 2)


def segments(x: Array, count: int) -> Array:
    needs(1, x)
    x = floating(x)
    return jax.ops.segment_sum(x, (x.reshape(x.shape[0], -1).sum(-1) > 0).astype("int32") + jnp.arange(x.shape[0]) % 2, count)


def resize(x: Array, factor: int, method: str) -> Array:
    needs(1, x)
    return jax.image.resize(floating(x), (factor * x.shape[0], *x.shape[1:]), method)


def at_size(x: Array, size: int) -> Array:
    """Another program at one size, which no symbol tells."""
    needs(2, x, 2)
    return (floating(x) @ floating(x).T) @ floating(x) if x.shape[0] == size else floating(x) * 2.0


def outer(x: Array) -> Array:
    needs(1, x, 1)
    return floating(x)[:, None] * floating(x)[None]


def complex_spectrum(x: Array) -> Array:
    needs(1, x)
    return jnp.abs(lax.complex(floating(x).astype("float32"), floating(x).astype("float32")) * (2 + 1j))

"""Building blocks of random programs: functions of one array, in a table with the parameters that may be drawn for each.

A block takes an array of any rank and type and gives another; where it has no meaning (a product of a vector with its transpose) it
raises, and the generator draws another one. A new kind is one function and one entry of :data:`BLOCKS` or :data:`AROUND`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

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


# -- arithmetic ----------------------------------------------------------------------------------------------------------------

UNARY: dict[str, Run] = {
    "sin": jnp.sin, "exp": jnp.exp, "tanh": jnp.tanh, "square": jnp.square, "cube": lambda x: x**3, "rsqrt": lambda x: lax.rsqrt(x + 2),
    "relu": jax.nn.relu, "gelu": jax.nn.gelu, "silu": jax.nn.silu, "abs": jnp.abs, "sign": jnp.sign, "log": lambda x: jnp.log1p(x * x),
    "affine": lambda x: x * 3.0 - 1.0, "twice": lambda x: x + x, "clip": lambda x: jnp.clip(x, -1, 1), "erf": lax.erf,
    "power": lambda x: jnp.abs(x) ** 0.3, "reciprocal": lambda x: 1 / (x + 3), "where": lambda x: jnp.where(x > 0.5, x, 0.0),
    "floor": jnp.floor, "nan_to_num": jnp.nan_to_num, "integer_pow": lambda x: lax.integer_pow(x, -2), "softplus": jax.nn.softplus,
}


def unary(x: Array, f: str) -> Array:
    return UNARY[f](floating(x))


def cast(x: Array, dtype: str) -> Array:
    return x.astype(dtype)


def compare(x: Array) -> Array:
    return x > x.mean()


def integers(x: Array) -> Array:
    return (x.astype("int32") * 3 + 1) % 7 ^ 2


def scale_rows(x: Array, axis: int) -> Array:
    axis = axis_of(x, axis)
    places = jnp.arange(x.shape[axis], dtype=floating(x).dtype)
    return x * places.reshape((-1,) + (1,) * (x.ndim - 1 - axis))


def causal(x: Array) -> Array:
    needs(2, x)
    i, j = (lax.broadcasted_iota("int32", x.shape, d) for d in (x.ndim - 2, x.ndim - 1))
    return jnp.where(i >= j, x, 0)


def triangle(x: Array, upper: bool, k: int) -> Array:
    needs(2, x)
    return (jnp.triu if upper else jnp.tril)(x, k)


def dropout(x: Array, rate: float) -> Array:
    kept = jax.random.bernoulli(jax.random.key(0), 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


def noise(x: Array) -> Array:
    return x + jax.random.normal(jax.random.key(1), x.shape)


# -- normalisations ------------------------------------------------------------------------------------------------------------


def softmax(x: Array, axis: int, log: bool) -> Array:
    return (jax.nn.log_softmax if log else jax.nn.softmax)(floating(x), axis=axis_of(x, axis))


def normalise(x: Array, axis: int, kind: str) -> Array:
    x, axis = floating(x), axis_of(x, axis)
    if kind == "centre":
        return x - x.mean(axis=axis, keepdims=True)
    if kind == "rms":
        return x * lax.rsqrt((x * x).mean(axis=axis, keepdims=True) + 1e-5)
    return jax.nn.standardize(x, axis=axis)


def l2(x: Array) -> Array:
    return x / (1 + jnp.linalg.norm(floating(x).reshape(-1)))


# -- products ------------------------------------------------------------------------------------------------------------------


def project(x: Array, width: int) -> Array:
    return channels(x, width)


def gram(x: Array, kind: str) -> Array:
    needs(2, x, 2)
    x = floating(x)
    return {"outer": lambda: x @ x.T, "inner": lambda: x.T @ x, "both": lambda: (x @ x.T) @ x}[kind]()


EINSUMS = ("ab,cb->ac", "ab,ab->a", "ab,ab,ab->b", "ab,cb,cd->ad", "ab,cb,cd,ed->ae", "abc,adc->abd", "abc,adc,ade->abe", "abc,dbc->ad",
           "a,b->ab", "a,a->", "ab,b->a", "abc,cd->abd", "ab,ac,ad->bcd")


def einsum(x: Array, pattern: str) -> Array:
    """Of the array with itself; operands of lower rank are its first rows."""
    x = floating(x)
    terms = pattern.split("->")[0].split(",")
    if x.ndim != len(terms[0]):
        raise TypeError("another rank")
    operands = []
    for term in terms:
        y = x
        while y.ndim > len(term):
            y = y.sum(0)
        operands.append(y)
    return jnp.einsum(pattern, *operands)


def batched_dot(x: Array, wide: bool) -> Array:
    needs(3, x, 3)
    x = floating(x)
    kept = jnp.float32 if wide else None
    return lax.dot_general(x, x, (((2,), (2,)), ((0,), (0,))), preferred_element_type=kept)


def tensordot(x: Array, axes: int) -> Array:
    needs(axes, x)
    return jnp.tensordot(floating(x), floating(x).transpose(), axes=axes)


def attention(x: Array, heads: int, causal: bool) -> Array:
    x = image(x, 1, 4 * heads)
    q = x.reshape(x.shape[0], x.shape[1], heads, 4)
    return jax.nn.dot_product_attention(q, q * 0.5, q + 1, is_causal=causal)


def mlp(x: Array, width: int, f: str) -> Array:
    needs(1, x)
    x = floating(x)
    return UNARY[f](channels(x, width) + ones(x, width)) @ ones(x, width, 3)


def convolution(x: Array, space: int, kernel: int, stride: int, padding: Any, dilation: int, groups: int) -> Array:
    x = image(x, space, 4)
    kernel_array = ones(x, *(kernel,) * space, 4 // groups, 4)
    spaces = "HW"[:space]
    numbers = (f"N{spaces}C", f"{spaces}IO", f"N{spaces}C")
    where = padding if isinstance(padding, str) else [padding] * space
    return lax.conv_general_dilated(x, kernel_array, (stride,) * space, where, rhs_dilation=(dilation,) * space,
                                    dimension_numbers=numbers, feature_group_count=groups)


def dilated_convolution(x: Array, holes: int, low: int, high: int) -> Array:
    """A user's own input dilation."""
    x = image(x, 1, 3)
    return lax.conv_general_dilated(x, ones(x, 3, 3, 5), (1,), [(low, high)], lhs_dilation=(holes,),
                                    dimension_numbers=("NHC", "HIO", "NHC"))


def conv_transpose(x: Array, space: int, kernel: int, stride: int, padding: str, flip: bool) -> Array:
    x = image(x, space, 3)
    spaces = "HW"[:space]
    numbers = (f"N{spaces}C", f"{spaces}IO", f"N{spaces}C")
    return lax.conv_transpose(x, ones(x, *(kernel,) * space, 3, 3 if flip else 5), (stride,) * space, padding, dimension_numbers=numbers,
                              transpose_kernel=flip)


def pool(x: Array, kind: str, window: int, stride: int, padding: str) -> Array:
    needs(2, x)
    x = floating(x)
    dims, strides = (1,) * (x.ndim - 2) + (window, 1), (1,) * (x.ndim - 2) + (stride, 1)
    start, of = (-jnp.inf, lax.max) if kind == "max" else (0.0, lax.add)
    return lax.reduce_window(x, start, of, dims, strides, padding)


# -- reductions ----------------------------------------------------------------------------------------------------------------

REDUCTIONS: dict[str, Callable[..., Array]] = {
    "sum": jnp.sum, "mean": jnp.mean, "max": jnp.max, "min": jnp.min, "prod": jnp.prod, "var": jnp.var, "std": jnp.std,
    "logsumexp": jax.nn.logsumexp, "any": lambda x, **kw: (x > 0).any(**kw), "all": lambda x, **kw: (x > 0).all(**kw),
}


def reduce(x: Array, f: str, axis: int, keepdims: bool) -> Array:
    return REDUCTIONS[f](floating(x), axis=axis_of(x, axis), keepdims=keepdims)


def reduce_two(x: Array, f: str) -> Array:
    needs(3, x)
    return REDUCTIONS[f](floating(x), axis=(0, x.ndim - 1))


def best(x: Array, least: bool, axis: int) -> Array:
    return (jnp.argmin if least else jnp.argmax)(x, axis=axis_of(x, axis))


def cumulate(x: Array, f: str, axis: int, reverse: bool) -> Array:
    return getattr(lax, f)(floating(x), axis_of(x, axis), reverse)


def sort(x: Array, axis: int, descending: bool) -> Array:
    return jnp.sort(x, axis=axis_of(x, axis), descending=descending)


def argsort(x: Array, axis: int) -> Array:
    return jnp.argsort(x, axis=axis_of(x, axis))


def sort_by(x: Array) -> Array:
    """Two operands sorted by the first."""
    needs(1, x)
    return lax.sort((x, -x if x.dtype != bool else x), num_keys=1)[1]


def top_k(x: Array, k: int, places: bool) -> Array:
    needs(1, x)
    return lax.top_k(x, k)[places]


def search(x: Array) -> Array:
    needs(1, x, 1)
    return jnp.searchsorted(jnp.sort(x), jnp.arange(3).astype(x.dtype))


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


LAST_TWO, FEW = (-1, 0), (2, 3)

BLOCKS: dict[Callable[..., Array], Choices] = {
    unary: {"f": tuple(UNARY)}, cast: {"dtype": ("bfloat16", "float16", "float32", "int32", "int8")}, compare: {}, integers: {},
    scale_rows: {"axis": (0, -1)}, causal: {}, triangle: {"upper": (True, False), "k": (0, 1)}, dropout: {"rate": (0.1,)}, noise: {},
    softmax: {"axis": LAST_TWO, "log": (True, False)}, normalise: {"axis": LAST_TWO, "kind": ("centre", "rms", "layer")}, l2: {},
    project: {"width": (1, 5, 8)}, gram: {"kind": ("outer", "inner", "both")}, einsum: {"pattern": EINSUMS},
    batched_dot: {"wide": (True, False)}, tensordot: {"axes": (1, 2)}, attention: {"heads": (1, 2), "causal": (True, False)},
    mlp: {"width": (8, 16), "f": ("relu", "gelu", "tanh")},
    convolution: {"space": (1, 2), "kernel": (1, 2, 3), "stride": (1, 2, 3), "padding": ("SAME", "VALID", (1, 1), (0, 2), (-1, 2)),
                  "dilation": (1, 2), "groups": (1, 2, 4)},
    dilated_convolution: {"holes": (2, 3), "low": (0, 2), "high": (0, 1)},
    conv_transpose: {"space": (1, 2), "kernel": (1, 2, 3), "stride": (1, 2, 3), "padding": ("SAME", "VALID"), "flip": (True, False)},
    pool: {"kind": ("max", "sum"), "window": (2, 3), "stride": (1, 2), "padding": ("SAME", "VALID")},
    reduce: {"f": tuple(REDUCTIONS), "axis": LAST_TWO, "keepdims": (True, False)}, reduce_two: {"f": ("sum", "max", "mean")},
    best: {"least": (True, False), "axis": LAST_TWO},
    cumulate: {"f": ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), "axis": LAST_TWO, "reverse": (True, False)},
    sort: {"axis": LAST_TWO, "descending": (True, False)}, argsort: {"axis": LAST_TWO}, sort_by: {},
    top_k: {"k": (1, 2), "places": (True, False)}, search: {},
    transpose: {"shift": (1, 2)}, merge: {"first": (True, False)}, split_last: {"parts": (1, 2)}, expand: {"axis": (0, 1, -1)},
    spread: {"count": (1, 3), "axis": LAST_TWO}, concatenate: {"axis": LAST_TWO, "other": ("itself", "negative", "constant")},
    stack: {"axis": LAST_TWO}, pad: {"axis": LAST_TWO, "low": (0, 1, -1), "high": (0, 2, -1), "interior": (0, 0, 1)},
    pad_edges: {"axis": LAST_TWO, "mode": ("edge", "wrap", "reflect", "constant")},
    take_slice: {"axis": LAST_TWO, "start": (None, 0, 1, -2), "stop": (None, 3, -1), "step": (1, 1, 2, -1)},
    row: {"axis": LAST_TWO, "place": (0, 1, -1)}, neighbours: {"axis": LAST_TWO}, reverse: {"axis": LAST_TWO},
    roll: {"axis": LAST_TWO, "shift": (1, -1, 2)}, repeat: {"axis": LAST_TWO, "count": FEW}, tile: {"count": FEW},
    part: {"axis": LAST_TWO, "which": (0, 1)}, diagonal: {}, dynamic_slice: {"axis": LAST_TWO, "size": (1, 2)},
    dynamic_update: {"axis": LAST_TWO}, gather: {"axis": LAST_TWO, "mode": ("clip", "fill", "wrap"), "count": (0, 2, 5)},
    gather_by_data: {"axis": LAST_TWO, "mode": ("clip", "fill", "wrap")}, take_along: {"axis": LAST_TWO}, embed: {"width": (1, 6)},
    one_hot: {"classes": (2, 5)},
    scatter: {"op": ("set", "add", "multiply", "max", "min"), "where": ("row", "last", "some", "half", "but one"), "mode": ("drop", "clip")},
    scatter_by_data: {"op": ("set", "add", "max")}, segments: {"count": (2, 4)},
    resize: {"factor": (1, 2), "method": ("nearest", "linear")}, at_size: {"size": (16,)}, outer: {}, complex_spectrum: {},
}


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
    repeat_loop: {"count": (2, 4)}, rows_loop: {}, while_loop: {}, branch: {"other": ("same", "twice", "sum")}, switch: {}, residual: {},
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


AROUND: dict[Callable[..., Array], Choices] = {
    jit: {}, checkpoint: {"policy": ("nothing", "dots")}, vmap: {"axis": LAST_TWO, "out": (0, 0, -1)}, map_rows: {}, gradient: {},
    value_and_gradient: {}, gradient_of_gradient: {}, gradient_of_checkpoint: {}, jacobian_product: {}, hessian_product: {},
    gradient_in_scan: {}, custom_jvp: {}, custom_vjp: {},
}

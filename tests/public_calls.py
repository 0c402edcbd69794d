"""Every public function of jax called on small abstract inputs: the programs on which test_primitives.py checks the rules.

A function is called with argument templates, one after the other, until one traces to at least one equation. Functions that need
something particular have a call of their own; functions that compute no array are named.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.stats
from jax import lax
from jax.ad_checkpoint import checkpoint_name

NAMESPACES = (
    "jax.lax", "jax.lax.linalg", "jax.numpy", "jax.numpy.linalg", "jax.numpy.fft", "jax.scipy.linalg", "jax.scipy.special",
    "jax.scipy.signal", "jax.scipy.ndimage", "jax.scipy.fft", "jax.scipy.integrate", "jax.scipy.interpolate", "jax.scipy.optimize",
    "jax.scipy.cluster.vq", "jax.scipy.sparse.linalg", "jax.nn", "jax.nn.initializers", "jax.random", "jax.image", "jax.ops",
    *sorted(f"jax.scipy.stats.{name}" for name, value in vars(jax.scipy.stats).items() if isinstance(value, types.ModuleType)),
)


def array(*shape: int, dtype: str = "float32") -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))


V, V4, M, T, SCALAR = array(8), array(4), array(4, 4), array(2, 4, 4), array()
INTS, I0, B, C = array(8, dtype="int32"), array(dtype="int32"), array(8, dtype="bool"), array(4, 4, dtype="complex64")
IMAGE, KERNEL = array(1, 8, 8, 3), array(3, 3, 3, 4)
KEY = jax.eval_shape(lambda: jax.random.key(0))

# Arguments to try, in order. Abstract arrays are traced, anything else is passed as it is.
TEMPLATES: tuple[tuple[Any, ...], ...] = (
    (V,), (M,), (V, V), (M, M), (V, V, V), (M, V), (INTS,), (INTS, INTS), (B,), (B, B), (C,), (V, V, V, V), (V, INTS), (INTS, V),
    (V, 0), (M, 0), (M, 0, 1), (V, 2), (KEY,), (KEY, V), (KEY, V, V), (KEY, (4,)), (KEY, V, V, V), (KEY, (4,), "float32"),
    (INTS, V, V), (INTS, V, V, V), ([V, V],), (V, (4, 2)), (M, (0, 1)), (B, V, V), ((4, 4),), (4,), ((4,), 1.0),
    ((4, 4), 0, "float32"), (T,), (V, V, 2), (T, (0,)), (SCALAR,), (SCALAR, SCALAR, 4), (V, V, V, V, V), ("float32",),
)

# Functions of Python values, of files, of types, or of code: nothing to count.
HOST = frozenset({
    "ConvGeneralDilatedDimensionNumbers", "DotDimensionNumbers", "PrecisionLike", "axis_size", "broadcast_shapes",
    "conv_dimension_numbers", "conv_general_permutations", "conv_general_shape_tuple", "conv_shape_tuple",
    "conv_transpose_shape_tuple", "padtype_to_pads", "reduce_window_shape_tuple", "dtype", "shape_as_value", "stage", "array_repr",
    "array_str", "can_cast", "einsum_path", "from_dlpack", "frombuffer", "fromfile", "fromiter", "frompyfunc", "fromstring",
    "get_printoptions", "isdtype", "isscalar", "issubdtype", "iterable", "load", "ndim", "printoptions", "promote_types",
    "result_type", "save", "savez", "set_printoptions", "shape", "size", "get_scaled_dot_general_config", "key_dtype", "key_impl",
    "iscomplexobj", "isrealobj", "trim_zeros", "Key",
})


def _dot(x: Any) -> Any:
    return x @ x


def _double(x: Any) -> Any:
    return x * 2.0


_SCATTER = lax.ScatterDimensionNumbers((1,), (0,), (0,))


def _axis(f: Callable[..., Any], *args: Any) -> Any:
    """A collective, under a mapped axis."""
    return jax.vmap(lambda x: f(x, "axis", *args), axis_name="axis")


_SEGMENTS: Callable[[Any], tuple[Any, ...]] = lambda f: (lambda x, i: f(x, i, num_segments=3), V, INTS)  # noqa: E731
_INITIALIZER: Callable[[Any], tuple[Any, ...]] = lambda f: (lambda k: f()(k, (4, 4)), KEY)  # noqa: E731
_SIZED: Callable[[Any], tuple[Any, ...]] = lambda f: (lambda x: f(x, size=4), INTS)  # noqa: E731
_SIZED_2: Callable[[Any], tuple[Any, ...]] = lambda f: (lambda x, y: f(x, y, size=4), INTS, INTS)  # noqa: E731
_CONV = (array(1, 3, 8, 8), array(4, 3, 3, 3))

# name -> f -> (a function of arrays, its arrays)
PARTICULAR: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "after_all": lambda f: (lambda: f(lax.create_token()),),
    "all_gather": lambda f: (_axis(f), M), "all_to_all": lambda f: (_axis(f, 0, 0), M), "pmean": lambda f: (_axis(f), M),
    "psum": lambda f: (_axis(f), M), "pmax": lambda f: (_axis(f), M), "pmin": lambda f: (_axis(f), M),
    "psum_scatter": lambda f: (_axis(f), M), "pshuffle": lambda f: (_axis(f, [1, 2, 3, 0]), M),
    "pswapaxes": lambda f: (_axis(f, 0), M), "ppermute": lambda f: (_axis(f, [(0, 1)]), M),
    "axis_index": lambda f: (jax.vmap(lambda x: x + f("axis"), axis_name="axis"), M),
    "argmax": lambda f: (lambda x: f(x, 0, jnp.int32) if f is lax.argmax else f(x), V),
    "argmin": lambda f: (lambda x: f(x, 0, jnp.int32) if f is lax.argmin else f(x), V),
    "associative_scan": lambda f: (lambda x: f(jnp.add, x), V),
    "bitcast_convert_type": lambda f: (lambda x: f(x, jnp.int32), V),
    "broadcast_in_dim": lambda f: (lambda x: f(x, (2, 8), (1,)), V),
    "broadcasted_iota": lambda f: (lambda: f(jnp.int32, (2, 3), 1),),
    "composite": lambda f: (f(_dot, "my.composite"), M),
    "cond": lambda f: (lambda p, x: f(p, _dot, _double, x), array(dtype="bool"), M)
            if f is lax.cond else (f, M),
    "conv": lambda f: (lambda x, w: f(x, w, (1, 1), "SAME"), *_CONV),
    "conv_general_dilated": lambda f: (lambda x, w: f(x, w, (2, 2), "SAME", rhs_dilation=(2, 2)), *_CONV),
    "conv_general_dilated_local": lambda f: (lambda x, w: f(x, w, (1, 1), "VALID", (3, 3)), array(1, 3, 8, 8), array(4, 27, 6, 6)),
    "conv_general_dilated_patches": lambda f: (lambda x: f(x, (3, 3), (1, 1), "SAME"), array(1, 3, 8, 8)),
    "conv_transpose": lambda f: (lambda x, w: f(x, w, (2, 2), "SAME"), IMAGE, KERNEL),
    "conv_with_general_padding": lambda f: (lambda x, w: f(x, w, (1, 1), ((1, 1), (1, 1)), None, None), *_CONV),
    "convert_element_type": lambda f: (lambda x: f(x, jnp.int32), V),
    "custom_linear_solve": lambda f: (lambda b: f(_double, b, lambda mv, b: b / 2.0, symmetric=True), V),
    "custom_root": lambda f: (lambda x: f(lambda y: y * y - x, x, lambda g, y: y - g(y), lambda g, y: y / g(jnp.ones_like(y))), V),
    "dot_general": lambda f: (lambda x, y: f(x, y, (((1,), (0,)), ((), ()))), M, M),
    "dynamic_slice": lambda f: (lambda x, i: f(x, (i,), (2,)), V, I0),
    "dynamic_update_index_in_dim": lambda f: (lambda x, u, i: f(x, u, i, 0), V, array(1), I0),
    "dynamic_update_slice": lambda f: (lambda x, u, i: f(x, u, (i,)), V, array(2), I0),
    "dynamic_update_slice_in_dim": lambda f: (lambda x, u, i: f(x, u, i, 0), V, array(2), I0),
    "empty": lambda f: (lambda: f((4,), jnp.float32),),
    "fft": lambda f: (lambda x: f(x, "FFT", (4,)) if f is lax.fft else f(x), C),
    "fori_loop": lambda f: (lambda x, n: f(0, n, lambda i, c: c * 2.0, x), V, I0),
    "gather": lambda f: (lambda x, i: f(x, i, lax.GatherDimensionNumbers((1,), (0,), (0,)), (1, 4)), M, array(3, 1, dtype="int32")),
    "index_take": lambda f: (lambda x, i: f(x, (i,), (0,)), M, array(3, dtype="int32")),
    "iota": lambda f: (lambda: f(jnp.int32, 4),),
    "map": lambda f: (lambda x: f(_dot, x), T),
    "pad": lambda f: (lambda x: f(x, 0.0, ((1, 1, 1),)) if f is lax.pad else f(x, 1), V),
    "platform_dependent": lambda f: (lambda x: f(x, cpu=_dot, default=_double), M),
    "ragged_dot": lambda f: (f, array(8, 4), array(2, 4, 4), array(2, dtype="int32")),
    "ragged_dot_general": lambda f: (lambda x, y, g: f(x, y, g, lax.RaggedDotDimensionNumbers(
        (((1,), (1,)), ((), ())), [0], [0])), array(8, 4), array(2, 4, 4), array(2, dtype="int32")),
    "reduce": lambda f: (lambda x: f(x, 0.0, lambda a, b: a + b * 2.0, (0,)), V),
    "reduce_and": lambda f: (lambda x: f(x, (0,)), B), "reduce_or": lambda f: (lambda x: f(x, (0,)), B),
    "reduce_xor": lambda f: (lambda x: f(x, (0,)), INTS),
    "reduce_precision": lambda f: (lambda x: f(x, 5, 10), V),
    "reduce_window": lambda f: (lambda x: f(x, 0.0, lambda a, b: a + b * 2.0, (2,), (1,), "SAME"), V),
    "reshape": lambda f: (lambda x: f(x, (4, 2)), V),
    "with_sharding_constraint": lambda f: (lambda x: f(x, jax.sharding.SingleDeviceSharding(jax.devices()[0])), V),
    "rng_bit_generator": lambda f: (lambda k: f(k, (8,)), array(4, dtype="uint32")),
    "rng_uniform": lambda f: (lambda a, b: f(a, b, (8,)), SCALAR, SCALAR),
    "scan": lambda f: (lambda c, x: f(lambda c, x: (c + x, c), c, x), V4, M),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_sub", "scatter_mul", "scatter_min", "scatter_max"),
                    lambda f: (lambda x, i, u: f(x, i, u, _SCATTER), M, array(3, 1, dtype="int32"), array(3, 4))),
    "scatter_apply": lambda f: (lambda x, i: f(x, i, _double, _SCATTER, update_shape=(3, 4)), M, array(3, 1, dtype="int32")),
    "slice": lambda f: (lambda x: f(x, (1,), (5,), (2,)), V),
    "split": lambda f: (lambda x: f(x, (4, 4)) if f is lax.split else f(x) if f is jax.random.split else f(x, 2), V)
             if f is not jax.random.split else (f, KEY),
    "squeeze": lambda f: (lambda x: f(x, (0,)), array(1, 4)),
    "switch": lambda f: (lambda i, x: f(i, [_dot, _double, jnp.sin], x), I0, M),
    "transpose": lambda f: (lambda x: f(x, (1, 0)), M), "permute_dims": lambda f: (lambda x: f(x, (1, 0)), M),
    "while_loop": lambda f: (lambda x: f(lambda c: c.sum() < 3.0, _double, x), V),
    "approx_max_k": lambda f: (lambda x: f(x, 2), V), "approx_min_k": lambda f: (lambda x: f(x, 2), V),
    "cholesky_update": lambda f: (f, M, V4),
    "householder_product": lambda f: (f, M, V4), "ormqr": lambda f: (f, M, V4, M),
    "lu_pivots_to_permutation": lambda f: (lambda p: f(p, 4), array(4, dtype="int32")),
    "tridiagonal_solve": lambda f: (f, V4, V4, V4, M),
    "triangular_solve": lambda f: (lambda a, b: f(a, b, left_side=True, lower=True), M, M),
    "apply_along_axis": lambda f: (lambda x: f(jnp.sum, 0, x), M), "apply_over_axes": lambda f: (lambda x: f(jnp.sum, x, [0]), M),
    "astype": lambda f: (lambda x: f(x, jnp.int32), V), "bincount": lambda f: (lambda x: f(x, length=4), INTS),
    "choose": lambda f: (lambda i, x, y: f(i, [x, y], mode="clip"), INTS, V, V),
    "cross": lambda f: (f, array(3), array(3)),
    "einsum": lambda f: (lambda x, y: f("ij,jk->ik", x, y), M, M),
    "fill_diagonal": lambda f: (lambda x: f(x, 1.0, inplace=False), M),
    "flatnonzero": _SIZED, "nonzero": _SIZED, "argwhere": _SIZED, "unique": _SIZED, "unique_all": _SIZED, "unique_counts": _SIZED,
    "unique_inverse": _SIZED, "unique_values": _SIZED, "union1d": _SIZED_2, "intersect1d": _SIZED_2, "setdiff1d": _SIZED_2,
    "setxor1d": _SIZED_2, "extract": lambda f: (lambda p, x: f(p, x, size=4), B, V),
    "compress": lambda f: (lambda p, x: f(p, x, size=4), B, V),
    "fromfunction": lambda f: (lambda: f(lambda i, j: i * 2.0 + j, (3, 3)),),
    "kaiser": lambda f: (lambda b: f(8, b), SCALAR), "mask_indices": lambda f: (lambda: f(4, jnp.triu, size=10),),
    "place": lambda f: (lambda x, p, v: f(x, p, v, inplace=False), V, B, V4),
    "put": lambda f: (lambda x, i, v: f(x, i, v, inplace=False), V, INTS, V),
    "put_along_axis": lambda f: (lambda x, i, v: f(x, i, v, 0, inplace=False), V, INTS, V),
    "positive": lambda f: (lambda x: f(x) + 1.0, V),
    "ravel_multi_index": lambda f: (lambda i, j: f((i, j), (4, 4), mode="clip"), INTS, INTS),
    "unpackbits": lambda f: (f, array(8, dtype="uint8")),
    "vectorize": lambda f: (f(_double), V),
    "tensorsolve": lambda f: (f, array(2, 2, 4), array(2, 2)),
    "cho_solve": lambda f: (lambda c, b: f((c, True), b), M, V4),
    "eigh_tridiagonal": lambda f: (lambda d, e: f(d, e, eigvals_only=True), V4, array(3)),
    "funm": lambda f: (lambda x: f(x, jnp.sin, disp=False), M),
    "leslie": lambda f: (f, V4, array(3)),
    "lu_solve": lambda f: (lambda a, p, b: f((a, p), b), M, array(4, dtype="int32"), V4),
    "solve_sylvester": lambda f: (f, M, M, M),
    "bessel_jn": lambda f: (lambda x: f(x, v=2), V),
    "sph_harm_y": lambda f: (lambda n, m, t, p: f(n, m, t, p, n_max=4), *(array(1, dtype="int32"),) * 2, array(1), array(1)),
    "map_coordinates": lambda f: (lambda x, i, j: f(x, [i, j], order=1), M, V, V),
    "minimize": lambda f: (lambda x: f(lambda y: (y * y).sum(), x, method="BFGS"), V4),
    "scaled_dot_general": lambda f: (lambda x, y: f(x, y, (((2,), (2,)), ((0,), (0,)))), array(1, 32, 64), array(1, 32, 64)),
    "scaled_matmul": lambda f: (f, array(1, 32, 64, dtype="float8_e4m3fn"), array(1, 32, 64, dtype="float8_e4m3fn"),
                                array(1, 32, 2, dtype="float8_e8m0fnu"), array(1, 32, 2, dtype="float8_e8m0fnu")),
    **dict.fromkeys(("glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "kaiming_normal", "kaiming_uniform",
                     "lecun_normal", "lecun_uniform", "xavier_normal", "xavier_uniform"), _INITIALIZER),
    "constant": lambda f: (lambda k: f(2.0)(k, (4, 4)), KEY),
    "delta_orthogonal": lambda f: (lambda k: f()(k, (3, 4, 4)), KEY),
    "variance_scaling": lambda f: (lambda k: f(1.0, "fan_in", "normal")(k, (4, 4)), KEY),
    "fold_in": lambda f: (f, KEY, I0),
    "multinomial": lambda f: (lambda k, n, p: f(k, n, p), KEY, SCALAR, V4),
    "multivariate_normal": lambda f: (f, KEY, V4, M),
    "ball": lambda f: (lambda k: f(k, 2), KEY), "orthogonal": lambda f: (lambda k: f(k, 4), KEY),
    "generalized_normal": lambda f: (lambda k: f(k, 2.0, (4,)), KEY),
    "randint": lambda f: (lambda k: f(k, (8,), 0, 10), KEY),
    "wrap_key_data": lambda f: (f, array(2, dtype="uint32")),
    "resize": lambda f: (lambda x: f(x, (1, 4, 4, 3), "cubic"), IMAGE) if f is jax.image.resize else (lambda x: f(x, (4, 2)), V),
    "scale_and_translate": lambda f: (lambda x, s, t: f(x, (1, 4, 4, 3), (1, 2), s, t, "linear"), IMAGE, array(2), array(2)),
    "segment_max": _SEGMENTS, "segment_min": _SEGMENTS, "segment_prod": _SEGMENTS, "segment_sum": _SEGMENTS,
}
# Where one name means different things in two namespaces.
PARTICULAR |= {f"jax.nn.initializers.{name}": _INITIALIZER for name in ("normal", "uniform", "truncated_normal", "orthogonal")}
for _name in ("logpmf", "pmf"):
    PARTICULAR[f"jax.scipy.stats.multinomial.{_name}"] = lambda f: (f, array(4, dtype="int32"), array(dtype="int32"), V4)


_WINDOW = (1, 2, 2, 1)


def _pools() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    for name, init, operation in (("max", -jnp.inf, lax.max), ("min", jnp.inf, lax.min), ("sum", 0.0, lax.add)):
        yield f"pool {name}", lambda x, i=init, o=operation: lax.reduce_window(x, i, o, _WINDOW, _WINDOW, "SAME"), (IMAGE,)


def _randoms() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    for impl in ("threefry2x32", "rbg", "unsafe_rbg"):
        yield f"random {impl}", lambda i=impl: jax.random.normal(jax.random.split(jax.random.key(0, impl=i))[0], (8,)), ()


def programs_beside_functions() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Programs whose primitives no single function of the namespaces makes."""
    yield from _pools()
    yield from _randoms()
    yield "checkpoint name", jax.checkpoint(lambda x: checkpoint_name(jnp.sin(x @ x), "y")), (M,)
    yield "updates", lambda x, i: x.at[i].mul(2.0).at[i].min(1.0).at[0].set(3.0).at[1:3].add(1.0), (V, INTS)
    yield "mutable reference", _with_reference, (V,)
    yield "small floats", lambda x: (x.astype("float8_e4m3fn").astype("bfloat16") @ jnp.ones((4, 4), "bfloat16")).sum(), (M,)
    yield "integers", lambda x: (x << 2, x >> 1, x % 3, x // 3, -x, ~x, x ^ 1, abs(x), jnp.bitwise_count(x), lax.clz(x)), (INTS,)
    yield "complex", lambda z: (z * z / (z + 1), abs(z), z.conj(), z.real, jnp.exp(z), jnp.angle(z)), (C,)


def _with_reference(x: Any) -> Any:
    ref = jax.new_ref(jnp.zeros(()))
    ref[...] = x.sum()
    ref[...] += 1.0
    return ref[...]


@dataclass(frozen=True)
class Call:
    """A function of arrays only, and abstract arrays that it traces with."""

    name: str
    function: Callable[..., Any]
    arrays: tuple[Any, ...]

    def jaxpr(self) -> Any:
        return jax.make_jaxpr(self.function)(*self.arrays)

    def gradient(self) -> Any:
        """The jaxpr of the gradient of the sum of its floating-point results. Raises where there is none."""
        wanted = [i for i, a in enumerate(self.arrays) if jnp.issubdtype(a.dtype, jnp.floating)]

        def loss(*args: Any) -> Any:
            leaves = [x for x in jax.tree.leaves(self.function(*args)) if jnp.issubdtype(jnp.result_type(x), jnp.floating)]
            return sum(x.sum().astype(jnp.float32) for x in leaves)

        return jax.make_jaxpr(jax.grad(loss, wanted))(*self.arrays)

    def mapped(self) -> Any:
        """The jaxpr over a leading axis of 3 in every array. Raises where it cannot be mapped."""
        stacked = [jax.ShapeDtypeStruct((3, *a.shape), a.dtype) for a in self.arrays]
        return jax.make_jaxpr(jax.vmap(self.function))(*stacked)


def _close(function: Any, template: tuple[Any, ...]) -> Call:
    """The function of the template's arrays with its other arguments fixed."""
    def is_array(x: Any) -> bool:
        return isinstance(x, jax.ShapeDtypeStruct)

    places = [(i, None) for i, a in enumerate(template) if is_array(a)]
    places += [(i, j) for i, a in enumerate(template) if isinstance(a, list) for j, x in enumerate(a) if is_array(x)]

    def call(*arrays: Any) -> Any:
        args = [list(a) if isinstance(a, list) else a for a in template]
        for (i, j), x in zip(places, arrays, strict=True):
            if j is None:
                args[i] = x
            else:
                args[i][j] = x
        return function(*args)

    return Call("", call, tuple(template[i] if j is None else template[i][j] for i, j in places))


def _attempts(namespace: str, name: str, function: Any) -> Iterator[Call]:
    particular = PARTICULAR.get(f"{namespace}.{name}") or PARTICULAR.get(name)
    if particular is not None:
        call, *arrays = particular(function)
        yield Call(f"{namespace}.{name}", call, tuple(arrays))
    for template in TEMPLATES:
        closed = _close(function, template)
        yield Call(f"{namespace}.{name}", closed.function, closed.arrays)


def public_functions(namespace: str) -> dict[str, Any]:
    """The namespace's public functions that compute arrays, by name."""
    module = importlib.import_module(namespace)
    found = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {name: value for name, value in found.items() if callable(value) and not isinstance(value, type)
            and name not in HOST}


@cache
def traced(namespace: str) -> tuple[dict[str, tuple[Call, Any]], list[str]]:
    """({name: (call, jaxpr)}, names that no template traces) of a namespace."""
    found, failed = {}, []
    for name, function in public_functions(namespace).items():
        for call in _attempts(namespace, name, function):
            try:
                jaxpr = call.jaxpr()
            except Exception:  # a template that does not fit; a test asserts the share that fits
                continue
            if jaxpr.jaxpr.eqns:
                found[name] = call, jaxpr
                break
        else:
            failed.append(name)
    return found, failed

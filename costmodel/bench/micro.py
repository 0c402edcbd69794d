"""Small programs, one kind of kernel each, at sizes from a small layer's to a large one's: for calibrations by kind.

Each is a :class:`~costmodel.models.ModelEntry` over symbols, so that a record of it (a name and a point) is priced again like that
of any model. ``POINTS`` are for accelerators; ``SMALL`` for processors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from costmodel.models import ModelEntry

CHAIN = 64  # kernels in a row in "launches"
DEEP = 8  # special functions an element where they are to outweigh the memory
_NHWC = ("NHWC", "HWIO", "NHWC")


def _product(x: Any, w: Any, precision: Any = None) -> Any:
    return lax.dot(x, w, precision=precision, preferred_element_type=x.dtype)


def _batched(x: Any, y: Any) -> Any:
    return jnp.einsum("bij,bjk->bik", x, y)


def _convolution(x: Any, w: Any, stride: int = 1, groups: Any = 1) -> Any:
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=_NHWC, feature_group_count=groups)


def _depthwise(x: Any, w: Any) -> Any:
    return _convolution(x, w, groups=x.shape[-1])


def _grouped(x: Any, w: Any) -> Any:
    return _convolution(x, w, groups=x.shape[-1] // 16)


def _axpy(x: Any, y: Any) -> Any:
    return 2.0 * x + y


def _often(f: Callable[[Any], Any], times: int) -> Callable[[Any], Any]:
    def iterate(x: Any) -> Any:
        for _ in range(times):
            x = f(x)
        return x

    return iterate


def _norm(x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-6)


def _pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")


def _apart(rows: Any, table: Any) -> Any:
    """Other rows than the given ones, which are timed as zeros: far apart, and no two alike."""
    return (rows + 7919 * lax.iota("int32", rows.shape[0])) % table.shape[0]


def _gather(table: Any, rows: Any) -> Any:
    return table[_apart(rows, table)]


def _scatter(table: Any, rows: Any, more: Any) -> Any:
    return table.at[_apart(rows, table)].add(more)


def _heads(x: Any) -> Any:
    return x.transpose(0, 2, 1, 3)


def _launches(x: Any, w: Any) -> Any:
    """Dependent small products, each with a sum that no compiler puts into the same kernel."""
    for _ in range(CHAIN // 2):
        x = jnp.tanh(x @ w)
        x = x - x.max(axis=0)
    return x


def _entry(kind: str, name: str, f: Callable[..., Any], *inputs: str, where: str = "", **at: int) -> ModelEntry:
    return ModelEntry(f"micro_{name}", lambda: f, inputs, kind, where=where, at=at)


_UNARY: dict[str, Callable[[Any], Any]] = {"exp": lambda x: jnp.exp(-x), "tanh": jnp.tanh, "erf": lax.erf,
                                           "log": lambda x: jnp.log(x * x + 1.0), "rsqrt": lambda x: lax.rsqrt(x * x + 1.0)}
_IMAGE, _KERNEL = "n,h,w,c", "k,k,c,f"

MODELS: dict[str, ModelEntry] = {entry.name: entry for entry in (
    _entry("dot", "dot_float32", _product, "m,k:float32", "k,n:float32"),
    _entry("dot", "dot_highest", partial(_product, precision=lax.Precision.HIGHEST), "m,k:float32", "k,n:float32"),
    _entry("dot", "dot_bfloat16", _product, "m,k:bfloat16", "k,n:bfloat16"),
    _entry("dot", "dot_batched", _batched, "b,m,k:float32", "b,k,n:float32"),
    _entry("conv", "conv", _convolution, _IMAGE, _KERNEL, where="h >= 7, w >= 7, k <= 8"),
    _entry("conv", "conv_bfloat16", _convolution, f"{_IMAGE}:bfloat16", f"{_KERNEL}:bfloat16", where="h >= 7, w >= 7, k <= 8"),
    _entry("conv", "conv_strided", partial(_convolution, stride=2), _IMAGE, _KERNEL, where="h >= 7, w >= 7, k <= 8"),
    _entry("depthwise conv", "depthwise", _depthwise, _IMAGE, "k,k,1,c", where="h >= 7, w >= 7, k <= 8"),
    _entry("grouped conv", "grouped", _grouped, _IMAGE, "k,k,16,c", where="16 | c, h >= 7, w >= 7, k <= 8"),
    _entry("elementwise", "axpy", _axpy, "m:float32", "m:float32"),
    _entry("elementwise", "axpy_bfloat16", _axpy, "m:bfloat16", "m:bfloat16"),
    *(_entry("elementwise", name, f, "m:float32") for name, f in _UNARY.items()),
    *(_entry("elementwise", f"{name}_deep", _often(f, DEEP), "m:float32") for name, f in _UNARY.items()),
    _entry("elementwise", "gelu", jax.nn.gelu, "m:float32"),
    _entry("reduce", "sum", lambda x: x.sum(-1), "m,n:float32"),
    _entry("reduce", "softmax", lambda x: jax.nn.softmax(x), "m,n:float32"),
    _entry("reduce", "layer_norm", _norm, "m,n:float32"),
    _entry("gather", "gather", _gather, "v,d:float32", "m:int32"),
    _entry("scatter", "scatter", _scatter, "v,d:float32", "m:int32", "m,d:float32"),
    _entry("copy", "transpose", lambda x: x.T, "m,n:float32"),
    _entry("copy", "heads", _heads, "b,s,h,d:float32"),
    _entry("window", "max_pool", _pool, f"{_IMAGE}:float32", where="h >= 7, w >= 7"),
    _entry("cumulative", "cumsum", lambda x: jnp.cumsum(x, -1), "m,n:float32"),
    _entry("sort", "sort", lambda x: jnp.sort(x, -1), "m,n:float32"),
    _entry("dot", "launches", _launches, "m,k:float32", "k,k:float32"),
)}

_SQUARE = ((256, 256, 256), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096))
_SKINNY = ((1, 4096, 4096), (64, 4096, 4096), (512, 768, 3072), (512, 3072, 768), (4096, 64, 4096), (6144, 1000, 2048))
_IMAGES = ((8, 56, 64, 64, 3), (8, 28, 128, 128, 3), (8, 14, 256, 256, 3), (8, 7, 512, 512, 3), (8, 56, 64, 256, 1),
           (8, 14, 1024, 256, 1), (32, 56, 64, 64, 3), (32, 14, 256, 256, 3), (1, 14, 256, 256, 3),
           (8, 224, 64, 64, 3), (8, 112, 128, 128, 3), (8, 56, 256, 256, 3), (8, 28, 512, 512, 3))  # the last: of VGG
_MANY = ((512, 56, 64, 64, 3), (64, 112, 128, 128, 3), (256, 28, 256, 256, 3), (64, 28, 512, 512, 3))  # long on an accelerator
_CHANNELWISE = ((8, 112, 32, 3), (8, 56, 144, 3), (8, 14, 384, 3), (8, 14, 672, 5), (32, 56, 96, 7), (1, 14, 384, 3))
_LENGTHS = (2**18, 2**22, 2**25)
_ROWS = ((1024, 1024), (16384, 512), (8192, 4096))


def _points(large: bool) -> Iterator[tuple[str, dict[str, int]]]:
    batches = 1 if large else 8  # a processor takes an eighth of the batch
    squares, lengths, rows = (_SQUARE, _LENGTHS, _ROWS) if large else (_SQUARE[:2], _LENGTHS[:2], _ROWS[:2])
    for m, n, k in (*squares, *_SKINNY):
        yield "dot_float32", {"m": m, "n": n, "k": k}
        if large:
            yield from ((name, {"m": m, "n": n, "k": k}) for name in ("dot_bfloat16", "dot_highest"))
    for b, m, n, k in ((96 // batches, 512, 512, 64), (96 // batches, 512, 64, 512), (16, 128, 128, 64)):
        yield "dot_batched", {"b": b, "m": m, "n": n, "k": k}
    for n, h, c, f, k in (*_IMAGES, *(_MANY if large else ())):
        at = {"n": max(1, n // batches), "h": h, "w": h, "c": c, "f": f, "k": k}
        yield from ((name, at) for name in (("conv", "conv_bfloat16") if large else ("conv",)))
    yield from (("conv_strided", {"n": max(1, n // batches), "h": h, "w": h, "c": c, "f": f, "k": k})
                for n, h, c, f, k in ((8, 224, 3, 64, 7), (8, 56, 128, 128, 3), (32, 224, 3, 64, 7)))
    channelwise = (*_CHANNELWISE, *((256, h, c, k) for _, h, c, k in _CHANNELWISE[:4] if large))
    yield from (("depthwise", {"n": max(1, n // batches), "h": h, "w": h, "c": c, "k": k}) for n, h, c, k in channelwise)
    yield from (("grouped", {"n": max(1, n // batches), "h": h, "w": h, "c": c, "k": 3})
                for n, h, c in ((8, 56, 128), (8, 28, 256), (8, 14, 512), (32, 14, 1024)))
    for name in ("axpy", *(("axpy_bfloat16",) if large else ()), "gelu", *_UNARY, *(f"{name}_deep" for name in _UNARY)):
        yield from ((name, {"m": m}) for m in (lengths if name in ("axpy", "exp", "gelu") else lengths[-1:]))
    for name in ("sum", "softmax", "layer_norm", "transpose"):
        yield from ((name, {"m": m, "n": n}) for m, n in rows)
    yield from (("gather", {"v": 50257, "d": 768, "m": m}) for m in (512, 8192))
    yield from (("scatter", {"v": 50257, "d": 768, "m": m}) for m in (512, 8192))
    yield from (("heads", {"b": b, "s": 512, "h": 12, "d": 64}) for b in (1, 16 // batches))
    yield from (("max_pool", {"n": max(1, n // batches), "h": 112, "w": 112, "c": 64}) for n in (8, 64))
    yield from ((name, {"m": m, "n": 1024}) for name in ("cumsum", "sort") for m in ((64, 4096) if large else (64, 512)))
    yield from (("launches", {"m": m, "k": 64}) for m in (64, 1024))


POINTS: tuple[tuple[str, Mapping[str, int]], ...] = tuple((f"micro_{name}", at) for name, at in _points(large=True))
SMALL: tuple[tuple[str, Mapping[str, int]], ...] = tuple((f"micro_{name}", at) for name, at in _points(large=False))

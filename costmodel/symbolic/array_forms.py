"""``TapCount`` and ``CeilLog2`` on arrays: as exact as on integers, in numpy, JAX and JavaScript.

Python's version of the former takes a modular inverse to skip the outputs that fall into a hole. Arrays go through the
residues of the output modulo ``hole`` instead: within one residue a tap meets holes always or never.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def tap_count_numpy(*args: Any) -> Any:
    """Pairs for broadcast arrays ``(size, taps, stride, dilation, hole, low, high, valid)``, in their own dtype."""
    total: Any = 0
    for step in range(int(np.max(np.multiply(args[1], args[4])))):
        total = total + _pairs(np, step, *args)
    return total


def tap_count_jax(*args: Any) -> Any:
    """The same under ``jit``, where the number of taps may itself be traced. Exact while ``size · hole · taps`` fits the
    dtype, which is int32 unless 64-bit types are enabled."""
    import jax.numpy as jnp
    from jax import lax

    dtype = jnp.result_type(*args)
    arrays = jnp.broadcast_arrays(*(jnp.asarray(arg, dtype) for arg in args))

    def body(step: Any, total: Any) -> Any:
        return total + _pairs(jnp, step.astype(dtype), *arrays).astype(dtype)

    steps = jnp.max(arrays[1] * arrays[4]).astype("int32")
    return lax.fori_loop(0, steps, body, jnp.zeros(arrays[0].shape, dtype))


def _pairs(xp: Any, step: Any, size: Any, taps: Any, stride: Any, dilation: Any, hole: Any, low: Any, high: Any,
           valid: Any) -> Any:
    """Pairs of tap ``step // hole`` with the outputs that are ``step % hole`` modulo ``hole``."""
    tap, residue = step // hole, step % hole
    length = xp.where(size > 0, (size - 1) * hole + 1, 0)
    last = (length + low + high - (taps - 1) * dilation - 1) // stride
    start = low - tap * dilation  # where the input begins, seen from this tap
    first = xp.where(valid, xp.maximum(-(-start // stride), 0), 0)
    last = xp.where(valid, xp.minimum(last, (length - 1 + start) // stride), last)
    meets = (tap < taps) & ((residue * stride - start) % hole == 0) & (first <= last)
    return xp.where(meets, (last - residue) // hole - (first - 1 - residue) // hole, 0)


def ceil_log2_numpy(n: Any) -> Any:
    """⌈log₂ n⌉ for n ≥ 1: the exponent of n - 1, exact below 2**53."""
    return np.frexp(np.asarray(n, np.float64) - 1)[1].astype(np.asarray(n).dtype)


def ceil_log2_jax(n: Any) -> Any:
    """The same under ``jit``, by counting leading zeros of the integer."""
    import jax.numpy as jnp
    from jax import lax

    n = jnp.asarray(n)
    below = n.astype(jnp.result_type(int)) - 1
    return (below.dtype.itemsize * 8 - lax.clz(below)).astype(n.dtype)


JAVASCRIPT_PRELUDE = """\
function tapCount(size, taps, stride, dilation, hole, low, high, valid) {
  const length = size > 0 ? (size - 1) * hole + 1 : 0;
  const end = Math.floor((length + low + high - (taps - 1) * dilation - 1) / stride);
  let total = 0;
  for (let tap = 0; tap < taps; tap++) {
    const start = low - tap * dilation;
    const first = valid ? Math.max(0, Math.ceil(start / stride)) : 0;
    const last = valid ? Math.min(end, Math.floor((length - 1 + start) / stride)) : end;
    if (first > last) continue;
    for (let residue = 0; residue < hole; residue++) {
      if ((residue * stride - start) % hole !== 0) continue;
      total += Math.floor((last - residue) / hole) - Math.floor((first - 1 - residue) / hole);
    }
  }
  return total;
}
function ceilLog2(n) {
  let levels = 0;
  for (let reach = 1; reach < n; reach *= 2) levels++;
  return levels;
}
"""

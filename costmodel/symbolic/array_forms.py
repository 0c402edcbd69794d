"""``TapCount`` and ``CeilLog2`` on arrays: as exact as on integers, in numpy, JAX and JavaScript.

The former is :func:`.floor_sums.aligned_pairs` again, element by element: its cases become the ends of ranges that may be empty,
its loops go on until the last element is through.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

# Applies a step to a state, a tuple of arrays, until the first of them is positive nowhere.
Loop = Callable[[Callable[[Any], Any], Any], Any]


def tap_count_numpy(*args: Any) -> Any:
    """Pairs for broadcast arrays ``(size, taps, stride, dilation, hole, low, high, valid)``, in their own dtype."""
    dtype = np.result_type(*args)
    with np.errstate(divide="ignore", invalid="ignore"):  # of elements that have no count
        return _tap_count(np, _loop_numpy, *np.broadcast_arrays(*(np.asarray(arg, dtype) for arg in args)))


def tap_count_jax(*args: Any) -> Any:
    """The same under ``jit``, where the number of taps may itself be traced. Exact while ``size · hole · taps`` fits the
    dtype, which is int32 unless 64-bit types are enabled."""
    import jax.numpy as jnp

    dtype = jnp.result_type(*args)
    return _jitted()(*jnp.broadcast_arrays(*(jnp.asarray(arg, dtype) for arg in args)))


@cache
def _jitted() -> Any:
    """Compiled by itself too, once a shape: its loops are slow to run one by one."""
    import jax
    import jax.numpy as jnp

    return jax.jit(partial(_tap_count, jnp, _loop_jax))


def _loop_numpy(step: Callable[[Any], Any], state: Any) -> Any:
    while np.any(state[0] > 0):
        state = step(state)
    return state


def _loop_jax(step: Callable[[Any], Any], state: Any) -> Any:
    import jax.numpy as jnp
    from jax import lax

    return lax.while_loop(lambda state: jnp.any(state[0] > 0), step, state)


def _tap_count(xp: Any, loop: Loop, size: Any, taps: Any, stride: Any, dilation: Any, hole: Any, low: Any, high: Any,
               valid: Any) -> Any:
    length = xp.where(size > 0, (size - 1) * hole + 1, 0)
    outputs = (length + low + high - (taps - 1) * dilation - 1) // stride + 1
    common, inverse = _gcd_and_inverse(xp, loop, stride, hole)
    shared, inverse_step = _gcd_and_inverse(xp, loop, dilation, common)
    step, period = common // shared, hole // common
    first = low // shared * inverse_step % step
    residue = (low - first * dilation) // common % period * inverse % period
    turn = -(step * dilation // common) % period * inverse % period

    def up_to(begin: Any, stop: Any, divisor: Any, slope: Any, start: Any) -> tuple[Any, Any, Any, Any]:
        i, j = (-(-(tap - first) // step) for tap in (begin, stop))
        at = slope * (first + i * step) + start - divisor * (residue + i * turn)
        return j - i, divisor * period, slope * step - divisor * turn, at

    valid = valid != 0
    end, most, none = length - 1, (outputs - 1) * stride, xp.zeros_like(length)
    begin = xp.where(valid, xp.maximum(-((most - low) // dilation), 0), 0)
    stop = xp.maximum(xp.where(valid, xp.minimum((end + low) // dilation + 1, taps), taps), begin)
    ends = xp.where(valid, xp.minimum(xp.maximum((end + low - most) // dilation + 1, begin), stop), stop)
    begins = xp.where(valid, xp.minimum(xp.maximum(-(-low // dilation), begin), stop), begin)
    sums = (up_to(begin, ends, none + 1, none, outputs - 1), up_to(ends, stop, stride, -dilation, end + low),
            up_to(begin, begins, stride, -dilation, low - 1), up_to(begins, stop, none + 1, none, none - 1))
    early, late, ramp, flat = _floor_sum(xp, loop, *map(xp.stack, zip(*sums, strict=True)))  # in one loop
    there = (low % shared == 0) & (outputs > 0) & (taps > 0) & ((length > 0) | ~valid)
    return xp.where(there, early + late - ramp - flat, 0)


def _floor_sum(xp: Any, loop: Loop, count: Any, divisor: Any, slope: Any, start: Any) -> Any:
    """:func:`.floor_sums.floor_sum` on arrays."""
    def step(state: Any) -> Any:
        count, divisor, slope, start, total = state
        total = total + count * (count - 1) // 2 * (slope // divisor) + count * (start // divisor)
        slope, start = slope % divisor, start % divisor
        reach = slope * count + start
        left = reach // divisor
        return left, xp.where(left > 0, slope, 1), xp.where(left > 0, divisor, 0), reach % divisor, total

    return loop(step, (xp.maximum(count, 0), divisor, slope, start, xp.zeros_like(count)))[4]


def _gcd_and_inverse(xp: Any, loop: Loop, a: Any, b: Any) -> tuple[Any, Any]:
    """g, the greatest common divisor of a and b, and the inverse of a/g modulo b/g, by Euclid's algorithm."""
    def step(state: Any) -> Any:
        rest, divisor, factor, other = state  # what each remainder is of a, modulo b
        going = rest > 0
        quotient = xp.where(going, divisor // xp.where(going, rest, 1), 0)
        return (xp.where(going, divisor - quotient * rest, 0), xp.where(going, rest, divisor), other - quotient * factor,
                xp.where(going, factor, other))

    zero = xp.zeros_like(a)
    _, divisor, _, inverse = loop(step, (a, b, zero + 1, zero))
    return divisor, inverse


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
function floorSum(count, divisor, slope, start) {
  let total = 0;
  for (count = Math.max(count, 0); count > 0;) {
    const whole = Math.floor(slope / divisor), offset = Math.floor(start / divisor);
    total += count * (count - 1) / 2 * whole + count * offset;
    const reach = (slope - whole * divisor) * count + start - offset * divisor;
    count = Math.floor(reach / divisor);
    [divisor, slope, start] = [slope - whole * divisor, divisor, reach - count * divisor];
  }
  return total;
}
function euclid(a, b) {
  let inverse = 0, factor = 1;
  while (a > 0) {
    const quotient = Math.floor(b / a);
    [a, b, inverse, factor] = [b - quotient * a, a, factor, inverse - quotient * factor];
  }
  return [b, inverse];
}
function tapCount(size, taps, stride, dilation, hole, low, high, valid) {
  const mod = (a, b) => a - Math.floor(a / b) * b;
  const end = size > 0 ? (size - 1) * hole : -1;
  const outputs = Math.floor((end + low + high - (taps - 1) * dilation) / stride) + 1;
  const [common, inverse] = euclid(stride, hole), [shared, inverseStep] = euclid(dilation, common);
  if (outputs <= 0 || taps <= 0 || (valid && end < 0) || mod(low, shared) !== 0) return 0;
  const step = common / shared, period = hole / common;
  const first = mod(mod(low / shared, step) * inverseStep, step);
  const residue = mod(mod((low - first * dilation) / common, period) * inverse, period);
  const turn = mod(mod(-step * dilation / common, period) * inverse, period);
  const upTo = (begin, stop, divisor, slope, start) => {
    const i = Math.ceil((begin - first) / step), j = Math.ceil((stop - first) / step);
    const at = slope * (first + i * step) + start - divisor * (residue + i * turn);
    return floorSum(j - i, divisor * period, slope * step - divisor * turn, at);
  };
  if (!valid) return upTo(0, taps, 1, 0, outputs - 1) - upTo(0, taps, 1, 0, -1);
  const most = (outputs - 1) * stride;
  const begin = Math.max(0, Math.ceil((low - most) / dilation));
  const stop = Math.min(taps, Math.floor((end + low) / dilation) + 1);
  const ends = Math.min(Math.max(Math.floor((end + low - most) / dilation) + 1, begin), stop);
  const begins = Math.min(Math.max(Math.ceil(low / dilation), begin), stop);
  return upTo(begin, ends, 1, 0, outputs - 1) + upTo(ends, stop, stride, -dilation, end + low)
    - upTo(begin, begins, stride, -dilation, low - 1) - upTo(begins, stop, 1, 0, -1);
}
function ceilLog2(n) {
  let levels = 0;
  for (let reach = 1; reach < n; reach *= 2) levels++;
  return levels;
}
"""

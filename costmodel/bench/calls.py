"""Programs compiled and called: arguments that are ordinary numbers, seconds of calls, and on what they ran."""

from __future__ import annotations

import datetime
import math
import platform
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.extend import core as jex_core

from costmodel.hardware import machine

if TYPE_CHECKING:
    from costmodel.trace.requests import Traced


def compile_traced(traced: Traced) -> tuple[Any, list[Any], float]:
    """The compiled program, its arguments on the device, and the seconds that lowering and compiling took."""
    draw = np.random.default_rng(0)
    arguments = [drawn(leaf.role, aval, draw) for leaf, aval in zip(traced.leaves, traced.jaxpr.in_avals, strict=True)]
    start = time.perf_counter()
    compiled = jax.jit(jex_core.jaxpr_as_fun(traced.jaxpr)).lower(*arguments).compile()
    return compiled, arguments, time.perf_counter() - start


def drawn(role: str, aval: Any, draw: np.random.Generator) -> jax.Array:
    """An ordinary value: real keys, zeros for integers (in range as an index), ones for statistics (variances are positive),
    and normal numbers, for parameters so small that activations keep their size from layer to layer."""
    if jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), aval.shape) if aval.shape else jax.random.key(0)
    if not jax.numpy.issubdtype(aval.dtype, np.inexact):
        return jax.device_put(np.zeros(aval.shape, aval.dtype))
    if role == "buffer":
        return jax.device_put(np.ones(aval.shape, aval.dtype))
    values = draw.standard_normal(aval.shape, np.float32)
    if role == "parameter":
        values = values / np.float32(math.sqrt(math.prod(aval.shape[:-1])))
    return jax.device_put(np.asarray(values).astype(aval.dtype))


def time_calls(compiled: Any, arguments: Sequence[Any], repeat: int, warmup: int) -> tuple[float, ...]:
    """Seconds of each of ``repeat`` calls, after ``warmup`` untimed ones."""
    for _ in range(warmup):
        jax.block_until_ready(compiled(*arguments))
    samples = []
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        samples.append(time.perf_counter() - start)
    return tuple(samples)


def xla_figures(compiled: Any) -> dict[str, float]:
    """XLA's own figures; some backends have none."""
    try:
        analysis = compiled.cost_analysis()
    except (NotImplementedError, jax.errors.JaxRuntimeError):
        return {}
    figures = analysis or {}
    return {key: float(figures[key]) for key in ("flops", "bytes accessed") if key in figures}


def device_kind(platform_name: str) -> str:
    """The kind of device that a platform of jax is."""
    return platform_name if platform_name in ("cpu", "tpu") else "gpu"


def environment_of(backend: Any) -> dict[str, str]:
    """The machine and the versions that a measurement was made with."""
    return {
        "machine": machine.cpu_model(),
        "cpus": str(machine.cpu_count()),
        "platform": backend.platform,
        "device": backend.device_kind,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }

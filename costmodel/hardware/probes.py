"""What is timed on a device: each probe is one compiled program and the work that a run of it does. Imports jax."""

from __future__ import annotations

import functools
import operator
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

BLOCK = 5  # samples in a row whose median is one figure; the best figure of a probe is its result
CHAINS = 8  # independent multiply-add chains an element: enough to hide the latency of one
UNARY_STEPS = 16
KERNELS = (1, 65)  # lengths of the two programs whose difference gives the overhead of a kernel

# The functions whose cost stands for all transcendentals. Iterated, both stay away from overflow and denormals.
UNARY: dict[str, Callable[[jax.Array], jax.Array]] = {"exp": lambda x: jnp.exp(-x), "tanh": jnp.tanh}


@dataclass
class Probe:
    """A program to time. ``run`` is one call; it does ``work`` operations, bytes or evaluations."""

    family: str
    setting: str
    work: float
    run: Callable[[], Any]
    samples: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The family and the setting: "copy, 64 MiB"."""
        return f"{self.family}, {self.setting}"

    def sample(self) -> float:
        """Seconds of one call, with the wait for its result."""
        start = time.perf_counter()
        jax.block_until_ready(self.run())
        return time.perf_counter() - start

    @property
    def seconds(self) -> float:
        """The least of the medians of blocks: other load on the machine only ever adds time."""
        blocks = [self.samples[i : i + BLOCK] for i in range(0, len(self.samples), BLOCK)]
        return min(statistics.median(block) for block in blocks if len(block) == min(BLOCK, len(self.samples)))

    @property
    def rate(self) -> float:
        """Work a second."""
        return self.work / self.seconds


def matmuls(dtype: str, precision: str, sizes: Iterable[int], family: str) -> Iterator[Probe]:
    """Square contractions, 2 n³ operations; integers accumulate in int32."""
    asked = jax.lax.Precision[precision]
    accumulate = jnp.int32 if dtype == "int8" else None

    @jax.jit
    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        contract = (((1,), (0,)), ((), ()))
        return jax.lax.dot_general(a, b, contract, precision=asked, preferred_element_type=accumulate)

    for n in sizes:
        # Random values: a device that is fed constants draws less power and may clock higher than it ever will in use.
        a, b = (_random(seed, (n, n), dtype) for seed in (0, 1))
        yield Probe(family, f"n = {n}", 2.0 * n**3, functools.partial(product, a, b))


def chains(dtype: str, sizes: Iterable[int], steps: int, family: str) -> Iterator[Probe]:
    """Multiply-add chains on every element of an array; 2 operations a link, sums of the chains not counted."""

    @jax.jit
    def chain(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
        links = [x + i for i in range(CHAINS)]
        for _ in range(steps):
            links = [link * scale + shift for link in links]
        return functools.reduce(operator.add, links)

    # Run-time scalars: constants could be folded. Their fixed point is 2, far from overflow and denormals.
    scale, shift = (jnp.asarray(v, dtype) for v in ((3, 1) if dtype == "int32" else (0.5, 1.0)))
    for n in sizes:
        run = functools.partial(chain, _random(0, (n,), dtype), scale, shift)
        yield Probe(family, f"{n} elements, {CHAINS} chains of {steps}", 2.0 * n * CHAINS * steps, run)


def _softmax(evaluate: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    return evaluate(x - x.max(-1, keepdims=True)).sum(-1)


def _gelu(evaluate: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    return 0.5 * x * (1 + evaluate(0.79788 * (x + 0.044715 * x * x * x)))


OCCURS: dict[str, tuple[str, Callable[..., jax.Array], Callable[[jax.Array], jax.Array]]] = {
    "exp": ("softmax", _softmax, jnp.exp), "tanh": ("gelu", _gelu, jnp.tanh)}
WITHOUT = ": without"  # the kernel without the function


def in_kernels(name: str, sizes: Iterable[int], *, without: bool) -> Iterator[Probe]:
    """The kernel where a transcendental function occurs, on rows of 512 float32 elements, with it or without: iterated, processors'
    compilers give a function several times the code, and not the vector instructions, that it has alone."""
    where, kernel, function = OCCURS[name]
    run = jax.jit(functools.partial(kernel, (lambda x: x) if without else function))
    for n in sizes:
        yield Probe(name + WITHOUT * without, f"{n} elements, in a {where}", float(n),
                    functools.partial(run, _random(0, (n // 512, 512), "float32")))


def unaries(name: str, sizes: Iterable[int]) -> Iterator[Probe]:
    """Evaluations of a transcendental function, iterated on every element of a float32 array."""

    @jax.jit
    def iterate(x: jax.Array) -> jax.Array:
        for _ in range(UNARY_STEPS):
            x = UNARY[name](x)
        return x

    for n in sizes:
        run = functools.partial(iterate, _random(0, (n,), "float32"))
        yield Probe(name, f"{n} elements, {UNARY_STEPS} times", float(n * UNARY_STEPS), run)


def stream(total: int) -> Iterator[Probe]:
    """a ← s·a + b in place on two float32 arrays of ``total`` bytes together: two read, one written."""
    n = total // 8

    # In place (donated), as fresh results on a CPU cost page faults, which are not bandwidth.
    @functools.partial(jax.jit, donate_argnums=0)
    def step(a: jax.Array, b: jax.Array, scale: jax.Array) -> jax.Array:
        return scale * a + b

    held, b, scale = [jnp.ones(n, jnp.float32)], jnp.full(n, 0.5, jnp.float32), jnp.float32(0.5)

    def run() -> jax.Array:
        held[0] = step(held[0], b, scale)
        return held[0]

    yield Probe("bandwidth", f"2 arrays of {4 * n / 2**20:.0f} MiB", 12.0 * n, run)


def call() -> Iterator[Probe]:
    """One call from Python of a compiled addition of 8 numbers."""
    yield Probe("call", "8 elements", 1.0, functools.partial(jax.jit(lambda x: x + 1), jnp.ones(8, jnp.float32)))


def kernels(count: int) -> Iterator[Probe]:
    """A program of ``count`` dependent 8 x 8 contractions, which compilers do not fuse into one kernel."""

    @jax.jit
    def product(x: jax.Array, w: jax.Array) -> jax.Array:
        for _ in range(count):
            x = x @ w
        return x

    x = jnp.eye(8, dtype=jnp.float32)
    yield Probe(f"kernels: {count}", "8 x 8 contractions", float(count), functools.partial(product, x, x))


def _random(seed: int, shape: tuple[int, ...], dtype: str) -> jax.Array:
    key = jax.random.key(seed)
    if dtype.startswith("int"):
        return jax.random.randint(key, shape, -100, 100, dtype)
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)

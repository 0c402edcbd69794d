"""1 024 points of batch and resolution beside peers that trace the model again at each: the table of docs/sweeps.md.

    python tests/benchmarks/peers.py

The model is a residual network of convolutions in plain jax; of the peers some points are timed, the first left out. torch's
counter is asked where torch is installed, of the same convolutions.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator

import jax

import costmodel as cm

BATCHES, SIDES = range(1, 33), range(32, 1025, 32)
TIMED = 12
WIDTH, BLOCKS = 32, 8


def network(x: jax.Array, first: jax.Array, weights: list[jax.Array]) -> jax.Array:
    """A convolution to 32 channels and eight residual ones."""
    def convolution(y: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(y, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    y = convolution(x, first)
    for w in weights:
        y = y + jax.nn.relu(convolution(y, w))
    return y.mean((1, 2))


def shapes(n: object, side: object) -> tuple[object, ...]:
    return cm.spec((n, side, side, 3)), cm.spec((3, 3, 3, WIDTH)), [cm.spec((3, 3, WIDTH, WIDTH))]*BLOCKS


def by_lowering(n: int, side: int) -> float:
    """jax's own count of the lowered program."""
    return jax.jit(network).lower(*shapes(n, side)).cost_analysis()["flops"]


def by_torch(n: int, side: int) -> float:
    """torch's count of the same convolutions, on its device without data."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def convolution(y: object, c: int) -> object:
        return torch.nn.functional.conv2d(y, torch.empty(WIDTH, c, 3, 3, device="meta"), padding=1)

    with FlopCounterMode(display=False) as counter:
        y = convolution(torch.empty(n, 3, side, side, device="meta"), 3)
        for _ in range(BLOCKS):
            y = y + torch.relu(convolution(y, WIDTH))
    return counter.get_total_flops()


def a_point(count: Callable[[int, int], float]) -> float:
    """CPU seconds of one point."""
    count(3, 48)
    start = time.process_time()
    for i in range(TIMED):
        count(2 + i, 32*(1 + i))
    return (time.process_time() - start)/TIMED


def rows() -> Iterator[tuple[str, float, float]]:
    """(what counts, CPU seconds of 1 024 points, how many times a sweep's)."""
    start = time.process_time()
    n, h = cm.dims("n h")
    cost = cm.analyze(network, *shapes(n, h), verify=False)
    grid = {"n": BATCHES, "h": SIDES}
    cost.sweep(**grid, metrics=("flops", "macs"))
    first = time.process_time() - start
    repeated = []
    for _ in range(20):
        start = time.process_time()
        data = cost.sweep(**grid, metrics=("flops", "macs"))
        repeated.append(time.process_time() - start)
    sweep = min(repeated)
    assert data.macs.size == len(BATCHES)*len(SIDES) == 1024
    yield "`cost.sweep`", sweep, 1.0
    yield "`analyze` and the first sweep", first, first/sweep
    lowered = 1024*a_point(by_lowering)
    yield "`jax.jit(f).lower(…).cost_analysis()`", lowered, lowered/sweep
    if importlib.util.find_spec("torch"):
        counted = 1024*a_point(by_torch)
        yield "torch's `FlopCounterMode`", counted, counted/sweep


if __name__ == "__main__":
    print("| 1,024 points | CPU s | × |\n|---|---|---|")
    for what, seconds, ratio in rows():
        print(f"| {what} | {seconds:.4g} | {ratio:,.0f} |")

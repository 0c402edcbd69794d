"""ResNet-50 in closed form, against an independent count; and models of any size, traced without their arrays."""

from __future__ import annotations

import random
import resource
import tracemalloc

import brute_force
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
import sympy
from flax import nnx

import costmodel as cm
from zoo.resnet import ResNet18, ResNet50

N, H, W = cm.symbols("n h w")


def concrete_macs(model: nn.Module, n: int, h: int, w: int) -> int:
    x = jax.ShapeDtypeStruct((n, h, w, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    return brute_force.macs(brute_force.trace(model.apply, variables, x))


def test_closed_form_for_multiples_of_32(cost_of):
    assert cost_of("resnet50").macs == 81456 * N * H * W + 2048000 * N
    assert cost_of("resnet50_nnx").macs == 81456 * N * H * W + 2048000 * N
    assert cost_of("resnet50").at(n=1, h=224, w=224).macs == 81456 * 224**2 + 2048000 == 4_089_184_256


def test_brute_force_agrees_with_the_closed_form_where_32_divides():
    assert concrete_macs(ResNet50(), 2, 64, 96) == 81456 * 2 * 64 * 96 + 2048000 * 2


@pytest.fixture(scope="module")
def unaligned() -> cm.Cost:
    """ResNet-50 in any h and w."""
    n, h, w = cm.dims("n h w")
    return cm.analyze(ResNet50(), (n, h, w, 3))


def test_without_the_assumption_it_is_written_in_ceilings(unaligned):
    """Every stage halves and rounds up: ⌈h/2⌉, ⌈h/4⌉ … ⌈h/32⌉, nothing nested."""
    sizes = unaligned.macs.atoms(cm.CeilDiv, cm.FloorDiv)
    assert sizes == {cm.CeilDiv(x, 2**i) for x in (H, W) for i in (1, 2, 3, 4, 5)}


def test_without_the_assumption_it_is_exact(unaligned):
    draw = random.Random(50)
    corners = [(1, 32, 32), (1, 33, 299), (2, 300, 31 + 32)]
    for n, h, w in corners + [(draw.randint(1, 5), draw.randint(32, 300), draw.randint(32, 300)) for _ in range(3)]:
        assert unaligned.at(n=n, h=h, w=w).macs == concrete_macs(ResNet50(), n, h, w), (n, h, w)


def test_both_forms_agree_where_both_hold(unaligned, cost_of):
    aligned = unaligned.macs.xreplace({H: 32 * H, W: 32 * W})
    aligned = aligned.replace(lambda e: isinstance(e, cm.CeilDiv), lambda e: cm.CeilDiv(*e.args))
    assert sympy.expand(aligned) == sympy.expand(cost_of("resnet50").macs.xreplace({H: 32 * H, W: 32 * W}))


@pytest.mark.parametrize("width", [8, 24])
def test_a_symbolic_width_multiplier(width):
    """Widths are symbols as well as sizes: the form at a width is the count of the network of that width."""
    n, c = cm.dims("n c")
    cost = cm.analyze(ResNet18(width=c), (n, 64, 64, 3))
    assert cost.at(n=2, c=width).macs == concrete_macs(ResNet18(width=width), 2, 64, 64)


# -- models larger than memory -----------------------------------------------------------------------------------------------

WIDTH, DEPTH = 16384, 26  # 26 · 16384² = 7.0e9 parameters, 28 GB in float32


class LinenStack(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(DEPTH):
            x = nn.relu(nn.Dense(WIDTH, use_bias=False)(x))
        return x


class NnxStack(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.layers = nnx.List(nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=rngs) for _ in range(DEPTH))

    def __call__(self, x):
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x


MIB = 2**20


@pytest.mark.parametrize("build", [LinenStack, lambda: cm.abstract(lambda: NnxStack(rngs=nnx.Rngs(0)))], ids=["linen", "nnx"])
def test_seven_billion_parameters_are_never_allocated(build):
    n = cm.dims("n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        cost = cm.analyze(build(), (n, WIDTH))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert cost.params == DEPTH * WIDTH**2 > 6.9e9
    assert cost.macs == N * DEPTH * WIDTH**2
    assert peak < 100 * MIB
    assert grown < 500 * MIB  # one layer alone has 1 GiB

"""Valid-tap FLOPs of convolutions and dots are what XLA counts for that equation alone, before it optimises anything."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import brute_force
import jax
import numpy as np
import pytest
from conftest import ENTRIES
from jax import lax

import costmodel as cm
from costmodel.symbolic.forms import evaluate

CONTRACTIONS = ("conv_general_dilated", "dot_general")


def xla_flops(function: Any, *shapes: Any) -> float:
    """FLOPs that XLA's analysis of the lowered, unoptimised program states."""
    analysis = jax.jit(function).lower(*shapes).cost_analysis()
    return analysis.get("flops", 0.0)


_known: dict[Any, float] = {}


def equation_flops(eqn: Any) -> float:
    """XLA's count of one equation of a concrete jaxpr; equal equations are lowered once."""
    shapes = tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars)
    key = (eqn.primitive.name, shapes, str(sorted(eqn.params.items(), key=str)))
    if key not in _known:
        _known[key] = xla_flops(lambda *args: eqn.primitive.bind(*args, **eqn.params), *shapes)
    return _known[key]


def ours_and_xlas(cost: cm.Cost, point: dict[str, int]) -> list[tuple[int, float]]:
    """For each contraction: the symbolic form's value at the point, and XLA's count of the equation traced there."""
    env = cost.domain.bind(point)
    symbolic = [2 * evaluate(valid, env) for e in cost.program if e.primitive in CONTRACTIONS for _, _, valid in e.work.ops]
    jaxpr = cost.request.at(cost.domain, env).run().jaxpr.jaxpr
    concrete = [e for e in brute_force.equations(jaxpr, loops=True) if e.primitive.name in CONTRACTIONS]
    return [(ours, equation_flops(eqn)) for ours, eqn in zip(symbolic, concrete, strict=True)]


# One network of each kind; all others are checked by `make test-slow`.
REPRESENTATIVE = (
    "alexnet", "conv1d", "conv2d_dilated", "conv2d_grouped", "conv2d_padded", "conv2d_strided", "efficientnet_b0", "gemm", "gpt2",
    "gpt2_scan", "lstm_layer", "lstm_lm_medium", "mcunet_in3", "mobilenet_v2", "mobilenet_v2_nnx", "resnet50", "unet_small",
    "vgg11", "vit_b_16",
)


@pytest.mark.parametrize("name", [
    *(name for name in ENTRIES if name in REPRESENTATIVE),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ENTRIES if name not in REPRESENTATIVE),
])
def test_every_contraction_of_the_zoo(name, cost_of):
    for ours, xlas in ours_and_xlas(cost_of(name), dict(ENTRIES[name].at)):
        assert np.float32(ours) == xlas  # XLA keeps its count in 32 bits


# -- random equations --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Convolution:
    """A convolution (batch, features, *space) * (features out, features in / groups, *space), and the shapes it is drawn for."""

    options: dict[str, Any]
    input: tuple[int, ...]
    kernel: tuple[int, ...]

    def __call__(self, x, kernel):
        return lax.conv_general_dilated(x, kernel, **self.options)

    def in_one_dimension(self) -> Convolution:
        """The same over its first spatial dimension."""
        options = {name: value[:1] if isinstance(value, list) else value for name, value in self.options.items()}
        return Convolution(options, self.input[:3], self.kernel[:3])

    def xla_flops(self, input: tuple[int, ...]) -> float:
        return xla_flops(self.__call__, cm.spec(input), cm.spec(self.kernel))


def random_convolution(draw: random.Random) -> Convolution:
    """Stride, asymmetric and negative padding, both dilations, groups and batch groups; its output is not empty."""
    space = draw.choice((1, 2))
    groups, batch_groups = draw.choice(((1, 1), (1, 1), (2, 1), (4, 1), (1, 2)))
    while True:
        size = [draw.randint(1, 11) for _ in range(space)]
        taps = [draw.randint(1, 5) for _ in range(space)]
        padding = [(draw.randint(-1, 4), draw.randint(-1, 4)) for _ in range(space)]
        strides, holes, dilations = ([draw.randint(1, 3) for _ in range(space)] for _ in range(3))
        if all((n - 1) * hole + 1 + sum(pad) > (k - 1) * dilation
               for n, k, pad, hole, dilation in zip(size, taps, padding, holes, dilations, strict=True)):
            break
    options = {"window_strides": strides, "padding": padding, "lhs_dilation": holes, "rhs_dilation": dilations,
               "feature_group_count": groups, "batch_group_count": batch_groups}
    batch, features_in, features_out = batch_groups * draw.randint(1, 3), groups * draw.randint(1, 3), 4 * draw.randint(1, 2)
    return Convolution(options, (batch, features_in, *size), (features_out, features_in // groups, *taps))


@pytest.mark.parametrize("seed", range(10))
def test_random_convolutions(seed):
    """25 convolutions a seed."""
    draw = random.Random(seed)
    for _ in range(25):
        conv = random_convolution(draw)
        cost = cm.analyze(conv.__call__, conv.input, conv.kernel).at()
        assert cost.metric("flops", taps="valid") == conv.xla_flops(conv.input), conv


def test_random_convolutions_in_symbolic_sizes():
    """One closed form at several sizes. JAX refuses a few of these symbolically, where a window may fall off the input."""
    draw = random.Random(11)
    traced = 0
    n, h = cm.dims("n h", where="h >= 16")
    for _ in range(40):
        conv = random_convolution(draw).in_one_dimension()
        batch, features, _ = conv.input
        try:
            cost = cm.analyze(conv.__call__, (batch * n, features, h), conv.kernel, fit="never")
        except cm.TraceError as error:
            assert "nconclusive" in str(error), error
            continue
        traced += 1
        for size in (16, 17, 30):
            assert cost.at(n=3, h=size).metric("flops", taps="valid") == conv.xla_flops((3 * batch, features, size)), conv
    assert traced >= 30


@pytest.mark.parametrize("seed", range(3))
def test_random_dots(seed):
    """20 dots a seed: any number of batch, contracted and free dimensions, in any order."""
    draw = random.Random(seed)
    for _ in range(20):
        batch, contracted, left, right = ([draw.randint(1, 6) for _ in range(draw.randint(0, 2))] for _ in range(4))
        kinds = [[*(("b", i) for i in range(len(batch))), *(("k", i) for i in range(len(contracted))),
                  *(("f", i) for i in range(len(free)))] for free in (left, right)]
        for order in kinds:
            draw.shuffle(order)
        sizes = [{"b": batch, "k": contracted, "f": free} for free in (left, right)]
        shapes = [tuple(size[kind][i] for kind, i in order) for order, size in zip(kinds, sizes, strict=True)]
        where = [[[order.index((kind, i)) for i in range(count)] for order in kinds]
                 for kind, count in (("k", len(contracted)), ("b", len(batch)))]

        dot = partial(lax.dot_general, dimension_numbers=where)
        cost = cm.analyze(dot, *map(cm.spec, shapes)).at()
        assert cost.metric("flops", taps="valid") == xla_flops(dot, *map(cm.spec, shapes)), (shapes, where)


def test_the_comparison_can_fail():
    """Dense taps are not what XLA counts where there is padding."""
    conv = Convolution({"window_strides": (1,), "padding": "SAME"}, (2, 3, 8), (4, 3, 3))
    cost = cm.analyze(conv.__call__, conv.input, conv.kernel).at()
    xlas = conv.xla_flops(conv.input)
    assert cost.metric("flops", taps="valid") == xlas == 2 * 2 * 3 * 4 * (3 * 8 - 2)
    assert cost.metric("flops", taps="dense") > xlas

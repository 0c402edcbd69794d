"""Valid-tap FLOPs of convolutions and dots are what XLA counts for that equation alone, before it optimises anything."""

from __future__ import annotations

import functools
import random
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import brute_force
import costmodel as cm
from conftest import ENTRIES
from costmodel.forms import evaluate

CONTRACTIONS = ("conv_general_dilated", "dot_general")


def xla_flops(function: Any, *shapes: Any) -> float:
    """FLOPs that XLA's analysis of the lowered, unoptimised program states."""
    analysis = jax.jit(function).lower(*shapes).cost_analysis()
    return analysis.get("flops", 0.0)


@functools.cache
def _equation_flops(primitive: Any, shapes: tuple[tuple[tuple[int, ...], Any], ...], _params: str, eqn: _Keyed) -> float:
    return xla_flops(lambda *args: primitive.bind(*args, **eqn.params), *(jax.ShapeDtypeStruct(*shape) for shape in shapes))


class _Keyed:
    """Parameters beside the text that stands for them in a cache key."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed)

    def __hash__(self) -> int:
        return 0


def equation_flops(eqn: Any) -> float:
    """XLA's count of one equation of a concrete jaxpr; equal equations are lowered once."""
    shapes = tuple((v.aval.shape, v.aval.dtype) for v in eqn.invars)
    return _equation_flops(eqn.primitive, shapes, str(sorted(eqn.params.items(), key=str)), _Keyed(eqn.params))


def ours_and_xlas(cost: cm.Cost, point: dict[str, int]) -> list[tuple[int, float]]:
    """For each contraction: the symbolic form's value at the point, and XLA's count of the equation traced there."""
    env = cost.domain.bind(point)
    symbolic = [2 * evaluate(valid, env) for e in cost.program if e.primitive in CONTRACTIONS for _, _, valid in e.work.ops]
    jaxpr = cost.request.at(cost.domain, env).run().jaxpr.jaxpr
    concrete = [e for e in brute_force.equations(jaxpr) if e.primitive.name in CONTRACTIONS]
    return [(ours, equation_flops(eqn)) for ours, eqn in zip(symbolic, concrete, strict=True)]


FAST = {"resnet50", "mobilenet_v2", "alexnet", "vgg11", "mcunet_in3", "resnet50_nnx"}
SMALL = {name for name, entry in ENTRIES.items() if "n,h,w,3:float32" not in entry.inputs}


def test_every_contraction_of_the_zoo(entry, cost_of):
    cost = cost_of(entry.name)
    for ours, xlas in ours_and_xlas(cost, dict(entry.at)):
        assert ours == xlas


# -- random equations --------------------------------------------------------------------------------------------------------


def random_convolution(draw: random.Random) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """(function of input and kernel, their shapes); its output is not empty."""
    space = draw.choice((1, 2))
    while True:
        groups, batch_groups = draw.choice(((1, 1), (1, 1), (2, 1), (4, 1), (1, 2)))
        size = [draw.randint(1, 11) for _ in range(space)]
        taps = [draw.randint(1, 5) for _ in range(space)]
        options = {
            "window_strides": [draw.randint(1, 3) for _ in range(space)],
            "padding": [(draw.randint(-1, 4), draw.randint(-1, 4)) for _ in range(space)],
            "lhs_dilation": [draw.randint(1, 3) for _ in range(space)],
            "rhs_dilation": [draw.randint(1, 3) for _ in range(space)],
        }
        spans = [(n - 1) * hole + 1 + sum(pad) - (k - 1) * d for n, k, hole, d, pad in
                 zip(size, taps, options["lhs_dilation"], options["rhs_dilation"], options["padding"], strict=True)]
        if min(spans) > 0:
            break
    batch, features_in, features_out = batch_groups * draw.randint(1, 3), groups * draw.randint(1, 3), 4 * draw.randint(1, 2)

    def convolve(x, kernel):
        return lax.conv_general_dilated(x, kernel, feature_group_count=groups, batch_group_count=batch_groups, **options)

    return convolve, (batch, features_in, *size), (features_out, features_in // groups, *taps)


@pytest.mark.parametrize("seed", range(10))
def test_random_convolutions(seed):
    """25 convolutions a seed, in stride, asymmetric and negative padding, both dilations, groups and batch groups."""
    draw = random.Random(seed)
    for _ in range(25):
        convolve, x, kernel = random_convolution(draw)
        cost = cm.analyze(convolve, cm.spec(x), cm.spec(kernel))
        xlas = xla_flops(convolve, jax.ShapeDtypeStruct(x, jnp.float32), jax.ShapeDtypeStruct(kernel, jnp.float32))
        assert cost.at().metric("flops", taps="valid") == xlas, jax.make_jaxpr(convolve)(jnp.zeros(x), jnp.zeros(kernel))


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

        def dot(x, y, where=tuple(map(tuple, where))):
            return lax.dot_general(x, y, where)

        cost = cm.analyze(dot, *map(cm.spec, shapes))
        assert cost.at().metric("flops", taps="valid") == xla_flops(dot, *(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)), shapes


def test_random_convolutions_in_symbolic_sizes():
    """The same closed form at several sizes. JAX refuses some of these symbolically (a hole in a free size), but not most."""
    draw = random.Random(11)
    traced = 0
    n, h = cm.dims("n h", where="h >= 16")
    for _ in range(40):
        convolve, x, kernel = random_convolution(draw)
        x, kernel = x[:3], kernel[:3]
        if draw.random() < 0.5:
            batch: Any = x[0]
        else:
            batch = x[0] * n
        function = _first_dimension_only(convolve)
        try:
            cost = cm.analyze(function, cm.spec((batch, x[1], h)), cm.spec(kernel))
        except cm.TraceError:
            continue
        traced += 1
        for size in (16, 17, 30):
            point = {"h": size, **({"n": 3} if "n" in cost.symbols else {})}
            shape = (3 * x[0] if "n" in point else x[0], x[1], size)
            xlas = xla_flops(function, jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(kernel, jnp.float32))
            assert cost.at(**point).metric("flops", taps="valid") == xlas
    assert traced >= 30


def _first_dimension_only(convolve: Any) -> Any:
    """The same convolution over its first spatial dimension."""
    options = {cell: value for cell, value in zip(convolve.__code__.co_freevars, (c.cell_contents for c in convolve.__closure__),
                                                  strict=True)}
    first = {name: value[:1] for name, value in options["options"].items()}

    def function(x, kernel):
        return lax.conv_general_dilated(x, kernel, feature_group_count=options["groups"],
                                        batch_group_count=options["batch_groups"], **first)

    return function


def test_the_comparison_can_fail():
    """Dense taps are not what XLA counts where there is padding."""
    function = functools.partial(lax.conv, window_strides=(1,), padding="SAME")
    cost = cm.analyze(function, cm.spec((2, 3, 8)), cm.spec((4, 3, 3))).at()
    xlas = xla_flops(function, jax.ShapeDtypeStruct((2, 3, 8), jnp.float32), jax.ShapeDtypeStruct((4, 3, 3), jnp.float32))
    assert cost.metric("flops", taps="valid") == xlas == 2 * 2 * 3 * 4 * (3 * 8 - 2)
    assert cost.metric("flops", taps="dense") > xlas

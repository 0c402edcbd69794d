"""Dense taps are those of the convolution that the user wrote: gradients keep their forward's, transposed ones have their own.

The values come from the definition: results × taps, or elements × taps of a transposed convolution, over shapes that jax states.
"""

from __future__ import annotations

import random
from itertools import product
from math import prod

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import costmodel as cm
from costmodel.program.inline import inline
from costmodel.trace.requests import request

LAYOUT = {3: ("NHC", "HIO", "NHC"), 4: ("NHWC", "HWIO", "NHWC")}


def convolution(strides, padding, dilation=1, groups=1, holes=1):
    """A convolution, channels last, with these parameters in every spatial dimension."""
    def conv(x, kernel):
        space = x.ndim - 2
        pads = padding if isinstance(padding, str) else [padding] * space
        return lax.conv_general_dilated(x, kernel, (strides,) * space, pads, (holes,) * space, (dilation,) * space,
                                        LAYOUT[x.ndim], feature_group_count=groups)
    return conv


def transposed(strides, padding, dilation=1):
    def conv(x, kernel):
        space = x.ndim - 2
        pads = padding if isinstance(padding, str) else [padding] * space
        return lax.conv_transpose(x, kernel, (strides,) * space, pads, (dilation,) * space)
    return conv


def loss(conv):
    return lambda x, kernel: (conv(x, kernel) ** 2).sum()


def trained(conv):
    """The loss and its gradients by image and kernel."""
    return jax.value_and_grad(loss(conv), (0, 1))


def macs(function, *shapes):
    return cm.analyze(function, *map(cm.spec, shapes)).at().macs


def forward_and_all(function, *shapes):
    """MACs of the forward pass and of the whole."""
    cost = cm.analyze(function, *map(cm.spec, shapes))
    return cost.filter_phase("").macs, cost.macs


def written(conv, image, kernel) -> int:
    """Every tap of every result: a result of c_o features needs c_i / g of each of the kernel's taps."""
    result = jax.eval_shape(conv, jax.ShapeDtypeStruct(image, "float32"), jax.ShapeDtypeStruct(kernel, "float32")).shape
    return prod(result) * prod(kernel[:-1])


# -- gradients -----------------------------------------------------------------------------------------------------------------

PADDINGS = ("SAME", "VALID", (1, 1), (2, 0), (-1, 2), (3, -1))
SPACES = (((9,), (3,)), ((7, 10), (3, 2)), ((12,), (4,)), ((6, 5), (1, 3)))
GROUPS = {"plain": (1, 2, 6), "grouped": (2, 4, 6), "depthwise": (3, 3, 3)}  # groups, features in, features out


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize(("space", "taps"), [*SPACES[:2], *(pytest.param(*s, marks=pytest.mark.slow) for s in SPACES[2:])])
def test_a_training_step_is_three_times_its_forward(space, taps, groups):
    """36 convolutions each: 432 in all."""
    count, features_in, features_out = GROUPS[groups]
    image, kernel = (2, *space, features_in), (*taps, features_in // count, features_out)
    for strides, padding, dilation in product((1, 2, 3), PADDINGS, (1, 2)):
        conv = convolution(strides, padding, dilation, count)
        forward = written(conv, image, kernel)
        assert forward_and_all(trained(conv), image, kernel) == (forward, 3 * forward), (strides, padding, dilation)


@pytest.mark.parametrize("space", [(5,), (4, 3)])
def test_a_transposed_convolution_is_elements_times_taps(space):
    """However its result is cropped; 36 each."""
    for taps, strides, dilation, padding in product((2, 3), (1, 2, 3), (1, 2), ("SAME", "VALID", (4, 3))):
        conv, kernel = transposed(strides, padding, dilation), (*(taps,) * len(space), 3, 6)
        image = (2, *space, 3)
        forward = prod(image) * prod(kernel[:-2]) * 6
        assert forward_and_all(trained(conv), image, kernel) == (forward, 3 * forward), (taps, strides, dilation, padding)


def holes_avoided(size, taps, strides, dilation, hole, low, high) -> int:
    """(result, tap) pairs of one dimension that do not fall into a hole, one by one."""
    results = ((size - 1) * hole + 1 + low + high - (taps - 1) * dilation - 1) // strides + 1
    return sum((o * strides + t * dilation - low) % hole == 0 for o in range(results) for t in range(taps))


def test_a_users_own_holes_never_count_and_the_padding_around_them_does():
    """20 convolutions with a dilated image, their gradients, and the gradients of these."""
    draw = random.Random(5)
    for _ in range(20):
        strides, dilation, hole, low, high, taps = (draw.randint(1, 3), draw.randint(1, 2), draw.randint(2, 4), draw.randint(-1, 3),
                                                    draw.randint(0, 3), draw.randint(1, 4))
        size = draw.randint(4, 7)
        conv = convolution(strides, (low, high), dilation, 1, hole)
        forward = 2 * 3 * 5 * holes_avoided(size, taps, strides, dilation, hole, low, high)
        image, kernel = (2, size, 3), (taps, 3, 5)
        what = strides, dilation, hole, low, high, taps, size
        assert forward_and_all(trained(conv), image, kernel) == (forward, 3 * forward), what
        assert macs(twice(conv), image, kernel) == 9 * forward, what


def twice(conv):
    """The gradient of the gradient's norm: a forward, its two gradients, and two gradients of each of these three."""
    first = jax.grad(loss(conv), (0, 1))
    return jax.grad(lambda x, kernel: sum((g ** 2).sum() for g in first(x, kernel)), (0, 1))


KINDS = {"strided": (convolution(2, "SAME"), (3, 3, 6)), "dilated": (convolution(3, "VALID", 2), (3, 3, 6)),
         "grouped": (convolution(2, (2, -1), 1, 3), (2, 1, 6)), "transposed": (transposed(2, "VALID"), (3, 3, 6)),
         "transposed, same": (transposed(3, "SAME"), (2, 3, 6)), "transposed, padded": (transposed(2, (1, 2), 2), (3, 3, 6))}


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_gradients(kind):
    conv, kernel = KINDS[kind]
    image = (2, 9, 3)
    forward = macs(conv, image, kernel)
    assert macs(twice(conv), image, kernel) == 9 * forward
    assert macs(jax.jit(twice(jax.jit(conv))), image, kernel) == 9 * forward
    tangent = lambda x, kernel: jax.jvp(jax.grad(loss(conv), (0, 1)), (x, kernel), (x, kernel))  # noqa: E731
    assert macs(tangent, image, kernel) == 9 * forward


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_calls_loops_and_batches(kind):
    conv, kernel = KINDS[kind]
    image = (2, 9, 3)
    forward = macs(conv, image, kernel)

    def looped(x, kernels):
        return lax.scan(lambda total, one: (total + jnp.sin(conv(x, one)).sum(), None), 0.0, kernels)[0]

    def chosen(x, kernel):
        return lax.cond(x[0, 0, 0] > 0, loss(conv), lambda *_: 0.0, x, kernel)

    assert macs(trained(jax.jit(conv)), image, kernel) == 3 * forward
    assert macs(jax.value_and_grad(looped, (0, 1)), image, (4, *kernel)) == 4 * 3 * forward
    assert macs(jax.value_and_grad(chosen, (0, 1)), image, kernel) == 3 * forward
    again = jax.checkpoint(lambda x, kernel: jnp.sin(conv(x, kernel)))
    assert macs(jax.grad(loss(again), (0, 1)), image, kernel) == 4 * forward
    for axes in ((0, None), (None, 0), (0, 0)):
        shapes = [shape if axis is None else (4, *shape) for shape, axis in zip((image, kernel), axes, strict=True)]
        assert macs(jax.vmap(trained(conv), axes), *shapes) == 4 * 3 * forward
        batched = jax.vmap(conv, axes)
        assert macs(batched, *shapes) == 4 * forward
        assert macs(trained(batched), *shapes) == 4 * 3 * forward


def test_transpositions_are_counted():
    """What a backward pass computes again is as it was."""
    conv = jax.checkpoint(lambda x, kernel: jnp.sin(convolution(2, "SAME")(x, kernel)))

    def made(function):
        traced = request(function, cm.spec((2, 9, 3)), cm.spec((3, 3, 6))).run()
        return sorted((r.phase, r.transposes) for r in inline(traced).equations if "window_strides" in r.params)

    assert made(jax.grad(loss(conv), (0, 1))) == [("", 0), ("backward", 1), ("backward", 1), ("recompute", 0)]
    assert {("backward", 1), ("backward", 2)} <= set(made(twice(convolution(2, "SAME"))))


def test_only_the_cotangents_are_batched():
    """A Jacobian: two gradients for every row."""
    conv = convolution(2, "SAME")
    rows = lambda x, kernel: conv(x, kernel).reshape(-1)[:7]  # noqa: E731
    image, kernel = (2, 9, 3), (3, 3, 6)
    assert macs(jax.jacrev(rows, (0, 1)), image, kernel) == 2 * 7 * written(conv, image, kernel)


def test_one_line_that_convolves_in_many_ways():
    """The image's gradient of the first has the shapes of the kernel's gradient of the second."""
    ways = (("VALID", 3), ("SAME", 5))

    def network(x, *kernels):
        for (padding, _), kernel in zip(ways, kernels, strict=True):
            x = convolution(1, padding)(x, kernel)
        return x

    kernels = [(taps, 2, 2) for _, taps in ways]
    forward = (3 * 3 + 3 * 5) * 2 * 2
    assert macs(network, (1, 5, 2), *kernels) == forward
    step = jax.value_and_grad(lambda *args: (network(*args) ** 2).sum(), range(3))
    assert macs(step, (1, 5, 2), *kernels) == 3 * forward


def test_a_transposition_without_its_forward():
    """``jax.linear_transpose`` runs no forward; the gradient by the kernel has its taps and results, that by the image too."""
    conv, image, kernel = convolution(2, (4, 4)), (2, 9, 3), (3, 3, 6)
    result = jax.eval_shape(conv, jnp.zeros(image), jnp.zeros(kernel)).shape
    x, w = (jax.ShapeDtypeStruct(shape, "float32") for shape in (image, kernel))
    assert macs(lambda y, w: jax.linear_transpose(lambda x: conv(x, w), x)(y), result, kernel) == written(conv, image, kernel)
    assert macs(lambda y, x: jax.linear_transpose(lambda w: conv(x, w), w)(y), result, image) == written(conv, image, kernel)
    up = transposed(2, (1, 0))
    result = jax.eval_shape(up, jnp.zeros(image), jnp.zeros(kernel)).shape
    assert macs(lambda y, w: jax.linear_transpose(lambda x: up(x, w), x)(y), result, kernel) == 2 * 9 * 3 * 3 * 6
    assert macs(lambda y, x: jax.linear_transpose(lambda w: up(x, w), w)(y), result, image) == 2 * 9 * 3 * 3 * 6


def test_a_derivative_that_is_written_by_hand_counts_as_written():
    """And one that it takes itself keeps the count of what it differentiates."""
    forward, inner, up = convolution(2, "SAME"), convolution(1, "SAME"), convolution(1, (1, 1), holes=2)

    @jax.custom_vjp
    def conv(x, kernel):
        return forward(x, kernel)

    def backward(kept, g):
        x, kernel = kept
        by_kernel = jax.vjp(lambda kernel: inner(x, kernel), kernel)[1]
        return up(g, jnp.flip(kernel, 0).swapaxes(1, 2)), *by_kernel(inner(x, kernel))

    conv.defvjp(lambda x, kernel: (conv(x, kernel), (x, kernel)), backward)
    image, kernel = (2, 9, 3), (3, 3, 6)
    by_hand = 2 * 6 * 3 * holes_avoided(5, 3, 1, 1, 2, 1, 1) + 2 * written(inner, image, kernel)
    assert macs(jax.grad(loss(conv), (0, 1)), image, kernel) == written(forward, image, kernel) + by_hand


def test_what_only_a_gradient_needs():
    """The forward is dead, and its gradient still has its count."""
    conv, image, kernel = convolution(2, "VALID"), (2, 9, 3), (4, 3, 6)
    forward = written(conv, image, kernel)
    linear = lambda x, kernel: conv(x, kernel).sum()  # noqa: E731
    assert macs(jax.grad(linear), image, kernel) == macs(jax.grad(linear, 1), image, kernel) == forward
    assert macs(jax.jit(jax.grad(jax.jit(linear))), image, kernel) == forward


# -- symbols -------------------------------------------------------------------------------------------------------------------


def arguments(kind, n, h, c):
    """Shapes of an image and a kernel for a kind, of c features in and 2·c out unless it is grouped."""
    (taps, *features) = KINDS[kind][1]
    return ((n, h, 3), (taps, *features)) if kind == "grouped" else ((n, h, c), (taps, c, 2 * c))


@pytest.mark.parametrize("kind", KINDS)
def test_closed_forms_are_concrete_counts(kind):
    """jax takes no symbol for the padding that the gradient of a gradient needs."""
    conv, _ = KINDS[kind]
    functions = (conv, trained(conv))
    shapes = arguments(kind, cm.dims("n"), cm.dims("h", multiple_of=6), cm.dims("c"))
    costs = [cm.analyze(f, *map(cm.spec, shapes)) for f in functions]
    for h in (6, 12, 18, 42):
        counts = [cost.at(**{"n": 2, "h": h, "c": 5} if kind != "grouped" else {"n": 2, "h": h}).macs for cost in costs]
        assert counts == [macs(f, *arguments(kind, 2, h, 5)) for f in functions]
        assert counts[1] == 3 * counts[0]

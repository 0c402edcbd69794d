"""Strided windows of a free image read as divisions of one dimension, and count what a loop over their positions counts."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import pytest
from sympy import Function

import costmodel as cm
from costmodel.symbolic.forms import CeilDiv, FloorDiv, PeakMax

WINDOWS = [(1, 2), (2, 2), (3, 1), (3, 2), (3, 3), (3, 4), (4, 4), (5, 2), (5, 3), (7, 2), (11, 4), (16, 16)]
SIZES = (*range(1, 20), 31, 32, 33)


def image(least: int = 1):
    n, (p, q) = cm.dims("n"), cm.dims("p q", min=least)
    return cm.spec((n, p, q, 3))


def windows_along(size: int, k: int, s: int, padding: str) -> int:
    """Positions of a window by walking: SAME starts one at every s-th element, VALID wherever it fits."""
    return len([start for start in range(0, size, s) if padding == "SAME" or start + k <= size])


def layer(kind: str, k: int, s: int, padding: str) -> Callable[[jax.Array], jax.Array]:
    if kind == "convolution":
        return nn.Conv(4, (k, k), (s, s), padding=padding)
    return lambda x: nn.max_pool(x, (k, k), (s, s), padding=padding)


@pytest.mark.parametrize("k, s", WINDOWS)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_convolution_of_a_free_image(k, s, padding):
    macs = cm.analyze(layer("convolution", k, s, padding), image(least=k if padding == "VALID" else 1)).macs
    assert not macs.has(PeakMax)
    assert all(isinstance(form, CeilDiv | FloorDiv) and len(form.free_symbols) == 1 and not form.args[0].atoms(Function)
               for form in macs.atoms(Function))
    cost = cm.analyze(layer("convolution", k, s, padding), image())
    for p, q in zip(SIZES, reversed(SIZES), strict=True):
        counted = 2 * windows_along(p, k, s, padding) * windows_along(q, k, s, padding) * k * k * 3 * 4
        assert cost.at(n=2, p=p, q=q).macs == counted


@pytest.mark.parametrize("k, s", [(3, 2), (2, 2), (3, 3), (7, 2), (4, 4)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_pool_of_a_free_image(k, s, padding):
    cost = cm.analyze(layer("pool", k, s, padding), image())
    for p, q in zip(SIZES, reversed(SIZES), strict=True):
        outputs = 2 * windows_along(p, k, s, padding) * windows_along(q, k, s, padding) * 3
        assert cost.at(n=2, p=p, q=q).flops == outputs * (k * k - 1)


@pytest.mark.parametrize("kind, k, s, padding, read", [
    ("convolution", 4, 4, "SAME", "192*n*CeilDiv(p, 4)*CeilDiv(q, 4)"),
    ("convolution", 4, 4, "VALID", "192*n*FloorDiv(p, 4)*FloorDiv(q, 4)"),
    ("convolution", 3, 2, "SAME", "108*n*CeilDiv(p, 2)*CeilDiv(q, 2)"),
    ("convolution", 7, 2, "SAME", "588*n*CeilDiv(p, 2)*CeilDiv(q, 2)"),
    ("convolution", 2, 2, "VALID", "48*n*FloorDiv(p, 2)*FloorDiv(q, 2)"),
    ("convolution", 2, 3, "SAME", "48*n*CeilDiv(p, 3)*CeilDiv(q, 3)"),
    ("convolution", 3, 1, "VALID", "108*n*PeakMax(0, p - 2)*PeakMax(0, q - 2)"),  # empty where p < 3: this one is meant
    ("pool", 3, 2, "SAME", "24*n*CeilDiv(p, 2)*CeilDiv(q, 2)"),
    ("pool", 2, 2, "VALID", "9*n*FloorDiv(p, 2)*FloorDiv(q, 2)"),
])
def test_the_text_is_the_textbooks(kind, k, s, padding, read):
    cost = cm.analyze(layer(kind, k, s, padding), image())
    assert str(cost.macs if kind == "convolution" else cost.flops) == read


class Strided(nn.Module):
    """Three halvings, as every backbone begins, and a flattening, whose size jax multiplies out."""

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.relu(nn.Conv(4, (3, 3), (2, 2))(x))
        return x.reshape((x.shape[0], -1)) * 2.0


def test_halvings_in_a_row_are_one_division_each():
    cost = cm.analyze(Strided(), image())
    p, q = cm.symbols("p q")
    assert cost.macs.atoms(Function) == {CeilDiv(x, d) for x in (p, q) for d in (2, 4, 8)}
    assert cost.bytes("unfused").atoms(Function) == cost.macs.atoms(Function)
    assert cost.domain.texts == ("n >= 1", "p >= 1", "q >= 1")


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_taps_inside_the_image_are_counted_as_they_lie(size):
    """3x3, stride 2, SAME: the padding, and with it what falls into it, depends on whether the size is even."""
    cost = cm.analyze(nn.Conv(4, (3, 3), (2, 2)), image())
    outputs = -(-size // 2)
    low = max(0, (outputs - 1) * 2 + 3 - size) // 2
    inside = sum(0 <= 2 * o + t - low < size for o in range(outputs) for t in range(3))
    assert cost.at(n=1, p=size, q=size).metric("macs", taps="valid") == inside**2 * 12
    assert str(cost.metric("macs", taps="valid").subs({cm.symbols("q"): 1, cm.symbols("n"): 1})) == "12*p + 12*CeilDiv(p, 2) - 12"

"""Published rules of what training a transformer keeps, as closed forms of its sizes.

Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022: bytes of activations of a layer in 16
bits on each of t devices that share it, for b sequences of s tokens, width h and a heads. Dropout masks take a byte; the mean and
deviation of normalisations, 16·s·b bytes, are left out. ``layers`` counts what the first stage of an interleaved pipeline holds,
and ``weights`` the 18 bytes a parameter that their "parameters, gradients and optimizer states" are, of the layers' matrices alone.

>>> from sympy import symbols
>>> s, b, h, a, t = symbols("s b h a t", positive=True)
>>> layer("sequence+selective", s, b, h, a, t)
34*b*h*s/t
>>> layer("full", s, b, h, a, t)
2*b*h*s
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.symbolic.forms import number
from costmodel.text import did_you_mean

RULES: dict[str, Callable[..., Expr]] = {
    "tensor": lambda s, b, h, a, t: s * b * h * (10 + 24 / t + 5 * a * s / (h * t)),  # equation 2
    "sequence": lambda s, b, h, a, t: s * b * h * (34 + 5 * a * s / h) / t,  # equation 4
    "selective": lambda s, b, h, a, t: s * b * h * (10 + 24 / t),  # table 2
    "sequence+selective": lambda s, b, h, a, t: 34 * s * b * h / t,  # equation 6
    "full": lambda s, b, h, a, t: 2 * s * b * h,  # table 2
}
"""What is shared ("tensor", and "sequence" too) and computed again, by Korthikanti et al.; "full" keeps a layer's input."""

A_PARAMETER = 18  # bytes: 16-bit parameter, 32-bit gradient, master copy and two moments


def layer(rule: str, s: Any, b: Any, h: Any, a: Any, t: Any) -> Expr:
    """Bytes that a layer keeps on a device. Raises CostModelError for a rule that is none of :data:`RULES`."""
    if rule not in RULES:
        raise CostModelError(f"unknown rule of a layer's activations {rule!r};{did_you_mean(rule, RULES)} choose one of "
                             f"{', '.join(RULES)}")
    return RULES[rule](*map(number, (s, b, h, a, t)))


def layers(rule: str, count: Any, s: Any, b: Any, h: Any, a: Any, t: Any, p: Any = 1, chunks: Any = 1) -> Expr:
    """Bytes that the first of p pipeline stages keeps of so many layers: 1 + (p - 1)/(p·chunks) times those of all layers on one
    stage's devices where stages are interleaved, else those of all layers (section 4.2.3)."""
    p, chunks = number(p), number(chunks)
    more = (p - 1) / (p * chunks) if chunks != 1 else 0
    return number(count) * layer(rule, s, b, h, a, t) * (1 + more)


def weights(count: Any, h: Any, t: Any, p: Any = 1) -> Expr:
    """Bytes of parameters, gradients and optimizer states on a device, of the matrices of so many layers."""
    return A_PARAMETER * 12 * number(count) * number(h)**2 / (number(t) * number(p))

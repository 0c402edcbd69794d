"""Counts of a concrete jaxpr, written apart from costmodel's rules: plain integers, from the definition of each primitive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def equations(jaxpr: Any, *, loops: bool = False) -> Iterator[Any]:
    """Every equation, bodies of calls included. With ``loops`` a loop's body is listed too, once; without, there must be none."""
    for eqn in jaxpr.eqns:
        assert loops or eqn.primitive.name not in ("scan", "while", "cond"), eqn.primitive
        bodies = [value for value in eqn.params.values() if hasattr(value, "eqns") or hasattr(value, "jaxpr")]
        for body in bodies:
            yield from equations(getattr(body, "jaxpr", body), loops=loops)
        if not bodies:
            yield eqn


def trace(function: Callable[..., Any], *inputs: Any) -> Any:
    """The jaxpr of ``function`` at concrete shapes."""
    return jax.make_jaxpr(function)(*inputs).jaxpr


def macs(jaxpr: Any) -> int:
    """Multiply-accumulates, every kernel tap counted. Forward programs only: no dilated inputs."""
    return sum(_MACS[e.primitive.name](e) for e in equations(jaxpr) if e.primitive.name in _MACS)


def _convolution(eqn: Any) -> int:
    """Each output element sums over every element of one output channel of the kernel: Goodfellow et al., Deep Learning, 9.1."""
    kernel, numbers = eqn.invars[1].aval.shape, eqn.params["dimension_numbers"]
    assert set(eqn.params["lhs_dilation"]) == {1} and eqn.params["batch_group_count"] == 1
    return math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // kernel[numbers.rhs_spec[0]]


def _dot(eqn: Any) -> int:
    """Each output element is a sum over the contracted dimensions."""
    (contracted, _), _ = eqn.params["dimension_numbers"]
    return math.prod(eqn.outvars[0].aval.shape) * math.prod(eqn.invars[0].aval.shape[d] for d in contracted)


_MACS: dict[str, Callable[[Any], int]] = {"conv_general_dilated": _convolution, "dot_general": _dot}

"""Models of libraries that costmodel does not need: Equinox's modules and Haiku's transformed functions. Neither library is
imported here; a model of one exists only where its user has imported it. So it is with NNX, which takes long to import.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp


def equinox_module() -> type | None:
    """``equinox.Module``, if the user has imported Equinox."""
    return getattr(sys.modules.get("equinox"), "Module", None)


def nnx_module() -> type | None:
    """``flax.nnx.Module``, if NNX was imported."""
    return getattr(sys.modules.get("flax.nnx"), "Module", None)


def is_nnx(model: Any) -> bool:
    """Whether it is an NNX module."""
    base = nnx_module()
    return base is not None and isinstance(model, base)


def is_equinox(model: Any) -> bool:
    """Whether it is an Equinox module."""
    base = equinox_module()
    return base is not None and isinstance(model, base)


def is_haiku(model: Any) -> bool:
    """Whether it is what ``hk.transform`` or ``hk.transform_with_state`` returns: a pair of functions."""
    kinds = (getattr(sys.modules.get("haiku"), name, None) for name in ("Transformed", "TransformedWithState"))
    return isinstance(model, tuple(kind for kind in kinds if kind is not None))


def modules_in(value: Any, base: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, module) of an Equinox module and of those that it holds: in fields, and in tuples, lists and dictionaries there."""
    if isinstance(value, base):
        yield path, value
        parts: Any = ((f.name, getattr(value, f.name, None)) for f in dataclasses.fields(value))  # type: ignore[arg-type]
    elif isinstance(value, Mapping):
        parts = value.items()
    else:
        parts = enumerate(value) if isinstance(value, tuple | list) else ()
    for name, part in parts:
        yield from modules_in(part, base, (*path, str(name)))


def split(tree: Any, select: Callable[[Any], bool]) -> tuple[Any, Any]:
    """(selected leaves, all other leaves) of a pytree, each as that tree with None in the others' places."""
    return (jax.tree.map(lambda x: x if select(x) else None, tree), jax.tree.map(lambda x: None if select(x) else x, tree))


def joined(*trees: Any) -> Any:
    """The tree whose parts :func:`split` made."""
    return jax.tree.map(lambda *xs: next((x for x in xs if x is not None), None), *trees, is_leaf=lambda x: x is None)


def is_array(x: Any) -> bool:
    """An array of jax's, or its shape and type: in an Equinox module anything else is fixed."""
    return isinstance(x, jax.Array | jax.ShapeDtypeStruct)


def is_trained(x: Any) -> bool:
    """An array of floating-point or complex numbers, which Equinox's optimizers train (``equinox.is_inexact_array``)."""
    return is_array(x) and jnp.issubdtype(x.dtype, jnp.inexact)

"""What Linen does otherwise while we trace: it initialises once what it would initialise again and again.

``apply`` runs each initialiser again to check the shape of the parameter that it is given, and a model that is traced again at a
point is initialised again, which takes as long as its call. Both are known from the trace before, and are taken from there where
that can be told to be the same.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from costmodel._jax_compat import in_this_thread, standing_in, there

Shapes = dict[Any, tuple[Any, ...]]  # of parameters, by their initialisers' calls


class Read:
    """What a call has read of the variables that it was given.

    names:     collection, modules and name of each.
    otherwise: one has another shape than it would have been initialised with.
    """

    def __init__(self) -> None:
        self.names: set[tuple[str, ...]] = set()
        self.otherwise = False

    def all_of(self, variables: Any) -> bool:
        """Whether initialisation would have given these variables: each was asked for, in its shape."""
        if self.otherwise:
            return False
        found = (tuple(str(getattr(k, "key", k)) for k in keys) for keys, _ in jax.tree_util.tree_flatten_with_path(variables)[0])
        return all(any(path[:length] in self.names for length in range(2, len(path) + 1)) for path in found)


class _Mine(threading.local):
    """What this thread asked for: the shapes that it knows, and that what is read be noted."""

    shapes: Shapes | None = None
    read: Read | None = None


_MINE = _Mine()


@contextlib.contextmanager
def initialisers_run_once(shapes: Shapes | None = None) -> Iterator[None]:
    """While this lasts, the shapes that ``init`` has found in this thread, or that are known already, serve the checks of
    ``apply``: of the same initialiser, with the same arguments, for the parameter of the same path. Whatever is not known so is
    checked as ever."""
    with standing_in(_scopes(), "param", _remembering), in_this_thread(_MINE, "shapes", {} if shapes is None else shapes):
        yield


@contextlib.contextmanager
def noting_what_is_read() -> Iterator[Read]:
    """While this lasts, what calls of this thread read of their variables is noted, and whether it has the shape that it would be
    initialised with."""
    found = Read()
    with standing_in(_scopes(), "variable", _noting), in_this_thread(_MINE, "read", found):
        yield found


def _scopes() -> list[Any]:
    return [module.Scope for module in there("flax.core.scope") if hasattr(module, "Scope")]


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def variable(self: Any, col: str, name: str, init_fn: Any = None, *args: Any, **kwargs: Any) -> Any:
        if _MINE.read is None or not self.has_variable(col, name):
            return original(self, col, name, init_fn, *args, **kwargs)
        _MINE.read.names.add((col, *self.path, name))
        if init_fn is not None:
            own = {k: v for k, v in kwargs.items() if k != "unbox"}
            fresh = jax.eval_shape(lambda: init_fn(*args, **own))
            _MINE.read.otherwise |= _shapes(fresh) != _shapes(self.get_variable(col, name))
        return original(self, col, name, init_fn, *args, **kwargs)

    return variable


def _remembering(original: Callable[..., Any]) -> Callable[..., Any]:
    from flax.core import meta

    @functools.wraps(original)
    def param(self: Any, name: str, init_fn: Callable[..., Any], *args: Any, unbox: bool = True, **kwargs: Any) -> Any:
        shapes, call = _MINE.shapes, _key((self.path, name, init_fn, args, tuple(kwargs.items())))
        if shapes is None or call is None:
            return original(self, name, init_fn, *args, unbox=unbox, **kwargs)
        if not self.has_variable("params", name):
            value = original(self, name, init_fn, *args, unbox=unbox, **kwargs)
            shapes[call] = _shapes(value)
            return value
        if _MINE.read is not None:
            _MINE.read.names.add(("params", *self.path, name))
        value = self.get_variable("params", name)
        if shapes.get(call) != _shapes(value):
            return original(self, name, init_fn, *args, unbox=unbox, **kwargs)
        self.reserve(name, "params")
        return meta.unbox(value) if unbox else value

    return param


def _key(call: Any) -> Any:
    """``call`` as a key, with tuples for the lists in it, such as shapes; None where a part has no hash, such as an array."""
    def frozen(x: Any) -> Any:
        if type(x) in (list, tuple):
            return tuple(map(frozen, x))
        hash(x)
        return x

    try:
        return frozen(call)
    except TypeError:
        return None


def _shapes(tree: Any) -> tuple[Any, ...]:
    return tuple(np.shape(leaf) for leaf in jax.tree.leaves(tree))

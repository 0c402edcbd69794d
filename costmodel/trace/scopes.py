"""Module paths in the name stacks of NNX and Equinox models, which leave them empty: while we trace, each call of a module opens a
scope.

The classes' ``__call__`` is replaced meanwhile, for every thread of the process; only the one that traces opens scopes.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax

from costmodel import _jax_compat as compat
from costmodel.trace import foreign, guard


class _Scopes:
    """The modules that one trace has met, by ``id`` (modules need not be hashable), and the calls it is inside of."""

    def __init__(self) -> None:
        self._paths: dict[int, tuple[str, ...]] = {}
        self._known: list[Any] = []  # kept alive, so that no id is used again
        self._active: list[tuple[Any, tuple[str, ...]]] = []

    def learn(self, root: Any, above: tuple[str, ...] = ()) -> None:
        """Note the paths of ``root`` and its parts, below its caller's."""
        self._known.append(root)
        for path, node in _parts(root):
            self._paths.setdefault(id(node), (*above, *map(str, path)))

    def call(self, original: Callable[..., Any], module: Any, /, *args: Any, **kwargs: Any) -> Any:
        """``original(module, …)`` in the scope of the module's path below its caller."""
        if self._active and self._active[-1][0] is module:  # super().__call__
            return guard.call(original, module, *args, **kwargs)
        above = self._active[-1][1] if self._active else ()
        if id(module) not in self._paths:
            self.learn(module, above)
        path = self._paths[id(module)]
        below = path[len(above):] if path[:len(above)] == above else path
        self._active.append((module, path))
        try:
            with jax.named_scope("/".join(below)) if below else contextlib.nullcontext():
                return guard.call(original, module, *args, **kwargs)
        finally:
            self._active.pop()


class _Mine(threading.local):
    """The scopes that this thread's innermost trace opens."""

    scopes: _Scopes | None = None


_MINE = _Mine()


@contextlib.contextmanager
def module_scopes(model: Any = None) -> Iterator[None]:
    """While it lasts, a call of an NNX or Equinox module in this thread opens a scope of its path below its caller. A module that
    is no part of ``model``, such as the copy that nnx.grad differentiates, has its own parts' paths below its caller's."""
    scopes = _Scopes()
    if model is not None:
        scopes.learn(model)
    # A class that inherits __call__ is replaced through the class that defines it.
    owners = {owner: None for cls in _classes() for owner in cls.__mro__ if owner not in (object, Callable)}
    with compat.standing_in(owners, "__call__", _in_scope), compat.in_this_thread(_MINE, "scopes", scopes):
        yield


def _parts(root: Any) -> Iterator[tuple[Any, Any]]:
    """(path, module) of a module and of the modules in it."""
    from flax import nnx

    base = foreign.equinox_module()
    if base is not None and isinstance(root, base):
        return foreign.modules_in(root, base)
    return ((path, node) for path, node in nnx.iter_graph(root) if isinstance(node, nnx.Module))


def _classes() -> set[type]:
    """The classes of modules; of Equinox's own those of layers, for its other modules are transformations of functions."""
    from flax import nnx

    base = foreign.equinox_module()
    found = _subclasses(base) if base is not None else set()
    layers = {cls for cls in found if not cls.__module__.startswith("equinox.") or cls.__module__.startswith("equinox.nn.")}
    return _subclasses(nnx.Module) | layers


def _in_scope(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        scopes = _MINE.scopes
        return original(self, *args, **kwargs) if scopes is None else scopes.call(original, self, *args, **kwargs)

    return call


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(_subclasses, cls.__subclasses__()))

"""Where a user's modules are looked for, and what is found there: ``package.module:attribute``."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from costmodel.errors import CostModelError
from costmodel.text import did_you_mean

FOLDERS = "COSTMODEL_MODELS"  # an environment variable: where package.module:attribute is looked for after the working directory


def search_path(name: str) -> list[str]:
    """Where the modules of a model are looked for. A user's own: in the working directory, as ``python -m`` would find them, then
    where they keep their models."""
    if ":" not in name:
        return installed()
    return ["", *filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)), *sys.path]


def installed() -> list[str]:
    """Where installed packages are found: beside costmodel, then along the path without the working directory, and there last."""
    here = [p for p in sys.path if os.path.abspath(p) == os.getcwd()]
    return [str(Path(__file__).parents[1]), *(p for p in sys.path if p not in here), *here]


@contextlib.contextmanager
def importing(package: str, path: list[str]) -> Iterator[None]:
    """Imports go along ``path`` while it lasts. A package of that name which was imported from elsewhere is set aside meanwhile:
    the user's folder ``zoo`` and ours, say, are two packages of one name."""
    before = sys.path[:]
    sys.path[:] = path
    aside = {}
    try:
        spec = importlib.machinery.PathFinder.find_spec(package, path)
        loaded = sys.modules.get(package)
        if spec and loaded and places(spec) != places(loaded.__spec__):
            names = [name for name in sys.modules if name.split(".")[0] == package]
            aside = {name: sys.modules.pop(name) for name in names}
        yield
    finally:
        if aside:
            for name in [name for name in sys.modules if name.split(".")[0] == package]:
                del sys.modules[name]
            sys.modules.update(aside)
        sys.path[:] = before


def places(spec: importlib.machinery.ModuleSpec | None) -> list[str]:
    """The real paths of a package's folders, or of a module's file."""
    if spec is None:
        return []
    return [os.path.realpath(p) for p in spec.submodule_search_locations or [spec.origin or ""]]


def attribute(name: str) -> Any:
    """What ``package.module:attribute`` names. Raises CostModelError for a module that does not import, or an attribute that it
    lacks."""
    module_name, _, path = name.partition(":")
    if not all(module_name.split(".")) or not all(part.isidentifier() for part in path.split(".")):  # a file may be 1-layers.py
        raise CostModelError(f"{name!r} is not of the form package.module:attribute")
    try:
        with importing(module_name.split(".")[0], search_path(name)):
            found: Any = importlib.import_module(module_name)
    except Exception as error:  # the user's module may fail in any way; its reason is what they need
        reason = str(error).splitlines()[0] if str(error) else ""
        raise CostModelError(f"{module_name} does not import: {type(error).__name__}: {reason}; run from the folder that holds it, "
                             f"name that folder in {FOLDERS}, or install it") from error
    for part in path.split("."):
        if not hasattr(found, part):
            near = did_you_mean(part, [n for n in dir(found) if not n.startswith("_")], cutoff=0.4)
            raise CostModelError(f"module {module_name} has no attribute {path!r};"
                                 f"{near or ' it is package.module:attribute'}")
        found = getattr(found, part)
    return found


def instance(found: Any, name: str) -> Any:
    """A model of what a name stands for: of a class an instance, of a function without parameters what it returns; anything else is
    a model itself. No array of an NNX module is made. Raises CostModelError for a class that needs arguments."""
    if isinstance(found, type):
        needed = _needed(found)
        if _is_nnx(found) and needed == ["rngs"]:
            return _abstract(lambda: found(rngs=_streams()))
        if needed:
            way = f" or a function that makes one: def make(): return {found.__name__}(…)"
            raise CostModelError(f"{name} is a class that needs arguments ({', '.join(needed)}); give an instance{way}")
        return _abstract(found) if _is_nnx(found) else found()
    if inspect.isfunction(found) and not inspect.signature(found).parameters:
        return _made_by(found, name)
    return found


def _needed(function: Any) -> list[str]:
    """The parameters that have no default."""
    try:
        # What makes NNX's modules hides what their constructor takes.
        told = functools.partial(vars(function)["__init__"], None) if _hidden(function) else function
        parameters = inspect.signature(told).parameters.values()
    except ValueError:  # a class of C's
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _hidden(kind: Any) -> bool:
    return isinstance(kind, type) and _is_nnx(kind) and "__init__" in vars(kind)


def _is_nnx(kind: type) -> bool:
    """Whether it is a class of NNX modules; without importing Flax, whose user has."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and issubclass(kind, nnx.Module)


def _streams() -> Any:
    from flax import nnx

    return nnx.Rngs(0)


def _abstract(build: Callable[[], Any]) -> Any:
    from costmodel.trace.requests import abstract

    return abstract(build)


def _made_by(factory: Callable[[], Any], name: str) -> Any:
    """What a factory returns; of an NNX module the abstract one."""
    made: list[Any] = []

    def build() -> Any:
        made.append(factory())
        return made[-1] if _is_nnx(type(made[-1])) else None

    try:
        found = _abstract(build)
        found = factory() if found is None else found
    except CostModelError:
        raise
    except Exception as error:  # the user's function may fail in any way
        reason = " ".join(str(error).split())[:200]
        raise CostModelError(f"{name} has no parameters, and fails to make a model: {type(error).__name__}: {reason}") from error
    if not callable(found) and not isinstance(found, tuple):  # a pair of functions is Haiku's
        raise CostModelError(f"{name} has no parameters and returns {type(found).__name__}, which is no model; let it return a "
                             "module or a function")
    return found

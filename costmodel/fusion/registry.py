"""The fusion policies by name: one registry, open to users.

A policy says which equations of a program share a kernel. To add one, register it; then ``cost.kernels("mine")``,
``cost.bytes("mine")``, device files and the command line know it::

    register(Policy(name="mine", summary="…", kernels=...))

:func:`costmodel.fusion.compiler.compiler` makes a policy of what a compiler fuses.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sympy import Expr

from costmodel import collector
from costmodel.errors import CostModelError
from costmodel.fusion.kernel import Kernel
from costmodel.rules.work import CostTable, Equation
from costmodel.surface import named
from costmodel.text import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Which equations share a kernel, and so what reaches memory.

    name:           what ``bytes``, ``kernels``, device files and the command line call it.
    summary:        one line that says whose behaviour it is.
    passes:         the program as it is when kernels are chosen: what a compiler changes before.
    kernels:        the kernels of that, in an order in which they can run. Structure only: it never looks at sizes.
    buffer_sharing: whether a later elementwise kernel may write over an equation's result that nobody reads any more; None: never,
                    as in eager frameworks.
    workspace:      bytes of each array that an equation's kernel needs beside what it reads and writes, while it runs.
    looped:         whether an equation runs as a loop over its results, which are filled as soon as anything may run.
    reserves_results: whether a result's memory is taken before the program runs, in the order in which all that can runs at once.
    """

    name: str
    summary: str
    kernels: Callable[[CostTable], tuple[Kernel, ...]]
    passes: Callable[[CostTable], CostTable] = lambda table: table
    buffer_sharing: Callable[[Equation], bool] | None = None
    workspace: Callable[[Equation], tuple[Expr, ...]] = lambda e: ()
    looped: Callable[[Equation], bool] = lambda e: False
    reserves_results: bool = False


_registry: dict[str, Policy] = {}

# The files that register the package's own policies, and the order in which these are listed.
_OWN = ("groups", "eager", "xla_cpu", "xla_gpu", "xla_tpu", "ideal")
_ORDER = ("unfused", "layer", "eager", "xla-cpu", "xla-gpu", "xla-tpu", "ideal")
_loaded = False


def _load() -> None:
    global _loaded
    if not _loaded:
        _loaded = True
        for file in _OWN:
            importlib.import_module(f"costmodel.fusion.{file}")


def register(policy: Policy) -> Policy:
    """Make a policy known for the whole process. Raises CostModelError for a name that is taken or is another form of bytes."""
    _load()
    if policy.name in _registry or policy.name == "compulsory":
        raise CostModelError(f"a fusion policy called {policy.name!r} is registered already; choose another name, or use "
                             "costmodel.fusion.registry.scoped to replace it for a while")
    _registry[policy.name] = policy
    return policy


@contextlib.contextmanager
def scoped(policy: Policy) -> Iterator[None]:
    """A policy while the context lasts; it goes before a registered one of its name."""
    _load()
    before = dict(_registry)
    _registry[policy.name] = policy
    try:
        yield
    finally:
        _registry.clear()
        _registry.update(before)


def policy(name: str) -> Policy:
    """The policy of that name. Raises CostModelError naming those that there are."""
    _load()
    name = named("fusion policy", name, "xla-gpu")
    if name == "compulsory" and name not in _registry:
        raise CostModelError("compulsory is what a program must move, and no fusion policy: bytes, a roofline at a point, compare "
                             f"and a crossover have it; name one of {', '.join(policies())} here")
    try:
        return _registry[name]
    except KeyError:
        raise CostModelError(f"unknown fusion policy {name!r};{did_you_mean(name, policies())} choose one of "
                             f"{', '.join(policies())}") from None


def policies() -> tuple[str, ...]:
    """The names of all policies."""
    _load()
    own = [name for name in _ORDER if name in _registry]  # whatever was imported first
    return (*own, *(name for name in _registry if name not in _ORDER))


def rewritten(table: CostTable, name: str) -> CostTable:
    """The table after a policy's passes; computed once a table."""
    chosen = policy(name)
    return table.remember(("passes", chosen), lambda: chosen.passes(table))


def plan(table: CostTable, name: str) -> tuple[Kernel, ...]:
    """The table's kernels under a policy, in program order; computed once a table."""
    chosen = policy(name)
    with collector.paused():
        return table.remember(("kernels", chosen), lambda: chosen.kernels(rewritten(table, name)))

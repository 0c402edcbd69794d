"""Where an equation stands: the module and the pass that its name stack tells, and the loops and branches around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sympy import Expr

from costmodel.rules.branches import Branch, Side
from costmodel.symbolic.forms import ONE
from costmodel.trace.training import UPDATE_SCOPE
from costmodel.trace.words import Phase

# The scope that jax.checkpoint opens around what the backward pass computes again.
_RECOMPUTE_SCOPE = "rematted_computation"
# Scopes that jax itself opens; they name no module.
JAX_SCOPES = frozenset({"checkpoint", "remat", "closed_call", "core_call", "jit", "pjit", "while", "scan",
                         "cond", "body", "cond_fun", "shard_map"})


@dataclass(frozen=True, eq=False)
class Place:
    """Where inlined equations stand.

    path, phase, times, loops, branch, transposes: as of a :class:`~costmodel.program.raw.Raw`.
    bounded: it is counted as part of an upper bound.
    decides: it is the condition of a loop, which is never dead; ``counter``: and that loop runs a known number of times.
    axes:    sizes of the mesh's axes.
    """

    path: tuple[str, ...] = ()
    phase: Phase = Phase.FORWARD
    times: Expr = ONE
    loops: tuple[int, ...] = ()
    branch: Branch = ()
    bounded: bool = False
    decides: bool = False
    counter: bool = False
    transposes: int = 0
    axes: Mapping[str, int] = field(default_factory=dict)

    def repeated(self, count: Expr, loop: int | None = None, *, exact: bool = True) -> Place:
        """``count`` times here, in a loop of that number; at most so often, if not ``exact``."""
        return replace(self, times=(self.times * count).expand(), loops=self.loops if loop is None else (*self.loops, loop),
                       bounded=self.bounded or not exact)

    def deciding(self, *, counter: bool) -> Place:
        """The condition of a loop here."""
        return replace(self, decides=True, counter=counter)

    def on_side(self, side: Side) -> Place:
        """A side of a ``cond`` here."""
        return replace(self, branch=(*self.branch, side))

    def on_a_device(self, axes: Mapping[str, int]) -> Place:
        """On one device of a mesh with these axes."""
        return replace(self, axes={**self.axes, **axes})

    def within(self, stack: tuple[tuple[str, bool], ...], root: str) -> Place:
        """The place of an equation here with this name stack of (name, whether it is a transformation), outermost first. The scope
        of the module ``root`` itself is not part of a path; a transposition is the backward pass, in which what is computed again
        is as it was."""
        scopes: list[str] = []
        since_transform: list[str] = []
        phase, transposes = self.phase, self.transposes
        for name, is_transform in stack:
            if is_transform:
                if name == "transpose":
                    # A gradient that an optimizer takes (of a line search) is part of its update.
                    phase, transposes = phase if phase == Phase.UPDATE else Phase.BACKWARD, transposes + 1
                scopes, since_transform = _joined(scopes, since_transform), []
            elif name in _PHASES:
                phase = _PHASES[name]
                transposes = 0 if phase is Phase.RECOMPUTE else transposes
            else:
                since_transform += _modules(name)
        scopes = _joined(scopes, since_transform)
        if root and scopes[:1] == [root]:
            scopes = scopes[1:]
        return replace(self, path=(*self.path, *scopes), phase=phase, transposes=transposes)


_PHASES = {UPDATE_SCOPE: Phase.UPDATE, _RECOMPUTE_SCOPE: Phase.RECOMPUTE}


def _modules(scope: str) -> list[str]:
    """The modules that a scope names. Linen names the method after the module when it is not __call__: "encoder.attend"; jnp.einsum
    opens a scope of its specification, "bshd,bthd->bhst", which is no module. Nor is a layer's class, of which Equinox opens one:
    "eqx.nn.Linear"."""
    return [part.split(".")[0] for part in scope.split("/")
            if part and part not in JAX_SCOPES and "," not in part and "->" not in part and not part.startswith("eqx.nn.")]


def _joined(scopes: list[str], more: list[str]) -> list[str]:
    """Scopes on both sides of a transformation; one that starts again at the same module replaces what was before it."""
    return more if scopes and more[:1] == scopes[:1] else scopes + more

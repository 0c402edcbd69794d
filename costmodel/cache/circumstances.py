"""What a derivation depends on besides its request and the files of its model: the same everywhere in a key, and cheap to say."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

from costmodel.fusion import policies, policy
from costmodel.models import ENTRY_POINT_GROUP
from costmodel.rules import registered

_PREFIXES = ("JAX_", "XLA_", "FLAX_")
_ENDINGS = (".dist-info", ".egg-info")


def circumstances() -> dict[str, Any] | None:
    """Versions, configuration, environment and what a user registered. None where a user's rule or policy cannot be told apart from
    another one: a closure, say."""
    own = _registered()
    if own is None:
        return None
    return {
        "python": sys.version, "machine": [platform.node(), platform.machine(), sys.platform],
        "path": [os.path.abspath(p) for p in sys.path], "distributions": distributions(),
        "zoos": sorted([p.name, p.value] for p in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)),
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_PREFIXES)},
        "jax": _configuration(), "registered": own,
    }


def distributions() -> list[str]:
    """Names and versions of all that is installed, as the folders of their metadata say them: what a model may have met."""
    found: set[str] = set()
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")
        except OSError:  # an archive, or a folder that is not there
            continue
        found.update(name for name in names if name.endswith(_ENDINGS))
    return sorted(found)


def _configuration() -> dict[str, str] | None:
    """jax's configuration where somebody imported it before the model, and may have changed it; None where nobody did: it is then
    what the environment says."""
    if "jax" not in sys.modules:
        return None
    from costmodel import _jax_compat as compat

    return compat.configuration()


def _registered() -> list[list[str]] | None:
    """The user's rules and policies, each with a digest of its code."""
    functions: list[tuple[str, Callable[..., Any], str]] = []
    for name, rule in registered().items():
        if not rule.builtin:
            functions.append((f"rule {name}", rule.function, f"{rule.status} {rule.why} {sorted(rule.traits)} {rule.family}"))
    for name in policies():
        found = policy(name)
        if not str(getattr(found.kernels, "__module__", "")).startswith("costmodel."):
            functions.append((f"policy {name}", found.kernels, found.summary))
    digests = [[name, said, _digest(function)] for name, function, said in functions]
    return None if any(digest is None for *_, digest in digests) else digests  # type: ignore[return-value]


def _digest(function: Any) -> str | None:
    """Of a function's code. None for what is no plain function: what a closure holds cannot be compared."""
    code = getattr(function, "__code__", None)
    if code is None or function.__closure__:
        return None
    said = repr((function.__module__, function.__qualname__, function.__defaults__, function.__kwdefaults__, _code(code)))
    return hashlib.sha256(said.encode()).hexdigest()


def _code(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_code(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, constants

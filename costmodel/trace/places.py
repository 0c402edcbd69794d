"""Where in the model's source a trace failed: the innermost line that is of no library, its expression, and what that called."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

# Whose lines are not the model's. Each counts where the process has it.
_LIBRARIES = ("beartype", "chex", "costmodel", "einops", "equinox", "flax", "haiku", "jax", "jaxlib", "jaxtyping", "ml_dtypes",
              "numpy", "opt_einsum", "optax", "scipy", "sympy")
_STANDARD = os.path.dirname(os.path.abspath(os.__file__))
_LONGEST = 80  # characters of source in a message
ITERATED = ("__iter__", "_chunk_iter")  # the functions of jax's arrays that a Python loop over one calls


@dataclass(frozen=True)
class Place:
    """An expression of the model's source.

    where:  file and line, "net.py:12".
    text:   its source, in one line; "" where there is none (typed at a prompt, say).
    tree:   its syntax; None where that is no whole expression.
    names:  the globals it was evaluated with.
    called: the Python function that it called and that failed; "" for none.
    """

    where: str
    text: str
    tree: ast.expr | None
    names: Mapping[str, Any]
    called: str

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= _LONGEST else f"{self.text[:_LONGEST]}…"
        return f"{self.where}: `{shown}`" if shown else self.where

    def calls(self) -> str:
        """The name that the expression calls: "int", "np.zeros"; "" if it is no call of a name."""
        return ast.unparse(self.tree.func) if isinstance(self.tree, ast.Call) else ""

    def module_called(self) -> ModuleType | None:
        """The module whose function the expression calls, for ``np.zeros(…)`` that of ``np``."""
        root = self.tree.func if isinstance(self.tree, ast.Call) else None
        while isinstance(root, ast.Attribute):
            root = root.value
        found = self.names.get(root.id) if isinstance(root, ast.Name) else None
        return found if isinstance(found, ModuleType) else None


def place_of(error: BaseException) -> Place | None:
    """The model's expression that raised, or called what raised; None where no line of the model's is in the traceback."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [i for i, frame in enumerate(frames) if not _of_a_library(frame.f_code.co_filename)]
    if not own:
        return None
    frame, told = frames[own[-1]], traceback.extract_tb(error.__traceback__)[own[-1]]
    text = _source(told)
    tree = _tree(text)
    shown = text if tree is not None else told.line or ""  # of a statement over several lines, the first
    called = frames[own[-1] + 1].f_code.co_name if own[-1] + 1 < len(frames) else ""
    if called in ITERATED and not isinstance(tree, ast.Call):
        tree, shown = None, told.line or ""  # `for row in x:`, of which Python names from 3.12 on only the `x`
    return Place(f"{os.path.basename(told.filename)}:{told.lineno}", " ".join(shown.split()), tree, frame.f_globals, called)


def _of_a_library(file: str) -> bool:
    if file.startswith("<frozen") or file == "<string>":  # what dataclasses and the like generate
        return True
    file = os.path.abspath(file)
    if file.startswith(os.path.join(_STANDARD, "")):
        parts = file.removeprefix(_STANDARD).split(os.sep)
        if not {"site-packages", "dist-packages"} & set(parts):
            return True
    folders = (os.path.dirname(os.path.abspath(sys.modules[name].__file__ or "")) for name in _LIBRARIES if name in sys.modules)
    return any(file.startswith(os.path.join(folder, "")) for folder in folders)


def _source(told: traceback.FrameSummary) -> str:
    """The source of the expression; columns count bytes of UTF-8."""
    if told.lineno is None or told.end_lineno is None or told.colno is None or told.end_colno is None:
        return told.line or ""
    lines = [linecache.getline(told.filename, n).encode() for n in range(told.lineno, told.end_lineno + 1)]
    lines[-1] = lines[-1][:told.end_colno]
    lines[0] = lines[0][told.colno:]
    return b"".join(lines).decode(errors="replace")


def _tree(text: str) -> ast.expr | None:
    try:
        return ast.parse(f"({text})", mode="eval").body
    except (SyntaxError, ValueError):
        return None

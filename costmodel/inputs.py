"""What a model is called with, as text: a shape, JSON of shapes for a pytree, a file of such JSON, or a factory of the user's.

``n,h,w,3:float32`` is one array; ``{"tokens": "n,t:int32", "cache": ["n,s,8,64:bfloat16", null]}`` a dictionary of arrays;
``call.json`` a file with the like; ``package.module:function`` what the function returns, called with symbols by the names of its
parameters.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from costmodel.errors import CostModelError
from costmodel.finding import attribute

_DTYPE = re.compile(r"bool_?|u?int\d*|b?float\d*\w*|complex\d*|bf16|key<\w+>")
_EXAMPLE = """'{"tokens": "n,t:int32", "cache": ["n,s,8,64"]}'"""


class Input:
    """One argument of a call. Raises CostModelError for text that is none."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.factory = self.text if _is_factory(self.text) else None

    @property
    def said(self) -> str:
        """All that it says, as text: of a file what is in it."""
        return json.dumps(self._tree) if self.text.endswith(".json") else self.text

    @cached_property
    def _tree(self) -> Any:
        """Of JSON the value, else the text of one shape."""
        if self.text.endswith(".json"):
            return _json(_read(self.text), self.text)
        return _json(self.text, f"input {self.text!r}") if self.text[:1] in ("{", "[") else self.text

    @cached_property
    def _function(self) -> Callable[..., Any]:
        found = attribute(self.text)
        if not callable(found):
            raise CostModelError(f"input {self.text!r} is no function: give one that returns the arrays, of symbols by their names")
        return found

    @property
    def names(self) -> list[str]:
        """The symbols that it needs."""
        if self.factory:
            return _parameters(self._function)
        return [part for shape in _leaves(self._tree) for part in _shape(shape)[0] if not part.isdigit()]

    @property
    def first_dimensions(self) -> list[str]:
        """The symbols that its arrays have as first dimension; of a factory's, which only calling it would tell, none."""
        if self.factory:
            return []
        return [parts[0] for shape in _leaves(self._tree) if (parts := _shape(shape)[0]) and not parts[0].isdigit()]

    def over(self, made: Mapping[str, Any]) -> Any:
        """The abstract arrays, over dimensions by name."""
        if self.factory:
            return _called(self._function, {name: made[name] for name in self.names}, self.text)
        return _over(self._tree, made)


def _is_factory(text: str) -> bool:
    """``module:function`` and no shape: what follows the colon is no dtype."""
    module, colon, function = text.partition(":")
    return bool(colon) and all(part.isidentifier() for name in (module, function) for part in name.split(".")) \
        and not _DTYPE.fullmatch(function)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CostModelError(f"cannot read the input {path}: {getattr(error, 'strerror', '') or 'it is no text'}; give a file of "
                             "JSON") from None


def _json(text: str, what: str) -> Any:
    def refuse(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise CostModelError(f"{what} names an entry twice; give each one name")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=refuse)
    except (ValueError, RecursionError) as error:
        raise CostModelError(f"{what} is no JSON ({error}); write e.g. {_EXAMPLE}") from None
    if not any(True for _ in _leaves(found)):
        raise CostModelError(f"{what} has no array; write e.g. {_EXAMPLE}")
    return found


def _leaves(tree: Any) -> Iterator[str]:
    """The texts of a pytree's arrays."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(part)
    elif tree is not None:
        raise CostModelError(f"input: {json.dumps(tree)} is no array: give shapes as text; write e.g. {_EXAMPLE}")


def _over(tree: Any, made: Mapping[str, Any]) -> Any:
    if isinstance(tree, dict):
        return {name: _over(part, made) for name, part in tree.items()}
    if isinstance(tree, list):
        return [_over(part, made) for part in tree]
    return None if tree is None else input_spec(tree, made)


def _shape(text: str) -> tuple[list[str], str]:
    """(names and integers, dtype) of ``"n,h,w,3:float32"``."""
    shape, colon, dtype = text.partition(":")
    if colon and not dtype.strip():
        raise CostModelError(f"input {text!r} names no type after its colon; write e.g. 'n,h,w,3:float32'")
    parts = [p.strip() for p in shape.split(",")]
    if parts[-1] == "":  # of one dimension Python writes (n,), of none ()
        parts.pop()
    for p in parts:
        if not (p.isdigit() or p.isidentifier()):
            raise CostModelError(f"input {text!r}: {p!r} is neither an integer nor a name; write e.g. 'n,h,w,3:float32'")
    return parts, dtype.strip() or "float32"


def input_spec(text: str, made: Mapping[str, Any]) -> Any:
    """``"n,h,w,3:float32"`` as an abstract array over dimensions by name."""
    from costmodel.trace.requests import spec

    parts, dtype = _shape(text)
    return spec(tuple(int(p) if p.isdigit() else made[p] for p in parts), dtype)


def _parameters(function: Callable[..., Any]) -> list[str]:
    """The parameters without defaults: each receives the symbol of its name."""
    return [p.name for p in inspect.signature(function).parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _called(function: Callable[..., Any], dims: dict[str, Any], name: str) -> Any:
    """What a factory returns. It may make arrays, of which none is ever allocated, or abstract ones."""
    import jax

    try:
        try:
            return jax.eval_shape(lambda: function(**dims))
        except TypeError:  # what it returns is abstract already
            return function(**dims)
    except CostModelError:
        raise
    except Exception as error:  # the user's function may fail in any way
        reason = " ".join(str(error).split())[:200]
        raise CostModelError(f"input {name}: the function fails with symbols for {', '.join(dims) or 'nothing'}: "
                             f"{type(error).__name__}: {reason}") from error

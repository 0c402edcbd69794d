"""A model's derivation, from the cache where everything that it was found from is as it was, else derived and kept.

Only what a concrete trace would say again is believed: programs, the points at which they were compared, and what holds elsewhere.
Where an answer needs a trace that was not made yet, the model is imported and traced, and what that told is kept too.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from costmodel.cache import folder
from costmodel.cache.circumstances import circumstances
from costmodel.cache.sources import Imports, same
from costmodel.cost import Cost
from costmodel.errors import CostModelError
from costmodel.finding import search_path
from costmodel.pricing.kept import kept, restored, size
from costmodel.program.kept import kept_data, kept_from
from costmodel.program.serialize import MAX_TEXT, parsed, refusals
from costmodel.symbolic.domain import Domain, declared

FORMAT = "costmodel-derivation-1"
_LATER = re.compile(r"__(?!1$)\d+$")  # of a variable that another of its symbol was declared before


@dataclass(frozen=True)
class Derived:
    """A cost, and the point at which publications quote its model."""

    cost: Cost
    at: Mapping[str, int]


@dataclass(frozen=True)
class _Entry:
    """What is kept of a derivation beside the cost."""

    key: str
    said: dict[str, Any]
    imported: dict[str, Any]
    warned: list[str]
    derived: Derived

    def text(self) -> str | None:
        """As JSON; None where the cost is none that can be kept."""
        cost = self.derived.cost
        found = kept(cost)
        if found is None or not _reproducible(cost.domain):
            return None
        text = json.dumps({"format": FORMAT, "said": self.said, "imported": self.imported, "warned": self.warned,
                           "at": dict(self.derived.at), "tokens": list(cost.tokens), "kept": kept_data(found)},
                          separators=(",", ":"))
        return text if len(text) <= MAX_TEXT else None


class Cache:
    """The derivations of one command. ``used``: False for none but fresh ones."""

    def __init__(self, used: bool = True) -> None:
        self.used = used
        self._entries: dict[str, tuple[_Entry, tuple[int, ...] | None]] = {}  # with how much was known when it was read or written

    def get(self, asked: Mapping[str, Any], derive: Callable[[], Derived], request: Callable[[], Any]) -> Derived:
        """What ``derive`` gives, or was kept of it. ``asked`` says all that the two functions depend on, as JSON; ``request`` makes
        what was traced."""
        around = circumstances() if self.used else None
        if around is None:
            return derive()
        said = json.loads(json.dumps({"asked": asked, "around": around}))
        key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        path = search_path(asked["model"])
        entry = _read(key, said, path, request)
        if entry is not None:
            self._entries[key] = entry, size(entry.derived.cost)
            for text in entry.warned:
                warnings.warn(text, stacklevel=2)
            return entry.derived
        imports = Imports()
        with warnings.catch_warnings(record=True) as caught:
            derived = derive()
        for each in caught:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        imported = imports.found(path)
        if imported is not None:
            warned = [str(each.message) for each in caught if each.category is UserWarning]
            self._entries[key] = _Entry(key, said, imported, warned, derived), None
        return derived

    def keep(self) -> None:
        """Write what was derived, and what was learned of it since it was read. A folder that cannot be written is told on
        stderr."""
        for key, (entry, before) in list(self._entries.items()):
            now = size(entry.derived.cost)
            if now == before or (text := entry.text()) is None:
                continue
            try:
                folder.write(key, text)
            except CostModelError as refusal:  # the answer is there all the same
                print(f"costmodel: {refusal}: {folder.MOVED} names one for the cache, --no-cache does without", file=sys.stderr)
                self._entries.pop(key)
                continue
            self._entries[key] = entry, now


def _read(key: str, said: dict[str, Any], path: list[str], request: Callable[[], Any]) -> _Entry | None:
    """What is kept under a key; None where that is nothing, damaged, or of other circumstances."""
    text = folder.read(key, MAX_TEXT)
    if text is None:
        return None
    try:
        data = parsed(text, MAX_TEXT)
        with refusals("a damaged derivation", "it is derived anew"):
            if data["format"] != FORMAT or data["said"] != said or not same(data["imported"], path):
                return None
            at, tokens, warned = data["at"], data["tokens"], data["warned"]
            if not all(isinstance(value, int) for value in at.values()) or not all(isinstance(t, str) for t in (*tokens, *warned)):
                raise ValueError("a point is integers, tokens and warnings are texts")
            found = kept_from(data["kept"])
            if any(declared(v.name) not in (None, v) for v in found.saved.domain.variables):
                return None  # this process calls another dimension so
            cost = restored(Cost, found, request)
    except CostModelError:  # whatever is there, it is not what we wrote
        return None
    cost.tokens = tuple(tokens)
    return _Entry(key, said, data["imported"], warned, Derived(cost, at))


def _reproducible(domain: Domain) -> bool:
    """Whether another process, in which nothing was declared before the model, calls the variables by the same names."""
    return all(declared(v.name) in (None, v) and not _LATER.search(v.name) for v in domain.variables)

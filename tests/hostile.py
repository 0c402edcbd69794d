"""Files as an attacker would change them, and what answering one may cost."""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from costmodel.errors import CostModelError

MAX_SECONDS, MAX_BYTES = 2.0, 500_000_000
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

ODD = [None, True, False, 0, 1, -1, 3, 2**31, 10**30, 10**301, 10**400, -(10**301), 0.5, -0.0, math.inf, math.nan,
       "", "n", "h", "n" * 300, "\x1b[31mred", "[red]", "=cmd|' /C calc'!A0", "../..", "\u202e", "\ud800", "line\nline",
       [], {}, [[]], {"a": []}, [0] * 2000, "?"]
# What JSON and TOML texts say and a tree of Python cannot: put in place of a marker.
TEXTS = {"@deep@": "[" * 3000 + "]" * 3000, "@deeper@": "[" * 200_000, "@digits@": "9" * 5000, "@many digits@": "9" * 200_000,
         "@long@": "[" + "1," * 100_000 + "1]", "@nan@": "NaN", "@bare@": "costmodel"}


def nodes(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every node of a tree of dicts and lists below its root."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, child in children for found in ((*path, key), *nodes(child, (*path, key)))]


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


@st.composite
def touched(draw: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with one number in it a little larger or smaller, or two nodes of a list exchanged: most such files are read."""
    tree = copy.deepcopy(tree)
    paths = [p for p in nodes(tree) if type(node := at(tree, p)) is int or (type(node) is list and len(node) > 1)]
    path = paths[draw(st.integers(0, len(paths) - 1))]
    parent, key, node = at(tree, path[:-1]), path[-1], at(tree, path)
    if isinstance(node, int):
        parent[key] = node + draw(st.sampled_from((-1, 1, 2, 10**6, 10**30)))
    else:
        i, j = draw(st.integers(0, len(node) - 1)), draw(st.integers(0, len(node) - 1))
        node[i], node[j] = node[j], node[i]
    return tree


@st.composite
def mutated(draw: Callable[[Any], Any], tree: Any, odd: list[Any]) -> Any:
    """The tree after one to four changes: nodes removed, doubled, swapped, nested, repeated or replaced by something odd."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 4)))):
        paths = nodes(tree)
        if not paths:
            break
        path = paths[draw(st.integers(0, len(paths) - 1))]
        parent, key, node = at(tree, path[:-1]), path[-1], at(tree, path)
        change = draw(st.sampled_from(("remove", "double", "move", "near", "nest", "repeat", "odd", "odd", "text", "count")))
        if change == "remove":
            del parent[key]
        elif change == "double" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(node))
        elif change == "move":
            parent[key] = copy.deepcopy(at(tree, paths[draw(st.integers(0, len(paths) - 1))]))
        elif change == "nest":
            for _ in range(draw(st.sampled_from((1, 40, 200)))):
                parent[key] = [parent[key]]
        elif change == "repeat" and isinstance(node, list):
            parent[key] = node * draw(st.sampled_from((2, 50, 3000)) if len(node) < 20 else st.just(2))
        elif change == "near" and isinstance(node, int) and not isinstance(node, bool):
            parent[key] = node + draw(st.sampled_from((-1, 1, 2)))
        elif change == "text":
            parent[key] = draw(st.sampled_from(sorted(TEXTS)))
        elif change == "count":
            parent[key] = draw(st.integers(-5, 60))
        else:
            parent[key] = copy.deepcopy(draw(st.sampled_from(odd)))
    return tree


def with_texts(text: str) -> str:
    """The text with what its first markers stand for: of one repeated 3 000 times, all would be 600 MB of the test's own."""
    return re.sub(r'"(@[a-z ]+@)"', lambda found: TEXTS.get(found[1], found[0]), text, count=20)


@contextmanager
def answered() -> Iterator[list[str]]:
    """An answer or an error of one line, in time and memory; the list says which it was once that is known."""
    said: list[str] = []
    before, started = _fresh_peak(), time.thread_time()
    try:
        yield said
        said.append("an answer")
    except CostModelError as error:
        said.append("a line")
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 3000, repr(str(error))[:3000]
        assert str(error).isprintable(), repr(str(error))[:3000]
    seconds, grown = time.thread_time() - started, _memory("VmHWM") - before
    assert seconds <= MAX_SECONDS or seconds / _slowness() <= MAX_SECONDS, f"{seconds:.1f} s"
    assert grown <= MAX_BYTES, f"{grown / 1e6:.0f} MB"


def _slowness() -> float:
    """How many times as long as on a quiet core a fixed piece of Python takes here and now: neighbours share caches and memory."""
    started, store = time.thread_time(), {}
    for i in range(300_000):
        store[i % 1000] = (i, str(i))
    return max(1.0, (time.thread_time() - started) / 0.056)


def _fresh_peak() -> int:
    """Bytes that the process holds now, from where its peak is counted (on Linux; 0 elsewhere)."""
    if _RESET.exists():
        _RESET.write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    if not _STATUS.exists():
        return 0
    return 1024 * int(next(line for line in _STATUS.read_text().splitlines() if line.startswith(name)).split()[1])

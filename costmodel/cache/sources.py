"""The files that a model was imported from: their hashes, and whether the same names would still be imported from them."""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
import site
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from costmodel.finding import places

_STARTED = time.time_ns()


class Imports:
    """What is imported while a model is: made before, asked afterwards."""

    def __init__(self) -> None:
        self._before, self._since = set(sys.modules), time.time_ns()

    def found(self, path: Sequence[str]) -> dict[str, Any] | None:
        """By name, the files outside of what is installed with their hashes, and where the top of every package was found along
        ``path``. None where a file may not be the one that was imported: it was written since, or cannot be read."""
        files: dict[str, list[str]] = {}
        tops: dict[str, list[str]] = {}
        for name, module in sorted(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name == "__main__" or not isinstance(file, str):
                continue
            if "." not in name and not _inside(file, _standard()):
                tops[name] = _places(name, path)
            if _inside(file, _installed()):
                continue
            said = _hash(file)
            if said is None or _written(file) > (_known(file, said) if name in self._before else self._since):
                return None
            _imported.setdefault(file, said)
            files[name] = [file, said]
        return {"files": files, "tops": tops}


def same(found: Mapping[str, Any], path: Sequence[str]) -> bool:
    """Whether files and places are those that :meth:`Imports.found` told. Raises ValueError, KeyError or TypeError for what is
    no such thing."""
    for file, said in found["files"].values():
        stem, ending = os.path.splitext(file)
        if _hash(file) != said or (ending == ".py" and os.path.exists(os.path.join(stem, "__init__.py"))):
            return False
    return all(_places(name, path) == where for name, where in found["tops"].items())


_imported: dict[str, str] = {}  # the hash of every file when it was first seen to be imported


def _known(file: str, said: str) -> int:
    """Until when a file that was imported before may have been written: at any time if it is as it was seen then."""
    return sys.maxsize if _imported.get(file) == said else _STARTED


def _hash(file: str) -> str | None:
    try:
        with open(file, "rb") as opened:
            return hashlib.sha256(opened.read()).hexdigest()
    except OSError:  # in an archive, or gone
        return None


def _written(file: str) -> int:
    return os.stat(file).st_mtime_ns


def _places(name: str, path: Sequence[str]) -> list[str]:
    return places(importlib.machinery.PathFinder.find_spec(name, [p or os.getcwd() for p in path]))


def _inside(file: str, folders: Iterable[str]) -> bool:
    whole = os.path.abspath(file)
    return any(whole.startswith(folder) for folder in folders)


@cache
def _installed() -> tuple[str, ...]:
    """Folders of installed packages and of Python's own."""
    packages = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    packages |= {*site.getsitepackages(), site.getusersitepackages()}
    return (*(os.path.join(p, "") for p in packages if p), *_standard())


@cache
def _standard() -> tuple[str, ...]:
    return tuple(os.path.join(sysconfig.get_path(kind), "") for kind in ("stdlib", "platstdlib"))

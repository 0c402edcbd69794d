"""The folder of kept derivations: one file of JSON each, written whole or not at all, and no more of them than a bound."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from costmodel.files import refusals, write_text

MOVED = "COSTMODEL_CACHE"  # an environment variable: the folder
MOST_FILES = 256
MOST_BYTES = 256 * 2**20
_SUFFIX = ".derivation.json"


def folder() -> Path:
    """Where derivations are kept: ``COSTMODEL_CACHE``, else ``costmodel`` in the user's cache folder (XDG)."""
    if own := os.environ.get(MOVED):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache")) / "costmodel"


def read(key: str, most: int) -> str | None:
    """The text kept under a key; None if there is none that this user wrote, or if it is longer than ``most`` bytes."""
    path = folder() / f"{key}{_SUFFIX}"
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > most or not _own(found):
            return None
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # no file, or one that is no text of ours: there is nothing to be had
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # what is used stays longest
    return text


def write(key: str, text: str) -> None:
    """Keep a text under a key, in place of the one before it. Raises CostModelError where it cannot be written."""
    where = folder()
    with refusals(where):
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_text(where / f"{key}{_SUFFIX}", text)
    _prune()


def kept() -> list[tuple[Path, int]]:
    """The files that are kept, with their sizes in bytes, those used last first."""
    found = [(state.st_mtime, path, state.st_size) for path, state in _files()]
    return [(path, size) for _, path, size in sorted(found, reverse=True)]


def clear() -> tuple[int, int]:
    """Remove every file that is kept; how many there were, and of how many bytes. Other files of the folder stay."""
    found = kept()
    with refusals(folder()):
        for path, _ in found:
            path.unlink(missing_ok=True)
    return len(found), sum(size for _, size in found)


def _prune() -> None:
    bytes_ = 0
    for number, (path, size) in enumerate(kept(), start=1):
        bytes_ += size
        if number > MOST_FILES or bytes_ > MOST_BYTES:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _files() -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder()):
            if entry.name.endswith(_SUFFIX) and entry.is_file(follow_symlinks=False):
                yield Path(entry.path), entry.stat(follow_symlinks=False)


def _own(found: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or found.st_uid == os.getuid()

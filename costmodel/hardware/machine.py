"""What the machine says of itself: processor, caches, memory. Every answer may be None; nothing is guessed."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name."""
    for line in _read(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def cpu_count() -> int:
    """Processors that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def last_level_cache(caches: Path = _CACHES) -> int | None:
    """Bytes of the outermost cache that the first processor sees."""
    sizes = {}
    for index in sorted(caches.glob("index*")):
        level, size = _read(index / "level").strip(), _read(index / "size").strip()
        if level.isdigit() and size[:-1].isdigit() and size[-1:] in "KMG":
            sizes[int(level)] = int(size[:-1]) << {"K": 10, "M": 20, "G": 30}[size[-1]]
    return sizes[max(sizes)] if sizes else None


def memory() -> int | None:
    """Bytes of main memory that this process may use: the machine's, or less where a container limits it."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    limits = [int(text) for text in (_read(path).strip() for path in _CGROUP_LIMITS) if text.isdigit()]
    return min([total, *limits])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

"""How every equation of a program was costed."""

from __future__ import annotations

from costmodel.rules.work import CostTable
from costmodel.text import shown


class Coverage:
    """How every equation of a program was costed: exactly, bounded, free by declaration, unknown, or dead and removed."""

    def __init__(self, program: CostTable) -> None:
        self.by_status: dict[str, dict[str, int]] = {}
        for e in program:
            counts = self.by_status.setdefault(e.status, {})
            counts[e.primitive] = counts.get(e.primitive, 0) + 1
        if program.dead:
            self.by_status["dead"] = dict(program.dead)
        self.total = len(program.equations)

    def count(self, status: str) -> int:
        """How many equations have a status: exact, bounded, free, unknown …"""
        return sum(self.by_status.get(status, {}).values())

    @property
    def unknown(self) -> dict[str, int]:
        """Primitives without a rule, with how many equations each has."""
        return self.by_status.get("unknown", {})

    def __str__(self) -> str:
        text = f"{self.total - self.count('unknown')}/{self.total} equations costed"
        parts = [f"{self.count(s)} {s}" for s in ("exact", "bounded", "free", "dead") if self.count(s)]
        if self.unknown:
            parts.append("UNKNOWN: " + ", ".join(f"{shown(name)} x{count}" for name, count in sorted(self.unknown.items())))
        return f"{text} ({', '.join(parts)})" if parts else text

    __repr__ = __str__

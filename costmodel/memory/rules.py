"""Published rules of counting peak activations, in elements: the lecture's, and what MCUNet counts.

Lin et al., "MCUNet: Tiny Deep Learning on IoT Devices", NeurIPS 2020, and its TinyEngine: an inference runs convolution by
convolution; what is needed at each is its input, its output, and the input of the block that it is in. Pooling is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from sympy import Add, Expr

from costmodel.errors import CostModelError
from costmodel.fusion import plan
from costmodel.fusion.graph import aliases
from costmodel.rules.branches import Branch, combined
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, Value
from costmodel.symbolic.forms import ZERO, PeakMax
from costmodel.text import did_you_mean

Path = tuple[str, ...]


def peak_activations(table: CostTable, rule: str) -> Expr:
    """Elements under a rule of :data:`RULES`."""
    try:
        sums = list(RULES[rule](table))
    except KeyError:
        raise CostModelError(f"unknown rule of activations {rule!r};{did_you_mean(rule, RULES)} choose total, "
                             f"{', '.join(RULES)}") from None
    return highest(table, sums)


def highest(table: CostTable, sums: Iterable[tuple[Branch, Expr]]) -> Expr:
    """The greatest of what is held at one time or another, each on a branch of the program."""
    def greatest(values: Sequence[Expr]) -> Expr:
        return PeakMax(*(value.expand() for value in values)) if values else ZERO

    return combined(sums, table.branches, add=greatest, join=greatest)


def _layers(table: CostTable) -> Iterator[tuple[Branch, Expr]]:
    return ((k.branch, k.inputs + k.outputs) for k in plan(table, "layer"))


def _mcunet(table: CostTable, *, residual: bool = False, inplace: bool = False) -> Iterator[tuple[Branch, Expr]]:
    """Input, output and the block's input of each convolution; that of the block as long as something reads it if ``residual``.
    Depthwise convolutions write their output over their input if ``inplace``."""
    root = aliases(table)
    depthwise = {k.main for k in plan(table, "layer") if k.kind == "depthwise conv"}
    convolutions = [e for e in table if Trait.CONVOLUTION in e.traits and e.phase == ""]
    block = _blocks(convolutions)
    entries = {path: entry for path in set(block.values()) if (entry := _entry(table, path, root)) is not None}
    last_use = {root(v): e.index for e in table for v in e.ins}
    for e in convolutions:
        held = {root(e.ins[0]), e.outs[0]}
        if inplace and e in depthwise:
            held = {root(e.ins[0])}
        entry = entries.get(block.get(e.path, ()))
        if entry is not None and (not residual or last_use[entry] > e.index):
            held.add(entry)
        yield e.branch, Add(*(v.array.size for v in held))


def _blocks(convolutions: list[Equation]) -> dict[Path, Path]:
    """The block of each convolution's path: the smallest module with several convolutions and no such module inside. The network
    itself is none."""
    inside = Counter(e.path[:depth] for e in convolutions for depth in range(1, len(e.path)))
    several = {path for path, count in inside.items() if count > 1}
    outer = {path[:depth] for path in several for depth in range(1, len(path))}
    return {e.path: path for e in convolutions for depth in range(1, len(e.path)) if (path := e.path[:depth]) in several - outer}


def _entry(table: CostTable, path: Path, root: Callable[[Value], Value]) -> Value | None:
    """The first activation that a module receives."""
    made = {out for e in table if e.path[:len(path)] == path for out in e.outs}
    return next((root(v) for e in table if e.path[:len(path)] == path for v in e.ins
                 if v.is_activation and v.array.shape and v not in made), None)


RULES: dict[str, Callable[[CostTable], Iterable[tuple[Branch, Expr]]]] = {
    "peak": _layers,
    "mcunet": _mcunet,
    "mcunet-residual": lambda table: _mcunet(table, residual=True),
    "mcunet-inplace": lambda table: _mcunet(table, inplace=True),
}

"""Memory of a network block by block: what its activations take at most while it runs, and its weights. The figure by which papers
on small devices (MCUNet, arXiv:2007.10319) argue: the first blocks hold most of the activations, the last most of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sympy import Add, Expr

from costmodel.errors import CostModelError
from costmodel.memory.liveness import LiveProfile
from costmodel.pictures import Panels
from costmodel.rules.work import CostTable
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.surface import said
from costmodel.symbolic.forms import ZERO


@dataclass(frozen=True)
class Block:
    """A block: bytes of its parameters and state (``weights``), and the most bytes of everything else that are held while one of
    its kernels runs (``activations``: inputs, outputs, what is kept for later blocks, temporaries)."""

    label: str
    activations: int
    weights: int


@dataclass(frozen=True)
class Blocks(Result):
    """The blocks of a program at a point, in the order in which they run. ``peak`` is the most of their activations, in bytes."""

    title: str
    blocks: tuple[Block, ...]
    note: str

    @property
    def peak(self) -> int:
        """Bytes of activations held at most."""
        return max((block.activations for block in self.blocks), default=0)

    def sheet(self) -> Sheet:
        """A row a block."""
        weights = sum(block.weights for block in self.blocks)
        rows = tuple(Line(block.label, (block.activations, block.activations / self.peak if self.peak else None, block.weights,
                                        block.weights / weights if weights else None)) for block in self.blocks)
        columns = (Column("block"), Column("activations", "B"), Column("part", "of the peak", "share"), Column("weights", "B"),
                   Column("share", "of the weights", "share"))
        return Sheet(self.title, columns, rows, (self.peak, 1.0, weights, 1.0), (self.note,))

    def chart(self, memory: float | None = None) -> Panels:
        """Activations above, weights below; ``memory`` are bytes that a device has for activations, such as its SRAM."""
        limits = () if memory is None else (("activations", "memory", float(memory)),)
        return Panels(self.title, tuple(block.label for block in self.blocks),
                      (("activations", "B", tuple(float(block.activations) for block in self.blocks)),
                       ("weights", "B", tuple(float(block.weights) for block in self.blocks))),
                      limits)


def per_block(program: CostTable, name: str, evaluate: Callable[[Expr], Any], profile: LiveProfile,
              depth: int | None) -> Blocks:
    """The blocks of a program: modules to ``depth`` levels. Raises CostModelError in closed form."""
    def block(path: tuple[str, ...]) -> str:
        return "/".join(path[:depth]) or "(root)"

    last = next((step.label for step in profile.steps if step.label != "(root)"), "(root)")
    activations: dict[str, int] = {}
    for step in profile.steps:
        held = step.live - step.split["parameters"]
        if isinstance(held, Expr) and not held.is_number:
            raise CostModelError("memory per block is asked at a point: " + said("cost.at(…).blocks()", "give --at"))
        last = step.label if step.label != "(root)" else last
        label = block(tuple(last.split("/")))
        activations[label] = max(activations.get(label, 0), held)
    sizes: dict[str, list[Expr]] = {}
    for value in program.parameters:
        sizes.setdefault(block(tuple(value.name.split("/")[:-1])), []).append(value.bytes)
    found = tuple(Block(label, int(activations.get(label, 0)), int(evaluate(Add(*sizes.get(label, (ZERO,))))))
                  for label in dict.fromkeys((*activations, *sizes)))
    return Blocks(f"{name}: memory by block", found,
                  "activations: the most bytes but for weights that are held while the block runs, or what follows it outside of "
                  f"any; {profile.title.rpartition('live bytes, ')[2]}")

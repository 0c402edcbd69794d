"""Optimised HLO, from the text that XLA's compilers print: computations, their instructions, and the arrays these make.

The text is parsed as data; https://openxla.org/xla/operation_semantics names the operations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from costmodel.errors import CostModelError

# Bits of one element, by HLO's name of the type; a token or an opaque value holds none.
_BITS = {"pred": 8, "token": 0, "opaque": 0, "f16": 16, "bf16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128, "f4e2m1fn": 4,
         **{f"{sign}{bits}": bits for sign in "su" for bits in (2, 4, 8, 16, 32, 64)}}


@dataclass(frozen=True)
class Shape:
    """An array: type, dimensions, and the memory it lies in. 0 is the device's main memory; a TPU's on-chip memory is 1."""

    dtype: str
    dims: tuple[int, ...]
    space: int = 0

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.dims)

    @property
    def element_bytes(self) -> float:
        """Bytes of one element; half a byte for 4-bit types."""
        return _BITS.get(self.dtype, 8) / 8  # what is left are 8-bit floating-point types

    @property
    def bytes(self) -> float:
        """Bytes of the array, without padding."""
        return self.size * self.element_bytes


@dataclass(frozen=True)
class Instruction:
    """One line. ``shapes`` are the arrays of its result, those of a tuple in order; ``text`` is what follows the operands."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    arguments: str
    text: str

    @property
    def shape(self) -> Shape:
        """The shape of its result; of a tuple, the first."""
        return self.shapes[0]

    @cached_property
    def op_name(self) -> str:
        """Name stack and primitive of the jax equation that it comes from, "" where XLA keeps none."""
        found = re.search(r'op_name="([^"]*)"', self.text)
        return found[1] if found else ""

    @property
    def target(self) -> str:
        """What a custom call calls."""
        found = re.search(r'custom_call_target="([^"]*)"', self.text)
        return found[1] if found else ""


@dataclass(frozen=True)
class Computation:
    """Instructions by name, in order, and which is the result. ``fused``: it is what a fusion computes in one kernel."""

    name: str
    instructions: dict[str, Instruction]
    root: Instruction
    fused: bool

    @cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """By an instruction's name, the instructions that read its result."""
        found: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for instruction in self.instructions.values():
            for operand in dict.fromkeys(instruction.operands):
                found[operand].append(instruction)
        return found

    @cached_property
    def parameters(self) -> list[Instruction]:
        """Its parameters in the order in which they are passed."""
        found = [i for i in self.instructions.values() if i.opcode == "parameter"]
        return sorted(found, key=lambda i: int(i.arguments))

    @property
    def results(self) -> list[Instruction]:
        """The root, or what it makes a tuple of."""
        return [self.instructions[name] for name in self.root.operands] if self.root.opcode == "tuple" else [self.root]

    def viewed(self, i: Instruction) -> Instruction:
        """What an instruction shows under another shape."""
        while i.opcode in ("bitcast", "reshape"):
            i = self.instructions[i.operands[0]]
        return i

    def in_place(self, i: Instruction) -> bool:
        """Does an update write into its operand's memory? In a fusion: a result's, and into a parameter; else always, since the
        compiler puts a copy before it where it may not."""
        return not self.fused or (self.viewed(self.instructions[i.operands[0]]).opcode == "parameter"
                                  and any(self.viewed(result) is i for result in self.results))

    def is_entry_copy(self, i: Instruction) -> bool:
        """A change of layout between what the caller gives or wants and what the program works on."""
        def is_result(name: str) -> bool:
            return name == self.root.name or any(user.opcode in ("bitcast", "tuple") and is_result(user.name)
                                                 for user in self.users[name])

        return is_result(i.name) or (len(i.operands) == 1 and
                                     self.viewed(self.instructions[i.operands[0]]).opcode == "parameter")


@dataclass(frozen=True)
class Module:
    """Computations by name, and the one that runs."""

    computations: dict[str, Computation]
    entry: Computation

    def called(self, i: Instruction, *attributes: str) -> Computation:
        """The computation that one of the attributes (``calls``, ``body`` …) of an instruction names."""
        for attribute in attributes:
            if found := re.search(rf"\b{attribute}=%([\w.\-]+)", i.text):
                return self.computations[found[1]]
        raise CostModelError(f"{i.opcode} {i.name} calls nothing by {' or '.join(attributes)}; this HLO is of an unknown form")


# -- parsing ------------------------------------------------------------------------------------------------------------------

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\](\{[^}]*\})?")


def parse(text: str) -> Module:
    """A module from its text. Raises CostModelError for text that is no HLO module."""
    computations: dict[str, Computation] = {}
    fused = set(re.findall(r" fusion\(.*\bcalls=%([\w.\-]+)", text))
    entry = None
    lines: dict[str, Instruction] = {}
    head, root = None, None
    for line in text.splitlines():
        if head is None:
            head = _HEADER.match(line)
        elif line == "}":
            if root is not None:
                computation = computations[head[2]] = Computation(head[2], lines, root, head[2] in fused)
                entry = computation if head[1] else entry
            head, root, lines = None, None, {}
        elif found := _LINE.match(line):
            instruction = _instruction(found[2], found[3])
            lines[instruction.name] = instruction
            root = instruction if found[1] else root
    if entry is None:
        raise CostModelError("this is no optimised HLO: no entry computation; give the text of compiled.as_text()")
    return Module(computations, entry)


def _instruction(name: str, rest: str) -> Instruction:
    """``f32[8]{0} add(%a, %b), metadata={…}`` apart."""
    end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
    opcode, _, rest_ = rest[end:].strip().partition("(")
    close = _closing("(" + rest_, 0) - 1
    arguments = rest_[:close - 1]
    operands = () if opcode in ("constant", "parameter", "iota") else tuple(re.findall(r"%([\w.\-]+)", arguments))
    return Instruction(name, opcode, tuple(_shapes(rest[:end])), operands, arguments, rest_[close:])


def _closing(text: str, start: int) -> int:
    """One past the parenthesis that closes the one at ``start``."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if not depth:
            return i + 1
    raise CostModelError(f"this is no optimised HLO: no closing parenthesis in {text[:80]!r}")


def _shapes(text: str) -> Iterator[Shape]:
    for dtype, dims, layout in _ARRAY.findall(text):
        space = re.search(r"S\((\d+)\)", layout)
        sizes = tuple(int(re.sub(r"\D", "", d)) for d in dims.split(",") if d)
        yield Shape(dtype, sizes, int(space[1]) if space else 0)

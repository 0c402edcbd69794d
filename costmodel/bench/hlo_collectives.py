"""What a compiled, partitioned program sends: its collectives, how often they run, and the bytes of each that a device sends by the
bandwidth-optimal ring algorithms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from costmodel.bench.hlo import Computation, Instruction, Module

_KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


@dataclass(frozen=True)
class Collective:
    """A collective of a kind among ``group`` devices; ``bytes`` are those that one device sends each time."""

    kind: str
    group: int
    bytes: float
    times: int

    @property
    def total(self) -> float:
        """Bytes of all its runs."""
        return self.bytes * self.times


def collectives(module: Module, devices: int) -> list[Collective]:
    """The collectives of a module for so many devices, those in loops as often as their bodies run. A TPU's program has one that
    goes on beside other work in several pieces, in kernels that share a channel: they are one. What a program sends by itself may
    share one, too, and is not."""
    by_channel: dict[str, Collective] = {}
    for number, (channel, found) in enumerate(_of(module, module.entry, 1, devices)):
        by_channel.setdefault(channel or f"none {number}", found)
    return list(by_channel.values())


def _of(module: Module, computation: Computation, times: int, devices: int) -> Iterator[tuple[str, Collective]]:
    """Each with its channel, "" for one that is no piece of another."""
    for i in computation.instructions.values():
        kind = i.opcode.removesuffix("-start")
        if kind in _KINDS:
            group = _group(i.text, devices)
            channel = re.search(r"channel_id=(\d+)", i.text)
            kind = "reduce-scatter" if kind == "all-reduce" and _keeps_a_part(computation, i) else kind
            piece = channel if computation.fused or i.opcode not in _KINDS else None
            yield piece[1] if piece else "", Collective(kind, group, _sent(kind, i, group, devices), times)
        elif i.opcode == "while":
            yield from _of(module, module.called(i, "body"), times * _trips(module, i), devices)
        elif i.opcode == "conditional":  # one of its branches runs: that counts which sends most
            yield from max((list(_of(module, module.computations[name], times, devices)) for name in _branches(i.text)),
                           key=lambda found: sum(each.total for _, each in found), default=[])
        elif i.opcode in ("call", "fusion"):
            for name in re.findall(r"(?:calls|to_apply)=%([\w.\-]+)", i.text):
                yield from _of(module, module.computations[name], times, devices)


def _branches(text: str) -> list[str]:
    found = re.search(r"branch_computations=\{([^}]*)\}", text)
    return re.findall(r"%([\w.\-]+)", found[1]) if found else re.findall(r"(?:true|false)_computation=%([\w.\-]+)", text)


def _keeps_a_part(computation: Computation, i: Instruction) -> bool:
    """Does a kernel sum over devices, of which each keeps its part? So a TPU's compiler writes a reduce-scatter."""
    return computation.fused and computation.root.opcode == "dynamic-slice" and computation.root.operands[0] == i.name


def _sent(kind: str, i: Instruction, p: int, devices: int) -> float:
    started = i.opcode.endswith("-start") and len(i.shapes) > 1
    if kind == "collective-permute":
        shapes = i.shapes[1:2] if started else i.shapes  # after it, numbers of its context
    else:
        shapes = i.shapes[len(i.shapes) // 2:] if started else i.shapes
    size = sum(shape.bytes for shape in shapes)  # of the result
    if kind == "all-reduce":
        return 2 * size * (p - 1) / p
    if kind == "reduce-scatter":
        return size * (p - 1) if i.opcode.startswith("reduce-scatter") else size * (p - 1) / p
    if kind == "collective-permute":
        return size * min(len(re.findall(r"\{\d+,\d+\}", _pairs(i.text))), devices) / devices
    return size * (p - 1) / p


def _pairs(text: str) -> str:
    found = re.search(r"source_target_pairs=\{(.*?)\}\}", text)
    return found[1] + "}" if found else ""


def _group(text: str, devices: int) -> int:
    """Devices of a group: ``{{0,1},{2,3}}``, ``[4,2]<=[8]``, or a mesh, perhaps of devices in another order, with the axes of its
    groups."""
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", text):
        return len(found[1].split(","))
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]<=", text):
        return int(found[2])
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\([^{]*\))? \{([^}]*)\}", text):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", found[2])
        return prod(int(part) if part else int(sizes[axis]) for axis, part in parts)
    return devices


def _trips(module: Module, loop: Instruction) -> int:
    """How often a loop runs: as XLA notes it, or the greatest number that its condition compares with."""
    if found := re.search(r'known_trip_count":\{"n":"(\d+)"', loop.text):
        return int(found[1])
    condition = module.called(loop, "condition")
    numbers = [int(i.arguments) for i in condition.instructions.values() if i.opcode == "constant" and i.arguments.isdigit()]
    return max(numbers, default=1)

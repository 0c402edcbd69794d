"""The kernels of optimised HLO, and the bytes that cross each kernel's border.

Every instruction of the entry computation, and of the loop bodies that it runs, is a kernel, except those that only name or view
memory. *Logical bytes* of a kernel are the elements that it touches of each operand and result, each once, at the element's width:
a gather or a slice touches what it takes, an update in place what it writes; tile padding, workspaces and tuple tables are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from costmodel.bench.hlo import Computation, Instruction, Module, Shape


@dataclass(frozen=True)
class Kernel:
    """One instruction that moves data.

    kind:    dot, conv, depthwise conv, window, reduce, gather, scatter, update, sort, elementwise, copy, other; ``entry copy``: of
             an argument or result into another layout; ``prefetch`` onto the chip; ``next call``: one for the program's next call.
    op_name: name stack and primitive of the jax equation that it comes from, "" where the compiler kept none.
    times:   how often it runs.
    bytes:   logical bytes of one run, in all memories; ``main`` those of the main memory.
    stated:  bytes of one run by the rule of XLA's own cost analysis.
    """

    name: str
    kind: str
    op_name: str
    times: int
    bytes: float
    main: float
    stated: float


# Instructions that name, view or wait for memory.
_FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "copy-done", "slice-done", "async-done",
         "async-update", "opt-barrier", "partition-id", "replica-id", "add-dependency"}
# Custom calls that only place or view buffers on a TPU.
_FREE_CALLS = {"AllocateBuffer", "ConcatBitcast", "AssumeGatherIndicesInBound"}
# Start of an asynchronous copy -> which array of its result is the destination.
_STARTS = {"copy-start": 0, "slice-start": 1}


def kernels(module: Module) -> list[Kernel]:
    """The kernels in the order in which they run; those of a loop's body once, with the loop's trip count in ``times``, which is 1
    where it is unknown."""
    return list(_run(module, module.entry, 1))


def _run(module: Module, computation: Computation, times: int) -> Iterator[Kernel]:
    for i in computation.instructions.values():
        if i.opcode in _FREE or (i.opcode == "custom-call" and i.target in _FREE_CALLS):
            continue
        if i.opcode == "while":
            trips = trip_count(module, i) or 1
            for attribute in ("condition", "body"):
                yield from _run(module, module.called(i, attribute), times * trips)
        elif i.opcode == "conditional":
            yield from _dearest(module, i, times)
        elif i.opcode in ("call", "async-start"):
            yield from _run(module, module.called(i, "to_apply", "calls"), times)
        else:
            yield _kernel(module, computation, i, times)


def _dearest(module: Module, i: Instruction, times: int) -> list[Kernel]:
    """The branch that moves most, as XLA counts it and as our own default does."""
    names = re.findall(r"%([\w.\-]+)", i.text.partition("branch_computations={")[2].partition("}")[0])
    branches = [module.computations[name] for name in names]
    branches = branches or [module.called(i, "true_computation"), module.called(i, "false_computation")]
    return max((list(_run(module, branch, times)) for branch in branches), key=lambda run: sum(k.bytes * k.times for k in run))


def trip_count(module: Module, loop: Instruction) -> int | None:
    """How often a while's body runs: XLA's own statement, else the constant below which its condition keeps a counter that starts
    at 0; None where neither is there."""
    if found := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.text):
        return int(found[1])
    condition = module.called(loop, "condition")
    bounds = [i for name in condition.root.operands if (i := condition.instructions[name]).opcode == "constant"]
    compare = module.called(condition.root, "calls").root if condition.root.opcode == "fusion" else condition.root
    if compare.opcode == "compare" and "direction=LT" in compare.text and len(bounds) == 1 and bounds[0].arguments.isdigit():
        return int(bounds[0].arguments)
    return None


def unknown_loops(module: Module) -> int:
    """How many loops have no trip count that the text states."""
    loops = (i for c in module.computations.values() for i in c.instructions.values() if i.opcode == "while")
    return sum(trip_count(module, loop) is None for loop in loops)


def _kernel(module: Module, computation: Computation, i: Instruction, times: int) -> Kernel:
    operands = [computation.instructions[name].shape for name in i.operands]
    if i.opcode == "fusion":
        moved, stated = _fused(module, i, operands)
    elif i.opcode in _STARTS:
        destination = i.shapes[_STARTS[i.opcode]]
        moved = [(operands[0], destination.size), (destination, destination.size)]
        stated = 2 * destination.bytes
    else:
        results = i.shapes[:1] if i.opcode == "custom-call" else i.shapes  # what follows is workspace
        once = {name: (shape, _read(computation, i, n, shape.size, i.shape.size))
                for n, (name, shape) in enumerate(zip(i.operands, operands, strict=True))}
        moved = [*once.values(), *zip(results, _written(computation, i), strict=False)]
        stated = _stated(computation, i)
    total = sum(shape.element_bytes * n for shape, n in moved)
    main = sum(shape.element_bytes * n for shape, n in moved if shape.space == 0)
    entry = computation is module.entry and main == total  # one that leaves the chip is where the result is written
    return Kernel(i.name, _kind(module, computation, i, entry), _origin(module, computation, i), times, total, main, stated)


def _fused(module: Module, i: Instruction, operands: list[Shape]) -> tuple[list[tuple[Shape, int]], float]:
    """What a fusion moves, (array, elements), and its bytes by XLA's own rule. Constants of several elements lie in memory too."""
    inner = module.called(i, "calls")
    needed = _demand(module, inner)
    constants = [c.shape for c in inner.instructions.values() if c.opcode == "constant" and c.shape.size > 1]
    written = [n for root in inner.results for n in _written(inner, root)]
    moved = [*((shape, needed[p.name]) for shape, p in zip(operands, inner.parameters, strict=True)),
             *((shape, shape.size) for shape in constants), *zip(i.shapes, written, strict=True)]
    stated = sum(c.bytes for c in constants) + sum(_stated_read(module, inner, p) * p.shape.element_bytes for p in inner.parameters)
    for root in inner.results:
        update = root.opcode == "dynamic-update-slice"
        stated += inner.instructions[root.operands[1]].shape.bytes if update else sum(s.bytes for s in root.shapes)
    return moved, stated


# -- what is touched ----------------------------------------------------------------------------------------------------------

# An update in place -> which operand holds what is written.
_UPDATE = {"dynamic-update-slice": 1, "scatter": -1}
# What reads a part of its first operand.
_PARTS = {"slice", "dynamic-slice", "gather"}
# Every element of the result may need every element of an operand.
_WHOLE = {"dot", "convolution", "reduce", "reduce-window", "select-and-scatter", "sort", "fft", "cholesky", "triangular-solve",
          "custom-call", "concatenate", "pad", "tuple"}


def _demand(module: Module, computation: Computation) -> dict[str, int]:
    """Elements needed of each value of a fused computation: what flows back from its results."""
    needed: dict[str, int] = {}
    for i in reversed(computation.instructions.values()):
        parts = [i.shape.size] if i is computation.root else []
        for user in computation.users[i.name]:
            places = [n for n, operand in enumerate(user.operands) if operand == i.name]
            if user.opcode == "fusion":
                inner = module.called(user, "calls")
                below = _demand(module, inner)
                parts.append(max(below[inner.parameters[n].name] for n in places))
            else:
                parts.append(max(_read(computation, user, n, i.shape.size, needed[user.name]) for n in places))
        needed[i.name] = i.shape.size if i.shape.size in parts else min(i.shape.size, sum(parts))
    return needed


def _read(computation: Computation, i: Instruction, n: int, size: int, wanted: int) -> int:
    """Elements that an instruction touches of its operand ``n`` of ``size`` elements, for ``wanted`` elements of its result."""
    if i.opcode in _PARTS and n == 0:
        return min(size, wanted)
    if i.opcode in _UPDATE and n == 0:
        update = computation.instructions[i.operands[_UPDATE[i.opcode]]].shape.size
        if not computation.in_place(i):
            return size
        return 0 if i.opcode == "dynamic-update-slice" else min(size, update)
    return size if i.opcode in _WHOLE else min(size, wanted)


def _written(computation: Computation, i: Instruction) -> list[int]:
    """Elements written of each result."""
    i = computation.viewed(i)
    if i.opcode in _UPDATE and computation.in_place(i):
        return [computation.instructions[i.operands[_UPDATE[i.opcode]]].shape.size]
    return [shape.size for shape in i.shapes]


# -- XLA's own rule -----------------------------------------------------------------------------------------------------------
# HloCostAnalysis of xla/service/hlo_cost_analysis.cc: a custom call is unknown, and counts as -1; a fusion reads the whole of an
# operand unless a slice stands right at it, and again for each broadcast of it; a loop's body counts once. (Tuples' tables of
# pointers, which it counts too, are no kernels.)


def _stated(computation: Computation, i: Instruction) -> float:
    sizes = [sum(s.bytes for s in computation.instructions[name].shapes) for name in i.operands]
    match i.opcode:
        case "custom-call":
            return -1
        case "slice":
            return 2 * i.shape.bytes
        case "dynamic-slice" | "gather":
            return 2 * i.shape.bytes + sizes[1]
        case "dynamic-update-slice":
            return 2 * sizes[1] + sizes[2]
        case "scatter":
            return 3 * sizes[-1] + sizes[1]
    return sum(sizes) + (i.shape.bytes if len(i.shapes) == 1 else 8 * len(i.shapes))


def _stated_read(module: Module, computation: Computation, parameter: Instruction) -> int:
    """Elements of a fusion's parameter."""
    size, elements, shared = parameter.shape.size, 0, False
    for user in computation.users[parameter.name]:
        first = user.operands[0] == parameter.name
        if user.opcode == "fusion":
            inner = module.called(user, "calls")
            elements += sum(_stated_read(module, inner, p) for p, name in zip(inner.parameters, user.operands, strict=True)
                            if name == parameter.name)
        elif user.opcode == "slice" or (user.opcode == "dynamic-slice" and first):
            elements += user.shape.size
        elif user.opcode in ("broadcast", "reshape"):
            elements += size
        elif not shared and not (user.opcode == "dynamic-update-slice" and first):
            shared = True
            elements += size
    return elements


# -- names --------------------------------------------------------------------------------------------------------------------

_KINDS = {"dot": "dot", "scatter": "scatter", "select-and-scatter": "window", "reduce-window": "window",
          "sort": "sort", "reduce": "reduce", "gather": "gather", "dynamic-update-slice": "update"}
_MOVES = {"parameter", "constant", "bitcast", "copy", "transpose", "reshape", "broadcast", "slice", "concatenate", "pad", "reverse",
          "dynamic-slice", "tuple", "get-tuple-element", "iota"}


def _inside(module: Module, computation: Computation, i: Instruction) -> Iterator[tuple[Computation, Instruction]]:
    """The instruction, or those that it fuses, each with the computation that it is in."""
    if i.opcode != "fusion":
        yield computation, i
        return
    inner = module.called(i, "calls")
    for j in inner.instructions.values():
        yield from _inside(module, inner, j)


def _kind(module: Module, computation: Computation, i: Instruction, entry: bool) -> str:
    if i.opcode in _STARTS:
        used = any(computation.users[done.name] for done in computation.users[i.name])
        return "copy" if not i.shapes[_STARTS[i.opcode]].space else "prefetch" if used else "next call"
    inside = list(_inside(module, computation, i))
    if convolution := next((found for found in inside if _is_convolution(found[1])), None):
        return _convolution(*convolution)
    if i.opcode == "custom-call":
        return "dot" if "gemm" in i.target or "matmul" in i.target else "other"
    opcodes = {j.opcode for _, j in inside}
    for opcode, kind in _KINDS.items():
        if opcode in opcodes:
            return kind
    if opcodes <= _MOVES:
        return "entry copy" if entry and computation.is_entry_copy(i) else "copy"
    return "elementwise"


def _is_convolution(i: Instruction) -> bool:
    return i.opcode == "convolution" or (i.opcode == "custom-call" and "conv" in i.target)


def _convolution(computation: Computation, i: Instruction) -> str:
    """A TPU has one engine for both, and its compiler writes a matrix product as a convolution. In a depthwise convolution each
    group has one input channel, which the kernel's dimension ``i`` states."""
    if i.op_name.endswith("dot_general"):
        return "dot"
    groups, labels = re.search(r"feature_group_count=\d+", i.text), re.search(r"dim_labels=\w+_(\w+)->", i.text)
    kernel = computation.instructions[i.operands[1]].shape
    return "depthwise conv" if groups and labels and kernel.dims[labels[1].index("i")] == 1 else "conv"


def _origin(module: Module, computation: Computation, i: Instruction) -> str:
    """Its jax equation, or that of the first instruction after it that has one: copies have none of their own, or only that of
    the argument that they copy."""
    pending = [i]
    for j in pending:
        for k in (j, *(k for _, k in reversed(list(_inside(module, computation, j))))):
            if "/" in k.op_name:
                return k.op_name
        pending += [user for user in computation.users[j.name] if user not in pending and len(pending) < 16]
    return ""

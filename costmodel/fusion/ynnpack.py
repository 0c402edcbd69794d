"""What XLA for processors hands to the library YNNPACK as one kernel: found by experiment with jax 0.10.

A reduction, or pooling over windows that do not overlap, draws in what it can: producers all of whose uses are inside, and the one
use of what is inside, as long as the library has the operation, up to some sixty of them. So softmax runs with the products around
it, and a stage of convolutions with the pooling that follows it.
"""

from __future__ import annotations

import re

from costmodel.fusion.graph import Graph
from costmodel.fusion.layers import ANCHORS
from costmodel.rules.work import Equation

LIMIT = 64
_OPERATIONS = frozenset({"add", "add_any", "sub", "mul", "div", "max", "min", "exp", "neg", "abs", "square", "broadcast_in_dim",
                         "reduce_sum", "reduce_max", "reduce_min", "dot_general", "conv_general_dilated"})


def clusters(graph: Graph) -> dict[int, int]:
    """Equations (by id) that share a kernel -> its number. Seeds later in the program come first."""
    found: dict[int, int] = {}
    for seed in reversed(graph.equations):
        if id(seed) not in found and _seeds(seed):
            for e in _grown(graph, seed, found):
                found[id(e)] = graph.index[id(seed)]
    return found


def _seeds(e: Equation) -> bool:
    return (e.rule == "reduce" and e.primitive in _OPERATIONS) or _separate_windows(e)


def _separate_windows(e: Equation) -> bool:
    """Pooling whose windows do not overlap."""
    shape, strides = (re.search(rf"{name}=\(([^)]*)\)", e.detail) for name in ("window_dimensions", "window_strides"))
    return ANCHORS.get(e.primitive) == "window" and shape is not None and strides is not None and shape[1] == strides[1]


def _grown(graph: Graph, seed: Equation, taken: dict[int, int]) -> list[Equation]:
    inside = {id(seed): seed}
    pending, size = [seed], _instructions(seed)
    while pending:
        e = pending.pop(0)
        for near in (*_producers(graph, e), *_only_use(graph, e)):
            if (id(near) in inside or id(near) in taken or near.loops != seed.loops or not _has(graph, near)
                    or size + _instructions(near) > LIMIT):
                continue
            users = graph.users(near)
            below = any(user is near for user, _ in graph.users(e))
            if below or (users and not graph.is_result(near) and all(id(user) in inside for user, _ in users)):
                inside[id(near)] = near
                size += _instructions(near)
                # What was left outside because of this use may come in now.
                pending += [near, *(inside[id(u)] for v in near.ins for u, _ in graph.uses(v) if id(u) in inside and u is not near)]
    return list(inside.values())


def _producers(graph: Graph, e: Equation) -> list[Equation]:
    return [maker for v in e.ins if (maker := graph.maker(v)) is not None]


def _only_use(graph: Graph, e: Equation) -> list[Equation]:
    users = {id(user): user for user, _ in graph.users(e)}
    return list(users.values()) if len(users) == 1 and not graph.is_result(e) else []


def _has(graph: Graph, e: Equation) -> bool:
    """Whether the library has the operation; max and min with literals are one clamp to XLA, which it has not."""
    if e.primitive in ("max", "min"):
        other = {"max": "min", "min": "max"}[e.primitive]
        near = [*_only_use(graph, e), *_producers(graph, e)]
        if any(n.primitive == other and any(elements == 0 for elements in n.work.read) for n in near):
            return False
    return e.primitive in _OPERATIONS or _separate_windows(e)


def _instructions(e: Equation) -> int:
    """Instructions of XLA's program: an operand of another shape is a broadcast of its own."""
    return 1 + (e.rule in ("elementwise", "mul") and any(v.array.size != e.outs[0].array.size for v in e.ins))

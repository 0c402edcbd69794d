"""The memory of a program's results, where it is taken before the program runs, and what it is lent to meanwhile.

XLA's BufferAssigner: each result has memory of its own. Then every other buffer, the largest first, is given the memory of a
result that is not smaller if they never meet: neither the result nor another borrower is held while it is. What an elementwise
kernel may write over an operand does not meet it there. What is left shares one block, in which the heap simulator lets a kernel
write over an operand that dies there, if a kernel made just that array: no part of what a loop, a ``cond`` or a sort gave, and
nothing that shares its memory with other contents already, as what is updated in place (XLA, HeapSimulator::RunComputation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sympy import Expr

from costmodel.memory.buffers import KINDS, Content, Memory
from costmodel.memory.lifetimes import Buffer, Lifetimes
from costmodel.memory.schedule import size_at_reference
from costmodel.symbolic.forms import surely_nonnegative

Span = tuple[int, int]
Pairs = dict[tuple[Content, Content], int]  # (old, new) -> the step in which new may be written over old


@dataclass(eq=False)
class _Group:
    """Contents that are in one place, which is held in the steps of ``spans``."""

    members: list[Content]
    spans: list[Span]
    bytes: Expr
    kind: str
    nested: bool
    turn: int  # the first of its makers, in post-order


def reserved(held: Memory, order: Sequence[int]) -> list[Buffer]:
    """The buffers, in bytes, when the memory of results is taken before the first kernel of ``order`` (indices of kernels) runs.

    Twice: without the updates that a compiler may leave out, which says who meets whom; then with those of them that it makes."""
    possible = [pair for pair in held.updates if pair in held.possible]
    apart = Lifetimes(replace(held, updates=tuple(pair for pair in held.updates if pair not in held.possible)), order, early=True)
    turns = _post_order(held)
    groups = [_group(held, members, apart, turns) for members in apart.places()]
    home = {c: group for group in groups for c in group.members}
    met = {(old, new): apart.interval[new][0] for old, new in possible if home[old] is not home[new]}
    lent = _lend(groups, home, met)
    in_results = {c for group in groups if group.kind == "outputs" or group in lent for c in group.members}
    alone = {c for group in groups if len(group.members) == 1 for c in group.members} - in_results
    kept = [(old, new) for old, new in held.updates
            if (old, new) not in held.possible or (old in alone and old not in held.parts and new in alone)]
    together = Lifetimes(replace(held, updates=tuple(kept)), order, early=True)
    end = max(len(order) - 1, 0)
    found: list[Buffer] = []
    for members in together.places():
        group = home[members[0]]
        if group.kind == "outputs":
            found.append(Buffer(group.bytes, group.kind, 0, end, group.members[0].value.array))
        elif group not in lent:
            found += together.held_by(members)
    return found


def _post_order(held: Memory) -> dict[int, int]:
    """The place of each kernel in an order in which operands come before who reads them, the first operand first; what a branch is
    chosen by comes before what it is given (XLA, HloComputation::MakeInstructionPostOrder)."""
    chosen = {joined: index for index, joined in held.choices}
    given: dict[Content, list[Content]] = {}
    for part, joined in held.branches:
        given.setdefault(joined, []).append(part)
    found: dict[int, int] = {}

    def first(c: Content) -> list[Content]:
        return [*([chosen[c]] if c in chosen else []), *given.get(c, ())]

    for root in reversed(range(len(held.kernels))):
        pending: list[tuple[int, bool]] = [(root, False)]
        while pending:
            k, done = pending.pop()
            if k in found:
                continue
            if done:
                found[k] = len(found)
                continue
            pending.append((k, True))
            before = [o for c in held.operands[k] for o in (*first(c), c)]
            pending += [(o.maker, False) for o in reversed(before) if o.maker is not None and o.maker not in found and o.maker < k]
    return found


def _group(held: Memory, members: list[Content], apart: Lifetimes, turns: dict[int, int]) -> _Group:
    spans: list[Span] = []
    for first, last in sorted(apart.interval[c] for c in members):
        if spans and first <= spans[-1][1] + 1:
            spans[-1] = spans[-1][0], max(spans[-1][1], last)
        else:
            spans.append((first, last))
    nested = any(c.loops or c.opens is not None or (c.maker is not None and held.kernels[c.maker].branch) for c in members)
    turn = min((turns[c.maker] for c in members if c.maker is not None), default=0)
    return _Group(members, spans, members[0].value.bytes, min((c.kind for c in members), key=KINDS.index), nested, turn)


def _lend(groups: Sequence[_Group], home: dict[Content, _Group], met: Pairs) -> set[_Group]:
    """The groups that have their place in the memory of a result: whatever fits at any size."""
    over: dict[_Group, dict[_Group, set[int]]] = {}  # whose contents may be written over whose, and when
    for (old, new), step in met.items():
        over.setdefault(home[new], {}).setdefault(home[old], set()).add(step)
    lenders = {group: [group] for group in sorted((g for g in groups if g.kind == "outputs"),
                                                 key=lambda g: size_at_reference(g.bytes))}
    asking = [g for g in groups if g.kind in ("activations", "temporaries")]
    place: dict[_Group, _Group] = {}
    for group in sorted(asking, key=lambda g: (-size_at_reference(g.bytes), not g.nested, g.turn)):
        near = [place.get(old, old) for old in over.get(group, ())]
        for result in dict.fromkeys([*(r for r in near if r in lenders), *lenders]):
            if _fits(group.bytes, result.bytes) and not any(_meet(group, other, over) for other in lenders[result]):
                lenders[result].append(group)
                place[group] = result
                break
    return set(place)


def _meet(a: _Group, b: _Group, over: dict[_Group, dict[_Group, set[int]]]) -> bool:
    """Whether both are held at once, but for the step in which one is written over the other."""
    for first, last in a.spans:
        for start, end in b.spans:
            written_over = (last == start and start in over.get(b, {}).get(a, ())) or (
                end == first and first in over.get(a, {}).get(b, ()))
            if first <= end and start <= last and not written_over:
                return True
    return False


@lru_cache(maxsize=65536)
def _fits(size: Expr, result: Expr) -> bool:
    """Whether so many bytes fit into a result's wherever the program holds."""
    return surely_nonnegative(result - size)

"""Which equations of a program nobody needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Value


def remove_dead(program: RawProgram) -> tuple[RawProgram, tuple[Raw, ...]]:
    """The program without its dead equations, and those."""
    alive = needed(program.equations, program.outputs, program.carried)
    made = {v for r in program.equations if r in alive for v in r.outs}
    kept = replace(program, equations=tuple(r for r in program.equations if r in alive),
                   carried=tuple(pair for pair in program.carried if pair[0] in made))
    return _assigning(kept), tuple(r for r in program.equations if r not in alive)


def _assigning(program: RawProgram) -> RawProgram:
    """The program with ``swap``s whose result nobody reads as assignments: jax has one primitive for both."""
    if not any(r.jax == "swap" for r in program.equations):
        return program
    read = {*program.outputs, *(after for _, after in program.carried), *(v for r in program.equations for v in r.ins)}
    return replace(program, equations=tuple(
        replace(r, primitive="ref_set", outs=()) if r.jax == "swap" and r.outs[0] not in read else r for r in program.equations))


def needed(equations: Sequence[Raw], results: Iterable[Value], carried: Iterable[tuple[Value, Value]]) -> set[Raw]:
    """The equations that have an effect, or whose results are among ``results`` or used by another one that is needed. A loop that
    needs what it carries needs what its iterations hand on."""
    maker = {v: r for r in equations for v in r.outs}
    handed_on: dict[Value, list[Value]] = {}
    for into, out in carried:
        handed_on.setdefault(into, []).append(out)
    alive = {r for r in equations if r.effects}
    pending = [*results, *(v for r in alive for v in r.ins)]
    seen: set[Value] = set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        pending.extend(handed_on.get(value, ()))
        r = maker.get(value)
        if r is not None and r not in alive:
            alive.add(r)
            pending.extend(r.ins)
    return alive

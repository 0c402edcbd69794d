"""What is known before a program runs: scalars and indices that follow from shapes, counters of loops, and zeros.

A trace with symbols computes some of them where a concrete one has a number; counting them would make the two differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from costmodel.program.raw import Raw, RawProgram, is_immediate
from costmodel.rules.branches import Branch
from costmodel.rules.work import Value

# What no compiler knows although all operands are constants: it differs between iterations, devices or runs.
_VARIES = frozenset({"loop_carry", "scan_read", "scan_write", "axis_index", "platform_index", "rng_uniform"})


def shape_constants(equations: Sequence[Raw], results: Iterable[Value],
                    carried: Iterable[tuple[Value, Value]]) -> tuple[set[Raw], set[Value]]:
    """(equations, values) that are known when the program is compiled: scalars that follow from shapes, such as the number of
    elements in a mean; indices that do, which a symbolic slice has and a concrete one has not; and, among the equations only,
    the counters of loops.

    ``results`` are values that something outside these equations uses.
    """
    counters = {r for r in equations if r.counter} | set(_increments(equations, carried))
    constant = set(counters)
    scalars: set[Value] = set()
    for r in equations:
        if (r not in counters and _is_known(r) and all(is_immediate(v) or v in scalars for v in r.ins)
                and all(not v.array.shape for v in r.outs)):
            constant.add(r)
            scalars.update(r.outs)
    constant |= _only_indices(equations, constant, results, _derived(equations, counters))
    return constant, {v for r in constant - counters for v in r.outs}


def _is_known(r: Raw) -> bool:
    """Whether its results are known if its operands are."""
    return not r.effects and r.jax not in _VARIES


def _derived(equations: Iterable[Raw], counters: set[Raw]) -> set[Value]:
    """Values of any shape that follow from constants."""
    found: set[Value] = set()
    for r in equations:
        if r not in counters and _is_known(r) and all(is_immediate(v) or v in found for v in r.ins):
            found.update(r.outs)
    return found


def _only_indices(equations: Sequence[Raw], constant: set[Raw], results: Iterable[Value], derived: set[Value]) -> set[Raw]:
    """Equations that make nothing but known indices, for others to read or write at."""
    if not derived:
        return set()
    needed = set(results)  # as more than an index
    found: set[Raw] = set()
    for r in reversed(equations):
        if r in constant:
            continue
        if not r.effects and all(v in derived and v not in needed for v in r.outs):
            found.add(r)
        else:
            indices = _indices(r)
            needed.update(v for v in r.ins if v not in indices)
    return found


def _increments(equations: Iterable[Raw], carried: Iterable[tuple[Value, Value]]) -> Iterator[Raw]:
    """What adds a constant to a carried integer: a loop over a known range counts its iterations where a concrete trace may not."""
    starts: dict[Value, list[Value]] = {}
    for before, after in carried:
        if not before.array.shape and before.array.dtype.startswith(("int", "uint")):
            starts.setdefault(after, []).append(before)
    for r in equations:
        for start in starts.get(r.outs[0], ()) if r.jax in ("add", "sub") else ():
            others = [v for v in r.ins if v is not start]
            if len(others) == 1 and is_immediate(others[0]):
                yield r


def known_sides(program: RawProgram) -> RawProgram:
    """The program in which what is known on a side of a ``cond`` is known on the same side of a later one that is decided alike:
    the gradient of a ``cond`` takes the branch that was taken, and receives where a symbolic slice read there as if it were
    data."""
    deciding = {r.outs[0]: r for r in program.equations if r.jax == "branch_result"}
    if len(program.conds) < 2:
        return program
    derived = _derived(program.equations, set())
    sides = {out: (c, [result[i] for result in c.results]) for c in program.conds for i, out in enumerate(c.outs)}
    decided: dict[int, Value] = {}

    def seen(v: Value, branch: Branch) -> Value:
        """What a value is on these sides, as far back as it can be followed."""
        while v in sides:
            cond, results = sides[v]
            taken = [results[side.which] for side in branch if cond.number in decided and side.of == len(results)
                     and decided.get(side.cond) is decided[cond.number]]
            if not taken:
                break
            v = taken[0]
        return v

    for cond in sorted(program.conds, key=lambda c: c.number):  # one inside another has the larger number
        if cond.outs and cond.outs[0] in deciding:
            result = deciding[cond.outs[0]]
            decided[cond.number] = seen(result.ins[0], result.branch)

    def known(v: Value, branch: Branch) -> Value:
        there = seen(v, branch)
        return there if there in derived else v

    return replace(program, equations=tuple(
        replace(r, ins=tuple(known(v, r.branch) for v in r.ins)) if r.branch else r for r in program.equations))


_PLACED = {"scatter-add": 2, "dynamic_update_slice": 1}  # which operand is placed


def as_pads(program: RawProgram) -> RawProgram:
    """The program with what is placed once into zeros written as a pad: a symbolic slice is a gather, so its gradient adds into
    zeros at known places; a concrete one's is a pad."""
    if not any(r.jax in _PLACED for r in program.equations):
        return program
    derived = _derived(program.equations, set())
    blank = set(program.zeros)
    made = []
    for r in program.equations:
        if r.jax == "broadcast_in_dim" and r.ins[0] in blank:
            blank.add(r.outs[0])
        placed = _PLACED.get(r.jax)
        if (placed is not None and r.ins[0] in blank and (r.params.get("unique_indices", True) or _one_window(r))
                and all(is_immediate(v) or v in derived for v in _indices(r))):
            part = r.ins[placed]
            whole = part.array.size == r.outs[0].array.size  # nothing is left of the zeros
            r = replace(r, primitive="reshape", params={}, ins=(part,)) if whole else replace(r, primitive="pad", ins=(part,))
        made.append(r)
    return replace(program, equations=tuple(made))


def _one_window(r: Raw) -> bool:
    """A scatter at one place: nothing is added twice."""
    indices = r.ins[1].array
    return bool(indices.shape) and indices.size == indices.shape[-1]


def _indices(r: Raw) -> tuple[Value, ...]:
    """The operands that say where to read or write."""
    if r.jax.startswith("scatter"):
        return r.ins[1:2]
    first = {"gather": 1, "dynamic_slice": 1, "dynamic_update_slice": 2}.get(r.jax)
    return () if first is None else r.ins[first:]

"""Closed forms of pipelines against a machine that runs the schedules operation by operation."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy

from costmodel import CostModelError
from costmodel.sharding.pipelines import SCHEDULES, bubble, in_flight, seconds, sends, sends_a_device


def order(schedule, p, m, v, rank):
    """What a device does, in order: ("f" or "b", micro-batch, chunk), as the papers' figures have it."""
    if schedule == "gpipe":
        return [("f", j, 0) for j in range(m)] + [("b", j, 0) for j in range(m)]
    if schedule == "1f1b":
        warm = min(p - rank - 1, m)
        forward, backward = [("f", j, 0) for j in range(m)], [("b", j, 0) for j in range(m)]
    else:
        groups = [(g, c, j) for g in range(m // p) for c in range(v) for j in range(p)]
        forward = [("f", g * p + j, c) for g, c, j in groups]
        backward = [("b", g * p + j, v - 1 - c) for g, c, j in groups]
        warm = min(2 * (p - rank - 1) + (v - 1) * p, m * v)
        if m == p:
            warm = m * v
    steady = [op for pair in zip(forward[warm:], backward, strict=False) for op in pair]
    return forward[:warm] + steady + backward[len(forward) - warm:]


def run(schedule, p, m, v, time):
    """(end, most activations held by each device in chunks, messages sent by each device). ``time(kind, stage)``: of an operation
    on the stage c·p + rank."""
    todo = {rank: order(schedule, p, m, v, rank) for rank in range(p)}
    done, clock = {}, dict.fromkeys(range(p), Fraction(0))
    held, most, sent = dict.fromkeys(range(p), 0), dict.fromkeys(range(p), 0), dict.fromkeys(range(p), 0)
    last = p * v - 1
    while any(todo.values()):
        moved = False
        for rank in range(p):
            while todo[rank]:
                kind, j, c = todo[rank][0]
                stage = c * p + rank
                before = ("f", j, stage - 1) if kind == "f" and stage else None
                if kind == "b":
                    before = ("b", j, stage + 1) if stage < last else ("f", j, stage)
                if before is not None and before not in done:
                    break
                start = max(clock[rank], done.get(before, Fraction(0)))
                clock[rank] = done[kind, j, stage] = start + time(kind, stage)
                held[rank] += 1 if kind == "f" else -1
                most[rank] = max(most[rank], held[rank])
                sent[rank] += stage < last if kind == "f" else stage > 0
                todo[rank].pop(0)
                moved = True
        assert moved, "deadlock"
    return max(clock.values()), most, sent


PIPES = [("gpipe", 1), ("1f1b", 1), ("interleaved", 2), ("interleaved", 3)]


@pytest.mark.parametrize(("schedule", "v"), PIPES)
@pytest.mark.parametrize("p", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("groups", [1, 2, 3, 8])
@pytest.mark.parametrize("backward", [1, 2, 3])
def test_a_schedule_of_equal_stages(schedule, v, p, groups, backward):
    m = groups * p
    if schedule == "interleaved" and p == 1:
        pytest.skip("a ring of one")
    end, most, sent = run(schedule, p, m, v, lambda kind, _: Fraction(1 if kind == "f" else backward, v))
    each = 1 + backward
    assert end == seconds(schedule, p, m, each, v)
    assert end == m * each * (1 + bubble(schedule, p, m, v))
    for stage in range(p):
        if not (schedule == "interleaved" and groups == 1):  # where all forward runs first
            assert Fraction(most[stage], v) == in_flight(schedule, p, m, v, stage)
    assert sum(sent.values()) == sends(schedule, p, m, v)
    if p > 1:
        assert max(sent.values()) == sends_a_device(schedule, p, m, v)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("p", [2, 4, 7])
@pytest.mark.parametrize("m", [1, 4, 16])
@pytest.mark.parametrize("head", [1, Fraction(1, 3), 5])
def test_a_head_makes_the_last_stage_the_slowest(schedule, p, m, head):
    end, _, _ = run(schedule, p, m, 1, lambda kind, stage: (1 if kind == "f" else 2) * (1 + (head if stage == p - 1 else 0)))
    assert end == seconds(schedule, p, m, 3, slowest=3 * (1 + head))


@pytest.mark.parametrize(("p", "groups", "v", "head"), [(2, 4, 2, Fraction(1, 4)), (4, 4, 3, Fraction(1, 5)),
                                                        (8, 8, 3, Fraction(1, 40))])
def test_an_interleaved_head_is_within_its_own_time(p, groups, v, head):
    m = p * groups
    end, _, _ = run("interleaved", p, m, v, lambda kind, stage: (Fraction(1, v) + (head if stage == p * v - 1 else 0))
                    * (1 if kind == "f" else 2))
    assert abs(end - seconds("interleaved", p, m, 3, v, slowest=3 * (1 + head))) <= p * 3 * head


def test_what_korthikanti_counts():
    p, v, m = sympy.symbols("p v m", positive=True)
    least = -in_flight("interleaved", p, m, v)  # a maximum of what is negative
    assert any(sympy.simplify(x + p * (1 + (p - 1) / (p * v))) == 0 for x in least.args)


@pytest.mark.parametrize(("wrong", "what"), [
    (("1f1f", 4, 8), "1f1b"), (("1f1b", 4, 8, 2), "interleaved"), (("interleaved", 4, 6, 2), "groups of 4"),
    (("gpipe", 0, 8), "at least 1"),
])
def test_wrong_pipelines_are_one_line(wrong, what):
    with pytest.raises(CostModelError, match=what):
        bubble(*wrong)
    assert wrong[0] in SCHEDULES or "f" in wrong[0]

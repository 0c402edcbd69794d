"""What can be hidden of communication, against every schedule of small programs on one device that computes and one connection."""

from __future__ import annotations

import itertools
import random

import jax
import pytest
from jax import lax
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

import costmodel as cm

SIZE = 768
NODES = 7
DEVICES = 8
SENDS = ("psum", "ppermute")
Node = tuple[str, tuple[int, ...]]  # of which earlier nodes; -1 is the input


def dag(seed: int, sends: int) -> list[Node]:
    """A random program of so many collectives."""
    chosen = random.Random(seed)
    kinds = [*(chosen.choice(SENDS) for _ in range(sends)), *(chosen.choice(("dot", "add")) for _ in range(NODES - sends))]
    chosen.shuffle(kinds)
    return [(kind, tuple(chosen.randrange(-1, i) for _ in range(1 if kind in SENDS else 2))) for i, kind in enumerate(kinds)]


def program(nodes: list[Node]):
    """It as a jax program of one equation a node, every result of which is asked for."""
    def each(x):
        made = []
        for kind, before in nodes:
            a, *b = (x if i < 0 else made[i] for i in before)
            made.append(lax.dot(a, *b) if kind == "dot" else a + b[0] if kind == "add" else lax.psum(a, "data") if kind == "psum"
                        else lax.ppermute(a, "data", [(i, (i + 1) % DEVICES) for i in range(DEVICES)]))
        return tuple(made)

    mesh = AbstractMesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec()
    return jax.shard_map(each, mesh=mesh, in_specs=spec, out_specs=(spec,)*len(nodes), check_vma=False)


def shortest(nodes: list[Node], seconds: list[float]) -> float:
    """The end of the best of all schedules: the device and the connection each do one thing after another, in every order that
    the program allows."""
    best = float("inf")

    def go_on(done: dict[int, float], free: tuple[float, float]) -> None:
        nonlocal best
        if max(free) >= best:
            return
        if len(done) == len(nodes):
            best = max(free)
        for i, (kind, before) in enumerate(nodes):
            if i not in done and all(j in done for j in before if j >= 0):
                unit = kind in SENDS
                end = max([free[unit], *(done[j] for j in before if j >= 0)]) + seconds[i]
                go_on({**done, i: end}, (end, free[1]) if unit == 0 else (free[0], end))

    go_on({}, (0.0, 0.0))
    return best


def priced(nodes: list[Node]) -> tuple[list[float], float]:
    """(seconds of each node by itself, the lower bound of all)."""
    cost = cm.analyze(program(nodes), cm.spec((SIZE, SIZE)), verify=False)
    found = cost.roofline("h100-sxm", policy="unfused", data=DEVICES)
    names = {"dot": "dot", "add": "elementwise", "psum": "collective", "ppermute": "collective"}
    assert [row.kind for row in found.rows] == [names[kind] for kind, _ in nodes]
    return [row.lower for row in found.rows], found.lower


@pytest.mark.parametrize("seed", range(12))
def test_one_collective_is_hidden_as_far_as_the_best_schedule_hides_it(seed):
    nodes = dag(seed, sends=1)
    seconds, lower = priced(nodes)
    assert lower == pytest.approx(shortest(nodes, seconds), rel=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_no_schedule_of_several_is_shorter_than_the_bound(seed):
    nodes = dag(100 + seed, sends=2 + seed % 3)
    seconds, lower = priced(nodes)
    assert max(sum(t for t, (kind, _) in zip(seconds, nodes, strict=True) if (kind in SENDS) == sent) for sent in (True, False)) \
        <= lower*(1 + 1e-9)
    assert lower <= shortest(nodes, seconds)*(1 + 1e-9)


def test_the_bound_of_several_is_mostly_the_best_schedule():
    """It counts for every collective what could be done meanwhile, not that it is done once."""
    same = []
    for seed in range(20):
        nodes = dag(200 + seed, sends=2)
        seconds, lower = priced(nodes)
        same.append(lower == pytest.approx(shortest(nodes, seconds), rel=1e-9))
    assert sum(same) >= 10


def test_the_shortest_schedule_of_programs_known_by_hand():
    chain = [("dot", (-1, -1)), ("psum", (0,)), ("dot", (1, 1))]
    apart = [("dot", (-1, -1)), ("psum", (-1,)), ("dot", (0, 0))]
    assert shortest(chain, [1.0, 5.0, 2.0]) == 8 and shortest(apart, [1.0, 5.0, 2.0]) == 5
    assert shortest([*apart, ("add", (1, 2))], [1.0, 5.0, 2.0, 1.0]) == 6


def test_every_order_is_looked_at():
    nodes = dag(7, sends=2)
    seconds, _ = priced(nodes)
    legal = (order for order in itertools.permutations(range(NODES))
             if all(order.index(j) < order.index(i) for i, (_, before) in enumerate(nodes) for j in before if j >= 0))
    ends = []
    for order in legal:
        done, free = {}, [0.0, 0.0]
        for i in order:
            kind, before = nodes[i]
            done[i] = free[kind in SENDS] = max([free[kind in SENDS], *(done[j] for j in before if j >= 0)]) + seconds[i]
        ends.append(max(free))
    assert shortest(nodes, seconds) == pytest.approx(min(ends))

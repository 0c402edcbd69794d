"""What the whole process has asked of dimensions is looked through for every cost: that is done on what was found out once."""

from __future__ import annotations

import jax.numpy as jnp

import costmodel as cm
from costmodel.trace import undecided


def asks(n, *sizes):
    """A model that compares its size with each of ``sizes``."""
    return cm.analyze(lambda x: jnp.exp(x) if x.shape[0] not in sizes else x, (n, 3))


def test_what_was_asked_before_is_no_work_for_later_costs(monkeypatch):
    original, calls = undecided._primitive, []
    monkeypatch.setattr(undecided, "_primitive", lambda d: (calls.append(d), original(d))[1])

    def work() -> int:
        calls.clear()
        asks(n, 5)
        return len(calls)

    n = cm.dims("n")
    asks(n, 5)
    few = work()
    asks(n, *range(101, 151))
    assert work() == few


def test_a_size_asked_of_one_cost_is_a_boundary_of_the_next():
    """jax remembers what it traced, and asks only once."""
    n = cm.dims("n", max=20)
    asks(n, 7, 31)
    later = cm.analyze(jnp.exp, (n, 3)).origin.compared.boundaries
    assert sorted(b.subs(dict.fromkeys(b.free_symbols, 0)) for b in later) == [-7, -1]  # n = 7 and n = 1; 31 lies outside

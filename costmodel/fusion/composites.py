"""The composite functions of a program: what an eager framework computes in one kernel."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel.fusion.activations import clamp, gated, mean, piecewise, random
from costmodel.fusion.normalisations import normalisation, softmax
from costmodel.fusion.predicates import computes
from costmodel.fusion.reading import Composite, Reading

_FROM_RESULT = tuple(frozenset({name}) for name in ("tanh", "logistic"))


def composites(reading: Reading) -> list[Composite]:
    """The composites of a program, in its order; an equation belongs to one of them at most."""
    found: list[Composite] = []
    equations = reading.graph.equations
    for order, kinds in ((equations, (normalisation, softmax, random, gated)), (equations[::-1], (piecewise, clamp, mean))):
        for e, find in ((e, find) for e in order for find in kinds):
            if e in reading.taken or not reading.forward(e):
                continue
            composite = find(reading, e)
            if composite is not None and all(m not in reading.taken and m.runs_with(e) for m in composite.members):
                reading.taken.update(dict.fromkeys(composite.members, composite))
                found.append(composite)
    return sorted(found, key=lambda c: reading.graph.index[c.result])


def lone_functions(reading: Reading) -> Iterator[Composite]:
    """Special functions whose derivative a framework computes from their result, in one kernel."""
    for e in reading.graph.equations:
        if e not in reading.taken and reading.forward(e) and any(computes(e, names) for names in _FROM_RESULT):
            yield Composite({e: None}, e, from_result=True)

"""Pipelines in closed form: a step's time, its bubble, the micro-batches in flight and what is sent, of three schedules.

p stages run m micro-batches, forward and backward. GPipe (Huang et al., NeurIPS 2019) runs all forward, then all backward; 1F1B
(Narayanan et al., SOSP 2019; SC 2021) turns back as early as it can, so that stage i holds at most p - i micro-batches;
interleaved (Narayanan et al., SC 2021) gives every device v chunks of layers, one behind the other round the ring, which divides
the bubble by v and holds more.

Time and memory are in those of a device: a micro-batch takes it ``forward`` + ``backward`` seconds over all its chunks, and keeps
one unit of activations of them. All results are expressions of p, m and v, which may be integers or symbols.

>>> from sympy import symbols
>>> p, m, v, t = symbols("p m v t", positive=True)
>>> bubble("1f1b", p, m), bubble("interleaved", p, m, v)
((p - 1)/m, (p - 1)/(m*v))
>>> seconds("1f1b", 8, 64, t), seconds("interleaved", 8, 64, t, 3)
(71*t, 199*t/3)
>>> in_flight("gpipe", 8, 64), in_flight("1f1b", 8, 64), in_flight("interleaved", 8, 64, 3)
(64, 8, 31/3)
"""

from __future__ import annotations

from typing import Any

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.symbolic.forms import PeakMax, minimum, number
from costmodel.text import did_you_mean

SCHEDULES = ("gpipe", "1f1b", "interleaved")
"""Schedules by name; chunks only where they are interleaved."""


def bubble(schedule: str, stages: Any, microbatches: Any, chunks: Any = 1) -> Expr:
    """Idle time of a device over its busy time, of equal stages: (p - 1)/m, or (p - 1)/(v·m)."""
    p, m, v = _checked(schedule, stages, microbatches, chunks)
    return (p - 1) / (v * m)


def seconds(schedule: str, stages: Any, microbatches: Any, each: Any, chunks: Any = 1, slowest: Any = None) -> Expr:
    """Time of a step: every stage once, then m - 1 times the slowest.

    each:    forward and backward of a micro-batch on a device, of stages that are equal but for
    slowest: the same of the last one, which also has the head; at least ``each``.

    Of one chunk a device: exact. Interleaved, where the head is a part of the last chunk: exact for equal stages, else within
    the time of the head.
    """
    p, m, v = _checked(schedule, stages, microbatches, chunks)
    t = number(each)
    last = t if slowest is None else number(slowest)
    return m * last + (p - 1) / v * t


def in_flight(schedule: str, stages: Any, microbatches: Any, chunks: Any = 1, stage: Any = 0) -> Expr:
    """Micro-batches whose activations a stage (the first is 0) holds at most, in those of all its chunks.

    GPipe: m. 1F1B: p - i, or m if that is less. Interleaved: (2·(p - i - 1) + (v - 1)·p + 1)/v, on the first stage
    1 + (p - 1)/(p·v) times those of p micro-batches, as Korthikanti et al. count; at most m.
    """
    p, m, v = _checked(schedule, stages, microbatches, chunks)
    i = number(stage)
    if schedule == "gpipe":
        return m
    if schedule == "1f1b":
        return minimum(p - i, m)
    return minimum((2 * (p - i - 1) + (v - 1) * p + 1) / v, m)


def sends(schedule: str, stages: Any, microbatches: Any, chunks: Any = 1) -> Expr:
    """Messages of all devices in a step: activations forward and their gradients backward across p·v - 1 borders."""
    p, m, v = _checked(schedule, stages, microbatches, chunks)
    return 2 * m * (p * v - 1)


def sends_a_device(schedule: str, stages: Any, microbatches: Any, chunks: Any = 1) -> Expr:
    """Messages that the busiest device sends in a step, of at least two: of a micro-batch one forward and one backward a chunk; of
    two devices each is at an end and sends one less."""
    p, m, v = _checked(schedule, stages, microbatches, chunks)
    return 2 * m * v - m * PeakMax(0, 3 - p)


def _checked(schedule: str, stages: Any, microbatches: Any, chunks: Any) -> tuple[Expr, Expr, Expr]:
    if schedule not in SCHEDULES:
        raise CostModelError(f"unknown schedule {schedule!r};{did_you_mean(schedule, SCHEDULES)} choose {', '.join(SCHEDULES)}")
    p, m, v = number(stages), number(microbatches), number(chunks)
    if schedule != "interleaved" and v != 1:
        raise CostModelError(f"schedule {schedule!r} has one chunk a device, not {v}: ask for 'interleaved'")
    if any(x.is_number and not (x.is_integer and x > 0) for x in (p, m, v)):
        raise CostModelError(f"a pipeline of {p} stages, {m} micro-batches and {v} chunks: each is an integer of at least 1")
    if schedule == "interleaved" and m.is_number and p.is_number and m % p:
        raise CostModelError(f"interleaved stages take micro-batches in groups of {p}, and {m} is no multiple: change either")
    return p, m, v

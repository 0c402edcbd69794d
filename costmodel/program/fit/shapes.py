"""Shape rules of convolutions and windows: a result's size, or the padding that keeps it, in terms of the operands' sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr, Integer

from costmodel.program.fit.search import ShapeRule
from costmodel.program.raw import Raw
from costmodel.symbolic.forms import ZERO, PeakMax, ceil_div, floor_div


@dataclass(frozen=True)
class Window:
    """One spatial dimension of a sliding window: positions of its integers among the columns, None for what is 1 or 0."""

    size: int
    taps: int
    stride: int | None
    low: int | None
    dilation: int | None = None
    hole: int | None = None

    def read(self, forms: Sequence[Expr]) -> tuple[Expr, Expr, Expr]:
        """(dilated size, dilated taps, stride)."""
        size, taps, stride, dilation, hole = (Integer(1) if at is None else forms[at]
                                              for at in (self.size, self.taps, self.stride, self.dilation, self.hole))
        return ((size - 1) * hole + 1).expand(), ((taps - 1) * dilation + 1).expand(), stride

    def outputs(self, forms: Sequence[Expr]) -> Iterator[Expr]:
        """⌊(size + padding - taps) / stride⌋ + 1, not below 0."""
        size, taps, stride = self.read(forms)
        padding = ZERO if self.low is None else forms[self.low] + forms[self.low + 1]
        found = floor_div((size + padding - taps).expand(), stride) + 1
        yield found
        yield PeakMax(ZERO, found)

    def padding(self, side: int, forms: Sequence[Expr]) -> Iterator[Expr]:
        """What SAME pads on a side so that there are ⌈size / stride⌉ outputs."""
        size, taps, stride = self.read(forms)
        total = ((ceil_div(size, stride) - 1) * stride + taps - size).expand()
        for whole in (total, PeakMax(ZERO, total)):
            half = floor_div(whole, Integer(2))
            yield (whole - half).expand() if side else half


@dataclass(frozen=True)
class Rules:
    """Shape rules of one equation's parameters (by name and place in it) and results (by axis)."""

    parameters: Mapping[tuple[str, int], ShapeRule]
    results: Mapping[int, ShapeRule]

    def parameter(self, name: str, place: int) -> ShapeRule | None:
        """The rule for an integer of a parameter, by its name and place."""
        return self.parameters.get((name, place))

    def result(self, axis: int) -> ShapeRule | None:
        """The rule for an axis of the result."""
        return self.results.get(axis)


_NONE = Rules({}, {})


def column_rules(r: Raw, counts: Mapping[str, int], ins: Sequence[Sequence[int]], first: int) -> Rules:
    """The rules of an equation whose parameters' integers, ``counts`` of each in this order, stand from ``first`` on, and whose
    operands' dimensions are at ``ins``."""
    at: dict[str, int] = {}
    for name, count in counts.items():
        at[name], first = first, first + count
    windows = _windows(r, at, ins)
    return Rules({("padding", 2 * place + side): _padding(w, side) for place, w in windows.values() for side in (0, 1)
                  if w.low is not None},
                 {axis: w.outputs for axis, (_, w) in windows.items()}) if windows else _NONE


def _padding(window: Window, side: int) -> ShapeRule:
    return lambda forms: window.padding(side, forms)


def _windows(r: Raw, at: Mapping[str, int], ins: Sequence[Sequence[int]]) -> dict[int, tuple[int, Window]]:
    """By axis of the result: the number of the spatial dimension, and its window."""
    def part(name: str, i: int, each: int = 1) -> int | None:
        return at[name] + each * i if name in at else None

    numbers: Any = r.params.get("dimension_numbers")
    if hasattr(numbers, "lhs_spec") and len(ins) == 2:
        spatial = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
        return {out: (i, Window(ins[0][size], ins[1][taps], part("window_strides", i), part("padding", i, 2),
                                part("rhs_dilation", i), part("lhs_dilation", i)))
                for i, (size, taps, out) in enumerate(spatial)}
    if "window_dimensions" in r.params and "window_dimensions" in at and ins:
        return {i: (i, Window(ins[0][i], at["window_dimensions"] + i, part("window_strides", i), part("padding", i, 2),
                              part("window_dilation", i), part("base_dilation", i))) for i in range(len(ins[0]))}
    return {}

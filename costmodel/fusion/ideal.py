"""The best that one contraction a kernel allows."""

from __future__ import annotations

from costmodel.fusion.compiler import Fusion, compiler
from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import almost_unary, loop
from costmodel.fusion.registry import register
from costmodel.rules.work import Equation


def _always(*_: object) -> bool:
    return True


def _duplication(graph: Graph, e: Equation) -> bool:
    return loop(e) and almost_unary(graph, e)


IDEAL = register(compiler(
    name="ideal", summary="the best that one contraction a kernel allows",
    fusion=Fusion(duplication=_duplication, epilogue=_always, reduction_diamond=_always, multi_output=True)))

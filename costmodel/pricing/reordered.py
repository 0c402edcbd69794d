"""The program that a model has where jax contracts einsums of three operands or more in another order, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from costmodel.trace.undecided import orders_as_at

if TYPE_CHECKING:
    from costmodel.program.fit.result import Made
    from costmodel.trace.requests import Traceable


def ordered_as_at(request: Traceable, env: Mapping[Any, int]) -> Made | None:
    """The program of a request in the orders of einsums that jax chooses at a point. Raises TraceError where it does not trace."""
    from costmodel.program.fit.result import Made, raw_program  # which needs jax

    with orders_as_at(env):
        made = raw_program(request, fit="never", trace_limit=None)
    return made if isinstance(made, Made) else None

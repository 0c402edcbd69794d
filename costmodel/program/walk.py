"""From a traced jaxpr to a table of costed equations: jaxpr -> raw program -> table.

1. :mod:`~costmodel.program.inline` puts every call's body where it is called (:mod:`~costmodel.program.inliner`; a handler for each
   control-flow primitive in :mod:`~costmodel.program.control_flow`), and gives a :class:`~costmodel.program.raw.RawProgram`.
2. :mod:`~costmodel.program.table` says how branches count, removes what is dead or known before the program runs, and lets the
   rules cost what is left.
"""

from __future__ import annotations

from costmodel.program.inline import inline
from costmodel.program.table import cost_table
from costmodel.rules.branches import Branches
from costmodel.rules.work import CostTable
from costmodel.symbolic.domain import Domain
from costmodel.trace.requests import Traced


def walk(traced: Traced, *, unknown: str = "error", branches: str = Branches.MAX) -> tuple[CostTable, Domain]:
    """The cost table of a traced program and the domain of its symbols.

    unknown:  "error" raises UnknownPrimitive at the first equation without a rule; "warn" leaves it in the table with the status
              ``unknown`` and no work, for ``coverage`` to report.
    branches: which branch of a ``cond`` or ``switch`` counts; see :class:`~costmodel.rules.branches.Branches`.
    """
    return cost_table(inline(traced), branches=Branches(branches), unknown=unknown)

"""Indexing: costed by what is touched, never by the whole operand.

>>> from costmodel.rules import golden
>>> golden("dynamic_slice", "v d", "", "", out="1 d")
''
"""

from __future__ import annotations

from costmodel.forms import ZERO
from costmodel.rules import Eqn, rule
from costmodel.work import Work


@rule("gather", "dynamic_slice", status="free", why="moves data, computes nothing")
def gather(eqn: Eqn, **_) -> Work:
    """Reads one operand element per output element, and the indices."""
    return eqn.work(read=[eqn.out.size, *(i.size for i in eqn.ins[1:])])


@rule("dynamic_update_slice", status="free", why="moves data, computes nothing")
def dynamic_update_slice(eqn: Eqn, **_) -> Work:
    """Writes the update into its place; the rest of the operand is not touched."""
    update = eqn.ins[1]
    return eqn.work(read=[ZERO, *(i.size for i in eqn.ins[1:])], written=[update.size])

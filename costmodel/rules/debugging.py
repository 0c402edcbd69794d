"""What only tells somebody about a program while it runs. What is told is computed, which counts as usual; telling is free."""

from __future__ import annotations

from costmodel.rules import Eqn, rule, touched  # noqa: F401 (touched: for the doctests)
from costmodel.rules.work import Work
from costmodel.symbolic.forms import ZERO


@rule("debug_callback", "debug_print", "inspect_sharding", traits="view", status="free",
      why="tells the host what the program has; the program does not use what the host makes of it")
def debug(eqn: Eqn, **_) -> Work:
    """Touches nothing: what is handed over leaves the device beside the program, or (a sharding) is known to the compiler.

    >>> touched("debug_print", "n", out=())
    'reads 0; writes nothing'
    """
    return eqn.work(read=[ZERO] * len(eqn.ins), written=[ZERO] * len(eqn.outs))

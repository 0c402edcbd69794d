"""Renderers of tables and rooflines: terminal (rich), HTML, LaTeX, markdown. They read results and compute nothing."""

# What other rooms may use.
__all__ = [
    "html",
    "latex",
    "page",
    "plot",
    "sweeps",
]

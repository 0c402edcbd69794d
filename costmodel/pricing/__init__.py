"""Prices put on counts: metrics, time on a device, energy, sweeps, and breakdowns by module."""

# What other rooms may use.
__all__ = [
    "clock",
    "closed",
    "collectives",
    "communication",
    "compulsory",
    "core",
    "elasticity",
    "energy",
    "explain",
    "grown",
    "grown_table",
    "kept",
    "links",
    "metrics",
    "predict",
    "products",
    "regional",
    "roofline",
    "sweep",
    "table",
    "tiles",
    "topology",
    "workload",
]

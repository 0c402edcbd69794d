"""Prices put on counts: metrics, time on a device, energy, sweeps, and breakdowns by module."""

# What other rooms may use.
__all__ = [
    "collectives",
    "core",
    "elasticity",
    "energy",
    "explain",
    "metrics",
    "roofline",
    "sweep",
    "table",
    "workload",
]

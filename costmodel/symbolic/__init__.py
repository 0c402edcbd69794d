"""Symbols: dimensions and their domains, exact integer forms, and how they are written down and evaluated."""

# What other rooms may use.
__all__ = [
    "asymptotics",
    "dimensions",
    "domain",
    "extent",
    "forms",
    "printers",
    "quotients",
    "taps",
    "translate",
    "tree",
]

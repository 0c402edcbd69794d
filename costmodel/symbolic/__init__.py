"""Symbols: dimensions and their domains, exact integer forms, and how they are written down and evaluated."""

# What other rooms may use.
__all__ = [
    "asymptotics",
    "blocks",
    "dimensions",
    "domain",
    "extent",
    "factored",
    "forms",
    "latex",
    "magnitude",
    "naming",
    "plain",
    "printers",
    "quotients",
    "receptive",
    "taps",
    "translate",
    "tree",
]

"""Pages, and pictures of sweeps. They read results and compute nothing."""

# What other rooms may use.
__all__ = [
    "page",
    "sweeps",
]

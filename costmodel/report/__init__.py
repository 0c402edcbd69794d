"""Pages, pictures of sweeps, and costs side by side. They read results and compute nothing."""

# What other rooms may use.
__all__ = [
    "page",
    "side_by_side",
    "sweeps",
]

"""What has to be held, and where: buffers and their lifetimes, the live peak, published rules of counting it, and what a
scratchpad keeps on the chip.
"""

# What other rooms may use.
__all__ = [
    "buffers",
    "difference",
    "lifetimes",
    "liveness",
    "per_block",
    "published",
    "residency",
    "rules",
    "saved",
    "schedule",
]

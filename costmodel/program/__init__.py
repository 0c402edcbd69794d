"""From a jaxpr to counted equations: calls and loops inlined, dead code removed, each equation costed by its rule."""

# What other rooms may use.
__all__ = [
    "canonical",
    "coverage",
    "dead",
    "deferred",
    "domain",
    "fit",
    "inline",
    "inliner",
    "kept",
    "raw",
    "regions",
    "scopes",
    "serialize",
    "table",
    "verify",
    "walk",
]

"""Derivations on disk: what a model was found to cost, kept as JSON while all that it was found from stays as it was."""

# What other rooms may use.
__all__ = [
    "derivations",
    "folder",
]

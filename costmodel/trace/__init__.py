"""From a model to a jaxpr: what was asked, a model as a pure function, and a training step as one program."""

# What other rooms may use.
__all__ = [
    "contractions",
    "pure",
    "recipe",
    "requests",
    "training",
    "undecided",
    "words",
]

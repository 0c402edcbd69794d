"""Published figures of networks whose inputs are not images, read from ``zoo/data/language.csv``."""

from __future__ import annotations

from costmodel.models import Published

from ._published import rows


def language(name: str) -> tuple[Published, ...]:
    """The rows of a model: metric, exact value, source, and the point as ``b=1 s=1024`` (empty for a constant)."""
    return tuple(
        Published(row["metric"], int(row["value"]), row["source"], point(row["at"]))
        for row in rows("language.csv")
        if row["model"] == name
    )


def point(text: str) -> dict[str, int]:
    """
    >>> point("b=1 s=1024")
    {'b': 1, 's': 1024}
    """
    return {name: int(value) for name, _, value in (binding.partition("=") for binding in text.split())}

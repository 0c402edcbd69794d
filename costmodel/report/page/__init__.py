"""The live page: one HTML file, without network, that recomputes everything from exported closed forms as its reader moves sliders.

``export`` makes the data, each part in a file of its own; ``document`` puts them into the template with the scripts of ``assets``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from costmodel.files import write_text
from costmodel.hardware import Hardware
from costmodel.pricing.core import Symbolic
from costmodel.report.page.document import document
from costmodel.report.page.export import export


def page(cost: Symbolic, hardware: Sequence[str | Hardware] = (), at: Mapping[str, int] | None = None,
         notes: Sequence[str] = ()) -> str:
    """The page's text.

    hardware: the devices that the page offers, the first one chosen; all known ones by default.
    at:       where its sliders stand at first; symbols without a value stand at a small one of their domain.
    notes:    lines for its foot, such as where the cost was verified.

    Raises DomainError for a point outside the domain, UnknownHardware, and CostModelError for a cost that counts the least of
    branches.
    """
    return document(export(cost, hardware, at or {}, notes))


def write_page(path: str, cost: Symbolic, hardware: Sequence[str | Hardware] = (), at: Mapping[str, int] | None = None,
               notes: Sequence[str] = ()) -> int:
    """Write the page into a file; how many bytes it has."""
    text = page(cost, hardware, at, notes)
    write_text(path, text)
    return len(text.encode())

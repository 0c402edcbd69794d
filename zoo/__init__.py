"""The model zoo: one file an architecture, with the figures it was published with.

To add a model, add one file to this package. It defines the network in Flax and ends with a tuple ``MODELS`` of
:class:`costmodel.models.ModelEntry`, each with its published figures and their source. Nothing else has to be edited:
:func:`models` imports every module here and concatenates their ``MODELS``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from costmodel.models import ModelEntry


def models() -> Iterable[ModelEntry]:
    """Every entry of the zoo, in the order of file names.

    Raises ValueError when two entries share a name.
    """
    owners: dict[str, str] = {}
    entries: list[ModelEntry] = []
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        for entry in importlib.import_module(f"{__name__}.{module.name}").MODELS:
            if entry.name in owners:
                first = owners[entry.name]
                raise ValueError(f"two models are named {entry.name!r}: in {first}.py and in {module.name}.py")
            owners[entry.name] = module.name
            entries.append(entry)
    return tuple(entries)

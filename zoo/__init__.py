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
    for file in _files():
        for entry in importlib.import_module(f"{__name__}.{file}").MODELS:
            if entry.name in owners:
                first = owners[entry.name]
                raise ValueError(f"two models are named {entry.name!r}: in {first}.py and in {file}.py")
            owners[entry.name] = file
            entries.append(entry)
    return tuple(entries)


def named(name: str) -> ModelEntry | None:
    """The entry of that name, for which only files that write it are imported: some libraries take long. None where no file writes
    it as it is; :func:`models` may have it nevertheless."""
    for file in _files():
        if f'"{name}"'.encode() in (pkgutil.get_data(__name__, f"{file}.py") or b""):
            for entry in importlib.import_module(f"{__name__}.{file}").MODELS:
                if entry.name == name:
                    return entry
    return None


def _files() -> list[str]:
    """The modules of this package that have models, by file name."""
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]

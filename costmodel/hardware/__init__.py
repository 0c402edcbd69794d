"""Devices as data: one TOML file each, read into :class:`Hardware`. Imports only the standard library.

>>> lecture = load("lecture")
>>> lecture.ridge_point("matrix", "float32")
48.0

A new device is one new file beside this one, or in the user's own folder (:func:`user_directory`), where ``local`` is
this machine as :func:`costmodel.hardware.measure.measure` found it. A file of the user goes before a shipped one of the
same name. Tables of energies that belong to no device stand in the folder ``energies`` of either.
"""

from __future__ import annotations

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from costmodel.hardware.calibrated import TILES, Calibration, LinkCalibration, ProductCalibration, Protocol, Standing
from costmodel.hardware.calibration import standing
from costmodel.hardware.model import (
    ENGINES,
    FUSION,
    Energies,
    Hardware,
    HardwareFileError,
    Level,
    Link,
    Measurement,
    MissingEnergy,
    MissingPeak,
    Passes,
    UnknownHardware,
)
from costmodel.hardware.quantity import Quantity
from costmodel.hardware.schema import NAME, parse
from costmodel.hardware.toml import MAX_BYTES, parse_toml
from costmodel.hardware.write import write
from costmodel.surface import said
from costmodel.text import did_you_mean, shown

__all__ = [
    "ENGINES",
    "TILES",
    "Calibration",
    "Energies",
    "Hardware",
    "HardwareFileError",
    "Level",
    "Link",
    "LinkCalibration",
    "Measurement",
    "MissingEnergy",
    "MissingPeak",
    "Passes",
    "ProductCalibration",
    "Protocol",
    "Quantity",
    "Standing",
    "UnknownHardware",
    "available",
    "calibration",
    "check",
    "energy_tables",
    "load",
    "machine",
    "measure",
    "read",
    "schema",
    "standing",
    "template",
    "user_directory",
    "write",
]

INTEGER_KINDS = ("npu", "mcu")  # of which a new file asks for peaks of integers
_ENERGIES = "energies"


def load(name_or_path: str | os.PathLike[str]) -> Hardware:
    """The device of that name, or the one that a ``.toml`` file describes.

    Raises :class:`UnknownHardware`, naming what there is, or :class:`HardwareFileError` for one that breaks the schema.
    """
    found = read(name_or_path)
    if isinstance(found, Energies):
        raise UnknownHardware(f"{found.name} states energies only, no peaks and no bandwidth: give it to "
                              + said("cost.energy(…)", "`costmodel energy`") + ", and name a device where times are asked for")
    return found


def read(name_or_path: str | os.PathLike[str]) -> Hardware | Energies:
    """As :func:`load`, and a table of energies where the name or file is one."""
    if not isinstance(name_or_path, str | os.PathLike):
        raise UnknownHardware(f"{name_or_path!r} is no device: give its name, as \"h100-sxm\", or a path to a .toml file")
    name = os.fspath(name_or_path)
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UnknownHardware(f"there is no device file {name!r}")
        return _read(path)
    found = _files(".")
    if name not in found:
        found = _files(_ENERGIES) | found
    if name in found:
        return _read(found[name])
    hint = did_you_mean(name, found)
    if name == "local":
        hint = " this machine has not been measured yet: run `costmodel hw measure`."
    names = said(f"available: {', '.join(sorted(found))}", "`costmodel hw list` shows all")
    raise UnknownHardware(f"unknown device {name!r};{hint} {names}, or give a path to a .toml file")


def available() -> tuple[str, ...]:
    """Names that :func:`load` knows, sorted: the shipped devices and the user's own."""
    return tuple(sorted(_files(".")))


def energy_tables() -> tuple[str, ...]:
    """Names of the tables of energies that belong to no device, sorted."""
    return tuple(sorted(_files(_ENERGIES)))


def check(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Everything that is wrong with a device file, by file and key; nothing if it is right."""
    if not os.path.isfile(path):
        raise UnknownHardware(f"there is no device file {os.fspath(path)!r}")
    try:
        _read(Path(path))
    except HardwareFileError as error:
        return error.problems
    return ()


# The units of a template, and those of a chip a million times slower.
_OF_A_MICROCONTROLLER = {"W": "mW", "TOP/s": "MOP/s", "GB/s": "MB/s", "MiB": "KiB"}


def template(name: str, kind: str | None = None) -> str:
    """The text of a device file whose figures are to be filled in; for a ``kind`` that computes in integers ("npu", "mcu") it asks
    for no float. Raises HardwareFileError for a name that is none, or is taken (the new file would stand before the device that has
    it), and for an unknown kind."""
    if kind is not None and kind not in FUSION:
        raise HardwareFileError(f"{kind!r} is no kind of device;{did_you_mean(kind, FUSION)} choose {', '.join(FUSION)}")
    if not NAME.fullmatch(name):
        raise HardwareFileError(f"{name!r} is no device's name: use lower-case letters, digits, '-', '_' and '.'")
    if name in (*available(), *energy_tables()):
        raise HardwareFileError(f"{name} is the name of a device already (`costmodel hw show {name}`): give another one")
    file = "template-integer.txt" if kind in INTEGER_KINDS else "template.txt"
    text = files(__name__).joinpath(file).read_text(encoding="utf-8").replace('"NAME"', f'"{name}"')
    if kind not in INTEGER_KINDS:
        return text.replace('kind = "?"', f'kind = "{kind or "?"}"')
    for large, small in _OF_A_MICROCONTROLLER.items() if kind == "mcu" else ():
        text = text.replace(f'"{large}"', f'"{small}"')
    return text.replace('"KIND"', f'"{kind}"')


def user_directory() -> Path:
    """Where the user's device files stand: ``costmodel/hardware`` in ``$XDG_CONFIG_HOME``, or else in ``~/.config``."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    base = Path(configured) if os.path.isabs(configured) else Path.home() / ".config"
    return base / "costmodel" / "hardware"


def _files(folder: str) -> dict[str, Traversable]:
    shipped = {entry.name: entry for entry in files(__name__).joinpath(folder).iterdir()}
    own = {entry.name: entry for entry in (user_directory() / folder).glob("*.toml")}
    return {name.removesuffix(".toml"): entry for name, entry in (shipped | own).items() if name.endswith(".toml")}


def _read(file: Traversable) -> Hardware | Energies:
    with file.open("rb") as opened:
        raw = opened.read(MAX_BYTES + 1)
    try:
        data = parse_toml(raw)
    except (ValueError, RecursionError) as error:  # what tomllib raises of what it does not read, or not so deep
        raise HardwareFileError(f"{shown(file.name)}: not a TOML file: {shown(str(error), 200)}") from error
    return parse(data, file.name)

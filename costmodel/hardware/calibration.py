"""Calibrations as data: read from a device file, or, where that has none, those that are typical of the device's class.

A calibration is part of no bound. It is fitted to measurements by ``costmodel calibrate`` (:mod:`costmodel.bench.calibrate`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from costmodel.hardware.calibrated import TILES, Calibration, LinkCalibration, ProductCalibration, Protocol, Standing
from costmodel.hardware.fields import Table
from costmodel.hardware.model import Hardware, HardwareFileError
from costmodel.hardware.quantity import Quantity

# The kinds of kernels that a calibration can be for: those of costmodel.fusion.
KERNELS = ("dot", "conv", "grouped conv", "depthwise conv", "window", "elementwise", "reduce", "gather", "scatter", "sort",
           "cumulative", "fft", "copy", "linear algebra", "collective")
# The collectives that a calibration of a link can be for.
COLLECTIVES = ("all_gather", "all_reduce", "reduce_scatter", "all_to_all", "permute")
_SPREAD = (1e-3, 3.0)


def calibrations(table: Table) -> dict[str, Calibration]:
    """The calibrations of a file, by fusion policy; what is wrong with one is noted."""
    found = {policy: _calibration(policy, table.table(policy)) for policy in table.data}
    return {policy: calibration for policy, calibration in found.items() if calibration is not None}


def _calibration(policy: str, entry: Table) -> Calibration | None:
    entry.only("efficiency", "launch", "call", "kinds", "spread", "runs", "models", "date", "versions", "power")
    before = len(entry.problems)
    efficiency = entry.quantity("efficiency", "1", measured=True, required=True)
    launch = entry.quantity("launch", "s", measured=True, required=True)
    call, power = (entry.quantity(key, unit, measured=True) for key, unit in (("call", "s"), ("power", "W")))
    runs, models = (entry.whole(key, 1, 10**6, "how many, from 1") for key in ("runs", "models"))
    date, versions = entry.text("date"), entry.text("versions")
    spread, kinds = _spread(entry), _kinds(entry.table("kinds"))
    if len(entry.problems) > before or efficiency is None or launch is None:
        return None
    return Calibration(policy, efficiency, launch, spread, runs, models, date, versions, call, kinds, power)


def link_calibrations(root: Table, links: Sequence[str]) -> tuple[LinkCalibration, ...]:
    """How long collectives over a device's links take, from the file's ``[[collectives]]``; what is wrong with one is noted."""
    found = []
    for entry in root.tables("collectives"):
        entry.only("link", "kind", "spread", "runs", "date", "versions", "protocols")
        link, kind = entry.text("link", among=tuple(links)), entry.text("kind", among=COLLECTIVES)
        runs, date, versions = entry.whole("runs", 1, 10**6, "how many, from 1"), entry.text("date"), entry.text("versions")
        spread = _spread(entry)
        protocols = tuple(p for p in map(_protocol, entry.tables("protocols")) if p is not None)
        if not protocols:
            entry.note("protocols", "expected at least one [[collectives.protocols]] table")
        else:
            found.append(LinkCalibration(link, kind, protocols, spread, runs, date, versions))
    return tuple(found)


def _protocol(table: Table) -> Protocol | None:
    table.only("launch", "step", "rate", "own")
    launch, step = (table.quantity(key, "s", measured=True, required=True) for key in ("launch", "step"))
    rate, own = (table.quantity(key, "B/s", measured=True) for key in ("rate", "own"))
    return None if launch is None or step is None else Protocol(launch, step, rate, own)


def product_calibrations(root: Table, dtypes: Sequence[str]) -> tuple[ProductCalibration, ...]:
    """How long products of matrices take by their shape, from the file's ``[[products]]``, of types that it has a peak for; what is
    wrong with one is noted."""
    found: list[ProductCalibration] = []
    for entry in root.tables("products"):
        before = len(entry.problems)
        entry.only("dtype", "multiprocessors", "source", "reached", "memory", "sums", "start", "launch", "again", "apart", "spread",
                   "runs", "date", "versions")
        dtype = entry.text("dtype", among=tuple(dtypes))
        several, source = entry.whole("multiprocessors", 1, 10**5, "how many, from 1"), entry.text("source")
        reached = entry.data.get("reached")
        if not (isinstance(reached, list) and len(reached) == len(TILES)
                and all(isinstance(part, float) and 0 < part <= 1 for part in reached)):
            entry.note("reached", f"expected {len(TILES)} numbers from 0 to 1.0, one a tile")
        figures = [entry.quantity(key, unit, measured=True, required=True)
                   for key, unit in (("memory", "1"), ("sums", "1"), ("start", "s"), ("launch", "s"), ("again", "s"),
                                      ("apart", "1"))]
        rest = (_spread(entry), entry.whole("runs", 1, 10**6, "how many, from 1"), entry.text("date"), entry.text("versions"))
        if dtype in {each.dtype for each in found}:
            entry.note("dtype", f"products of {dtype} are stated twice")
        if len(entry.problems) == before and isinstance(reached, list):
            memory, sums, start, launch, again, apart = (figure for figure in figures if figure is not None)
            found.append(ProductCalibration(dtype, several, source, tuple(reached), memory, sums, start, launch, again, apart,
                                            *rest))
    return tuple(found)


def _spread(entry: Table) -> float:
    """The spread of a calibration's errors; what is wrong with it is noted."""
    spread = entry.data.get("spread")
    if isinstance(spread, bool) or not isinstance(spread, float) or not _SPREAD[0] <= spread <= _SPREAD[1]:
        entry.note("spread", f"{spread!r}; expected a number from {_SPREAD[0]:g} to {_SPREAD[1]:g}")
        return _SPREAD[0]
    return spread


def _kinds(table: Table) -> dict[str, Quantity]:
    table.only(*KERNELS)
    found = {kind: table.quantity(kind, "1", measured=True) for kind in table.data}
    return {kind: quantity for kind, quantity in found.items() if quantity is not None}


@cache
def typical(kind: str) -> Mapping[str, Calibration]:
    """What is typical of a class of devices ("gpu", …), by fusion policy; nothing where nobody measured any."""
    file = files(__package__).joinpath("typical", f"{kind}.toml")
    if not file.is_file():
        return {}
    root = Table(tomllib.loads(file.read_text(encoding="utf-8")), file.name)
    found = calibrations(root.table("calibration"))
    if root.problems:
        raise HardwareFileError(*root.problems)
    return found


def standing(device: Hardware, policy: str) -> Standing | None:
    """The calibration that predictions for a policy go by, and what they stand on; None where there is none.

    First the device's own of that policy, then its own of another (what is reached of the ceilings carries over), then the class's.
    """
    if (own := _choose(device.calibration, policy)) is not None:
        other = "" if own.policy == policy else f" under policy {own.policy!r}"
        return Standing(own, f"calibrated on {own.runs} runs{other}, {_error(own)}")
    if (common := _choose(typical(device.kind), policy)) is not None:
        return Standing(common, f"typical of this device class, {_error(common)}")
    return None


def _choose(among: Mapping[str, Calibration], policy: str) -> Calibration | None:
    return among.get(policy) or next(iter(among.values()), None)


def _error(calibration: Calibration) -> str:
    return f"±{100 * calibration.error:.0f} %"

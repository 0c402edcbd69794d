"""How long the parts of a training step take on a device, as calibrated on published steps, products and collectives.

A device's queue is as fast as the slower of the host that fills it and the device that empties it:

    t = max( Σ products by tiles + bytes of other kernels / (e · bandwidth) + kernels · d + Σ collectives,  kernels · h )

and a collective takes the shorter of two protocols (one soon started, one fast), each start + rounds · hop + bytes / (l · link);
with e, d, h, the starts and l from ``costmodel/hardware/training``, where there is a file of the device, else from its calibration
or none.
Kernels that are no products are taken as bound by memory: random numbers of dropout are not counted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import prod
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, standing
from costmodel.pricing.links import ROUNDS, Leg, seconds
from costmodel.pricing.products import calibrated
from costmodel.pricing.tiles import Products, shaped
from costmodel.solve.stages import POLICY, Part, Product

TRAINED = "bfloat16"  # of whose products the rates of training steps go


@dataclass(frozen=True)
class Rates:
    """What a device reaches in a training step.

    products: by tiles; None: products take (compute + memory) / ``dot``.
    moved:    part of the bandwidth that other kernels reach.
    device, host: s a kernel, on the device and on the host that launches it.
    protocols: (start in s, part of a link's bandwidth that is reached) of a collective, of which the shorter counts.
    hop:      s to each further device of a collective, each time round.
    step:     s a step, whatever the model.
    words:    what these stand on.
    """

    on: Hardware
    products: Products | None = None
    dot: float = 1.0
    moved: float = 1.0
    device: float = 0.0
    host: float = 0.0
    protocols: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    hop: float = 0.0
    step: float = 0.0
    words: str = "at the device's ceilings: it is not calibrated"

    def product(self, p: Product) -> np.ndarray:
        """Seconds of products of one shape."""
        if self.products is not None:
            return shaped(self.products.chip, p.m, p.n, p.k, p.count).seconds(self.products) - self.products.launch
        peak = next((self.on.peaks["matrix", dtype] for dtype in _instead(p.dtype) if ("matrix", dtype) in self.on.peaks), None)
        if peak is None:
            raise CostModelError(f"{self.on.name} states no peak of {p.dtype} matrices, in which the model is trained: add it to "
                                 "the device's file")
        compute = 2 * p.count * p.m * p.n * p.k / peak.value
        memory = p.count * (p.m * p.k + p.k * p.n + p.m * p.n) * 2 / self.on.bandwidth.value
        return (compute + memory) / self.dot

    def moving(self, count: Any) -> Any:
        """Seconds to move bytes of the main memory."""
        return count / (self.moved * self.on.bandwidth.value)

    def sending(self, kind: str, sent: Any, legs: tuple[Leg, ...]) -> Any:
        """Seconds of a collective in which a device sends so many bytes."""
        if not legs:
            return 0.0
        ideal = seconds(kind, sent, legs)
        hops = self.hop * ROUNDS.get(kind, 1) * (prod(leg.devices for leg in legs) - 1 if kind in ROUNDS else 1)
        return hops + np.minimum.reduce([start + ideal / reached for start, reached in self.protocols])

    def part(self, part: Part, legs: tuple[Leg, ...]) -> dict[str, np.ndarray]:
        """Seconds of a part for a micro-batch by what takes them; "host" is what the device waits for it."""
        products = np.sum([self.product(p) for p in part.products], axis=0) if part.products else np.zeros_like(part.moved)
        other = self.moving(part.moved) + part.kernels * self.device
        sent = sum((self.sending(s.kind, s.bytes, legs) for s in part.sent), np.zeros_like(other))
        waits = np.maximum(part.kernels * self.host - products - other - sent, 0)
        return {"products": products, "other kernels": other, "tensor": sent, "host": waits}


def _instead(dtype: str) -> tuple[str, ...]:
    """The types that a model of this one is trained in: of 16 bits, what the device has."""
    return (dtype, "float16") if dtype == "bfloat16" else (dtype,)


def rates_of(device: Hardware) -> Rates:
    """What a device reaches: of its own file, else as its calibration says."""
    file = files("costmodel.hardware").joinpath("training", f"{device.name}.toml")
    if file.is_file():
        return read(device, tomllib.loads(file.read_text(encoding="utf-8")))
    stands = standing(device, POLICY)
    if stands is None:
        return Rates(device)
    found = stands.calibration
    return Rates(device, dot=min(found.of("dot"), 1.0), moved=min(found.of("elementwise"), 1.0), device=found.launch.value,
                 words=stands.words)


def read(device: Hardware, text: Mapping[str, Any]) -> Rates:
    """From a file of ``costmodel/hardware/training``."""
    kernels, links = text["kernels"], text["links"]
    return Rates(device, calibrated(device, TRAINED), 1.0, kernels["moved"], kernels["device"], kernels["host"],
                 tuple(map(tuple, links["protocols"])), links["hop"], text["step"]["seconds"], text["words"])

"""The memory wall: how peaks and bandwidths of accelerators grew over the years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, MissingPeak, load
from costmodel.pictures.style import COLORS, beside, save_picture, styled, title
from costmodel.text import si

# Generations of one class of device: a mixture of classes, phones and data centres, has no trend that means anything.
GENERATIONS = {
    "NVIDIA, data centre": ("v100-sxm-32gb", "a100-sxm-80gb", "h100-sxm", "b200-sxm"),
    "Google TPU, large": ("tpu-v2", "tpu-v3", "tpu-v4", "tpu-v5p", "tpu-v7x"),
}


def plot_memory_wall(path: str, generations: Mapping[str, Sequence[str | Hardware]] | None = None) -> None:
    """Draw the memory wall into an .svg, .png or .pdf file; see :func:`draw_memory_wall`."""
    save_picture(lambda: _draw(generations), path)


def draw_memory_wall(generations: Mapping[str, Sequence[str | Hardware]] | None = None) -> Any:
    """The figure: how 16-bit peaks and bandwidths grew over generations of devices, each line as a multiple of its first.

    generations: devices of one class each, by the name of the line; all must state a year and a 16-bit peak. The growth in two
                 years is that of a least-squares line through the logarithms.
    """
    return styled(lambda: _draw(generations))


def _draw(generations: Mapping[str, Sequence[str | Hardware]] | None) -> Any:
    lines = {name: sorted(map(_loaded, devices), key=_year) for name, devices in (generations or GENERATIONS).items()}
    for name, devices in lines.items():
        if len({_year(d) for d in devices}) < 2:
            raise CostModelError(f"{name} are of one year: a memory wall needs generations")
    figure, axes = beside(
        9, 6, ["year", "device", "peak", "bandwidth", "ridge\n[OP/B]"],
        [[str(_year(d)), d.name, si(_half(d), "OP/s"), si(d.bandwidth.value, "B/s"), f"{_half(d) / d.bandwidth.value:.3g}"]
         for devices in lines.values() for d in devices])
    for (name, devices), marker in zip(lines.items(), _MARKERS * len(lines), strict=False):
        years = np.array([_year(d) for d in devices], dtype=float)
        for what, values, color in (("peak", [_half(d) for d in devices], COLORS[1]),
                                    ("bandwidth", [d.bandwidth.value for d in devices], COLORS[0])):
            growth = 2 ** (2 * np.polyfit(years, np.log2(values), 1)[0])
            axes.plot(years, np.array(values) / values[0], color=color, marker=marker, markersize=8, linewidth=2,
                      linestyle="-" if marker == "o" else "--",
                      label=f"{name}: {what} ×{growth:.2g} in two years")
    axes.set(yscale="log", xlabel="year of release", ylabel="multiple of the first generation")
    title(axes, "The memory wall: 16-bit peak and memory bandwidth over generations")
    most = max(max(d.bandwidth.value for d in ds) / ds[0].bandwidth.value for ds in lines.values())
    most = max(most, *(max(map(_half, ds)) / _half(ds[0]) for ds in lines.values()))
    axes.set_yticks([t for t in (1, 2, 5, 10, 20, 50, 100) if t <= 1.5 * most])
    axes.yaxis.set_major_formatter(lambda value, _: f"×{value:g}")
    axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(True, which="major", linewidth=0.3, color="0.85")
    axes.legend(loc="upper left", frameon=False)
    return figure


_MARKERS = ("o", "s", "^", "v")


def _loaded(device: str | Hardware) -> Hardware:
    return device if isinstance(device, Hardware) else load(device)


def _year(device: Hardware) -> int:
    if device.year is None:
        raise CostModelError(f"{device.name} states no year: add it to the device's file")
    return device.year


def _half(device: Hardware) -> float:
    """The dense 16-bit peak of the matrix engine."""
    peaks = [q.value for (engine, dtype), q in device.peaks.items() if engine == "matrix" and dtype in ("bfloat16", "float16")]
    if not peaks:
        raise MissingPeak(f"{device.name} has no 16-bit matrix peak")
    return max(peaks)

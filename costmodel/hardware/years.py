"""How figures of devices grow over the years of their release: the memory wall is a peak that grows faster than the bandwidth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable

from costmodel.hardware.model import Hardware


def growth(devices: Iterable[Hardware], figure: Callable[[Hardware], float]) -> float:
    """The factor by which ``figure`` grows a year: the least-squares line of its logarithm over the years of release.

    >>> from costmodel.hardware import load
    >>> gpus = [load(name) for name in ("v100-sxm-32gb", "a100-sxm-80gb", "h100-sxm", "b200-sxm")]
    >>> peak, bandwidth = growth(gpus, lambda d: d.peak("matrix", "float16")), growth(gpus, lambda d: d.bandwidth.value)
    >>> f"peak x{peak:.2f} a year, bandwidth x{bandwidth:.2f}, ridge point x{peak / bandwidth:.2f}"
    'peak x1.53 a year, bandwidth x1.36, ridge point x1.13'
    """
    points = [(device.year, math.log(figure(device))) for device in devices if device.year is not None]
    years, logarithms = zip(*points, strict=True)
    return math.exp(statistics.linear_regression(years, logarithms).slope)

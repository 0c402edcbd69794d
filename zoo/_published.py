"""Published figures, read from the zoo's data files so that each number stands in one place."""

from __future__ import annotations

import csv
from importlib.resources import files

from costmodel.models import Published


def rows(filename: str) -> list[dict[str, str]]:
    """The rows of ``zoo/data/<filename>``; an empty cell is an empty string."""
    with (files("zoo") / "data" / filename).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def torchvision(name: str, *, params_depend_on_size: bool = False) -> tuple[Published, ...]:
    """Parameters and, where it is known, the exact dense MACs of a torchvision model, for one image.

    ``params_depend_on_size``: the model flattens its last feature map, so its parameters hold for one h and w only.
    """
    row = next(row for row in rows("torchvision.csv") if row["model"] == name)
    size = {"h": int(row["resolution"]), "w": int(row["resolution"])}
    source = f"torchvision {name}, zoo/data/torchvision.csv, column"
    params_at = size if params_depend_on_size else {}
    figures = [Published("params", int(row["num_params"]), f"{source} num_params", params_at)]
    if row["mac_exact_batch1"]:
        figures.append(Published("macs", int(row["mac_exact_batch1"]), f"{source} mac_exact_batch1", {"n": 1, **size}))
    return tuple(figures)


def counted(name: str, filename: str = "counted.csv") -> tuple[Published, ...]:
    """Exact figures of a published architecture, at the point that the row names where they depend on one."""
    figures = []
    for row in rows(filename):
        if row["model"] == name:
            at = {symbol: int(row[symbol]) for symbol in ("n", "h", "w") if row[symbol]}
            figures.append(Published(row["metric"], int(row["value"]), row["source"], at))
    return tuple(figures)


def lecture_alexnet(layer: str, *, at: dict[str, int]) -> tuple[Published, ...]:
    """Parameters and MACs that the lecture's AlexNet table states for a layer (or ``total``), at the point ``at``."""
    row = next(row for row in rows("lecture_alexnet.csv") if row["layer"] == layer)
    return tuple(Published(metric, int(row[metric]), row["source"], at) for metric in ("params", "macs") if row[metric])

"""The figures of docs/gallery.md, made whenever the documentation is built: `python docs/gallery.py FOLDER` makes them by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import costmodel as cm
from costmodel.hardware import load
from costmodel.pictures import device_roofs, plot_memory_wall, plot_rooflines
from costmodel.report import sweeps
from costmodel.solve.compare import compare


@cache
def point(name: str, dtype: str | None = None, **at: int) -> Any:
    """A model of the zoo at a point, by default where publications quote it."""
    entry = cm.model(name)
    cost = entry.analyze()
    return (cost.reprice(dtype) if dtype else cost).at(**(at or entry.at))


FIGURES: dict[str, Callable[[str], Any]] = {
    "layers": lambda path: point("resnet50").table(depth=1).plot(path),
    "parameters": lambda path: point("mobilenet_v2").table(by="layer").plot(path, metric="params"),
    "memory": lambda path: point("resnet18", n=8, h=224, w=224).live_profile("layer").plot(path),
    "mobilenet": lambda path: point("mobilenet_v2").blocks().plot(path),
    "mcunet": lambda path: point("mcunet_in3", "int8").blocks(donate=("input",)).plot(
        path, memory=load("stm32f746").capacity.value),
    "roofline": lambda path: plot_rooflines([point("resnet50").roofline("h100-sxm")], path),
    "devices": lambda path: plot_rooflines(
        [point("resnet18", n=8, h=224, w=224).roofline(device, policy="layer") for device in ("h100-sxm", "tpu-v5e", "lecture")],
        path),
    "models": lambda path: plot_rooflines(
        [point(name).roofline("h100-sxm") for name in ("resnet50", "mobilenet_v2", "vgg16", "alexnet", "gpt2")], path),
    "operations": lambda path: plot_rooflines(
        [point(f"lecture_op{i}").roofline("lecture", policy="layer") for i in (1, 2, 3, 4, 6)], path),
    "hardware": lambda path: device_roofs([load("h100-sxm")]).save(path),
    "roofs": lambda path: device_roofs([load(name) for name in ("h100-sxm", "a100-sxm-80gb", "tpu-v5e",
                                                                "jetson-orin-nano")]).save(path),
    "wall": plot_memory_wall,
    "energy": lambda path: point("resnet18").energy("horowitz-45nm").plot(path, by="module"),
    "compare": lambda path: compare(point("resnet18"), point("mobilenet_v2"), [load("jetson-orin-nano")]).plot(path),
    "fit": lambda path: cm.solve.max_fit(cm.model("llama_7b_decode").analyze(), "b", "80GB", at={"t": 4096}).plot(path),
    "lines": lambda path: sweeps.plot(cm.model("resnet18").analyze().sweep(
        n=[1, 2, 4, 8, 16, 32, 64, 128, 256], h=224, w=224, metrics=["live_peak"], hardware=["h100-sxm", "lecture"]), path),
    "heat": lambda path: sweeps.plot(cm.model("resnet18").analyze().sweep(
        n=list(range(1, 33)), h=list(range(32, 513, 32)), w="h", metrics=["live_peak"], hardware=["lecture"]), path),
}


def make(folder: Path) -> None:
    """Draw every figure into a folder, which is made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        draw(str(folder / f"{name}.svg"))


if __name__ == "__main__":
    make(Path(sys.argv[1]))

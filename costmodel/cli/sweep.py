"""The command that sweeps a model over its symbols and over figures of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from costmodel.cli.forms import end, forms, give
from costmodel.cli.options import model_options, say, width
from costmodel.errors import CostModelError
from costmodel.files import PICTURES

if TYPE_CHECKING:
    from costmodel.arguments import Asked

_STORES = (".zarr", ".parquet")
_TABLES = (".csv", ".nc")


@click.command()
@model_options
@forms
@click.option("--over", "over", multiple=True, required=True, metavar="NAME=FIRST..LAST[:STEP],…",
              help="Values of symbols; *FACTOR in place of :STEP doubles and so on; NAME=A|B|C lists them.")
@click.option("--tie", "tied", multiple=True, metavar="NAME=NAME", help="A symbol that follows another, e.g. w=h.")
@click.option("--metrics", "names", default="macs,live_peak", show_default=True, metavar="NAME[:FORM],…",
              help="What is computed, e.g. macs,bytes:xla-gpu,energy.")
@click.option("--hw", "devices", metavar="NAME[,NAME…]", help="Devices of `costmodel hw list`, or .toml files.")
@click.option("--vary", "varied", multiple=True, metavar="FIGURE=LEAST..MOST:COUNT",
              help="Values of a figure of the devices, e.g. bandwidth=1TB/s..4TB/s:50 or matrix.bfloat16=500TFLOP/s|1000TFLOP/s.")
@click.option("--keep", "kept", multiple=True, metavar="CONDITION", help="Only points that meet it, e.g. 'live_peak <= 80GB'.")
@click.option("--best", metavar="NAME[,AXIS…]",
              help="The best value over axes (default: all), e.g. throughput,n (of time_lower) or time,n (time_upper).")
@click.option("--pareto", metavar="NAME,NAME…", help="The points that no other beats, e.g. time,energy,live_peak.")
@click.option("--policy", metavar="NAME", help="Which operations share a kernel (default: the device's own).")
@click.option("--dtype", metavar="TYPE|ROLE=TYPE,…",
              help="Price floating-point numbers in this type, e.g. bf16, or by role: weights=int8,activations=bf16.")
@click.option("-o", "--output", metavar="FILE",
              help=".zarr or .parquet (written as it goes, resumed if killed), .csv, .nc, or a picture (.png, .svg, .pdf).")
def sweep(asked: Asked, over: tuple[str, ...], tied: tuple[str, ...], names: str, devices: str | None, varied: tuple[str, ...],
          kept: tuple[str, ...], best: str | None, pareto: str | None, policy: str | None, dtype: str | None,
          form: str | None, output: str | None) -> None:
    """MODEL over ranges of its symbols. Symbols without a range: --at, or as publications quote."""
    from dataclasses import replace

    from costmodel.arguments import point
    from costmodel.points import axes, figures, ties
    from costmodel.pricing.grown import Grown
    from costmodel.pricing.sweep import swept

    suffix = _suffix(output)
    hardware = [name.strip() for name in devices.split(",") if name.strip()] if devices else []
    figured, following = figures(varied), ties(tied)
    answer = replace(asked, points=()).answer()
    cost = answer.cost.reprice(dtype=dtype) if dtype else answer.cost
    spans, given = axes(over, cost.domain), point(asked.points)
    if twice := [name for name in given if name in spans or name in following]:
        raise CostModelError(f"--at gives {twice[0]}={given[twice[0]]}, and --{'over' if twice[0] in spans else 'tie'} gives "
                             f"{twice[0]} its values: leave it out of one")
    quoted = {name: value for name, value in answer.quoted.items() if name in cost.symbols}
    grid: dict[str, Any] = {**quoted, **given, **spans, **following}
    grid = {name: grid[name] for name in dict.fromkeys([*spans, *grid])}
    stored = suffix in _STORES
    if form and stored:
        raise CostModelError(f"--{form} is for what is shown: leave it out where a store is written with -o")
    options: dict[str, Any] = {"metrics": _listed(names), "hardware": hardware, "policy": policy, "vary": figured, "where": kept,
                               "best": _listed(best), "pareto": _listed(pareto)}
    if output or isinstance(cost, Grown):
        data = cost.sweep(**grid, **options, out=output if stored else None)
    else:  # without xarray, which takes as long to import as all the rest
        data = swept(cost, grid, **options)
    from costmodel.report import sweeps

    if kept and not stored and sweeps.no_answer(data):
        raise CostModelError(f"no point of this sweep meets {', '.join(kept)}: relax --keep, or widen --over")
    if output and not stored:
        _write(data, output, suffix)
    if form:
        from costmodel.sheets import OneSheet

        give(OneSheet(sweeps.sheet(data, rows=None)), form)
        end(answer, form)
        return
    if output:
        say(f"written to {output}")
    else:
        say(sweeps.text(data, width()))
    end(answer, form)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def _suffix(output: str | None) -> str:
    suffix = output[output.rfind("."):].lower() if output and "." in output else ""
    if output and suffix not in (*_STORES, *PICTURES, *_TABLES):
        raise CostModelError(f"-o {output}: end it in {', '.join((*_STORES, *_TABLES, *PICTURES))}")
    return suffix


def _write(data: Any, output: str, suffix: str) -> None:
    from costmodel.report import sweeps

    if suffix in PICTURES:
        sweeps.plot(data, output)
    else:
        sweeps.save(data, output)

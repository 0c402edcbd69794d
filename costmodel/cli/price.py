"""Commands that price a model on devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from costmodel.cli.forms import PICTURE, end, forms, give
from costmodel.cli.options import DTYPE, NO_CACHE, PRECISION, model_options, width
from costmodel.errors import CostModelError
from costmodel.surface import levels
from costmodel.text import did_you_mean

if TYPE_CHECKING:
    from costmodel.arguments import Answer, Asked
    from costmodel.cost import Cost
    from costmodel.hardware import Hardware
    from costmodel.pricing.roofline import Roofline

_POLICY = click.option("--policy", metavar="NAME",
                       help="Which operations share a kernel, e.g. layer or unfused (default: the device's own); compulsory: "
                            "all in one, which moves what it must.")


@click.command()
@model_options
@forms
@click.option("--hw", "names", required=True, metavar="NAME[,NAME…]", help="Devices of `costmodel hw list`, or .toml files.")
@_POLICY
@DTYPE
@PRECISION
@click.option("--by", default="kernel", show_default=True, metavar="kernel|module|kind|equation", help="What a row is.")
@click.option("--depth", type=int, help="Levels of modules in rows by module.")
@click.option("--topology", multiple=True, metavar="AXIS=LINK", help="The link of an axis of the mesh, e.g. data=InfiniBand.")
@click.option("--near", metavar="MEMORY|SIZE", help="Nearer memory that tiles have to fit into: SRAM, or 256KiB.")
@click.option("--beside", metavar="MODEL[,MODEL…]", default="", help="Other models, as quoted: each is then one row and one mark.")
@PICTURE
def roofline(asked: Asked, names: str, policy: str | None, dtype: str | None, precision: str | None, by: str, depth: int | None,
             topology: tuple[str, ...], near: str | None, beside: str, form: str | None, output: str | None) -> None:
    """Time bounds of MODEL's layers on devices, and what binds them. Without --at: at the point that publications quote.

    A range, as --at n=1..256,h=224,w=224, gives the time and the throughput of the whole model over it.
    """
    from costmodel.points import split_range

    laid = _laid(topology)
    wanted = devices_named(names, precision)  # before the model, which takes longer
    fixed, span = split_range(asked.points)
    if span:
        if by != "kernel" or depth is not None:
            raise CostModelError("--by and --depth are of a table at a point: give them without a range in --at")
        if near:
            raise CostModelError("--near is of a table at a point: give it without a range in --at")
        if output:
            raise CostModelError("a picture is drawn at a point: give --output without a range in --at")
        _over(asked, fixed, span, wanted, laid, policy, dtype, form)
        return
    answer = asked.answer(quoted=True)
    point = answer.retyped(dtype).cost.at(**answer.at)
    priced = [point.roofline(device, policy=policy, topology=laid, near=_near(near)) for device in wanted]
    others = [each for name in beside.split(",") if beside for each in _beside(name.strip(), wanted, policy, dtype, near)]
    sheets = [each.sheet(by, depth) for each in priced]
    if output:  # before anything is printed, since who reads it may go away
        from costmodel.pictures import plot_rooflines

        plot_rooflines([*priced, *others], output, by=by, depth=depth)
    from costmodel.sheets import OneSheet, joined

    if others:  # whole models, a row each
        sheets, priced = [each.sheet(by="model") for each in (*priced, *others)], [*priced, *others]
    give(joined(sheets, [each.hardware.name for each in priced], "device"), form,
         lambda: "\n\n".join(OneSheet(each).text(width()) for each in sheets))
    end(answer, form, output)


def _laid(texts: tuple[str, ...]) -> dict[str, str]:
    """The links of axes of the options --topology."""
    laid: dict[str, str] = {}
    for text in texts:
        axis, _, link = (part.strip() for part in text.partition("="))
        if not axis or not link:
            raise CostModelError(f"--topology {text!r} is not of the form AXIS=LINK; write e.g. --topology data=InfiniBand")
        if axis in laid:
            raise CostModelError(f"--topology lays {axis} twice; give each axis one link")
        laid[axis] = link
    return laid


def _near(text: str | None) -> str | float | None:
    """A memory of the option --near: its name, or its size."""
    from costmodel.solve import capacity

    return capacity(text) if text and text[:1].isdigit() else text


@click.command()
@model_options
@forms
@click.option("--hw", "name", required=True, metavar="NAME",
              help="A table of energies or a device of `costmodel hw list`, or a .toml file.")
@_POLICY
@DTYPE
@click.option("--weights", metavar="MEMORY", help="The memory that parameters are in, e.g. SRAM (default: the main one).")
@click.option("--activations", metavar="MEMORY", help="The memory that everything else is in.")
@click.option("--by", type=click.Choice(["what", "kernel", "module", "phase"]), help="One table: what a row is.")
@click.option("--depth", type=int, help="Levels of modules in rows by module.")
@PICTURE
def energy(asked: Asked, name: str, policy: str | None, dtype: str | None, weights: str | None, activations: str | None,
           by: str | None, depth: int | None, form: str | None, output: str | None) -> None:
    """Joules of one run of MODEL, and where they go. Without --at: at the point that publications quote."""
    if levels(depth) is not None and by != "module":
        raise CostModelError("--depth is of rows by module: give --by module")
    answer = asked.answer(quoted=True)
    point = answer.retyped(dtype).cost.at(**answer.at)
    found = point.energy(name, policy=policy, weights=weights, activations=activations)
    how: dict[str, Any] = {"by": by, "depth": depth} if by else {}
    if output:
        found.plot(output, **how)
    give(found, form, **how)
    end(answer, form, output)


def _over(asked: Asked, fixed: tuple[str, ...], span: tuple[str, int, int], devices: list[Hardware], laid: dict[str, str],
          policy: str | None, dtype: str | None, form: str | None) -> None:
    from costmodel.pricing.rate import item_of
    from costmodel.pricing.sweep import curves, curves_sheet
    from costmodel.pricing.topology import on_links
    from costmodel.sheets import joined
    from costmodel.solve.line import line_of

    symbol, low, high = span
    answer, at = _symbolic(asked, fixed, symbol)
    cost = answer.retyped(dtype).cost
    values = line_of(cost, symbol, at).between(low, high)
    axes = {} if cost.mesh is None else dict(cost.mesh.axes)
    devices = [on_links(device, cost.name, axes, laid) for device in devices]
    found = curves(cost, {**at, symbol: values}, devices, policy)
    name, item = cost.name + (f" at {_text(at)}" if at else ""), item_of(cost.tokens)
    whole = joined([curves_sheet(name, symbol, values, each, item, whole=form is not None) for each in found],
                   [each.device.name for each in found], "device")
    give(whole, form, lambda: "\n\n".join(each.text(width()) for each in whole.parts))
    end(answer, form)


def _beside(name: str, devices: list[Hardware], policy: str | None, dtype: str | None, near: str | None) -> list[Roofline]:
    """Another model on the same devices, at the point that publications quote."""
    from costmodel.arguments import Asked

    answer = Asked(name, verify=False).answer(quoted=True)
    point = answer.retyped(dtype).cost.at(**answer.at)
    return [point.roofline(device, policy=policy, near=_near(near)) for device in devices]


def devices_named(names: str, precision: str | None = None) -> list[Hardware]:
    """The devices of an option --hw, by names or files."""
    from costmodel.hardware import load

    wanted = [load(name.strip()) for name in names.split(",") if name.strip()]
    wanted = [device.at_precision(precision) for device in wanted] if precision else wanted
    if not wanted:
        raise CostModelError("--hw names no device; `costmodel hw list` shows all")
    return wanted


def _symbolic(asked: Asked, fixed: tuple[str, ...], symbol: str | None) -> tuple[Answer, dict[str, int]]:
    """The analysis, and a value for each symbol but one: the given ones, and where none is given those that publications quote."""
    from dataclasses import replace

    from costmodel.arguments import point

    given = point(fixed)
    if symbol in given:
        raise CostModelError(f"--at gives {symbol}={given[symbol]}, and {symbol} is what is looked for: leave it out of --at")
    answer = replace(asked, points=()).answer()
    quoted = {name: value for name, value in answer.quoted.items() if name in answer.cost.symbols}
    return answer, {name: value for name, value in {**quoted, **given}.items() if name != symbol}


@click.command()
@model_options
@forms
@click.option("--over", metavar="NAME",
              help="The symbol to solve for, such as the batch; of a --crossover also bandwidth or a peak, as matrix.bfloat16.")
@click.option("--fit", metavar="SIZE|DEVICE",
              help="The largest value that fits a memory: 80GB, 80GiB, or a device's; without --over, whether the model fits.")
@click.option("--uses", default="live_peak", show_default=True, metavar="WHAT",
              help="What fills the memory: live_peak, weights+cache, a metric in bytes, or activations:RULE.")
@click.option("--latency", metavar="TIME",
              help="The largest value within a latency, e.g. 50ms; without --over, the devices that meet it.")
@click.option("--saturation", is_flag=True, help="The value at which throughput is within 5 % of its limit.")
@click.option("--crossover", is_flag=True, help="The value from which on the model is compute-bound.")
@click.option("--layer", metavar="PATH", help="The crossover of a module, e.g. layer/mlp.")
@click.option("--kind", metavar="KIND", help="The crossover of kernels of a kind, e.g. dot.")
@click.option("--hw", "names", metavar="NAME[,NAME…]", help="Devices of `costmodel hw list`, or .toml files.")
@_POLICY
@DTYPE
@PRECISION
@PICTURE
def solve(asked: Asked, over: str | None, fit: str | None, uses: str, latency: str | None, saturation: bool, crossover: bool,
          layer: str | None, kind: str | None, names: str | None, policy: str | None, dtype: str | None,
          precision: str | None, form: str | None, output: str | None) -> None:
    """What batch fits, saturates or meets a latency, and from which on MODEL is compute-bound. Symbols without --at: as quoted."""
    from costmodel.sheets import facts, facts_chart

    if not (fit or latency or saturation or crossover):
        raise CostModelError("ask for --fit SIZE, --latency TIME, --saturation or --crossover")
    if (layer or kind) and (fit or latency or saturation):
        raise CostModelError("--layer and --kind choose what a --crossover is of; all else is of the whole model: ask apart")
    if not over and (saturation or crossover):
        raise CostModelError("--over says which symbol to solve for, e.g. --over n")
    if not names and (saturation or crossover or (over and latency)):
        raise CostModelError("--hw says which devices to price on; `costmodel hw list` shows all")
    devices = devices_named(names, precision) if names else []
    answer, at = _symbolic(asked, asked.points, over)
    cost = answer.retyped(dtype).cost
    found = list(_answers(cost, at, over, devices, fit=fit, uses=uses, latency=latency, saturation=saturation, crossover=crossover,
                          layer=layer, kind=kind, policy=policy))
    title = cost.name + (f" at {_text(at)}" if at else "")
    result = facts(found, title)
    if output:
        facts_chart(found, title).save(output)
    give(result, form, lambda: "\n".join([title, *(f"{label}: {each}" if label else str(each) for label, each in found)]))
    end(answer, form, output)


def _answers(cost: Cost, at: dict[str, int], over: str | None, devices: list[Hardware], *, fit: str | None, uses: str,
             latency: str | None, saturation: bool, crossover: bool, layer: str | None, kind: str | None,
             policy: str | None) -> Iterator[tuple[str, Any]]:
    """(of what, the answer) to everything that was asked, in the order of the options."""
    from costmodel import solve as ask

    if over and over not in cost.symbols and crossover:
        if layer or kind:
            raise CostModelError(f"--layer and --kind choose what a --crossover is of; along {over} it is of the model")
        yield from ((device.name, ask.figure_crossover(cost, over, device, at=at, policy=policy)) for device in devices)
        return
    if not over:
        point = cost.at(**at)
        yield from (("", each) for each in (ask.fits(point, fit, uses=uses) if fit else ()))
        yield from (("", each) for each in (ask.devices_for(point, latency, among=devices or None, policy=policy)
                                            if latency else ()))
        return
    if fit:
        filled = f"live_peak:{policy}" if policy and uses == "live_peak" else uses
        yield fit, ask.max_fit(cost, over, fit, at=at, uses=filled)
    for device in devices:
        if latency:
            yield device.name, ask.max_batch(cost, over, device, latency, at=at, policy=policy)
        if saturation:
            yield device.name, ask.saturation(cost, over, device, at=at, policy=policy)
        if crossover:
            yield device.name, ask.crossover(cost, over, device, at=at, layer=layer, kind=kind, policy=policy)


@click.command()
@forms
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--hw", "names", metavar="NAME[,NAME…]", help="Devices on which to compare the time too.")
@click.option("--at", "points", multiple=True, metavar="NAME=INT,…", help="A value for symbols of either (default: as quoted).")
@click.option("--at-a", "points_a", multiple=True, metavar="NAME=INT,…", help="Values for symbols of A alone.")
@click.option("--at-b", "points_b", multiple=True, metavar="NAME=INT,…", help="Values for symbols of B alone.")
@_POLICY
@DTYPE
@PRECISION
@PICTURE
@NO_CACHE
def compare(first: str, second: str, names: str | None, points: tuple[str, ...], points_a: tuple[str, ...],
            points_b: tuple[str, ...], policy: str | None, dtype: str | None, precision: str | None, cached: bool, form: str | None,
            output: str | None) -> None:
    """Two models side by side: parameters, operations, bytes, activations, time, and how many times B's are A's."""
    from costmodel.arguments import Asked, point
    from costmodel.cache.derivations import Cache
    from costmodel.solve.compare import compare as side_by_side

    devices = devices_named(names, precision) if names else []
    shared, own = point(points), [point(points_a), point(points_b)]
    cache = Cache(cached)
    answers = [_symbolic(Asked(name, verify=False, cache=cache), (), None) for name in (first, second)]
    every = sorted({symbol for answer, _ in answers for symbol in answer.cost.symbols})
    if unknown := [symbol for symbol in shared if symbol not in every]:
        raise CostModelError(f"--at: neither model has a symbol {unknown[0]};{did_you_mean(unknown[0], every)} they have "
                             f"{', '.join(every) or 'none'}")
    found = []
    for (answer, quoted), of_one in zip(answers, own, strict=True):
        of_both = {symbol: value for symbol, value in shared.items() if symbol in answer.cost.symbols}
        found.append(answer.retyped(dtype).cost.at(**{**quoted, **of_both, **of_one}))
    result = side_by_side(found[0], found[1], devices, policy)
    if output:
        result.plot(output)
    give(result, form)
    end(None, form, output)
    cache.keep()


def _text(at: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in at.items())

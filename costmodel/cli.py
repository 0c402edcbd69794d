"""The command line: parses, calls, prints. Every import but click's stands inside a command, so that help costs nothing.

An error that the user can mend is one line on stderr and exit code 2; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from costmodel import __version__
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.arguments import Answer, Asked
    from costmodel.cost import Cost, CostAt
    from costmodel.hardware import Hardware, Quantity

INTERRUPTED = 130  # 128 + SIGINT, as a shell has it


class _OneLineErrors(click.Group):
    """Ends a mendable error, a usage error too, with one line; an interrupt with 130. click sees to broken pipes."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except CostModelError as error:
            code = _complain(str(error))
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            code = _complain(error.format_message() + (f" See `{context.command_path} --help`" if context else ""))
        except click.Abort:
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> int:
    click.echo(f"costmodel: {' '.join(message.split())}", err=True)
    return 2


@click.group("costmodel", cls=_OneLineErrors, invoke_without_command=True)
@click.version_option(__version__, message="costmodel %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """What does a neural network cost, and why? Closed forms from one symbolic trace of an unmodified model.

    MODEL is a name that `costmodel list` shows, or package.module:attribute.
    """
    _help_if_alone(context)


def _help_if_alone(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


# -- options that several commands share --------------------------------------------------------------------------------------

_MODEL = (
    click.argument("model"),
    click.option("--input", "inputs", multiple=True, metavar="SHAPE[:DTYPE]",
                 help="One an argument of the call, e.g. 'n,h,w,3:float32'; names become symbols."),
    click.option("--where", metavar="CLAUSES", help="The symbols' domain, e.g. '32 | h, k <= h'."),
    click.option("--kw", "keywords", multiple=True, metavar="NAME=VALUE", help="Keyword argument of the call, e.g. train=false."),
    click.option("--at", "points", multiple=True, metavar="NAME=INT,…", help="A value for each symbol, e.g. n=1,h=224,w=224."),
    click.option("--rng", "rngs", multiple=True, metavar="NAME", help="A random stream the call needs, e.g. dropout."),
    click.option("--mutable", multiple=True, metavar="COLLECTION", help="A collection the call updates, e.g. batch_stats."),
    click.option("--verify/--no-verify", default=True, help="Compare with a concrete trace at one point (default: yes)."),
)


def _model_options(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments that say which model, gathered into one :class:`~costmodel.arguments.Asked`."""
    @functools.wraps(command)
    def gathered(model: str, inputs: tuple[str, ...], where: str | None, keywords: tuple[str, ...], points: tuple[str, ...],
                 rngs: tuple[str, ...], mutable: tuple[str, ...], verify: bool, **options: Any) -> None:
        from costmodel.arguments import Asked

        command(Asked(model, inputs, where, keywords, points, verify, rngs, mutable), **options)

    decorated: Callable[..., None] = gathered
    for decorate in reversed(_MODEL):
        decorated = decorate(decorated)
    return decorated


def _width() -> int:
    """Columns of the terminal; 200 where the output is no terminal."""
    return shutil.get_terminal_size((200, 24)).columns


# -- commands -----------------------------------------------------------------------------------------------------------------


@main.command()
@_model_options
@click.option("--depth", type=int, help="Levels of modules in the table.")
@click.option("--by", default="module", metavar="module|layer|op", show_default=True, help="What a row of the table is.")
@click.option("--taps", type=click.Choice(["dense", "valid"]), default="dense", show_default=True,
              help="valid: also MACs and FLOPs without kernel taps on padding.")
@click.option("--json", "form", flag_value="json", help="The whole result, loss-free; with --at the metrics there.")
@click.option("--csv", "form", flag_value="csv", help="The table as CSV.")
@click.option("--latex", "form", flag_value="latex", help="The headline formulas and the table as LaTeX.")
def show(asked: Asked, depth: int | None, by: str, taps: str, form: str | None) -> None:
    """Closed forms and a table of MODEL; with --at also their values."""
    answer = asked.answer()
    table = answer.result.table(depth=depth, by=by)
    if form == "json":
        click.echo(_json(answer) if answer.at else answer.cost.to_json())
    elif form == "csv":
        click.echo(table.to_csv(), nl=False)
    elif form == "latex":
        from costmodel.report.latex import table_latex

        click.echo(f"{answer.result.latex()}\n{table_latex(table)}")
    else:
        from costmodel.report.terminal import render

        click.echo("\n".join(_headline(answer, taps)))
        click.echo(f"\n{render(table, _width())}")
    _say_verified(answer, err=form is not None)  # what another program reads stays clean


def _say_verified(answer: Answer, err: bool = False) -> None:
    if answer.verified:
        click.echo(answer.verified, err=err)


def _headline(answer: Answer, taps: str) -> Iterator[str]:
    from costmodel.cost import headline
    from costmodel.report.terminal import cell

    def lines(priced: Cost | CostAt) -> list[tuple[str, Any, str]]:
        valid = [(f"{label} (valid taps)", priced.metric(name, taps="valid"), unit)
                 for label, name, unit in (("MACs", "macs", "MAC"), ("FLOPs", "flops", "FLOP"))]
        return headline(priced) + (valid if taps == "valid" else [])

    cost = answer.cost
    yield f"{cost.name}    domain: {cost.domain or 'no symbols'}" + (f"    at {answer.at_text}" if answer.at else "")
    for (label, formula, unit), (_, value, _) in zip(lines(cost), lines(answer.result), strict=True):
        equals = f" = {cell(value)}" if answer.at and formula.free_symbols else ""
        yield f"  {label:<20} {cell(formula)}{equals} {unit}"


def _json(answer: Answer) -> str:
    """The metrics at a point, each with its unit; one that has several forms once a form, as ``bytes_layer``."""
    import json

    from costmodel import metrics

    flat: dict[str, Any] = {"model": answer.cost.name, "at": answer.at}
    for name in metrics.available():
        option, choices = metrics.get(name).option
        if not metrics.get(name).applies(answer.cost.program):
            continue
        for choice in choices or ("",):
            value = answer.result.metric(name, **({option: choice} if option else {}))
            flat[f"{name}_{choice}" if option else name] = {"value": value if isinstance(value, int) else float(value),
                                                            "unit": metrics.get(name).unit}
    return json.dumps(flat, indent=2)


@main.command()
@_model_options
@click.argument("layer", default="")
def explain(asked: Asked, layer: str) -> None:
    """Every equation of a LAYER of MODEL (default: all of it): its rule, its formula and, with --at, its value."""
    answer = asked.answer()
    click.echo(str(answer.result.explain(layer)))
    _say_verified(answer)


@main.command()
@_model_options
@click.option("--hw", "devices", required=True, metavar="NAME[,NAME…]", help="Devices of `costmodel hw list`, or .toml files.")
@click.option("--policy", default="layer", show_default=True, metavar="layer|unfused", help="Which operations share a kernel.")
@click.option("--dtype", help="Price all floating-point arithmetic and arrays in this type, e.g. bfloat16.")
def roofline(asked: Asked, devices: str, policy: str, dtype: str | None) -> None:
    """Time bounds of MODEL's layers on devices, and what binds them. Without --at: at the point that publications quote."""
    from costmodel.hardware import load
    from costmodel.report.terminal import render_roofline
    from costmodel.roofline import roofline as bounds

    names = [name.strip() for name in devices.split(",") if name.strip()]
    if not names:
        raise CostModelError("--hw names no device; `costmodel hw list` shows all")
    wanted = [load(name) for name in names]  # before the model, which takes longer
    answer = asked.answer(quoted=True)
    point = (answer.cost.reprice(dtype=dtype) if dtype else answer.cost).at(**answer.at)
    priced = [bounds(point, device, policy=policy) for device in wanted]
    click.echo("\n\n".join(render_roofline(each, _width()) for each in priced))
    _say_verified(answer)


@main.command()
@_model_options
@click.option("--hw", default="local", show_default=True, metavar="NAME", help="The device to compare with.")
@click.option("--repeat", type=int, default=20, show_default=True, help="Timed runs.")
@click.option("--save", metavar="FILE", help="Append the result, with all samples, to a file of JSON lines.")
def check(asked: Asked, hw: str, repeat: int, save: str | None) -> None:
    """Run MODEL on this machine and compare its time with the roofline's bounds."""
    from costmodel.bench import check as measured

    answer = asked.answer(quoted=True)
    result = measured(answer.cost, answer.at, hw, repeat=repeat)
    click.echo(str(result))
    _say_verified(answer)
    if save:
        result.save(save)


@main.command("list")
def list_models() -> None:
    """Models that installed zoos offer."""
    from costmodel.models import zoo

    rows: list[tuple[str, ...]] = [("name", "summary", "inputs", "domain", "published figures")]
    rows += [(e.name, e.summary, "; ".join(e.inputs), e.where or "-", str(len(e.published))) for e in zoo().values()]
    click.echo(_columns(rows))


def _columns(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)


@main.group(invoke_without_command=True)
@click.pass_context
def hw(context: click.Context) -> None:
    """Devices: what is known of them, and this machine."""
    _help_if_alone(context)


@hw.command("list")
def hw_list() -> None:
    """The devices: those shipped, and the user's own."""
    from costmodel.hardware import available, load

    devices = map(load, available())
    click.echo(_columns([("name", "kind", "title"), *((d.name, d.kind, d.title) for d in devices)]))


@hw.command("show")
@click.argument("device")
def hw_show(device: str) -> None:
    """Peaks, memory and policies of a device (a name or a .toml file), each with its source."""
    from costmodel.hardware import load

    found = load(device)
    click.echo(f"{found.name}: {found.title} ({found.kind})")
    if found.measurement:
        click.echo(f"measured on {found.measurement.machine}, {found.measurement.date}")
    click.echo(_columns(list(_figures(found))))
    policy = [f"{name} {how.dtype}" + (f" x{how.passes}" if how.passes > 1 else "") for name, how in found.float32.items()]
    click.echo(f"float32 contractions run as: {', '.join(policy)} ({found.float32_source})")


def _figures(device: Hardware) -> Iterator[tuple[str, ...]]:
    from costmodel.report.terminal import si

    def row(label: str, quantity: Quantity, ridge: str = "") -> tuple[str, ...]:
        doubt = f"; doubt: {quantity.doubt}" if quantity.doubt else ""
        return label, si(quantity.value, quantity.unit), ridge, quantity.source + doubt

    yield "figure", "value", "ridge point", "source"
    for (engine, dtype), quantity in device.peaks.items():
        yield row(f"{engine} {dtype}", quantity, f"{quantity.value / device.bandwidth.value:.4g} FLOP/B")
    for label in ("bandwidth", "capacity", "launch_overhead", "call_overhead", "power", "weight"):
        if (quantity := getattr(device, label)) is not None:
            yield row("transcendental weight" if label == "weight" else label.replace("_", " "), quantity)


@hw.command("measure")
@click.option("--seconds", default=30.0, show_default=True, help="How long to measure, compilation apart.")
@click.option("--output", metavar="FILE", help="Where to write it (default: the user's device `local`).")
def hw_measure(seconds: float, output: str | None) -> None:
    """Measure this machine's ceilings and keep them as the device `local`."""
    from costmodel.hardware import user_directory, write
    from costmodel.hardware.measure import measure

    device = measure(seconds)
    path = output or user_directory() / "local.toml"
    try:
        write(device, path)
    except OSError as error:
        raise CostModelError(f"cannot write {path}: {error.strerror}; give another file with --output") from None
    click.echo(f"{device.title}: written to {path}")


if __name__ == "__main__":
    main()

"""Commands about a model alone: its formulas, its equations, and which models there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from costmodel.cli.options import columns, model_options, one_form, say_verified, width
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.arguments import Answer, Asked
    from costmodel.cost import Cost, CostAt


@click.command()
@model_options
@click.option("--depth", type=int, help="Levels of modules in the table.")
@click.option("--by", default="module", metavar="module|layer|op|kernel", show_default=True, help="What a row of the table is.")
@click.option("--policy", help="With --by kernel: which operations share one, e.g. xla-gpu.")
@click.option("--taps", type=click.Choice(["dense", "valid"]), default="dense", show_default=True,
              help="valid: also MACs and FLOPs without kernel taps on padding.")
@click.option("--json", "as_json", is_flag=True, help="The whole result, loss-free; with --at the metrics there.")
@click.option("--csv", "as_csv", is_flag=True, help="The table as CSV.")
@click.option("--latex", "as_latex", is_flag=True, help="The headline formulas and the table as LaTeX.")
def show(asked: Asked, depth: int | None, by: str, policy: str | None, taps: str, **forms: bool) -> None:
    """Closed forms and a table of MODEL; with --at also their values."""
    form = one_form(forms)
    answer = asked.answer()
    table = answer.result.table(depth=depth, by=by, policy=policy)
    if form == "json":
        click.echo(_json(answer) if answer.at else answer.cost.to_json())
    elif form == "csv":
        click.echo(table.to_csv(), nl=False)
    elif form == "latex":
        from costmodel.report.latex import table_latex

        click.echo(f"{answer.result.latex()}\n{table_latex(table)}")
    else:

        click.echo("\n".join(_headline(answer, taps)))
        click.echo(f"\n{table.text(width())}")
        if answer.cost.mesh is not None:
            click.echo(f"\n{answer.result.collectives().text(width())}")
    say_verified(answer, err=form is not None)  # what another program reads stays clean


def _headline(answer: Answer, taps: str) -> Iterator[str]:
    from costmodel.text import cell

    def lines(priced: Cost | CostAt) -> list[tuple[str, Any, str]]:
        valid = [(f"{label} (valid taps)", priced.metric(name, taps="valid"), unit)
                 for label, name, unit in (("MACs", "macs", "MAC"), ("FLOPs", "flops", "FLOP"))]
        return [*priced.headline(), *_peak(priced), *(valid if taps == "valid" else [])]

    cost = answer.cost
    yield f"{cost.name}    domain: {cost.domain or 'no symbols'}" + (f"    at {answer.at_text}" if answer.at else "")
    if cost.mesh is not None:
        yield f"  one device of the mesh {cost.mesh}"
    formulas = {label: formula for label, formula, _ in lines(cost)}
    for label, value, unit in lines(answer.result):
        formula = formulas.get(label)
        text = "no closed form" if formula is None else cell(formula)
        equals = f" = {cell(value)}" if answer.at and (formula is None or formula.free_symbols) else ""
        yield f"  {label:<20} {text}{equals} {unit}"


def _peak(priced: Cost | CostAt) -> list[tuple[str, Any, str]]:
    """The live peak; nothing where it has no closed form in a depth."""
    try:
        return [("live peak, unfused", priced.live_peak(), "B")]
    except CostModelError:
        return []


def _json(answer: Answer) -> str:
    """The metrics at a point, each with its unit; one that has several forms once a form, as ``bytes_layer``."""
    import json

    from costmodel.pricing.workload import metrics

    flat: dict[str, Any] = {"model": answer.cost.name, "at": answer.at}
    for name in metrics.available():
        option, choices = metrics.get(name).option[0], metrics.get(name).forms
        if not metrics.get(name).applies(answer.result.program):
            continue
        for choice in choices or ("",):
            value = answer.result.metric(name, **({option: choice} if option else {}))
            flat[f"{name}_{choice}" if option else name] = {"value": value if isinstance(value, int) else float(value),
                                                            "unit": metrics.get(name).unit}
    return json.dumps(flat, indent=2)


@click.command()
@model_options
@click.argument("layer", default="")
def explain(asked: Asked, layer: str) -> None:
    """Every equation of a LAYER of MODEL (default: all of it): its rule, its formula and, with --at, its value."""
    answer = asked.answer()
    click.echo(str(answer.result.explain(layer)))
    say_verified(answer)


@click.command("list")
def list_models() -> None:
    """Models that installed zoos offer."""
    from costmodel.models import zoo

    rows: list[tuple[str, ...]] = [("name", "summary", "inputs", "domain", "published figures")]
    rows += [(e.name, e.summary, "; ".join(e.inputs), e.where or "-", str(len(e.published))) for e in zoo().values()]
    click.echo(columns(rows))

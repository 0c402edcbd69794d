"""Commands about a model alone: its formulas, its equations, and which models there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from costmodel.cli.forms import PICTURE, end, forms, give
from costmodel.cli.options import DTYPE, columns, model_options, say, width
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.arguments import Answer, Asked
    from costmodel.cost import Cost, CostAt
    from costmodel.sheets import Result


@click.command()
@model_options
@forms
@click.option("--depth", type=int, help="Levels of modules in the table.")
@click.option("--by", default="module", metavar="module|layer|op|kernel|phase|saved|block|step",
              show_default=True, help="What a row of the table is; block: memory of each; step: memory over time.")
@DTYPE
@click.option("--policy", help="With --by kernel, block or step: which operations share a kernel, e.g. xla-gpu.")
@click.option("--donate", metavar="ORIGIN,…",
              help="With --by block or step: what the caller gives up after its last use, e.g. input, as on a microcontroller.")
@click.option("--taps", type=click.Choice(["dense", "valid"]), default="dense", show_default=True,
              help="valid: also MACs and FLOPs without kernel taps on padding.")
@click.option("--formulas", is_flag=True, help="All formulas in full, in the table too.")
@click.option("--metric", metavar="COLUMN", help="With -o: which column of the table the bars are, e.g. params.")
@PICTURE
def show(asked: Asked, depth: int | None, by: str, dtype: str | None, policy: str | None, donate: str | None, taps: str,
         formulas: bool, metric: str | None, form: str | None, output: str | None) -> None:
    """Closed forms and a table of MODEL, at --at or where publications quote it; with --formulas the table's forms.

    --json without --at is the whole result, loss-free; with it every metric there.
    """
    if metric and not output:
        raise CostModelError("--metric says what the bars of a picture are: give -o FILE too")
    given = tuple(part.strip() for part in donate.split(",")) if donate is not None else ()
    if given and by not in ("block", "step"):
        raise CostModelError("--donate is about memory: give --by block or --by step with it")
    whole = form == "json" and by not in ("block", "step")
    answer = asked.answer(quoted=None if not formulas and (not whole or asked.points) else False).retyped(dtype)
    table = _rows(answer.cost if formulas else answer.result, depth, by, policy, given)
    if output:
        _rows(answer.result, depth, by, policy, given).plot(output, **({"metric": metric} if metric else {}))
    if whole:
        say(_json(answer) if answer.at else answer.cost.to_json())
    elif form == "latex":
        say(f"{answer.cost.latex()}\n{table.to_latex()}")
    else:
        give(table, form, lambda: _text(answer, table, taps, formulas))
    end(answer, form, output)


def _rows(priced: Cost | CostAt, depth: int | None, by: str, policy: str | None, donate: tuple[str, ...]) -> Result:
    """The table by what was asked: modules, kernels …, the memory of blocks, or the steps of the schedule."""
    if by == "step" and depth is not None:
        raise CostModelError("--depth is of modules: give --by block or module")
    if by == "block":
        return priced.blocks(1 if depth is None else depth, policy or "layer", donate)
    if by == "step":
        return priced.live_profile(policy or "unfused", donate=donate)
    return priced.table(depth=depth, by=by, policy=policy)


def _text(answer: Answer, table: Result, taps: str, formulas: bool) -> str:
    """The headline, the table and, of a mesh, what its devices send."""
    parts = ["\n".join(_headline(answer, taps, formulas)), table.text(width())]
    if answer.cost.mesh is not None:
        parts.append(answer.result.collectives().text(width()))
    return "\n\n".join(parts)


def _headline(answer: Answer, taps: str, formulas: bool) -> Iterator[str]:
    from costmodel.symbolic.plain import cell

    def lines(priced: Cost | CostAt) -> list[tuple[str, Any, str]]:
        valid = [(f"{label} (valid taps)", priced.metric(name, taps="valid"), unit)
                 for label, name, unit in (("MACs", "macs", "MAC"), ("FLOPs", "flops", "FLOP"))]
        return [*priced.headline(), *_peak(priced), *(valid if taps == "valid" else [])]

    cost, behind = answer.cost, False
    yield f"{cost.name}    domain: {str(cost.domain) or 'no symbols'}" + (f"    at {answer.at_text}" if answer.at else "")
    if cost.mesh is not None:
        yield f"  one device of the mesh {cost.mesh}"
    found = {label: formula for label, formula, _ in lines(cost)}
    for label, value, unit in lines(answer.result):
        formula = found.get(label)
        text = "no closed form" if formula is None else cell(formula)
        equals = f" = {cell(value)}" if answer.at and (formula is None or formula.free_symbols) else ""
        whole = f"  {label:<20} {text}{equals} {unit}"
        if len(whole) > max(width(), 80) and equals and not formulas:  # a wall of formulas is not what people came for
            whole, behind = f"  {label:<20} {cell(value)} {unit}", True
        yield whole
    if behind:
        yield "  (--formulas shows the forms that take more than a line)"


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
    say(str(answer.result.explain(layer)))
    end(answer, None)


@click.command("list")
def list_models() -> None:
    """Models that installed zoos offer."""
    from costmodel.models import zoo

    rows: list[tuple[str, ...]] = [("name", "summary", "inputs", "domain", "published figures")]
    rows += [(e.name, e.summary, "; ".join(e.inputs), e.where or "-", str(len(e.published))) for e in zoo().values()]
    click.echo(columns(rows))

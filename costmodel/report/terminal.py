"""Tables and rooflines on a terminal, by rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sympy import Expr

if TYPE_CHECKING:
    from costmodel.compare import Comparison
    from costmodel.memory.liveness import LiveProfile
    from costmodel.roofline import Roofline, RooflineRow
    from costmodel.sweep import Curve
    from costmodel.table import Row, Table


def cell(value: Any) -> str:
    """A table cell: integers with thousands separators, formulas in compact Python syntax."""
    if isinstance(value, Expr) and not value.is_Integer:
        return str(value).replace("**", "^").replace("*", "·")
    return f"{int(value):,}" if value == int(value) else f"{float(value):,.1f}"


def si(value: float, unit: str) -> str:
    """A quantity with an SI prefix: 4.09 G, 51.2 µ."""
    if value == 0:
        return f"0 {unit}"
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""), (-3, "m"), (-6, "µ"), (-9, "n"), (-12, "p")):
        if abs(value) >= 10.0**power:
            return f"{value / 10.0**power:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def _print(renderable: Any, width: int | None = None) -> str:
    from rich.console import Console

    console = Console(width=width or 200, force_terminal=False, no_color=True)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _titled(title: str, table: Any) -> Any:
    """A table below a title that is not broken at the table's width."""
    from rich.console import Group
    from rich.text import Text

    return Group(Text(title), table)


def rich_table(table: Table) -> Any:
    from rich import box
    from rich.table import Table as RichTable

    out = RichTable(box=box.SIMPLE, caption="\n".join(table.notes), caption_justify="left")
    with_output = any(row.output for row in table.rows)
    out.add_column("name", overflow="fold")
    if with_output:
        out.add_column("output")
    for name, unit in table.columns:
        out.add_column(f"{name}\n[{unit}]".replace("[", r"\["), justify="right")
    for row in table.rows:
        out.add_row(_label(row), *([row.output] if with_output else []), *map(cell, row.cells))
    out.add_section()
    out.add_row("total", *([""] if with_output else []), *map(cell, table.total))
    return _titled(table.title, out)


def _label(row: Row) -> str:
    text = row.label.replace("[", r"\[")
    return text if row.repeats == 1 else f"{text} ×{row.repeats}"


def render(table: Table, width: int | None = None) -> str:
    return _print(rich_table(table), width)


def rich_roofline(roofline: Roofline, by: str = "kernel", depth: int | None = None) -> Any:
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    point = ", ".join(f"{k}={v}" for k, v in roofline.point.items())
    out = RichTable(box=box.SIMPLE)
    nearer = any(level.bandwidth for level in roofline.hardware.levels)
    out.add_column("layer" if by == "kernel" else by, overflow="fold")
    out.add_column("kind")
    warm = ["warm ≥"] if nearer else []
    for name in ("operations", "bytes", "OP/B", "attainable", "bound", "time ≥", "time ≤", *warm, "share"):
        out.add_column(name, justify="left" if name == "bound" else "right")

    def line(label: str, row: RooflineRow, share: float) -> None:
        out.add_row(label, row.kind, si(row.operations, "OP"), si(row.bytes, "B"), f"{row.intensity:.1f}",
                    si(row.attainable, "OP/s"), row.resource, si(row.lower, "s"), si(row.upper, "s"),
                    *([si(row.warm, "s")] if nearer else []), f"{100 * share:.1f}%")

    rows = roofline.by(by, depth)
    whole = sum(r.lower * r.times for r in rows)
    for r in rows:
        line(r.label + (f" ×{r.times}" if r.times > 1 else ""), r, r.lower * r.times / whole)
    if by != "equation":  # which sum to another program, one kernel an equation
        out.add_section()
        line("total", roofline.total, 1)
    titled = _titled(f"{roofline.name} at {point or 'its fixed shapes'} on {roofline.hardware.title}", out)
    return Group(titled, Text("\n".join(_roofline_notes(roofline, by))))


def _roofline_notes(roofline: Roofline, by: str) -> Iterator[str]:
    device = roofline.hardware
    if by != "equation":
        fast, slow = roofline.throughput
        yield f"throughput {slow:.4g} to {fast:.4g} items/s" + (f"; time follows {_follows(roofline)}" if roofline.cost else "")
    launch = (f"launch overhead {si(device.launch_overhead.value, 's')} a kernel" if device.launch_overhead
              else "the device states no launch overhead: none is added")
    policy = "unfused" if by == "equation" else roofline.policy
    yield (f"time: lower = max(compute, memory) per kernel, upper = their sum; bytes across the borders of policy {policy!r}; "
           f"2 operations a multiply-accumulate; padding taps are not computed; {launch}")
    nearer = [f"{level.name} ({si(level.capacity.value, 'B')}, {si(level.bandwidth.value, 'B/s')})"
              for level in device.levels if level.bandwidth]
    if nearer:
        yield f"warm: lower, if a kernel whose whole traffic fits in {' or '.join(nearer)} finds it there"
    yield roofline.coverage


def _follows(roofline: Roofline) -> str:
    """What a faster part of the device would bring."""
    from costmodel.solve import elasticities

    assert roofline.cost is not None
    parts = elasticities(roofline.cost, roofline.hardware, policy=roofline.policy)
    return ", ".join(f"{name} {100 * part:.1f}%" for name, part in parts.items() if part)


def render_roofline(roofline: Roofline, width: int | None = None, by: str = "kernel", depth: int | None = None) -> str:
    return _print(rich_roofline(roofline, by, depth), width)


def render_curves(name: str, symbol: str, values: Sequence[int], curves: Sequence[Curve], width: int | None = None) -> str:
    """Time and throughput over a symbol, a table a device. Of a long range the values that double, the last, and those from which
    on another resource binds are shown."""
    from rich import box
    from rich.table import Table as RichTable

    texts = []
    for curve in curves:
        shown = _milestones(values, curve.bound.tolist())
        out = RichTable(box=box.SIMPLE)
        for column in (symbol, "time ≥", "time ≤", "items/s ≤", "items/s ≥", "bound"):
            out.add_column(column, justify="left" if column == "bound" else "right")
        for i in shown:
            most, least = (each[i] for each in curve.throughput)
            out.add_row(str(values[i]), si(curve.lower[i], "s"), si(curve.upper[i], "s"), f"{most:.4g}", f"{least:.4g}",
                        str(curve.bound[i]))
        titled = _titled(f"{name} on {curve.device.title}", out)
        texts.append(f"{_print(titled, width)}\npolicy {curve.policy!r}; {len(shown)} of {len(values)} values: those that double, "
                     "the last, and those from which on another resource binds")
    return "\n\n".join(texts)


def _milestones(values: Sequence[int], bound: Sequence[str]) -> list[int]:
    """Indices worth a row."""
    shown, next_value = [], values[0]
    for i, value in enumerate(values):
        if value >= next_value or i == len(values) - 1 or bound[i] != bound[i - 1]:
            shown.append(i)
            next_value = max(next_value, 2 * value if value >= next_value else next_value)
    return shown


def render_comparison(comparison: Comparison, width: int | None = None) -> str:
    from rich import box
    from rich.table import Table as RichTable

    heads = [f"{name}\n{', '.join(f'{k}={v}' for k, v in at.items())}"
             for name, at in zip(comparison.names, comparison.points, strict=True)]
    out = RichTable(box=box.SIMPLE)
    for column in ("quantity", *heads, "ratio"):
        out.add_column(column, justify="left" if column == "quantity" else "right")
    for line in comparison.lines:
        exact = line.unit in ("elements", "MAC", "FLOP", "B")
        cells = (cell(v) if exact else si(v, line.unit) for v in (line.first, line.second))
        out.add_row(f"{line.name} [{line.unit}]".replace("[", r"\["), *cells, f"{line.ratio:.3g}")
    return _print(out, width)


_PROFILE_ROWS = 12


def rich_profile(profile: LiveProfile) -> Any:
    from rich import box
    from rich.table import Table as RichTable

    first = profile.steps[0].live if profile.steps else 0
    at_a_point = not isinstance(first, Expr) or first.is_number
    largest = sorted(profile.steps, key=lambda step: -step.live)[:_PROFILE_ROWS] if at_a_point else profile.highest
    shown = sorted(largest, key=lambda step: step.index)
    note = (f"the {len(shown)} of {len(profile.steps)} steps that hold {'most' if at_a_point else 'most somewhere in the domain'}; "
            f"peak {cell(profile.peak)} B in {', '.join(profile.where)}")
    out = RichTable(box=box.SIMPLE, caption=note, caption_justify="left")
    out.add_column("step", justify="right")
    out.add_column("module", overflow="fold")
    out.add_column("kernel")
    kinds = [kind for kind in (shown[0].split if shown else ()) if any(step.split[kind] != 0 for step in shown)]
    for name in ("live", *kinds):
        out.add_column(f"{name}\n\\[B]", justify="right")
    for step in shown:
        out.add_row(str(step.index), step.label, step.operation, *map(cell, (step.live, *(step.split[kind] for kind in kinds))))
    return _titled(profile.title, out)


def render_profile(profile: LiveProfile, width: int | None = None) -> str:
    return _print(rich_profile(profile), width)

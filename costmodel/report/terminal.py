"""Tables and rooflines on a terminal, by rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sympy import Expr

if TYPE_CHECKING:
    from costmodel.roofline import Roofline
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


def rich_table(table: Table) -> Any:
    from rich import box
    from rich.table import Table as RichTable

    out = RichTable(title=table.title, title_justify="left", box=box.SIMPLE, caption="\n".join(table.notes), caption_justify="left")
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
    return out


def _label(row: Row) -> str:
    text = row.label.replace("[", r"\[")
    return text if row.repeats == 1 else f"{text} ×{row.repeats}"


def render(table: Table, width: int | None = None) -> str:
    return _print(rich_table(table), width)


def rich_roofline(roofline: Roofline) -> Any:
    from rich import box
    from rich.table import Table as RichTable

    device = roofline.hardware
    point = ", ".join(f"{k}={v}" for k, v in roofline.point.items())
    note = ("time: lower = max(compute, memory) per kernel, upper = their sum; "
            f"bytes across the borders of policy {roofline.policy!r}; padding taps are not computed; " + (
                f"launch overhead {si(device.launch_overhead.value, 's')} a kernel" if device.launch_overhead
                else "the device states no launch overhead: none is added"))
    note = f"{note}\n{roofline.coverage}"
    out = RichTable(title=f"{roofline.name} at {point} on {device.title}", title_justify="left", box=box.SIMPLE, caption=note,
                    caption_justify="left")
    out.add_column("layer", overflow="fold")
    out.add_column("kind")
    for name in ("FLOP", "bytes", "FLOP/B", "attainable", "bound", "time ≥", "time ≤", "share"):
        out.add_column(name, justify="left" if name == "bound" else "right")
    for r in roofline.rows:
        out.add_row(r.label + (f" ×{r.times}" if r.times > 1 else ""), r.kind, si(r.flops, "FLOP"), si(r.bytes, "B"),
                    f"{r.intensity:.1f}", si(r.attainable, "FLOP/s"), r.bound, si(r.lower, "s"), si(r.upper, "s"),
                    f"{100 * roofline.share(r):.1f}%")
    out.add_section()
    fast, slow = roofline.throughput
    out.add_row("total", "", si(roofline.flops, "FLOP"), si(roofline.bytes, "B"), f"{roofline.intensity:.1f}",
                si(roofline.attainable, "FLOP/s"), "", si(roofline.lower, "s"), si(roofline.upper, "s"), "100%")
    out.add_row(f"throughput {slow:.4g} to {fast:.4g} items/s")
    return out


def render_roofline(roofline: Roofline, width: int | None = None) -> str:
    return _print(rich_roofline(roofline), width)

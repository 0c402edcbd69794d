"""The plan of a sweep from a cost, metrics, devices and a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sympy import Add, Expr, Symbol

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware
from costmodel.pricing.clock import Clock, Kernel, clock, exact
from costmodel.pricing.core import Symbolic
from costmodel.pricing.figures import figure_symbol
from costmodel.pricing.grid.axes import WIDEST, Grid
from costmodel.pricing.grid.joules import joules
from costmodel.pricing.grid.meshes import mesh_of
from costmodel.pricing.grid.plan import Plan
from costmodel.pricing.rate import counts_examples
from costmodel.pricing.workload import metrics as metric_registry
from costmodel.pricing.workload import policy_of
from costmodel.rules.branches import Branches, combined
from costmodel.surface import option
from costmodel.symbolic.blocks import EXACT
from costmodel.symbolic.forms import ZERO, PeakMax
from costmodel.symbolic.magnitude import magnitude_bound
from costmodel.symbolic.quotients import is_whole_valued, over_common_denominator
from costmodel.symbolic.tree import to_tree

ENERGY = "energy"
NOTHING = "nothing"  # what binds where a program does nothing: at a size at which its arrays are empty


def plan_of(cost: Symbolic, grid: Grid, metrics: Sequence[str], devices: Sequence[Hardware], policy: str | None,
            figures: Sequence[str] = ()) -> Plan:
    """What a sweep computes. ``figures``: the devices' figures that are axes, after those of the symbols."""
    own = [name for name in metrics if name != ENERGY]
    if ENERGY in metrics and not devices:
        raise CostModelError("energy is a device's: name one with " + option("hardware", flag="--hw"))
    entries = [_metric(cost, grid, name) for name in dict.fromkeys(own)]
    sizes = mesh_of(cost, grid, devices)
    clocks = [_clock(cost, device, policy_of(device, policy), tuple(figures), ENERGY in metrics, sizes) for device in devices]
    units = tuple(dict.fromkeys(["memory", *(name for each in clocks for name, _ in each["busy"])]))
    bits = dict(grid.axes_of) | {figure_symbol(name).name: 1 << (len(grid.axes) + i) for i, name in enumerate(figures)}
    _check_clashes(grid, figures)
    tokens = cost.tokens if set(cost.tokens) <= set(grid.values) else ()
    items = " ".join(tokens) or counts_examples(grid.values) or ""
    names = tuple(figure_symbol(name).name for name in figures)
    return Plan(tuple(grid.axes), names, bits, tuple(entries), tuple(clocks), units, items)


def _check_clashes(grid: Grid, figures: Sequence[str]) -> None:
    names = {"hardware", "policy", *(figure_symbol(name).name for name in figures)}
    taken = names & {*grid.values, *grid.variables} if figures else {"hardware"} & set(grid.axes)
    if taken:
        raise CostModelError(f"{', '.join(sorted(taken))} is a symbol of the model and of the sweep: rename the model's dimension")


def _metric(cost: Symbolic, grid: Grid, text: str) -> tuple[str, Any, str]:
    found, option = metric_registry.get_form(text)
    expr = cost.price(found.name, **option)
    tree, whole, symbols = cost.program.remember(("tree", expr), lambda: (
        tree_of(expr), is_whole_valued(expr), sorted(expr.free_symbols, key=str)))
    return variable(text), tree, _mode(cost, grid, expr, symbols) if whole else "real"


def _mode(cost: Symbolic, grid: Grid, expr: Expr, symbols: Sequence[Symbol]) -> str:
    most = tuple((s, grid.most[s]) for s in symbols)
    bound = cost.program.remember(("bound", expr, most), lambda: magnitude_bound(expr, dict(most)))
    if bound <= WIDEST:
        return "int64"
    return "rounded" if grid.count <= EXACT else "float64"


def tree_of(expr: Expr) -> Any:
    """An expression as a tree; one that is too large for a file as what it is made of."""
    try:
        return to_tree(expr)
    except CostModelError:
        if isinstance(expr, PeakMax):
            return {"op": "maximum", "parts": [tree_of(arg) for arg in expr.args]}
        if not isinstance(expr, Add):
            raise
    split = [term for term in expr.args if over_common_denominator(term)[1] == 1]  # the others are whole together only
    rest = [term for term in expr.args if term not in set(split)]
    if len(rest) == len(expr.args):
        if is_whole_valued(expr):
            return to_tree(expr)  # raises, saying what is too large
        half = len(rest) // 2
        return _sum([tree_of(Add(*rest[:half])), tree_of(Add(*rest[half:]))])
    return _sum([*map(tree_of, split), *([tree_of(Add(*rest))] if rest else [])])


def variable(metric: str) -> str:
    """The name of a metric's variable: ``bytes:xla-gpu`` is bytes_xla-gpu."""
    return metric.replace(":", "_")


def _clock(cost: Symbolic, device: Hardware, policy: str, figures: tuple[str, ...], energy: bool,
           sizes: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    key = ("clock", device, policy, figures, energy, sizes)
    return cost.program.remember(key, lambda: clock_data(cost, device, policy, figures, energy, dict(sizes)))


def clock_data(cost: Symbolic, device: Hardware, policy: str, figures: Sequence[str], energy: bool,
               sizes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The formulas of a device's times as trees."""
    found = clock(cost.program, device, policy, {name: figure_symbol(name) for name in figures}, sizes)
    upper = _upper(found)
    data = {"device": device.name, "policy": policy, "lower": _lower(found), "upper": upper, "predicted": _predicted(found),
            "stands": found.stands.words if found.stands else "not calibrated",
            "busy": [(unit, _busy(found, unit)) for unit in found.units if unit != "launch" or found.launch != 0]
                    if found.kernels else [(NOTHING, tree_of(ZERO))]}
    return {**data, "energy": _energy(cost, device, policy, upper, figures)} if energy else data


def _lower(found: Clock) -> Any:
    """What is computed and waits, and beside it what each connection to other devices takes."""
    lanes, waits = found.sending(), found.sending(alone=True)
    computing = _computing(found)
    if waits:
        most = [tree_of(each) for each in waits.values()]
        computing = _sum([computing, {"op": "maximum", "parts": most} if len(most) > 1 else most[0]])
    return {"op": "maximum", "parts": [computing, *(tree_of(each) for each in lanes.values())]} if lanes else computing


def _computing(found: Clock) -> Any:
    """Kernels in which one resource is busiest everywhere are one polynomial; of the others those that choose between the same."""
    if found.chosen:
        return _combined(found, lambda k: k.times * (_peak(k) + found.launch) if k.needed and not k.lanes else ZERO)
    settled, left = found.grouped()
    return _sum([tree_of(settled), *(tree_of(times * PeakMax.opaque(*longest)) for longest, times in left.items())])


def _peak(kernel: Kernel) -> Expr:
    longest = kernel.longest
    return PeakMax.opaque(*longest) if len(longest) > 1 else longest[0]


def _upper(found: Clock) -> Any:
    if found.chosen:
        return _combined(found, lambda k: (k.times * Add(*k.resources.values(), found.launch)).expand())
    return tree_of(found.upper().expand())


def _predicted(found: Clock) -> Any:
    if found.stands is None:
        return None
    call = found.stands.calibration.call
    whole = _combined(found, lambda k: found.likely(k).expand()) if found.chosen else tree_of(
        Add(*(found.likely(k) for k in found.kernels if not k.calibrated)).expand())
    sent = [] if found.chosen else [_least(k.times, forms) for k in found.kernels for forms in k.calibrated]
    return _sum([whole, *sent, *([tree_of(exact(call.value))] if call else [])]) if call or sent else whole


def _least(times: Expr, forms: Sequence[Expr]) -> Any:
    return {"op": "minimum", "parts": [tree_of((times * form).expand()) for form in forms]}


def _busy(found: Clock, unit: str) -> Any:
    """Seconds of a resource; of branches those of the side whose lower bound counts."""
    if not found.chosen:
        return tree_of(found.busy(unit))
    parts = [(k.branch, (k.times * (_peak(k) + found.launch), (k.times * found.seconds(unit, k)).expand())) for k in found.needed]
    sums = _picked(parts, found.branches)
    return sums[1]


def _combined(found: Clock, seconds: Any) -> Any:
    op = "maximum" if found.branches is Branches.MAX else "minimum"
    return combined([(k.branch, seconds(k)) for k in found.kernels], found.branches, join=_sum,
                    add=lambda parts: _sum(list(map(tree_of, parts))), choose=lambda sides: {"op": op, "parts": list(sides)})


def _sum(parts: Sequence[Any]) -> Any:
    return {"op": "sum", "parts": list(parts)}


def _picked(parts: Sequence[Any], branches: Branches) -> Any:
    """(lower bound, seconds) of all that happens, as trees; of the sides of a branch those of one."""
    greatest = branches is Branches.MAX

    def add(pairs: Sequence[tuple[Expr, Expr]]) -> tuple[Any, Any]:
        return _sum([tree_of(key) for key, _ in pairs]), _sum([tree_of(value) for _, value in pairs])

    def choose(sides: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
        keys, values = map(list, zip(*sides, strict=True))
        return ({"op": "maximum" if greatest else "minimum", "parts": keys},
                {"op": "pick", "greatest": greatest, "keys": keys, "parts": values})

    return combined(parts, branches, add=add, choose=choose,
                    join=lambda pairs: tuple(_sum(each) for each in zip(*pairs, strict=True)))


def _energy(cost: Symbolic, device: Hardware, policy: str, upper: Any, figures: Sequence[str]) -> Any:
    """Joules: of stated energies in closed form, else of full power for the upper bound of the time."""
    if device.energies is None:
        if device.power is None:
            joules(cost, device, policy, figures)  # raises, saying what to add
        assert device.power is not None
        return _scaled(upper, device.power.value)
    return tree_of(joules(cost, device, policy, figures))


def _scaled(tree: Any, factor: float) -> Any:
    """A tree, or what is made of several, times a number that is not negative."""
    if not isinstance(tree, dict):
        return ["mul", to_tree(exact(factor)), tree]
    return {**tree, "parts": [_scaled(part, factor) for part in tree["parts"]]}


def chunk_values(grid: Grid, figures: Mapping[str, np.ndarray], slices: Sequence[slice]) -> dict[str, np.ndarray]:
    """The variables' values on a chunk, broadcastable over it."""
    arrays = {**grid.values, **grid.variables, **figures}
    return {name: a[tuple(s if n > 1 else slice(None) for s, n in zip(slices, a.shape, strict=True))] for name, a in arrays.items()}

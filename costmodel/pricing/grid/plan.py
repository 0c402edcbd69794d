"""What a sweep computes at every point, as data: formulas as JSON trees, which any process compiles and evaluates on a chunk.

A plan knows no model, no device and no sympy object; :class:`Sheet` is a plan compiled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.pricing.rate import rate
from costmodel.symbolic.blocks import Blocks
from costmodel.symbolic.factored import Graph, Node
from costmodel.symbolic.tree import from_tree

FORMAT = "costmodel-sweep-1"
# How a metric is computed: in 64-bit integers that cannot overflow, in Python's integers and then rounded, in doubles, or as a
# fraction.
MODES = ("int64", "rounded", "float64", "real")


@dataclass(frozen=True)
class Plan:
    """The outputs of a sweep.

    axes:    names of the axes of symbols, and ``figures`` of those of a device's figures, which follow.
    bits:    variable -> the axes that it depends on.
    metrics: (name, tree, mode).
    clocks:  of each device its formulas: lower, upper, predicted (None without a calibration), busy (see
             :func:`.build.clock_data`), and energy where asked for.
    units:   what can bind on any device, memory first; ``bound`` is an index into it.
    items:   the symbols whose product throughput counts, with spaces between; "" for one item.
    """

    axes: tuple[str, ...]
    figures: tuple[str, ...]
    bits: Mapping[str, int]
    metrics: tuple[tuple[str, Any, str], ...]
    clocks: tuple[Mapping[str, Any], ...]
    units: tuple[str, ...]
    items: str

    def to_json(self) -> str:
        """The plan as text; equal plans are equal texts."""
        return json.dumps({"format": FORMAT, **{name: getattr(self, name) for name in self.__dataclass_fields__}},
                          separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that :meth:`to_json` wrote."""
        data = json.loads(text)
        if data.pop("format", None) != FORMAT:
            raise CostModelError(f"not the plan of a sweep: expected format {FORMAT!r}")
        metrics = tuple((name, tree, mode) for name, tree, mode in data.pop("metrics"))
        return cls(metrics=metrics, bits=data.pop("bits"), items=data.pop("items"),
                   **{name: tuple(values) for name, values in data.items()})

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables that are computed, in order."""
        timed = ("time_lower", "time_upper", "time_predicted", "throughput", "bound") if self.clocks else ()
        energy = ("energy",) if self.clocks and "energy" in self.clocks[0] else ()
        return (*(name for name, _, _ in self.metrics), *timed, *energy)

    def dims(self, variable: str) -> tuple[str, ...]:
        """The axes of a variable."""
        if variable in {name for name, _, _ in self.metrics}:
            return self.axes
        return ("hardware", *self.axes, *self.figures)

    def dtype(self, variable: str) -> Any:
        """The type of a variable's array."""
        modes = {name: mode for name, _, mode in self.metrics}
        if variable in modes:
            return np.dtype(np.int64 if modes[variable] == "int64" else np.float64)
        return np.dtype(np.int8 if variable == "bound" else np.float64)


class Sheet:
    """A plan compiled: its values on chunks of the grid."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        graph = Graph(plan.bits)
        self._metrics = {mode: [(name, _node(graph, tree, mode == "real")) for name, tree, its in plan.metrics if its == mode]
                         for mode in MODES}
        self._blocks = {mode: Blocks([node for _, node in entries]) for mode, entries in self._metrics.items()}
        self._timed = [(which, name, node) for which, clock in enumerate(plan.clocks)
                       for name, node in _clock_nodes(graph, clock, plan.units).items()]
        self._times = Blocks([node for _, _, node in self._timed])

    def chunk(self, values: Mapping[str, np.ndarray], shape: tuple[int, ...],
              into: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Every variable on a chunk of that shape, in arrays given or made; ``values`` are the variables' there, broadcastable."""
        plan, rank = self.plan, len(self.plan.axes)
        found = dict(into) if into is not None else {
            name: np.empty(self.shape(name, shape), plan.dtype(name)) for name in plan.variables}
        own = shape[:rank]
        symbols = {name: a.reshape(a.shape[:rank]) for name, a in values.items() if name not in plan.figures}
        for mode, entries in self._metrics.items():
            if entries:
                self._measure(mode, [found[name] for name, _ in entries], symbols, own)
        if self._timed:
            env = {name: np.asarray(a, np.float64) for name, a in values.items()}
            found["time_predicted"][...] = np.nan  # where nothing is calibrated
            self._times.into([found[name][which, ...] for which, name, _ in self._timed], env)
            items = prod((env[name] for name in plan.items.split()), start=1.0)
            rate(items, found["time_lower"], out=found["throughput"])
        return found

    def shape(self, variable: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a variable on a chunk."""
        if "hardware" in self.plan.dims(variable):
            return (len(self.plan.clocks), *shape)
        return shape[:len(self.plan.axes)]

    def _measure(self, mode: str, results: Sequence[np.ndarray], symbols: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> None:
        blocks = self._blocks[mode]
        if mode == "rounded":
            exact = blocks.exactly({name: a.astype(object) for name, a in symbols.items()}, shape)
            for result, values in zip(results, exact, strict=True):
                result[...] = values.astype(np.float64)
        elif mode == "int64":
            blocks.into(results, symbols)
        else:
            blocks.into(results, {name: a.astype(np.float64) for name, a in symbols.items()})

    @cached_property
    def jitted(self) -> Any:
        """:meth:`traced`, compiled by jax once a shape."""
        import jax

        return jax.jit(self.traced, static_argnums=1)

    def traced(self, values: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
        """Every variable as jax arrays; to be called under ``jit``. Integers stay so."""
        import jax.numpy as jnp

        plan, rank = self.plan, len(self.plan.axes)
        found: dict[str, Any] = {}
        symbols = {name: a.reshape(a.shape[:rank]) for name, a in values.items() if name not in plan.figures}
        reals = {name: a.astype(float) for name, a in values.items()}
        for mode, entries in self._metrics.items():
            env = symbols if mode == "int64" else {name: a.astype(float) for name, a in symbols.items()}
            for (name, _), value in zip(entries, self._blocks[mode].traced(env, shape[:rank]), strict=True):
                found[name] = value
        if self._timed:
            rows: dict[str, list[Any]] = {}
            for (_, name, _), value in zip(self._timed, self._times.traced(reals, shape), strict=True):
                rows.setdefault(name, []).append(value)
            predicted = iter(rows.pop("time_predicted", ()))
            found |= {name: jnp.stack(each) for name, each in rows.items()}
            nothing = jnp.full_like(found["time_lower"][0], jnp.nan)
            found["time_predicted"] = jnp.stack([nothing if clock["predicted"] is None else next(predicted)
                                                 for clock in plan.clocks])
            found["throughput"] = prod((reals[name] for name in plan.items.split()), start=1.0) / found["time_lower"]
            found["bound"] = found["bound"].astype("int8")
        return {name: found[name] for name in plan.variables}


def _clock_nodes(graph: Graph, clock: Mapping[str, Any], units: Sequence[str]) -> dict[str, Node]:
    found = {"time_lower": _node(graph, clock["lower"]), "time_upper": _node(graph, clock["upper"])}
    if clock["predicted"] is not None:
        found["time_predicted"] = _node(graph, clock["predicted"])
    busy = {name: _node(graph, tree) for name, tree in clock["busy"]}
    codes = [graph.constant(float(units.index(name))) for name in busy]
    found["bound"] = graph.node("pick", *busy.values(), *codes, leaf=True) if len(busy) > 1 else codes[0]
    if "energy" in clock:
        found["energy"] = _node(graph, clock["energy"])
    return found


def _node(graph: Graph, tree: Any, real: bool = True) -> Node:
    """A tree, or what is made of several: a sum, the greatest or least, or the value beside the greatest or least key."""
    if not isinstance(tree, dict):
        return graph.real(from_tree(tree)) if real else graph.whole(from_tree(tree))
    parts = [_node(graph, part, real) for part in tree["parts"]]
    if tree["op"] == "sum":
        return graph.sum(parts)
    if tree["op"] == "pick":
        keys = [_node(graph, part) for part in tree["keys"]]
        return graph.node("pick", *keys, *parts, leaf=tree["greatest"])
    return graph.node(tree["op"], *parts)


@lru_cache(maxsize=8)
def sheet_of(text: str) -> Sheet:
    """The compiled plan of a text, once a process."""
    return Sheet(Plan.from_json(text))

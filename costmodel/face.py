"""What a symbolic cost and a cost at a point are asked: every metric by its name, tables, memory, energy, collectives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.pricing.core import Priced
from costmodel.pricing.metrics import get
from costmodel.program.coverage import Coverage
from costmodel.sheets import html, latex
from costmodel.surface import brief, levels

if TYPE_CHECKING:
    from costmodel.hardware import Energies, Hardware
    from costmodel.memory.liveness import LiveProfile
    from costmodel.memory.per_block import Blocks
    from costmodel.pricing.collectives import Collectives
    from costmodel.pricing.energy import Energy
    from costmodel.pricing.explain import Explanation
    from costmodel.pricing.table import Table


class Face(Priced):
    """The methods that a symbolic cost and a cost at a point share."""

    @property
    def params(self) -> Any:
        """Elements of trainable parameters."""
        return self.metric("params")

    @property
    def buffers(self) -> Any:
        """Elements of non-trainable state, such as batch statistics."""
        return self.metric("buffers")

    @property
    def macs(self) -> Any:
        """Multiply-accumulates of contractions, every kernel tap counted (``metric("macs", taps="valid")`` for the others)."""
        return self.metric("macs")

    @property
    def flops(self) -> Any:
        """Floating-point operations: 2 per MAC + 1 per element of elementwise arithmetic; transcendentals apart."""
        return self.metric("flops")

    @property
    def ops(self) -> Any:
        """Operations on integer and boolean types."""
        return self.metric("ops")

    @property
    def transcendentals(self) -> Any:
        """Evaluations of special functions."""
        return self.metric("transcendentals")

    def model_size(self, bits: int | None = None) -> Any:
        """Bytes of the parameters at their own width, or at ``bits`` each."""
        return self.metric("model_size", bits=bits)

    def bytes(self, form: str) -> Any:
        """Memory traffic in bytes: ``compulsory``, or the name of a fusion policy (``unfused``, ``layer``, ``eager``,
        ``xla-cpu``, ``xla-gpu``, ``xla-tpu``, ``ideal``, or one that you registered)."""
        return self.metric("bytes", form=form)

    def activations(self, rule: str = "total") -> Any:
        """Elements of activations: ``total`` (input + every layer's output), ``peak`` (max over layers of in + out), or what MCUNet
        counts: ``mcunet``, ``mcunet-residual``, ``mcunet-inplace``."""
        return self.metric("activations", rule=rule)

    def live_peak(self, policy: str = "unfused", order: str = "program", donate: Sequence[str] = ()) -> Any:
        """The most bytes that are held at once: parameters, state, inputs, outputs and all between; docs/memory.md has the rules.

        policy: which equations share a kernel, and so which values never reach memory (a fusion policy's name).
        order:  in which kernels run: ``program``; ``memory``, of program order and a greedy one that of the lower peak (where every
                symbol is 16); ``breadth``, each as soon as its operands are there.
        donate: origins of inputs that the caller gives up, such as ``("parameter", "optimizer")`` in a training step: an output may
                be made in their place, and they are released after their last use.
        """
        return self.metric("live_peak", policy=policy, order=order, donate=_origins(donate))

    def live_profile(self, policy: str = "unfused", order: str = "program", donate: Sequence[str] = ()) -> LiveProfile:
        """Live bytes at every step of the schedule, split by what they are held for; arguments as for :meth:`live_peak`."""
        from costmodel.memory.liveness import live_profile

        return live_profile(self.program, self.name, self.evaluate, policy, order, _origins(donate))

    def saved(self, rule: str = "residuals") -> Any:
        """Bytes that a training step holds for its backward pass, under a counting rule (``residuals``, ``tinytl`` …)."""
        return self.metric("saved", rule=rule)

    def intensity(self, form: str = "compulsory") -> Any:
        """Operational intensity: FLOP per byte at the stated form of bytes."""
        return self.metric("intensity", form=form)

    def energy(self, hardware: str | Hardware | Energies, /, *, policy: str | None = None, weights: str | None = None,
               activations: str | None = None) -> Energy:
        """Joules of one run, by operation and by memory; see :func:`costmodel.pricing.energy.energy`."""
        from costmodel.pricing.energy import energy

        return energy(self, hardware, policy=policy, weights=weights, activations=activations)

    def table(self, depth: int | None = None, by: str = "module", collapse: bool = True, policy: str | None = None) -> Table:
        """Rows per ``module`` (to ``depth`` levels), ``layer``, ``op``, ``phase`` or, under a fusion policy, ``kernel``; they sum
        exactly to the total row."""
        from costmodel.pricing.table import build

        return build(self, depth=depth, by=by, collapse=collapse, policy=policy)

    def blocks(self, depth: int | None = 1, policy: str = "layer", donate: Sequence[str] = ()) -> Blocks:
        """Activations and weights of every block (module to ``depth`` levels, None for all), in bytes; at a point. ``donate`` as
        for :meth:`live_peak`: with ``("input",)`` the network's input is given up after its last use, as on a microcontroller."""
        from costmodel.memory.per_block import per_block

        return per_block(self.program, self.name, self.evaluate, self.live_profile(policy, donate=donate), levels(depth))

    def wire_bytes(self, axis: str | None = None) -> Any:
        """Bytes that a device sends in collectives: in all, or in those over an axis of the mesh."""
        return self.metric("wire_bytes", **({} if axis is None else {"axis": axis}))

    def collectives(self) -> Collectives:
        """What a device exchanges with others: kind, axes, module, phase, how often, bytes that it sends."""
        from costmodel.pricing.collectives import collectives

        return collectives(self)

    @property
    def all_devices(self) -> AllDevices:
        """The same over all devices of the mesh: every metric summed."""
        return AllDevices(self)

    def explain(self, path: str) -> Explanation:
        """Every equation of a module or layer: its rule, its formula, and what it comes to."""
        from costmodel.pricing.explain import explain

        return explain(self, path)

    def _repr_html_(self) -> str:
        return html.to_html(self.table(depth=2).sheet().for_people(), str(self))

    def latex(self) -> str:
        """The headline metrics as LaTeX equations."""
        return latex.equations(self.headline())


def _origins(donate: Sequence[str]) -> Any:
    """As a key; text is left to be refused."""
    if not isinstance(donate, Collection) or not all(isinstance(each, str) for each in donate):
        raise CostModelError(f"donate={brief(donate)} must name origins of inputs, as ('parameter', 'optimizer')")
    return donate if isinstance(donate, str) else tuple(sorted(donate))


class AllDevices(Face):
    """A cost of one device of a mesh, times their number: the sums over all devices. What is a ratio stays as it is."""

    def __init__(self, cost: Priced) -> None:
        if cost.mesh is None:
            raise CostModelError(f"{cost.name} is a program of one device: give mesh=… to analyse it over several")
        self.cost, self.count = cost, cost.mesh.count
        self.program, self.domain, self.name = cost.program, cost.domain, f"{cost.name}, all devices"

    def evaluate(self, expr: Expr) -> Any:
        return self.cost.evaluate(expr * self.count)

    def price(self, metric: str, **options: Any) -> Expr:
        return self.cost.price(metric, **options)

    def metric(self, name: str, **options: Any) -> Any:
        return self.cost.metric(name, **options) if "/" in get(name).unit else super().metric(name, **options)

    @property
    def coverage(self) -> Coverage:
        return self.cost.coverage

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.cost.mesh})", *(f"  {label:<22} {value} {unit}" for label, value, unit in self.headline())]
        return "\n".join((*lines, f"  {self.coverage}"))

    __repr__ = __str__

"""Metrics: named prices over a cost table. Each states its unit and its convention, and reports read both from here.

To add a metric, write one decorated function of the table:

    @metric("weights_bytes", unit="B", convention="…")
    def weights_bytes(table): ...
"""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Number

from sympy import Add, Expr, Rational

from costmodel.errors import CostModelError
from costmodel.fusion import plan, policies
from costmodel.memory.liveness import live_peak
from costmodel.memory.rules import RULES as PEAK_RULES
from costmodel.memory.rules import peak_activations
from costmodel.memory.saved import RULES, has_backward, saved_bytes
from costmodel.pricing.compulsory import compulsory_bytes, handed_on
from costmodel.rules.params import Collective
from costmodel.rules.work import BITS, CostTable, Equation, OpKind, Work, is_floating, total, weighted
from costmodel.surface import brief, named
from costmodel.symbolic.forms import ONE
from costmodel.text import did_you_mean


def _always(table: CostTable) -> bool:
    return True


Forms = tuple[str, ...] | Callable[[], tuple[str, ...]]


@dataclass(frozen=True)
class Metric:
    """A named price: a function of the table (and options), its unit, and the convention that makes it unambiguous.

    ``option`` is the name of the option that chooses a form, and its values, or what gives them; ``applies`` says which programs
    have the metric.
    """

    name: str
    unit: str
    convention: str
    price: Callable[..., Expr]
    option: tuple[str, Forms] = ("", ())
    applies: Callable[[CostTable], bool] = _always

    def check(self, options: Mapping[str, object]) -> None:
        """Raises CostModelError for an option that the metric does not have, or a form that its option does not have."""
        known = list(inspect.signature(self.price).parameters)[1:]
        for name, value in options.items():
            if not isinstance(value, str | Number | tuple | None):
                raise CostModelError(f"{name}={brief(value)} is no option of {self.name}: give text or a number")
            if name not in known:
                raise CostModelError(f"{self.name} has no option {name!r};{did_you_mean(name, known)} its options are "
                                     f"{', '.join(known) or 'none'}")
            if name == "taps" and value not in self.forms:
                raise CostModelError(f"{value!r} is no form of {self.name};{did_you_mean(value, self.forms)} choose one of "
                                     f"{', '.join(self.forms)}")

    @property
    def forms(self) -> tuple[str, ...]:
        """The values of its option."""
        values = self.option[1]
        return values() if callable(values) else values


_registry: dict[str, Metric] = {}


def metric(name: str, *, unit: str, convention: str, option: tuple[str, Forms] = ("", ()),
           applies: Callable[[CostTable], bool] = _always) -> Callable[..., Callable[..., Expr]]:
    """Register the decorated function of a cost table as a metric; see :class:`Metric`."""
    def decorate(price: Callable[..., Expr]) -> Callable[..., Expr]:
        if name in _registry:
            raise CostModelError(f"metric {name!r} is registered already")
        _registry[name] = Metric(name, unit, convention, price, option, applies)
        return price
    return decorate


@contextlib.contextmanager
def scoped() -> Iterator[None]:
    """What is registered inside is forgotten afterwards."""
    before = dict(_registry)
    try:
        yield
    finally:
        _registry.clear()
        _registry.update(before)


def get(name: str) -> Metric:
    """The metric of that name. Raises CostModelError naming those that there are."""
    try:
        return _registry[named("metric", name, "macs")]
    except KeyError:
        raise CostModelError(f"unknown metric {name!r};{did_you_mean(name, _registry)} the metrics are "
                             f"{', '.join(_registry)}") from None


def get_form(text: str) -> tuple[Metric, dict[str, str]]:
    """A metric and its option, of ``name`` or ``name:form`` as text. Raises CostModelError for an unknown one of either."""
    name, _, form = named("metric", text, "bytes:xla-gpu").partition(":")
    found = get(name)
    key, forms = found.option[0], found.forms
    if form and form not in forms:
        raise CostModelError(f"{form!r} is no form of {name};{did_you_mean(form, forms)} choose one of "
                             f"{', '.join(forms) or 'none'}")
    return found, {key: form} if form else {}


def available() -> tuple[str, ...]:
    """The names of all metrics."""
    return tuple(_registry)


# -- prices of one equation's work --------------------------------------------------------------------------------------------


def _is_mac(kind: OpKind) -> bool:
    return kind.name == "mac"


def work_macs(work: Work, taps: str = "dense") -> Expr:
    """Multiply-accumulates of one run."""
    return work.count(_is_mac, taps)


def work_flops(work: Work, taps: str = "dense") -> Expr:
    """Floating-point operations of one run, two a multiply-accumulate."""
    return _arithmetic(work, taps, floating=True)


def work_ops(work: Work, taps: str = "dense") -> Expr:
    """Integer and boolean operations of one run, two a multiply-accumulate."""
    return _arithmetic(work, taps, floating=False)


def _arithmetic(work: Work, taps: str, *, floating: bool) -> Expr:
    return Add(2 * work.count(lambda k: _is_mac(k) and is_floating(k.dtype) == floating, taps),
               work.count(lambda k: k.engine == "vector" and is_floating(k.dtype) == floating, taps))


def work_transcendentals(work: Work) -> Expr:
    """Evaluations of special functions in one run."""
    return work.count(lambda k: k.engine == "transcendental")


# -- the metrics --------------------------------------------------------------------------------------------------------------


@metric("params", unit="elements", convention="elements of trainable parameters; tied weights once; buffers apart")
def params(table: CostTable) -> Expr:
    """Elements of trainable parameters."""
    return total(v.array.size for v in table.parameters)


@metric("buffers", unit="elements", convention="elements of non-trainable state, such as batch statistics")
def buffers(table: CostTable) -> Expr:
    """Elements of non-trainable state."""
    return total(v.array.size for v in table.buffers)


@metric("constants", unit="elements",
        convention="elements of arrays that a function closes over; to count them as parameters pass them as params=")
def constants(table: CostTable) -> Expr:
    """Elements of arrays that the function closes over."""
    closed_over = {v: None for e in table for v in e.ins if v.origin == "literal" and v.array.shape}
    return total(v.array.size for v in closed_over)


@metric("model_size", unit="B", convention="parameters x bits of their dtype (or of the stated width) / 8; buffers apart")
def model_size(table: CostTable, bits: int | None = None) -> Expr:
    """Bytes of the parameters at their own width, or at ``bits`` each."""
    if bits is not None and (isinstance(bits, bool) or not hasattr(bits, "__index__") or bits < 1):
        raise CostModelError(f"bits={bits!r} must be an integer of at least 1")
    return total(v.array.size * Rational(int(bits or v.array.bits), 8) for v in table.parameters)


_TAPS = ("taps", ("dense", "valid"))


def _forms_of_bytes() -> tuple[str, ...]:
    return ("compulsory", *policies())


_FORMS = ("form", _forms_of_bytes)


@metric("macs", unit="MAC", option=_TAPS,
        convention="multiply-accumulates of contractions; a complex one is 4; "
                   "taps=dense counts kernel taps on padding, valid does not")
def macs(table: CostTable, taps: str = "dense") -> Expr:
    """Multiply-accumulates of contractions."""
    return table.sum(lambda e: work_macs(e.work, taps))


@metric("flops", unit="FLOP", option=_TAPS,
        convention="2 per floating-point MAC + 1 per element of floating-point elementwise arithmetic; transcendentals apart")
def flops(table: CostTable, taps: str = "dense") -> Expr:
    """Floating-point operations."""
    return table.sum(lambda e: work_flops(e.work, taps))


@metric("ops", unit="OP", option=_TAPS, convention="as flops, on integer and boolean types")
def ops(table: CostTable, taps: str = "dense") -> Expr:
    """Operations on integers and booleans."""
    return table.sum(lambda e: work_ops(e.work, taps))


@metric("transcendentals", unit="evaluations",
        convention="evaluations of exp, tanh, rsqrt, erf …; counted apart from FLOPs, priced by a device's stated weight")
def transcendentals(table: CostTable) -> Expr:
    """Evaluations of special functions."""
    return table.sum(lambda e: work_transcendentals(e.work))


@metric("bytes", unit="B", option=_FORMS,
        convention="compulsory: touched elements of each input, parameter and output once; "
                   "a fusion policy's name: what crosses its kernels' borders")
def bytes_(table: CostTable, form: str) -> Expr:
    """Bytes that are moved, under a form of counting."""
    if form == "compulsory":
        return compulsory_bytes(table)
    if form not in policies():
        raise CostModelError(f"unknown form of bytes {form!r};{did_you_mean(form, _forms_of_bytes())} choose one of "
                             f"{', '.join(_forms_of_bytes())}")
    crossing = [(k.branch, (v, elements, k.times)) for k in plan(table, form) for v, elements in (*k.reads, *k.writes)]
    copied = [((), (v, v.array.size, ONE)) for v in handed_on(table) for _ in ("read", "written")]
    return table.combined([*crossing, *copied], weighted)


@metric("activations", unit="elements", option=("rule", ("total", *PEAK_RULES)),
        convention="total: input + every layer's output; peak: max over layers of in + out. A layer is a convolution, linear or "
                   "pooling with the activation, normalisation, bias and reshape that follow folded in. mcunet: max over "
                   "convolutions of in + out + the input of their block; mcunet-residual: that input only as long as it is read; "
                   "mcunet-inplace: depthwise convolutions write over their input")
def activations(table: CostTable, rule: str = "total") -> Expr:
    """Elements of activations under a rule."""
    if rule != "total":
        return peak_activations(table, rule)
    inputs = (v.array.size for v in table.inputs if v.origin == "input")
    made = ((k.branch, (elements, k.times)) for k in plan(table, "layer") for v, elements in k.writes if v.is_activation)

    def add(written: list[tuple[Expr, Expr]]) -> Expr:
        return total(elements * times * count for (elements, times), count in Counter(written).items())

    return total([*inputs, table.combined(made, add)])


@metric("activations_peak", unit="elements", convention="activations with rule=peak")
def activations_peak(table: CostTable) -> Expr:
    """Elements of activations that are held at once, of a layer with its input and its output."""
    return activations(table, "peak")


@metric("live_peak", unit="B", option=("policy", policies),
        convention="maximum over the schedule of the bytes that are held: inputs and parameters always (donated ones to their last "
                   "use), outputs once made, all else from the kernel that writes it to the last that reads it")
def live_peak_(table: CostTable, policy: str = "unfused", order: str = "program", donate: tuple[str, ...] = ()) -> Expr:
    """The most bytes that are held at once."""
    return live_peak(table, policy, order, donate)


def _sends(table: CostTable) -> bool:
    return any(kind.engine == "link" for e in table for kind, _, _ in e.work.ops)


@metric("wire_bytes", unit="B", applies=_sends,
        convention="bytes that one device sends to others, by the bandwidth-optimal ring algorithms; axis=: in exchanges over it")
def wire_bytes(table: CostTable, axis: str | None = None) -> Expr:
    """Bytes that a device sends, over all axes of the mesh or one. Raises CostModelError for what is none."""
    axes = {*dict(table.axes), *(name for e in table if isinstance(e.params, Collective) for name in e.params.axes)}
    if axis is not None and axis not in axes:
        raise CostModelError(f"{axis!r} is no axis of the mesh: "
                             + (f"its axes are {', '.join(sorted(axes))}" if axes else "the cost is of one device"))

    def over(e: Equation) -> bool:
        return axis is None or (isinstance(e.params, Collective) and axis in e.params.axes)

    return table.combined(
        ((e.branch, count * e.times * Rational(BITS[kind.dtype], 8)) for e in table if over(e)
         for kind, count, _ in e.work.ops if kind.engine == "link"), total)


@metric("optimizer_state", unit="B", convention="bytes of the optimizer's state, as a training step receives it")
def optimizer_state(table: CostTable) -> Expr:
    """Bytes of the optimizer's state."""
    return total(v.bytes for v in table.inputs if v.origin == "optimizer")


@metric("gradients", unit="B", convention="bytes of the gradients: one element a trainable parameter, in its type",
        applies=has_backward)
def gradients(table: CostTable) -> Expr:
    """Bytes of the gradients."""
    return model_size(table)


@metric("saved", unit="B", option=("rule", tuple(RULES)), applies=has_backward,
        convention="residuals: values that the forward pass makes or receives as data and the backward pass reads, once each; "
                   "residuals+parameters: with the parameters among them; tinytl, tinytl-shared: the rule of TinyTL's paper")
def saved(table: CostTable, rule: str = "residuals") -> Expr:
    """Bytes that are kept for the backward pass."""
    return saved_bytes(table, rule)


@metric("intensity", unit="FLOP/B", option=_FORMS, convention="FLOP per byte at the stated form of bytes")
def intensity(table: CostTable, form: str = "compulsory") -> Expr:
    """FLOP per byte."""
    return flops(table) / bytes_(table, form)


# (label, metric, its options, unit): what every report opens with.
HEADLINE: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("parameters", "params", {}, "elements"),
    ("MACs (dense taps)", "macs", {}, "MAC"),
    ("FLOPs", "flops", {}, "FLOP"),
    ("transcendentals", "transcendentals", {}, "evaluations"),
    ("bytes, compulsory", "bytes", {"form": "compulsory"}, "B"),
    ("bytes, unfused", "bytes", {"form": "unfused"}, "B"),
    ("activations, total", "activations", {"rule": "total"}, "elements"),
    ("activations, peak", "activations", {"rule": "peak"}, "elements"),
)

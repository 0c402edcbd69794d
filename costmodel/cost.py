"""The result of an analysis: every metric as a closed form, at points, per module, explained, and saved.

:func:`analyze` traces once and counts; a :class:`Cost` prices the counts. ``cost.at(n=1, h=224, w=224)`` is the same object with
integers in place of formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sympy import Expr

from costmodel import metrics
from costmodel.dims import Domain
from costmodel.errors import CostModelError, DomainError
from costmodel.forms import evaluate, symbol
from costmodel.fusion import Kernel, plan
from costmodel.trace import Request, request
from costmodel.walk import BRANCHES, walk
from costmodel.work import BITS, DTYPE_ALIASES, CostTable, is_floating, retype

if TYPE_CHECKING:
    from costmodel.energy import Energy
    from costmodel.explain import Explanation
    from costmodel.hardware import Energies, Hardware
    from costmodel.memory.liveness import LiveProfile
    from costmodel.roofline import Roofline
    from costmodel.table import Table
    from costmodel.training import Step


def analyze(model: Any, *inputs: Any, method: Any = None, kwargs: Mapping[str, Any] | None = None, rngs: Sequence[str] = (),
            mutable: Any = False, params: int | None = None, unknown: str = "error", branches: str = "max") -> Cost:
    """Closed-form cost of one call of ``model``.

    model:   a Linen module, an (abstract) NNX module, or any function of jax arrays.
    inputs:  ``spec(shape, dtype)`` with symbolic or integer dimensions; a bare tuple of dimensions is one float32 array; any
             pytree of these.
    method:  the module's method to call, by name or as a function (default ``__call__``).
    kwargs:  keyword arguments of the call; those that hold arrays or specs are traced, others stay Python values.
    rngs:    names of the random streams a Linen call needs, e.g. ``("dropout",)``.
    mutable: Linen collections that the call updates; for NNX, True keeps the updated state as a result.
    params:  for a function, which argument holds the parameters.
    unknown: ``"error"`` or ``"warn"``: what a primitive without a rule does.
    branches: which branch of a ``cond`` or ``switch`` counts: ``"max"`` (default) or ``"min"`` by operations, ``"mean"``, or
             ``"symbol"`` for a weight symbol ``taken_k`` per branch.

    Raises TraceError if jax cannot trace the model with these dimensions, UnknownPrimitive for a primitive without a rule.

    >>> import costmodel as cm, jax.numpy as jnp
    >>> m, n, k = cm.dims("m n k")
    >>> cm.analyze(jnp.matmul, (m, k), (k, n)).macs
    k*m*n
    """
    asked = request(model, *inputs, method=method, kwargs=kwargs, rngs=rngs, mutable=mutable, params=params)
    return analyze_request(asked, unknown=unknown, branches=branches)


def analyze_request(asked: Request | Step, *, unknown: str = "error", branches: str = "max") -> Cost:
    """Trace a request and count; what :func:`analyze` and :func:`costmodel.training.analyze_training` have in common."""
    if unknown not in ("error", "warn"):
        raise CostModelError(f"unknown={unknown!r} must be 'error' or 'warn'")
    if branches not in BRANCHES:
        raise CostModelError(f"branches={branches!r} must be one of {', '.join(BRANCHES)}")
    table, domain = walk(asked.run(), unknown=unknown, branches=branches)
    cost = Cost(table, domain, name=_name(asked.model), request=asked, branches=branches)
    if unknown == "warn" and cost.coverage.unknown:
        import warnings

        warnings.warn(str(cost.coverage), stacklevel=2)
    return cost


def _name(model: Any) -> str:
    return getattr(model, "__name__", type(model).__name__)


class _Prices:
    """The metrics, shared by a symbolic cost and a cost at a point: they differ in what they make of an internal expression."""

    program: CostTable
    name: str

    def _value(self, expr: Expr) -> Any:
        raise NotImplementedError

    def _internal(self, metric: str, **options: Any) -> Expr:
        raise NotImplementedError

    def metric(self, name: str, **options: Any) -> Any:
        """A metric of the registry by name, with its options; see ``costmodel.metrics.available()``."""
        return self._value(self._internal(name, **options))

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
        """Memory traffic in bytes: ``compulsory``, or the name of a fusion policy (``unfused``, ``layer``, ``xla-cpu``,
        ``xla-gpu``, ``xla-tpu``, ``ideal``)."""
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

        return live_profile(self, policy, order, _origins(donate))

    def saved(self, rule: str = "residuals") -> Any:
        """Bytes that a training step holds for its backward pass, under a counting rule (``residuals``, ``tinytl`` …)."""
        return self.metric("saved", rule=rule)

    def intensity(self, form: str = "compulsory") -> Any:
        """Operational intensity: FLOP per byte at the stated form of bytes."""
        return self.metric("intensity", form=form)

    def kernels(self, policy: str) -> tuple[Kernel, ...]:
        """The kernels of a fusion policy, in program order."""
        return plan(self.program, policy)

    def energy(self, hardware: str | Hardware | Energies, /, *, policy: str | None = None, weights: str | None = None,
               activations: str | None = None) -> Energy:
        """Joules of one run, by operation and by memory; see :func:`costmodel.energy.energy`."""
        from costmodel.energy import energy

        return energy(self, hardware, policy=policy, weights=weights, activations=activations)

    def table(self, depth: int | None = None, by: str = "module", collapse: bool = True, policy: str | None = None) -> Table:
        """Rows per ``module`` (to ``depth`` levels), ``layer``, ``op``, ``phase`` or, under a fusion policy, ``kernel``; they sum
        exactly to the total row."""
        from costmodel.table import build

        return build(self, depth=depth, by=by, collapse=collapse, policy=policy)

    def explain(self, path: str) -> Explanation:
        """Every equation of a module or layer: its rule, its formula, and what it comes to."""
        from costmodel.explain import explain

        return explain(self, path)

    def _repr_html_(self) -> str:
        from costmodel.report.html import table_html

        return table_html(self.table(depth=2), str(self))

    def latex(self) -> str:
        """The headline metrics as LaTeX equations."""
        from costmodel.report.latex import summary_latex

        return summary_latex(self)


def _origins(donate: Sequence[str]) -> tuple[str, ...]:
    return (donate,) if isinstance(donate, str) else tuple(sorted(donate))


class Cost(_Prices):
    """Closed-form cost of a program over a domain. Every metric is a sympy expression in the user's symbols."""

    def __init__(self, program: CostTable, domain: Domain, *, name: str = "", request: Request | Step | None = None,
                 verified: Iterable[str] = (), branches: str = "max", source: Cost | None = None) -> None:
        self.program = program
        self.domain = domain
        self.name = name
        self.request = request
        self.branches = branches
        self.source = source  # the cost this one was made from by another type or a choice of equations; it is what is verified
        # Symbols for which a concrete trace with a dimension of 1 gave the same counts; see `at`.
        self.verified = set(verified)
        self._prices: dict[tuple[Any, ...], Expr] = {}

    def _value(self, expr: Expr) -> Expr:
        return self.domain.in_user_symbols(expr)

    def _internal(self, metric: str, **options: Any) -> Expr:
        key = (metric, *sorted(options.items()))
        if key not in self._prices:
            self._prices[key] = metrics.get(metric).price(self.program, **options)
        return self._prices[key]

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.domain.symbols

    @cached_property
    def coverage(self) -> Coverage:
        return Coverage(self.program)

    def at(self, /, **values: int) -> CostAt:
        """This cost at a point, in exact integers. Every symbol must be bound, inside the domain.

        A symbolic dimension never equals 1 while jax traces, so code that branches on ``shape == 1`` may trace otherwise there.
        The first time a symbol is bound to 1 a concrete trace at that point must therefore give the same counts.
        """
        env = self.domain.bind(values)
        ones = {v.symbol for v in self.domain.variables if v.is_dimension and env[symbol(v.name)] == 1} - self.verified
        if ones:
            self._verify_ones(sorted(ones), values)
        return CostAt(self, values, env)

    def _verify_ones(self, ones: Sequence[str], values: Mapping[str, int]) -> None:
        if self.request is None and self.source is None:
            raise DomainError(f"{', '.join(f'{s}={values[s]}' for s in ones)} was not verified by a concrete trace before this "
                              "cost was saved; call cost.verify(...) at such a point before to_json()")
        self.verify(**values)

    def verify(self, /, **values: int) -> None:
        """Trace the model concretely at a point and compare each equation's counts with the closed forms' values there.

        Raises CostModelError naming the first equation that differs.
        """
        from costmodel.verify import verify

        env = self.domain.bind(values)
        if self.source is not None:
            self.source.verify(**values)
        else:
            verify(self, env, values)
        self.verified |= {v.symbol for v in self.domain.variables if env[symbol(v.name)] == 1}

    def filter_phase(self, phase: str) -> Cost:
        """The equations of one phase of a training step: ``""`` (forward), ``backward``, ``recompute`` or ``update``."""
        program = self.program.filter_by(lambda e: e.phase == phase)
        return Cost(program, self.domain, name=f"{self.name}, {phase or 'forward'}", verified=self.verified,
                    source=self.source or self)

    def reprice(self, dtype: str) -> Cost:
        """This cost with all floating-point arrays and arithmetic in ``dtype`` (``bfloat16`` or ``bf16``, ``int8`` …). The program
        stays the one that was traced; tracing the model in that type anew is :func:`analyze`'s business."""
        wanted = DTYPE_ALIASES.get(dtype, dtype)
        if wanted not in BITS:
            raise CostModelError(f"{dtype!r} is not a dtype to price in; use one of {', '.join(sorted([*BITS, *DTYPE_ALIASES]))}")
        program = retype(self.program, lambda name: wanted if is_floating(name) else name)
        return Cost(program, self.domain, name=f"{self.name} in {wanted}", verified=self.verified, source=self.source or self)

    def roofline(self, hardware: str | Hardware, /, *, policy: str | None = None, **values: int) -> Roofline:
        """Time per kernel on a device: compute and memory bounds, which of them binds, latency and throughput. ``policy`` says
        which equations share a kernel; by default the device's own."""
        return self.at(**values).roofline(hardware, policy=policy)

    def sweep(self, *, metrics: Sequence[str] = ("macs", "flops", "params"), hardware: Sequence[Any] = (),
              policy: str | None = None, **grid: Any) -> Any:
        """Metrics over a grid of symbols as an xarray.Dataset; ``w="h"`` ties one symbol to another. Needs the extra ``sweep``."""
        from costmodel.sweep import sweep

        return sweep(self, grid, metrics=metrics, hardware=hardware, policy=policy)

    def leading_order(self, large: str, metric: str = "flops", **options: Any) -> Expr:
        """Leading term of a metric when the symbol ``large`` (or several, separated by spaces) grows; ``"params"``: as a multiple
        of the parameter count N, when all widths and depths grow together (training a transformer: ``6*N`` per token)."""
        from costmodel.asymptotics import in_parameters, leading_term

        price = self.metric(metric, **options)
        if large == "params":
            return in_parameters(price, self.params)
        unknown = [name for name in large.replace(",", " ").split() if name not in self.symbols]
        if unknown:
            raise DomainError(f"unknown symbol {', '.join(unknown)}: the symbols here are {', '.join(self.symbols) or 'none'}")
        return leading_term(price, {symbol(name) for name in large.replace(",", " ").split()})

    def to_json(self, indent: int | None = None) -> str:
        """The whole result as JSON text, loss-free; :func:`from_json` gives an equal cost back."""
        from costmodel.serialize import to_json

        return to_json(self, indent)

    def __repr__(self) -> str:
        return f"<Cost of {self.name}: {self.coverage}; domain {str(self.domain) or 'constant'}>"

    def __str__(self) -> str:
        lines = [f"{self.name}    domain: {str(self.domain) or 'no symbols'}"]
        for label, value, unit in headline(self):
            lines.append(f"  {label:<22} {value} {unit}")
        return "\n".join((*lines, f"  {self.coverage}"))


class CostAt(_Prices):
    """A cost at a point: every metric is an exact number."""

    def __init__(self, cost: Cost, values: Mapping[str, int], env: Mapping[Any, int]) -> None:
        self.cost, self.values, self.env = cost, dict(values), env
        self.program, self.name = cost.program, cost.name
        self._memo: dict[Expr, Any] = {}

    def _value(self, expr: Expr) -> Any:
        return evaluate(expr, self.env, self._memo)

    def _internal(self, metric: str, **options: Any) -> Expr:
        return self.cost._internal(metric, **options)

    @property
    def coverage(self) -> Coverage:
        return self.cost.coverage

    def roofline(self, hardware: str | Hardware, /, *, policy: str | None = None) -> Roofline:
        """Time per kernel on a device at this point; see :meth:`Cost.roofline`."""
        from costmodel.roofline import roofline

        return roofline(self, hardware, policy=policy)

    def __str__(self) -> str:
        point = ", ".join(f"{k}={v}" for k, v in self.values.items())
        lines = [f"{self.name} at {point or 'its fixed shapes'}"]
        for label, value, unit in headline(self):
            lines.append(f"  {label:<22} {value:,} {unit}")
        return "\n".join((*lines, f"  {self.coverage}"))

    __repr__ = __str__


def headline(cost: _Prices) -> list[tuple[str, Any, str]]:
    """(label, value, unit) of the metrics that every report opens with."""
    return [
        ("parameters", cost.params, "elements"),
        ("MACs (dense taps)", cost.macs, "MAC"),
        ("FLOPs", cost.flops, "FLOP"),
        ("transcendentals", cost.transcendentals, "evaluations"),
        ("bytes, compulsory", cost.bytes("compulsory"), "B"),
        ("bytes, unfused", cost.bytes("unfused"), "B"),
        ("activations, total", cost.activations("total"), "elements"),
        ("activations, peak", cost.activations("peak"), "elements"),
    ]


class Coverage:
    """How every equation of a program was costed: exactly, bounded, free by declaration, unknown, or dead and removed."""

    def __init__(self, program: CostTable) -> None:
        self.by_status: dict[str, dict[str, int]] = {}
        for e in program:
            counts = self.by_status.setdefault(e.status, {})
            counts[e.primitive] = counts.get(e.primitive, 0) + 1
        if program.dead:
            self.by_status["dead"] = dict(program.dead)
        self.total = len(program.equations)

    def count(self, status: str) -> int:
        return sum(self.by_status.get(status, {}).values())

    @property
    def unknown(self) -> dict[str, int]:
        """Primitives without a rule, with how many equations each has."""
        return self.by_status.get("unknown", {})

    def __str__(self) -> str:
        text = f"{self.total - self.count('unknown')}/{self.total} equations costed"
        parts = [f"{self.count(s)} {s}" for s in ("exact", "bounded", "free", "dead") if self.count(s)]
        if self.unknown:
            parts.append("UNKNOWN: " + ", ".join(f"{name} x{count}" for name, count in sorted(self.unknown.items())))
        return f"{text} ({', '.join(parts)})" if parts else text

    __repr__ = __str__

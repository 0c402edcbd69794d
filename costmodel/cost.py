"""The result of an analysis: every metric as a closed form, at points, per module, explained, and saved.

:func:`analyze` traces once and counts; a :class:`Cost` prices the counts. ``cost.at(n=1, h=224, w=224)`` is the same object with
integers in place of formulas.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sympy import Expr, Symbol

from costmodel import collector
from costmodel.errors import CostModelError, DomainError, IndivisibleShards, TraceError
from costmodel.face import Face
from costmodel.pricing.core import Point, Symbolic, regions_of
from costmodel.pricing.grown import Grown, sampled
from costmodel.program.fit.limit import TRACE_LIMIT
from costmodel.rules.branches import Branches
from costmodel.rules.types import Types, retype
from costmodel.rules.work import UNCOUNTED, CostTable, skip_masked
from costmodel.sharding.mesh import Mesh, mesh_of
from costmodel.surface import brief, number, said
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.plain import cell
from costmodel.text import did_you_mean, shown
from costmodel.trace.words import Phase

if TYPE_CHECKING:
    from costmodel.hardware import Hardware
    from costmodel.pricing.regional import Listed
    from costmodel.pricing.roofline import Roofline
    from costmodel.pricing.table import Table
    from costmodel.program.fit.depth import Grows
    from costmodel.program.fit.result import Made
    from costmodel.sharding.requested import Shardings
    from costmodel.trace.requests import Traceable


def analyze(model: Any, *inputs: Any, method: Any = None, kwargs: Mapping[str, Any] | None = None, rngs: Sequence[str] = (),
            mutable: Any = False, params: int | None = None, unknown: str = "error", branches: str = "max",
            verify: bool = True, fit: str = "auto", trace_limit: float | None = TRACE_LIMIT, mesh: Any = None,
            in_shardings: Any = None, out_shardings: Any = None, param_shardings: Any = None) -> Cost:
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
    branches: what counts of the branches of a ``cond`` or ``switch``: of each metric the greatest (``"max"``, the default: an upper
             bound) or the least (``"min"``), the ``"mean"`` of all, or (``"symbol"``) each times a weight symbol ``taken_k``.
    verify:  compare with a concrete trace at the first point and on boundaries; what ``False`` leaves out says :meth:`Cost.at`.
    fit:     what to do where jax refuses the symbols: ``"auto"`` (default) finds exact forms from concrete traces, verifies them at
             other points and says so on stderr; ``"never"`` raises; ``"always"`` does not try a symbolic trace. ``cost.fitted``
             tells what a fitted cost rests upon.
    trace_limit: seconds after which ``"auto"`` gives up a symbolic trace; None for no limit.
    mesh:    ``{"data": 2, "model": 4}`` or a mesh of jax's: the cost is that of one of its devices, and the axes' names are symbols
             of it. A program that names a mesh itself (``shard_map``, a jitted function's shardings) needs none.
    in_shardings, out_shardings, param_shardings: partitions (``PartitionSpec``) of the inputs, the results and a module's
             parameters, or prefixes of their pytrees; what is None is the partitioner's to decide, and parameters have those of
             Flax's metadata.

    Raises TraceError if jax cannot trace the model with these dimensions, UnknownPrimitive for a primitive without a rule.

    >>> import costmodel as cm, jax.numpy as jnp
    >>> m, n, k = cm.dims("m n k")
    >>> cm.analyze(jnp.matmul, (m, k), (k, n)).macs
    k*m*n
    """
    from costmodel.sharding.requested import Shardings  # what traces, which needs jax, is imported to trace
    from costmodel.trace.requests import request

    asked = request(model, *inputs, method=method, kwargs=kwargs, rngs=rngs, mutable=mutable, params=params)
    return analyze_request(asked, unknown=unknown, branches=branches, verify=verify, fit=fit, trace_limit=trace_limit, mesh=mesh,
                           stated=Shardings(in_shardings, out_shardings, param_shardings))


def analyze_request(asked: Traceable, *, unknown: str = "error", branches: str = "max", verify: bool = True,
                    fit: str = "auto", trace_limit: float | None = TRACE_LIMIT, tell: bool = True, mesh: Any = None,
                    stated: Shardings | None = None) -> Cost:
    """Trace a request and count; what :func:`analyze` and :func:`costmodel.trace.training.analyze_training` have in common.
    ``tell``: say on stderr that a fit took the place of a trace."""
    from costmodel.program.fit.depth import Grows
    from costmodel.program.table import cost_table

    if trace_limit is not None:
        trace_limit = number(trace_limit, "trace_limit", "trace_limit=60, or None for no limit")
    if unknown not in ("error", "warn"):
        raise CostModelError(f"unknown={unknown!r} must be 'error' or 'warn'")
    if branches not in tuple(Branches):
        raise CostModelError(f"branches={branches!r} must be one of {', '.join(Branches)}")
    with collector.rare():
        made, asked = _made(asked, mesh, stated, fit=fit, trace_limit=trace_limit, tell=tell)
    if isinstance(made, Grows):
        return _grown(made, unknown=unknown, branches=branches, verify=verify, fit=fit, trace_limit=trace_limit)
    table, domain = cost_table(made.program, unknown=unknown, branches=Branches(branches))
    if made.fit is not None:
        domain = made.fit.whole(domain)
    regions = regions_of(made, table, domain, checked=verify)
    cost = Cost(table, domain, name=_name(asked.model), request=asked, branches=branches, regions=regions, fitted=made.fit)
    if unknown == "warn" and cost.coverage.unknown:
        import warnings

        warnings.warn(str(cost.coverage), stacklevel=2)
    return cost


def _grown(grows: Grows, *, branches: str, verify: bool, fit: str, **options: Any) -> Cost:
    """The cost of a model that is another program at every depth."""
    def analyse(asked: Any) -> Cost:
        return analyze_request(asked, branches=branches, verify=verify, fit=fit, tell=False, **options)

    name = _name(grows.request.model)
    try:
        cost = GrownCost(sampled(grows, analyse, branches=branches, name=name), name=name, request=grows.request,
                         branches=branches, checked=verify)
    except CostModelError as refusal:
        raise TraceError(f"{grows.reason}; the structure grows with {grows.depth.symbol}, and {refusal}") from refusal
    if fit == "auto":
        print(f"costmodel: {cost.fitted}", file=sys.stderr)
    return cost


def _made(asked: Traceable, mesh: Any, given: Shardings | None, *, fit: str, trace_limit: float | None,
          tell: bool) -> tuple[Made | Grows, Traceable]:
    """What a request traces to, and the request: over its mesh, where that is one device's program."""
    from costmodel.program.fit.depth import Grows
    from costmodel.program.fit.result import raw_program
    from costmodel.sharding.analysis import Sharded, found_indivisible, found_sharded
    from costmodel.sharding.requested import NOTHING
    from costmodel.trace.requests import Request
    from costmodel.trace.training import Step

    if isinstance(asked, Sharded):
        return asked.made, asked
    stated = given or NOTHING
    own = asked if isinstance(asked, Request | Step) else None
    if own is not None and mesh is not None:
        sharded = Sharded(own, mesh_of(mesh), stated)
    else:
        try:
            made = raw_program(asked, fit=fit, trace_limit=trace_limit, tell=tell)
        except IndivisibleShards as refusal:
            if own is None:
                raise
            sharded = found_indivisible(own, stated, refusal)
        else:
            found = None if own is None or isinstance(made, Grows) else found_sharded(own, made.program, stated)
            if found is None:
                return made, asked
            sharded = found
    return sharded.made, sharded


def analyze_training(model: Any, *inputs: Any, loss: Callable[..., Any], targets: Sequence[Any] | Callable[[Any], Any] = (),
                     optimizer: Any = None, microbatches: int = 1, compute_dtype: str | None = None, remat: str = "none",
                     method: Any = None, kwargs: Mapping[str, Any] | None = None, rngs: Sequence[str] = (),
                     params: int | None = None, unknown: str = "error", branches: str = "max", verify: bool = True,
                     fit: str = "auto", trace_limit: float | None = TRACE_LIMIT, mesh: Any = None, param_shardings: Any = None,
                     data_sharding: Any = None) -> Cost:
    """Closed-form cost of one training step of ``model``.

    model, inputs, method, kwargs, rngs, params, unknown, branches, verify, fit, trace_limit: as for
                   :func:`costmodel.analyze`.
    loss:          ``loss(outputs, *targets)`` -> scalar.
    targets:       abstract arrays like ``inputs``, given to the loss; or a function that makes them from the model's abstract
                   outputs.
    optimizer:     an optax transformation, e.g. ``optax.adamw(1e-3)``; None stops at the gradients.
    microbatches:  the batch (first dimension of inputs and targets) is split so many times, gradients are accumulated in a scan.
    compute_dtype: parameters and floating inputs are cast to this type for the forward and backward pass (mixed precision).
    remat:         what of the forward pass is held: all that the backward pass reads ("none": nothing is computed again), only what
                   the model is given ("full"), or the results of products too ("dots"; "dots-no-batch": of those without batch
                   dimensions), as policies of ``jax.checkpoint`` around the model's call.
    mesh, param_shardings: as for :func:`costmodel.analyze`. An array of the optimizer's state that stands for a parameter is
                   sharded as it is, and so are gradients and what is updated.
    data_sharding: the partition of every input and target; a target of fewer dimensions is shared as its batch, the first one, is.

    The result's equations have the phases "" (forward), "backward", "recompute" and "update"; ``cost.table(by="phase")`` sums
    them. Its inputs have the roles parameter, optimizer, buffer, rng and input.

    >>> import costmodel as cm, flax.linen as nn
    >>> n, d = cm.dims("n d")
    >>> cost = analyze_training(nn.Dense(10, use_bias=False), cm.spec((n, d)), loss=lambda y: (y**2).sum())
    >>> cost.macs                       # forward, and the gradient of the weights; nobody needs that of the input
    20*d*n
    """
    from costmodel.sharding.requested import Shardings
    from costmodel.trace.training import training_request

    step = training_request(model, *inputs, loss=loss, targets=targets, optimizer=optimizer, microbatches=microbatches,
                            compute_dtype=compute_dtype, remat=remat, method=method, kwargs=kwargs, rngs=rngs, params=params)
    stated = Shardings(data_sharding, None, param_shardings, data_sharding)
    return analyze_request(step, unknown=unknown, branches=branches, verify=verify, fit=fit, trace_limit=trace_limit, mesh=mesh,
                           stated=stated)


def _name(model: Any) -> str:
    return getattr(model, "__name__", type(model).__name__)


def _one_of(mesh: Mesh | None) -> str:
    """What a headline says of a cost that is one device's."""
    return "" if mesh is None else f"\n  one device of the mesh {mesh}; cost.all_devices sums over them"


class CostAt(Face, Point):
    """A cost at a point: every metric is an exact number."""

    def roofline(self, hardware: str | Hardware, /, *, policy: str | None = None, precision: str | None = None,
                 topology: Mapping[str, str] | None = None, near: str | float | None = None) -> Roofline:
        """Time per kernel on a device at this point; see :meth:`Cost.roofline`."""
        from costmodel.pricing.roofline import roofline

        return roofline(self, hardware, policy=policy, precision=precision, topology=topology, near=near)

    def __str__(self) -> str:
        point = ", ".join(f"{k}={v}" for k, v in self.values.items())
        lines = [f"{shown(self.name)} at {point or 'its fixed shapes'}{_one_of(self.mesh)}"]
        for label, value, unit in self.headline():
            lines.append(f"  {label:<22} {cell(value)} {unit}")
        if self.cost.fitted is not None and not self.cost.fitted.is_verified(self.env):
            lines.append("  not verified here")
        elif self.doubts:
            lines.append(f"  not verified where {', '.join(self.doubts)}")
        return "\n".join((*lines, f"  {self.coverage}"))

    __repr__ = __str__


class Cost(Face, Symbolic):
    """Closed-form cost of a program over a domain. Every metric is a sympy expression in the user's symbols."""

    at_a_point = CostAt

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._by_key: dict[str, Cost] = {}  # costs of other regions, by structure
        self._where: dict[frozenset[tuple[Symbol, int]], Cost] = {}  # with integers for some of the variables

    def predicted(self, hardware: str | Hardware, /, *, policy: str | None = None) -> Expr:
        """Seconds that a call is likely to take, in closed form; see :func:`costmodel.pricing.predict.predicted`."""
        from costmodel.pricing.predict import predicted

        return predicted(self, hardware, policy=policy)

    def region(self, **values: int) -> Cost:
        """The closed forms that hold at a point: of a fitted cost, those of the structure that its model has there. With some of
        the symbols only, the cost of the model with them as integers, in the others: ``region(n=1)``.

        Raises FitError where there are none.
        """
        if self.source is not None and self.change is not None:
            return self.source.region(**values)._derived(self.name, self.change)  # type: ignore[attr-defined]  # a Cost, as self is
        if self.request is None:
            raise CostModelError("this cost was loaded from a file and has no model to trace again")
        if self.fitted is None or len(values) < len(self.symbols):
            env = self.domain.bind_some(values)
            self.domain.check_shared(env)
            known = frozenset(env.items())
            if known not in self._where:
                asked = self.request.where({s.name: v for s, v in env.items()})
                there = analyze_request(asked, branches=self.branches, verify=self.compared.checked, unknown="warn", tell=False)
                there.domain = there.domain.where(self.domain.relations, env)
                self._where[known] = there
            return self._where[known]
        env = self.domain.bind(values)
        key = self.fitted.key_at(env)
        if key not in self._by_key:
            from costmodel.program.fit.result import Made
            from costmodel.program.table import cost_table

            fitted = self.fitted.elsewhere_at(env)
            table, domain = cost_table(fitted.found.program, branches=Branches(self.branches))
            self._by_key[key] = Cost(table, fitted.whole(domain), name=self.name, request=self.request, branches=self.branches,
                                     regions=regions_of(Made(fitted.found.program, fitted), table, domain,
                                                        checked=self.compared.checked), fitted=fitted, alone=True)
        return self._by_key[key]

    def regions(self) -> Listed:
        """The regions in which the model has one program each, with the condition and the forms of each: this cost's first, then
        those that were met elsewhere, such as ``n == 1``. Print it to read them."""
        from costmodel.pricing.regional import regions_of_fit, regions_of_trace

        if self.source is not None and self.change is not None:
            return self.source.regions().changed(lambda there: there._derived(self.name, self.change))  # type: ignore[attr-defined]
        if self.request is None:
            raise CostModelError("this cost was loaded from a file and has no model to trace again")
        if self.fitted is None:
            return regions_of_trace(self)
        return regions_of_fit(self, Cost(self.program, self.domain, name=self.name, request=self.request, branches=self.branches,
                                         regions=self.origin.compared, fitted=self.fitted, alone=True))

    def filter_phase(self, phase: str) -> Cost:
        """The equations of one phase of a training step: ``""`` (forward), ``backward``, ``recompute`` or ``update``."""
        if phase not in tuple(Phase):
            raise CostModelError(f"no phase is called {phase!r};{did_you_mean(phase, Phase)} choose one of "
                                 f"{', '.join(repr(str(each)) for each in Phase)}")
        return self._derived(f"{self.name}, {phase or 'forward'}", lambda table: table.filter_by(lambda e: e.phase == phase))

    def reprice(self, dtype: str) -> Cost:
        """This cost with all floating-point arrays and arithmetic in ``dtype`` (``bfloat16`` or ``bf16``, ``int8`` …), or by role:
        ``"weights=int8,activations=bf16"``. Products of integers are added up in int32; see :mod:`costmodel.rules.types`. The
        program stays the one that was traced; tracing the model in that type anew is :func:`analyze`'s business."""
        types = Types.of(dtype)
        name = f"{self.name} in {types}" if types.state else f"{self.name}, {types}"
        return self._derived(name, lambda table: retype(table, types))

    def skip_masked(self) -> Cost:
        """This cost as of kernels that skip what a causal or sliding mask throws away (flash, splash attention), forward and
        backward: operations at their effective length, s·(s + 1)/2 of s² scores. The program still moves whole arrays; one kernel
        that does not is a rule's matter (:func:`costmodel.rules.attention.fused_attention`). Masks of positions that have no closed
        form are counted whole, which is said on stderr."""
        if whole := sum(e.part == UNCOUNTED for e in self.program):
            which = "1 mask of positions has" if whole == 1 else f"{whole} masks of positions have"
            print(f"costmodel: {which} no closed form of what is kept in {shown(self.name)}: all is counted there", file=sys.stderr)
        return self._derived(f"{self.name}, masked scores skipped", skip_masked)

    def _derived(self, name: str, change: Callable[[CostTable], CostTable]) -> Cost:
        return Cost(change(self.program), self.domain, name=name, source=self, change=change)

    def roofline(self, hardware: str | Hardware, /, *, policy: str | None = None, precision: str | None = None,
                 topology: Mapping[str, str] | None = None, near: str | float | None = None, **values: int) -> Roofline:
        """Time per kernel on a device: compute and memory bounds, which of them binds, what is predicted, latency and throughput.
        ``policy`` says which equations share a kernel (by default the device's own), ``precision`` ("highest", "high", "default")
        what float32 contractions that ask for none run at, ``topology`` which links the axes of a mesh are laid on (by default the
        innermost on the nearest), as in ``{"data": "InfiniBand", "model": "ICI 2"}``; ``near`` the memory that tiles have to fit
        into, by name or in bytes (see :mod:`costmodel.pricing.blocking`)."""
        return self.at(**values).roofline(hardware, policy=policy, precision=precision, topology=topology, near=near)

    def sweep(self, *, metrics: Sequence[str] = ("macs", "flops", "params"), hardware: Any = (), policy: str | None = None,
              vary: Mapping[str, Any] | None = None, where: str | Sequence[str] = (), best: str | Sequence[str] = (),
              pareto: Sequence[str] = (), out: str | None = None, chunks: Any = None, backend: str = "numpy", **grid: Any) -> Any:
        """Metrics over a grid of symbols, and of figures of devices (``vary``), as an xarray.Dataset; ``w="h"`` ties one symbol to
        another. ``best``, ``pareto`` and ``where`` answer on the way, ``out`` writes a store, ``chunks`` makes it lazy: see
        :func:`costmodel.pricing.sweep.sweep`. Needs the extra ``sweep``."""
        from costmodel.pricing.sweep import sweep

        return sweep(self, grid, metrics=metrics, hardware=hardware, policy=policy, vary=vary, where=where, best=best,
                     pareto=pareto, out=out, chunks=chunks, backend=backend)

    def time(self, hardware: str | Hardware, /, *, free: Sequence[str] = (), bound: str = "lower",
             policy: str | None = None) -> Expr:
        """A time bound in seconds as a closed form in the user's symbols, with sympy's Max. Figures of the device in ``free``
        (``bandwidth``, ``launch_overhead``, ``link``, a peak as ``matrix.bfloat16``) stay symbols of those names."""
        from costmodel.pricing.closed import seconds

        return seconds(self, hardware, free=free, bound=bound, policy=policy)

    def communication(self, hardware: str | Hardware, /, *, large: str = "", topology: Mapping[str, str] | None = None) -> Expr:
        """Seconds that the busiest connection to other devices takes, as a closed form in the user's symbols and the mesh's axes;
        in the limit of the axes in ``large`` ("data model"). ``topology`` as in :meth:`roofline`."""
        from costmodel.hardware import Hardware, load
        from costmodel.pricing.closed import communication

        device = hardware if isinstance(hardware, Hardware) else load(hardware)
        return communication(self, device.laid(topology or {}), large=large.replace(",", " ").split())

    def leading_order(self, large: str, metric: str = "flops", **options: Any) -> Expr:
        """Leading term of a metric when the symbol ``large`` (or several, separated by spaces) grows, of the program that the model
        is there; ``"params"``: as a multiple of the parameter count N, when all widths and depths grow together (training a
        transformer: ``6*N`` per token)."""
        from costmodel.solve.region import at_large
        from costmodel.symbolic.asymptotics import in_parameters, leading_term

        if large == "params":
            return in_parameters(self.metric(metric, **options), self.params)
        unknown = [name for name in large.replace(",", " ").split() if name not in self.symbols]
        if unknown:
            raise DomainError(f"unknown symbol {', '.join(unknown)}:{did_you_mean(unknown[0], self.symbols)} "
                              f"the symbols here are {', '.join(self.symbols) or 'none'}")
        price = at_large(self, set(large.replace(",", " ").split())).metric(metric, **options)
        return leading_term(price, {symbol(name) for name in large.replace(",", " ").split()})

    def to_html(self, path: str, hardware: Sequence[str | Hardware] = (), **at: int) -> None:
        """Write the live page: one file, without network, in which a reader moves symbols, device, type and policy and everything
        is recomputed. ``hardware`` are the devices that it offers (default: all known), ``at`` is where it starts."""
        from costmodel.report.page import write_page

        if not isinstance(path, str | os.PathLike):
            raise CostModelError(f"{brief(path)} is no path: give the file to write, as 'page.html'")
        if isinstance(hardware, str) or not isinstance(hardware, Sequence):
            raise CostModelError(f"hardware={brief(hardware)} must be a list of devices, as ['h100-sxm']")
        write_page(path, self, hardware, at)

    def to_json(self, indent: int | None = None) -> str:
        """The whole result as JSON text, loss-free; :func:`from_json` gives an equal cost back. A fitted cost keeps what it rests
        upon; from a file it says where it is not verified, and raises where its model may be another program."""
        from costmodel.program.serialize import Saved, to_json

        elsewhere = tuple((point, Saved(there.program, there.domain, there.name, there.compared))
                          for point, there in sorted(self.known.elsewhere.items()))
        return to_json(Saved(self.program, self.domain, self.name, self.origin.compared, elsewhere, self.fitted), indent)

    def __repr__(self) -> str:
        return f"<Cost of {shown(self.name)}: {self.coverage}; domain {shown(str(self.domain)) or 'constant'}>"

    def __str__(self) -> str:
        lines = [f"{shown(self.name)}    domain: {shown(str(self.domain)) or 'no symbols'}{_one_of(self.mesh)}"]
        for label, value, unit in self.headline():
            lines.append(f"  {label:<22} {value} {unit}")
        if self.fitted is not None and self.fitted.conditions:
            lines.append(f"  fitted where {', '.join(self.fitted.conditions)}; .regions() has the forms elsewhere")
        return "\n".join((*lines, f"  {self.coverage}"))


class GrownCost(Grown, Cost):
    """Closed-form cost of a model that has more layers or steps for every value of one symbol: it has prices in all symbols, and a
    program, with all that is asked of one, at each depth (``at``, ``region``)."""

    def table(self, depth: int | None = None, by: str = "module", collapse: bool = True, policy: str | None = None) -> Table:
        """Rows per module, of which all that differ in integers are one (``Block_*/Dense_*``), or per ``phase``."""
        from costmodel.pricing.grown_table import build

        return build(self, depth=depth, by=by)

    def _derived(self, name: str, change: Callable[[CostTable], CostTable]) -> Cost:
        parts = self.parts.derived(lambda cost: cost._derived(name, change), change)  # type: ignore[attr-defined]  # each a Cost
        return GrownCost(parts, name=name, request=self.request, branches=self.branches, checked=self.compared.checked)

    def sweep(self, *, metrics: Sequence[str] = ("macs", "flops", "params"), hardware: Any = (), policy: str | None = None,
              vary: Mapping[str, Any] | None = None, where: str | Sequence[str] = (), best: str | Sequence[str] = (),
              pareto: Sequence[str] = (), out: str | None = None, chunks: Any = None, backend: str = "numpy", **grid: Any) -> Any:
        """As :meth:`Cost.sweep`, the program of each depth by itself."""
        from costmodel.pricing.sweep import sweep_grown

        return sweep_grown(self, grid, metrics=metrics, hardware=hardware, policy=policy, vary=vary, where=where, best=best,
                           pareto=pareto, out=out, chunks=chunks, backend=backend)

    def to_json(self, indent: int | None = None) -> str:
        depth = self.parts.grows.depth.symbol
        raise CostModelError(f"there is another program at every {depth}, and a file keeps one: "
                             + said(f"write .region({depth}=…).to_json()", f"give --at {depth}=INT"))


def from_json(text: str, *, limit: int | None = None) -> Cost:
    """The cost that :meth:`Cost.to_json` wrote. Raises CostModelError, saying what is wrong, for anything else.

    limit: characters that are read at most, so that no stranger's file takes long; by default 2.5 million, some 20 000 equations.
    """
    from costmodel.program.serialize import MAX_TEXT, from_json

    if not isinstance(text, str | bytes):
        raise CostModelError(f"{brief(text)} is no text of a cost: give what cost.to_json() wrote")
    if limit is not None:
        number(limit, "limit of characters", "limit=10_000_000")
    saved = from_json(text, MAX_TEXT if limit is None else limit)
    cost = Cost(saved.program, saved.domain, name=saved.name, regions=saved.regions, fitted=saved.fitted)
    cost.known.elsewhere.update({point: Cost(there.program, there.domain, name=there.name, regions=there.regions)
                                 for point, there in saved.elsewhere})
    return cost

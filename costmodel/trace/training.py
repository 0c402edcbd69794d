"""Training: one step (forward, backward, update) traced as one program, and what it keeps for the backward pass.

The step is ``jax.value_and_grad`` of the loss and the optimizer's update, traced like any other program. Phases come from the name
stack: what is transposed is ``backward``, what recomputes under ``jax.checkpoint`` is ``recompute``, the optimizer is ``update``.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from costmodel.errors import CostModelError
from costmodel.surface import option, said
from costmodel.trace import guard
from costmodel.trace import remat as rematerialisation
from costmodel.trace.pure import Pure, leaves
from costmodel.trace.requests import Request, Traced, once, request, spec, traced_type
from costmodel.trace.words import Origin

# The scope in which a training step updates its parameters.
UPDATE_SCOPE = "costmodel_update"


Targets = tuple[Any, ...] | Callable[[Any], tuple[Any, ...]]  # or what makes them from the abstract outputs


def training_request(model: Any, *inputs: Any, loss: Callable[..., Any], targets: Sequence[Any] | Callable[[Any], Any] = (),
                     optimizer: Any = None, microbatches: int = 1, compute_dtype: str | None = None, remat: str = "none",
                     method: Any = None, kwargs: Mapping[str, Any] | None = None, rngs: Sequence[str] = (),
                     params: int | None = None) -> Step:
    """The checked request that :func:`analyze_training` traces; the same arguments."""
    remat = rematerialisation.named(remat)
    if not callable(loss):
        raise CostModelError(f"loss={loss!r} is no function: give loss(outputs, *targets), e.g. lambda y: (y**2).mean()")
    if isinstance(microbatches, bool) or not hasattr(microbatches, "__index__") or operator.index(microbatches) < 1:
        raise CostModelError(f"{option('microbatches', microbatches, '--microbatch')} must be an integer of at least 1")
    if not callable(targets) and not isinstance(targets, Sequence):
        raise CostModelError("targets are a tuple, one for each argument of the loss after the first: targets=(target,)")
    computed = None if compute_dtype is None else _computed_in(compute_dtype)
    if optimizer is not None and not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise CostModelError(f"optimizer={optimizer!r} is no optax transformation; give one, e.g. optax.adamw(1e-3)")
    asked = request(model, *inputs, method=method, kwargs=kwargs, rngs=rngs, params=params)
    if asked.kind == "function" and params is None:
        raise CostModelError("say which argument of the function holds the parameters: "
                             + said("analyze_training(f, params, x, params=0, …)", "--params 0 for the first"))
    wanted = targets if callable(targets) else request(None, *targets).inputs
    return Step(replace(asked, mutable=_every_state(asked.kind)), wanted, loss, optimizer, operator.index(microbatches), computed,
                remat)


def _computed_in(dtype: Any) -> str:
    """A type to compute in, by its name. Raises CostModelError for one that has no gradients."""
    found = spec((), dtype).dtype
    given = option("compute_dtype", str(found))
    if not jnp.issubdtype(found, jnp.floating):
        raise CostModelError(f"{given}: gradients need a floating type, such as bfloat16; a forward pass in other types is priced "
                             "by " + said("analyze(…).reprice(dtype=…)", "`costmodel show --dtype`"))
    traced_type(found, given)
    return str(found)


def _every_state(kind: str) -> Any:
    """What a training call updates beside the parameters: batch statistics, random counters."""
    if kind == "linen":
        from flax.core import DenyList

        return DenyList("params")
    return kind in ("nnx", "haiku")


@dataclass(frozen=True)
class Step:
    """A training step as a request: it can be traced symbolically, and again at a point."""

    forward: Request
    wanted: Targets
    loss: Callable[..., Any]
    optimizer: Any
    microbatches: int
    compute_dtype: str | None
    remat: str = "none"

    @property
    def stated_targets(self) -> tuple[Any, ...]:
        """The targets that were given, as opposed to made from the outputs."""
        return () if callable(self.wanted) else self.wanted

    @property
    def targets(self) -> tuple[Any, ...]:
        """Abstract arrays that the loss is given; made once, since outputs that they are made from are traced for it."""
        wanted = self.wanted
        if not callable(wanted):
            return wanted
        form = self.forward.form
        made: tuple[Any, ...] = once(self, "_targets", lambda: wanted(jax.eval_shape(form.call, *form.arguments)[0]))
        return made

    @property
    def state(self) -> Any:
        """The optimizer's state, abstract arrays; empty without an optimizer. Made once, since its ``init`` is traced for it."""
        return once(self, "_state", lambda: {} if self.optimizer is None else jax.eval_shape(self.optimizer.init,
                                                                                           self.forward.form.params))

    @property
    def model(self) -> Any:
        """The model that is trained."""
        return self.forward.model

    @property
    def repeatable(self) -> bool:
        """Whether integers can stand for all its symbols."""
        return self.forward.repeatable

    def at(self, domain: Any, env: Mapping[Any, int]) -> Step:
        """The same step with integers for the symbolic dimensions."""
        return replace(self, forward=self.forward.at(domain, env), wanted=self._wanted(lambda asked: asked.at(domain, env)))

    def again(self, domain: Any, env: Mapping[Any, int]) -> Step:
        """As :meth:`at`, of a step that was traced; see :meth:`costmodel.trace.requests.Request.again`."""
        return replace(self.at(domain, env), forward=self.forward.again(domain, env))

    def where(self, values: Mapping[str, int]) -> Step:
        """The same step with integers for some of the internal variables, by name."""
        return replace(self, forward=self.forward.where(values), wanted=self._wanted(lambda asked: asked.where(values)))

    def _wanted(self, there: Callable[[Request], Request]) -> Targets:
        return self.wanted if callable(self.wanted) else there(Request(None, self.wanted)).inputs

    def run(self) -> Traced:
        """Trace. Raises TraceError with jax's reason and what to do next."""
        if (found := self.forward.believing(self._trace)) is not None:
            return found
        step = self if self.forward.variables is None else replace(self, forward=replace(self.forward, variables=None))
        return step.forward.guarded(step._trace)

    def _trace(self) -> Traced:
        form, state, targets = self.forward.form, self.state, self.targets
        jaxpr = jax.make_jaxpr(functools.partial(self._step, form))(*form.arguments, state, targets)
        roles = (*form.leaves, *leaves(Origin.OPTIMIZER, state), *leaves(Origin.INPUT, targets))
        return Traced(jaxpr, roles, form.root)

    def _step(self, form: Pure, params: Any, others: Any, rngs: Any, inputs: Any, kw: Any, state: Any, targets: Any) -> Any:
        call = rematerialisation.checkpointed(form.call, self.remat)

        def objective(params: Any, others: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
            if self.compute_dtype is not None:
                params, inputs = (_cast(tree, self.compute_dtype) for tree in (params, inputs))
            outputs, updated = call(params, others, rngs, inputs, kw)
            # Only collections that the call touches come back.
            return self._value(outputs, targets), {**others, **updated} if isinstance(others, dict) else updated

        gradient = jax.value_and_grad(objective, has_aux=True)
        if self.microbatches == 1:
            (value, others), grads = gradient(params, others, inputs, targets)
        else:
            value, others, grads = self._accumulate(gradient, params, others, inputs, targets)
        if self.optimizer is None:
            return value, others, grads
        import optax

        def value_fn(params: Any) -> Any:
            return objective(params, others, inputs, targets)[0]

        extra = _taken(self.optimizer.update, value=value, grad=grads, value_fn=value_fn)
        with jax.named_scope(UPDATE_SCOPE):
            updates, state = guard.call(self.optimizer.update, grads, state, params, **extra)
            return value, others, optax.apply_updates(params, updates), state

    def _value(self, outputs: Any, targets: Any) -> Any:
        """The loss. Raises CostModelError where it takes another number of targets, or gives no number."""
        try:
            inspect.signature(self.loss).bind(outputs, *targets)
        except TypeError as error:
            where = said("targets=(…)", "--target")
            raise CostModelError(f"the loss {_name(self.loss)} is called with the outputs and {len(targets)} target"
                                 f"{'s' * (len(targets) != 1)}: {error}; give {where} for each argument after the first") from None
        except ValueError:  # a callable of C's says nothing
            pass
        value = guard.call(self.loss, outputs, *targets)
        if jnp.shape(value) if hasattr(value, "shape") else not isinstance(value, int | float):
            shape = f"an array of shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
            raise CostModelError(f"the loss {_name(self.loss)} gives {shape}, and a gradient is of one number: take its mean or "
                                 "sum")
        return value

    def _accumulate(self, gradient: Callable[..., Any], params: Any, others: Any, inputs: Any,
                    targets: Any) -> tuple[Any, Any, Any]:
        """Gradients of the microbatches, added up in a scan; their mean."""
        def split(x: Any) -> Any:
            given = option("microbatches", self.microbatches, "--microbatch")
            if not x.ndim:
                raise CostModelError(f"{given} splits the first dimension of every input and target, and one of them is a scalar")
            if isinstance(x.shape[0], int) and x.shape[0] % self.microbatches:
                raise CostModelError(f"{given} does not divide a batch of {x.shape[0]}, the first dimension of an input or target: "
                                     "choose a divisor of it, or make it a symbol")
            return x.reshape(self.microbatches, x.shape[0] // self.microbatches, *x.shape[1:])

        def add(carry: Any, batch: Any) -> tuple[Any, None]:
            total, others, grads = carry
            (value, others), new = gradient(params, others, *batch)
            with jax.named_scope(UPDATE_SCOPE):
                return (total + value, others, jax.tree.map(jnp.add, grads, new)), None

        start = (jnp.zeros(()), others, jax.tree.map(jnp.zeros_like, params))
        (value, others, grads), _ = jax.lax.scan(add, start, jax.tree.map(split, (inputs, targets)))
        with jax.named_scope(UPDATE_SCOPE):
            return value / self.microbatches, others, jax.tree.map(lambda g: g / self.microbatches, grads)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _taken(update: Callable[..., Any], **offered: Any) -> dict[str, Any]:
    """Those of the offered keyword arguments that an optimizer's update takes: ``optax.GradientTransformationExtraArgs`` passes on
    all of them, a plain transformation takes none."""
    kinds = {name: p.kind for name, p in inspect.signature(update).parameters.items()}
    if inspect.Parameter.VAR_KEYWORD in kinds.values():
        return offered
    return {name: value for name, value in offered.items() if name in kinds}


def _cast(tree: Any, dtype: str) -> Any:
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)

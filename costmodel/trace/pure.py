"""A model as a pure function of its parameters, its other state, random keys and inputs: one form for Linen, NNX and functions.

Initialisation is abstract: no array of the model's size is ever made. A Linen module is initialised under ``jax.eval_shape``, an
NNX module is split into its graph and its (abstract) state, and a plain function is taken as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError, TraceError
from costmodel.surface import option, said
from costmodel.trace import foreign, guard
from costmodel.trace.scopes import module_scopes
from costmodel.trace.words import Origin


class Asked(Protocol):
    """What a request says of the call that is wanted; see :class:`costmodel.trace.requests.Request`."""

    @property
    def model(self) -> Any: ...
    @property
    def kind(self) -> str: ...
    @property
    def inputs(self) -> tuple[Any, ...]: ...
    @property
    def method(self) -> Any: ...
    @property
    def rngs(self) -> tuple[str, ...]: ...
    @property
    def mutable(self) -> Any: ...
    @property
    def params(self) -> int | None: ...
    @property
    def kwargs(self) -> Mapping[str, Any]: ...
    @property
    def variables(self) -> Any: ...
    def split_kwargs(self) -> tuple[dict[str, Any], dict[str, Any]]: ...


@dataclass(frozen=True)
class Leaf:
    """One flat input of the traced program: its role (parameter, optimizer, buffer, rng, input) and its path."""

    role: Origin
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """The path as text: "layer1_0/conv2/kernel"."""
        return "/".join(self.path)


@dataclass(frozen=True)
class Pure:
    """``call(params, others, rngs, inputs, kw)`` -> (outputs, updated others), and abstract values of all its arguments.

    ``leaves`` tells the flat arguments apart, in order; ``root`` is the name that the root module has in name stacks ("": none).
    """

    call: Callable[..., tuple[Any, Any]]
    params: Any
    others: Any
    rngs: dict[str, Any]
    inputs: tuple[Any, ...]
    kw: dict[str, Any]
    leaves: tuple[Leaf, ...]
    root: str = ""

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All that ``call`` takes, in order."""
        return self.params, self.others, self.rngs, self.inputs, self.kw


def pure(request: Asked) -> Pure:
    """The pure form of a request's call. With ``mutable`` the state that the call updates is among its results."""
    with compat.initialisers_accept_symbolic_fans():  # where nothing is traced, too: partitions of what a module holds
        return _FORMS[request.kind](request)


def paths(tree: Any) -> list[tuple[str, ...]]:
    """The path of each leaf of a pytree, in order, as text. Haiku's keys are paths already, with a ``~`` where a module was made in
    another one's constructor: "mlp/~/linear_0" is linear_0 of mlp."""
    def names(keys: Any) -> Iterator[str]:
        for k in keys:
            text = str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k))))
            yield from (part for part in text.split("/") if part != "~")

    return [tuple(names(keys)) for keys, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def leaves(role: Origin, tree: Any) -> list[Leaf]:
    """One leaf of a role for each of a tree's."""
    return [Leaf(role, path) for path in paths(tree)]


def _linen(request: Asked) -> Pure:
    model, (kw, static) = request.model, request.split_kwargs()
    given_twice = {"rngs", "method", "mutable"} & set(request.kwargs)
    if given_twice:
        raise CostModelError(f"{', '.join(sorted(given_twice))} in kwargs is an argument of analyze itself")
    keys = {name: jax.eval_shape(lambda: jax.random.key(0)) for name in ("params", *request.rngs)}
    if request.variables is None:
        init = functools.partial(model.init, method=request.method, **static)
        variables = dict(jax.eval_shape(lambda keys, inputs, kw: init(keys, *inputs, **kw), keys, request.inputs, kw))
    else:
        variables = dict(request.variables)
    rngs = {name: keys[name] for name in request.rngs}
    params = variables.pop("params", {})
    mutable = list(request.mutable) if isinstance(request.mutable, tuple) else request.mutable

    def call(params: Any, others: Any, rngs: Any, inputs: Any, kw: Any) -> tuple[Any, Any]:
        result = model.apply({"params": params, **others}, *inputs, rngs=rngs or None, method=request.method, mutable=mutable,
                             **static, **kw)
        return result if mutable else (result, {})

    # A collection is no module: its name is not part of the path.
    buffers = [Leaf(Origin.BUFFER, path[1:]) for path in paths(variables)]
    told = [*leaves(Origin.PARAMETER, params), *buffers, *leaves(Origin.RNG, rngs),
            *leaves(Origin.INPUT, request.inputs), *leaves(Origin.INPUT, kw)]
    return Pure(call, params, variables, rngs, request.inputs, kw, tuple(told), type(model).__name__)


def _nnx(request: Asked) -> Pure:
    from flax import nnx

    kw, static = request.split_kwargs()
    graph, params, others = nnx.split(request.model, nnx.Param, ...)
    params, others = (jax.tree.map(_abstract, part) for part in (params, others))

    def call(params: Any, others: Any, rngs: Any, inputs: Any, kw: Any) -> tuple[Any, Any]:
        # Fresh variables: those of the state belong to the trace outside, and the call may update them.
        model = nnx.merge(graph, params, others, copy=True)
        run = model if request.method is None else _method(model, request.method)
        with module_scopes(model):
            outputs = guard.call(run, *inputs, **static, **kw)
        return outputs, nnx.split(model, nnx.Param, ...)[2] if request.mutable else {}

    told = [Leaf(Origin.PARAMETER, tuple(map(str, path))) for path, _ in nnx.to_flat_state(params)]
    for path, variable in nnx.to_flat_state(others):
        kind = variable.type if isinstance(getattr(variable, "type", None), type) else type(variable)
        told.append(Leaf(Origin.RNG if issubclass(kind, nnx.RngState) else Origin.BUFFER, tuple(map(str, path))))
    return Pure(call, params, others, {}, request.inputs, kw,
                (*told, *leaves(Origin.INPUT, request.inputs), *leaves(Origin.INPUT, kw)))


def _abstract(x: Any) -> jax.ShapeDtypeStruct:
    """An array of the state, or a Python number that a variable holds."""
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x))


def _method(model: Any, method: Any) -> Callable[..., Any]:
    if not isinstance(method, str):
        return functools.partial(method, model)
    if not callable(getattr(model, method, None)):
        raise TraceError(f"{type(model).__name__} has no method {method!r}")
    return getattr(model, method)


def _equinox(request: Asked) -> Pure:
    """Its trained arrays are the parameters, its other arrays are buffers, and everything else is fixed."""
    if request.rngs or request.mutable:
        raise CostModelError(f"{option('rngs', flag='--rng')} and {option('mutable')} are for Flax modules; an Equinox module "
                             "takes keys and state as arguments")
    kw, static = request.split_kwargs()
    trained, rest = foreign.split(request.model, foreign.is_trained)
    others, fixed = foreign.split(rest, foreign.is_array)
    params, others = (jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), part) for part in (trained, others))

    def call(params: Any, others: Any, rngs: Any, inputs: Any, kw: Any) -> tuple[Any, Any]:
        model = foreign.joined(params, others, fixed)
        run = model if request.method is None else _method(model, request.method)
        with module_scopes(model):
            return guard.call(run, *inputs, **static, **kw), {}

    return Pure(call, params, others, {}, request.inputs, kw,
                (*leaves(Origin.PARAMETER, params), *leaves(Origin.BUFFER, others), *leaves(Origin.INPUT, request.inputs),
                 *leaves(Origin.INPUT, kw)))


def _haiku(request: Asked) -> Pure:
    """``init`` and ``apply`` of a transformed function, with state or without; it has one random stream, of whatever name."""
    if request.method is not None:
        raise CostModelError("method= is for modules; transform the function that you want to analyse")
    (init, apply), (kw, static) = request.model, request.split_kwargs()
    key = jax.eval_shape(lambda: jax.random.key(0))
    made = jax.eval_shape(lambda key, inputs, kw: init(key, *inputs, **static, **kw), key, request.inputs, kw)
    stateful = isinstance(made, tuple)
    params, state = made if stateful else (made, {})
    rngs = dict.fromkeys(request.rngs, key)

    def call(params: Any, state: Any, rngs: Any, inputs: Any, kw: Any) -> tuple[Any, Any]:
        first = next(iter(rngs.values()), None)
        result = guard.call(apply, params, *((state,) if stateful else ()), first, *inputs, **static, **kw)
        outputs, updated = result if stateful else (result, {})
        return outputs, updated if request.mutable else {}

    return Pure(call, params, state, rngs, request.inputs, kw,
                (*leaves(Origin.PARAMETER, params), *leaves(Origin.BUFFER, state), *leaves(Origin.RNG, rngs),
                 *leaves(Origin.INPUT, request.inputs), *leaves(Origin.INPUT, kw)))


def _function(request: Asked) -> Pure:
    if request.method is not None or request.rngs or request.mutable:
        raise CostModelError(said("method=, rngs= and mutable=", "--rng and --mutable")
                             + " are for Flax modules; bind them in the function instead")
    kw, static = request.split_kwargs()
    position = request.params
    params = () if position is None else request.inputs[position]
    inputs = tuple(x for i, x in enumerate(request.inputs) if i != position)

    def call(params: Any, others: Any, rngs: Any, inputs: Any, kw: Any) -> tuple[Any, Any]:
        given: Sequence[Any] = inputs if position is None else (*inputs[:position], params, *inputs[position:])
        with module_scopes():
            outputs = guard.call(request.model, *given, **static, **kw)
        if foreign.is_nnx(outputs):
            raise CostModelError(f"{getattr(request.model, '__name__', 'it')} returns an NNX module, and is no model itself: "
                                 + said("give cm.abstract(lambda: …) of it", "give a function without parameters that returns it"))
        return outputs, {}

    # An input is named by its place among the function's arguments.
    data = [Leaf(Origin.INPUT, (str(i), *path)) for i, x in enumerate(request.inputs) if i != position for path in paths(x)]
    return Pure(call, params, {}, {}, inputs, kw, (*leaves(Origin.PARAMETER, params), *data, *leaves(Origin.INPUT, kw)))


_FORMS = {"linen": _linen, "nnx": _nnx, "equinox": _equinox, "haiku": _haiku, "function": _function}

"""A model as a pure function of its parameters, its other state, random keys and inputs: one form for Linen, NNX and functions.

Initialisation is abstract: no array of the model's size is ever made. A Linen module is initialised under ``jax.eval_shape``, an
NNX module is split into its graph and its (abstract) state, and a plain function is taken as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax

from costmodel.errors import CostModelError
from costmodel.trace.scopes import module_scopes


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
    def split_kwargs(self) -> tuple[dict[str, Any], dict[str, Any]]: ...


@dataclass(frozen=True)
class Leaf:
    """One flat input of the traced program: its role (parameter, optimizer, buffer, rng, input) and its path."""

    role: str
    path: tuple[str, ...]

    @property
    def name(self) -> str:
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
        return self.params, self.others, self.rngs, self.inputs, self.kw


def pure(request: Asked) -> Pure:
    """The pure form of a request's call. With ``mutable`` the state that the call updates is among its results."""
    return {"linen": _linen, "nnx": _nnx, "function": _function}[request.kind](request)


def paths(tree: Any) -> list[tuple[str, ...]]:
    """The path of each leaf of a pytree, in order, as text."""
    return [tuple(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in keys)
            for keys, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def leaves(role: str, tree: Any) -> list[Leaf]:
    return [Leaf(role, path) for path in paths(tree)]


def _linen(request: Asked) -> Pure:
    model, (kw, static) = request.model, request.split_kwargs()
    keys = {name: jax.eval_shape(lambda: jax.random.key(0)) for name in ("params", *request.rngs)}
    init = functools.partial(model.init, method=request.method, **static)
    variables = dict(jax.eval_shape(lambda keys, inputs, kw: init(keys, *inputs, **kw), keys, request.inputs, kw))
    rngs = {name: keys[name] for name in request.rngs}
    params = variables.pop("params", {})
    mutable = list(request.mutable) if isinstance(request.mutable, tuple) else request.mutable

    def call(params: Any, others: Any, rngs: Any, inputs: Any, kw: Any) -> tuple[Any, Any]:
        result = model.apply({"params": params, **others}, *inputs, rngs=rngs or None, method=request.method, mutable=mutable,
                             **static, **kw)
        return result if mutable else (result, {})

    # A collection is no module: its name is not part of the path.
    buffers = [Leaf("buffer", path[1:]) for path in paths(variables)]
    told = [*leaves("parameter", params), *buffers, *leaves("rng", rngs), *leaves("input", request.inputs), *leaves("input", kw)]
    return Pure(call, params, variables, rngs, request.inputs, kw, tuple(told), type(model).__name__)


def _nnx(request: Asked) -> Pure:
    from flax import nnx

    kw, static = request.split_kwargs()
    graph, params, others = nnx.split(request.model, nnx.Param, ...)
    params, others = (jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), part) for part in (params, others))

    def call(params: Any, others: Any, rngs: Any, inputs: Any, kw: Any) -> tuple[Any, Any]:
        # Fresh variables: those of the state belong to the trace outside, and the call may update them.
        model = nnx.merge(graph, params, others, copy=True)
        run = model if request.method is None else _nnx_method(model, request.method)
        with module_scopes(model):
            outputs = run(*inputs, **static, **kw)
        return outputs, nnx.split(model, nnx.Param, ...)[2] if request.mutable else {}

    told = [Leaf("parameter", tuple(map(str, path))) for path, _ in nnx.to_flat_state(params)]
    for path, variable in nnx.to_flat_state(others):
        kind = variable.type if isinstance(getattr(variable, "type", None), type) else type(variable)
        told.append(Leaf("rng" if issubclass(kind, nnx.RngState) else "buffer", tuple(map(str, path))))
    return Pure(call, params, others, {}, request.inputs, kw,
                (*told, *leaves("input", request.inputs), *leaves("input", kw)))


def _nnx_method(model: Any, method: Any) -> Callable[..., Any]:
    return getattr(model, method) if isinstance(method, str) else functools.partial(method, model)


def _function(request: Asked) -> Pure:
    if request.method is not None or request.rngs or request.mutable:
        raise CostModelError("method=, rngs= and mutable= are for Flax modules; bind them in the function instead")
    kw, static = request.split_kwargs()
    position = request.params
    params = () if position is None else request.inputs[position]
    inputs = tuple(x for i, x in enumerate(request.inputs) if i != position)

    def call(params: Any, others: Any, rngs: Any, inputs: Any, kw: Any) -> tuple[Any, Any]:
        given: Sequence[Any] = inputs if position is None else (*inputs[:position], params, *inputs[position:])
        with module_scopes():
            return request.model(*given, **static, **kw), {}

    # An input is named by its place among the function's arguments.
    data = [Leaf("input", (str(i), *path)) for i, x in enumerate(request.inputs) if i != position for path in paths(x)]
    return Pure(call, params, {}, {}, inputs, kw, (*leaves("parameter", params), *data, *leaves("input", kw)))

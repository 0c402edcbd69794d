"""From a model to a closed jaxpr: what is a parameter, what is data, and which module each equation belongs to.

Initialisation is abstract: no array of the model's size is ever made. A Linen module is initialised under ``jax.eval_shape``, an
NNX module is split into its graph and its (abstract) state, and a plain function is traced as it is.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex_core

from costmodel import _jax_compat as compat
from costmodel.dims import Domain, internal
from costmodel.errors import CostModelError, TraceError
from costmodel.forms import evaluate


def spec(shape: Sequence[Any], dtype: Any = "float32") -> jax.ShapeDtypeStruct:
    """An abstract input: a shape of integers and symbolic dimensions, and a dtype by name.

    >>> from costmodel.dims import dims
    >>> spec((dims("n"), 3), "bfloat16")
    ShapeDtypeStruct(shape=(n, 3), dtype=bfloat16)
    """
    try:
        return jax.ShapeDtypeStruct(tuple(shape), jnp.dtype(dtype))
    except TypeError:
        raise CostModelError(f"{dtype!r} is not a dtype; use a numpy or jax name such as float32, bfloat16 or int8") from None


def abstract(build: Callable[[], Any]) -> Any:
    """An NNX module without arrays, symbolic widths allowed: ``abstract(lambda: nnx.Linear(c_i, c_o, rngs=nnx.Rngs(0)))``."""
    from flax import nnx

    with compat.initialisers_accept_symbolic_fans():
        return nnx.eval_shape(build)


@dataclass(frozen=True)
class Leaf:
    """One flat input of the traced program: its role (parameter, buffer, rng, input) and its path."""

    role: str
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        return "/".join(self.path)


@dataclass(frozen=True)
class Traced:
    """A closed jaxpr, a role for each of its inputs, and the name that the root module has in name stacks ("" for none)."""

    jaxpr: jex_core.ClosedJaxpr
    leaves: tuple[Leaf, ...]
    root: str


@dataclass(frozen=True)
class Request:
    """Everything needed to trace a model, symbolically or at a point, any number of times."""

    model: Any
    inputs: tuple[Any, ...]
    method: str | Callable[..., Any] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    rngs: tuple[str, ...] = ()
    mutable: bool | str | tuple[str, ...] = False
    params: int | None = None

    @property
    def kind(self) -> str:
        """linen, nnx or function."""
        from flax import linen

        if isinstance(self.model, linen.Module):
            return "linen"
        from flax import nnx

        if isinstance(self.model, nnx.Module):
            return "nnx"
        if isinstance(self.model, type) and issubclass(self.model, linen.Module | nnx.Module):
            raise CostModelError(f"{self.model.__name__} is a class; pass an instance, e.g. {self.model.__name__}(...)"
                                 + ("" if issubclass(self.model, linen.Module) else " or cm.abstract(lambda: ...)"))
        if not callable(self.model):
            raise CostModelError(f"{type(self.model).__name__} is neither a Flax module nor a function; nothing to trace")
        return "function"

    def run(self) -> Traced:
        """Trace. Raises TraceError with jax's reason and what to do next."""
        trace = {"linen": _trace_linen, "nnx": _trace_nnx, "function": _trace_function}[self.kind]
        try:
            with compat.initialisers_accept_symbolic_fans():  # also while it is applied: Linen checks shapes with them
                return trace(self)
        except CostModelError:
            raise
        except Exception as error:  # whatever jax or the model raises, the user gets its reason in one line
            raise TraceError(_reason(error, self)) from error

    def at(self, domain: Domain, env: Mapping[Any, int]) -> Request:
        """The same request with every symbolic dimension replaced by its integer, in inputs and in the model's attributes."""
        def concrete(dim: Any) -> Any:
            return evaluate(internal(dim), env) if compat.is_symbolic(dim) else dim

        def leaf(x: Any) -> Any:
            if compat.is_symbolic(x):
                return concrete(x)
            return jax.ShapeDtypeStruct(tuple(map(concrete, x.shape)), x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x

        return Request(_substitute_model(self.model, leaf), jax.tree.map(leaf, self.inputs), self.method,
                       jax.tree.map(leaf, dict(self.kwargs)), self.rngs, self.mutable, self.params)


def request(model: Any, *inputs: Any, method: Any = None, kwargs: Mapping[str, Any] | None = None, rngs: Sequence[str] = (),
            mutable: Any = False, params: int | None = None) -> Request:
    """A checked request; see :func:`costmodel.analyze` for the arguments."""
    if isinstance(rngs, str):
        rngs = (rngs,)
    mutable = tuple(mutable) if isinstance(mutable, list | set) else mutable
    if params is not None and not 0 <= params < len(inputs):
        raise CostModelError(f"params={params} is not an argument: {len(inputs)} inputs were given")
    return Request(model, tuple(_as_input(x) for x in inputs), method, dict(kwargs or {}), tuple(rngs), mutable, params)


def _as_input(x: Any) -> Any:
    """Specs and arrays to abstract arrays; a bare tuple of dimensions is one float32 array; pytrees leaf by leaf."""
    if isinstance(x, tuple | list) and x and all(isinstance(d, int) or compat.is_symbolic(d) for d in x):
        return spec(x)
    return jax.tree.map(_as_leaf, x)


def _as_leaf(x: Any) -> Any:
    if isinstance(x, jax.ShapeDtypeStruct):
        return x
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return jax.ShapeDtypeStruct(x.shape, x.dtype)
    if isinstance(x, bool | int | float | complex | np.generic):
        return jax.ShapeDtypeStruct((), jnp.result_type(x))
    raise CostModelError(f"input {x!r} is no array specification; use cm.spec(shape, dtype)")


def _is_abstract(x: Any) -> bool:
    return isinstance(x, jax.ShapeDtypeStruct) or (hasattr(x, "shape") and hasattr(x, "dtype"))


def _split_kwargs(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(traced, static): keyword arguments that hold arrays or specs are traced, all others are Python values of the call."""
    traced = {k: v for k, v in kwargs.items() if any(_is_abstract(leaf) for leaf in jax.tree.leaves(v))}
    return jax.tree.map(_as_leaf, traced), {k: v for k, v in kwargs.items() if k not in traced}


def _key() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))


def _data_leaves(tree: Any) -> list[Leaf]:
    return [Leaf("input", _path(path)) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _path(keys: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in keys)


def _trace_linen(request: Request) -> Traced:
    model, traced_kwargs, static = request.model, *_split_kwargs(request.kwargs)
    keys = {name: _key() for name in ("params", *request.rngs)}
    init = functools.partial(model.init, method=request.method, **static)
    variables = jax.eval_shape(lambda keys, inputs, kw: init(keys, *inputs, **kw), keys, request.inputs, traced_kwargs)
    rngs = {name: keys[name] for name in request.rngs}

    def apply(variables, rngs, inputs, kw):
        return model.apply(variables, *inputs, rngs=rngs or None, method=request.method,
                           mutable=list(request.mutable) if isinstance(request.mutable, tuple) else request.mutable,
                           **static, **kw)

    arguments = (variables, rngs, request.inputs, traced_kwargs)
    jaxpr = jax.make_jaxpr(apply)(*arguments)
    leaves = []
    for path, _ in jax.tree_util.tree_flatten_with_path(variables)[0]:
        collection, *rest = _path(path)
        leaves.append(Leaf("parameter" if collection == "params" else "buffer", tuple(rest)))
    leaves += [Leaf("rng", (name,)) for name in sorted(rngs)]
    return Traced(jaxpr, (*leaves, *_data_leaves(request.inputs), *_data_leaves(traced_kwargs)), type(model).__name__)


def _trace_nnx(request: Request) -> Traced:
    from flax import nnx

    graph, state = nnx.split(request.model)
    state = jax.tree.map(_as_leaf, state)
    traced_kwargs, static = _split_kwargs(request.kwargs)

    def apply(state, inputs, kw):
        model = nnx.merge(graph, state)
        call = model if request.method is None else _nnx_method(model, request.method)
        with _nnx_scopes(model):
            outputs = call(*inputs, **static, **kw)
        return (outputs, nnx.state(model)) if request.mutable else outputs

    arguments = (state, request.inputs, traced_kwargs)
    jaxpr = jax.make_jaxpr(apply)(*arguments)
    leaves = []
    for path, variable in nnx.to_flat_state(state):
        kind = variable.type if hasattr(variable, "type") and isinstance(variable.type, type) else type(variable)
        role = "parameter" if issubclass(kind, nnx.Param) else "rng" if issubclass(kind, nnx.RngState) else "buffer"
        leaves.append(Leaf(role, tuple(map(str, path))))
    return Traced(jaxpr, (*leaves, *_data_leaves(request.inputs), *_data_leaves(traced_kwargs)), "")


def _nnx_method(model: Any, method: Any) -> Callable[..., Any]:
    return getattr(model, method) if isinstance(method, str) else functools.partial(method, model)


@contextlib.contextmanager
def _nnx_scopes(model: Any) -> Iterator[None]:
    """NNX leaves name stacks empty: while tracing, a call of each module of ``model`` opens a scope of its path below its
    caller. The classes' ``__call__`` are put back whatever happens."""
    from flax import nnx

    paths = {id(node): tuple(map(str, path)) for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Module)}
    classes = {type(node) for _, node in nnx.iter_graph(model) if isinstance(node, nnx.Module)}
    # A class that inherits __call__ is wrapped through the class that defines it.
    owners = {owner for cls in classes for owner in cls.__mro__ if "__call__" in vars(owner) and owner is not object}
    originals: dict[Any, Any] = {owner: vars(owner)["__call__"] for owner in owners}
    active: list[tuple[int, tuple[str, ...]]] = []

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(self, *args, **kwargs):
            path = paths.get(id(self))
            if path is None or (active and active[-1][0] == id(self)):  # a module made inside, or super().__call__
                return original(self, *args, **kwargs)
            above = active[-1][1] if active else ()
            below = path[len(above):] if path[:len(above)] == above else path
            active.append((id(self), path))
            try:
                with contextlib.ExitStack() as scopes:
                    if below:
                        scopes.enter_context(jax.named_scope("/".join(below)))
                    return original(self, *args, **kwargs)
            finally:
                active.pop()
        return call

    try:
        for owner, original in originals.items():
            owner.__call__ = wrap(original)
        yield
    finally:
        for owner, original in originals.items():
            owner.__call__ = original


def _trace_function(request: Request) -> Traced:
    traced_kwargs, static = _split_kwargs(request.kwargs)
    if request.method is not None or request.rngs or request.mutable:
        raise CostModelError("method=, rngs= and mutable= are for Flax modules; bind them in the function instead")

    def call(inputs, kw):
        return request.model(*inputs, **static, **kw)

    jaxpr = jax.make_jaxpr(call)(request.inputs, traced_kwargs)
    leaves = []
    for position, tree in enumerate(request.inputs):
        role = "parameter" if position == request.params else "input"
        for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]:
            prefix = () if role == "parameter" else (str(position),)
            leaves.append(Leaf(role, (*prefix, *_path(path))))
    leaves += _data_leaves(traced_kwargs)
    return Traced(jaxpr, tuple(leaves), "")


def _substitute_model(model: Any, leaf: Callable[[Any], Any]) -> Any:
    """``model`` with symbolic attributes replaced: a Linen module field by field, an NNX module node by node on a copy."""
    from flax import linen, nnx

    def value(x: Any) -> Any:
        if isinstance(x, linen.Module):
            fields = {name: getattr(x, name) for name in x.__dataclass_fields__ if name not in ("parent", "name")}
            changed = {name: value(v) for name, v in fields.items()}
            return x.clone(**changed) if any(changed[k] is not fields[k] for k in fields) else x
        if isinstance(x, functools.partial):
            return functools.partial(value(x.func), *map(value, x.args), **{k: value(v) for k, v in x.keywords.items()})
        if isinstance(x, tuple | list) and any(compat.is_symbolic(i) or isinstance(i, linen.Module | functools.partial) for i in x):
            return type(x)(value(i) for i in x)
        return leaf(x)

    if not isinstance(model, nnx.Module):
        return value(model)
    graph, state = nnx.split(model)
    copy = nnx.merge(graph, jax.tree.map(lambda x: leaf(_as_leaf(x)), state))
    for _, node in nnx.iter_graph(copy):
        if isinstance(node, nnx.Module):
            for name, attribute in list(vars(node).items()):
                if compat.is_symbolic(attribute) or (isinstance(attribute, tuple)
                                                     and any(map(compat.is_symbolic, attribute))):
                    setattr(node, name, value(attribute))
    return copy


# jax's errors for data that is used as a Python bool, int or numpy array.
_VALUE_NEEDED = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError, jax.errors.TracerIntegerConversionError)


def _reason(error: Exception, request: Request) -> str:
    """jax's message cut to its first sentence, with the way out that applies."""
    from costmodel.dims import user_text

    text = user_text(re.sub(r"function call at \S+ ", "model ", " ".join(str(error).split())))
    name = type(request.model).__name__ if request.kind != "function" else getattr(request.model, "__name__", "function")
    first = re.split(r" This error| The (?:error|problem) ", text)[0].split(". ", 1)[0].rstrip(".")[:300]
    hint = ""
    if isinstance(error, _VALUE_NEEDED):
        hint = "; the model makes a Python value of its data, which no abstract trace has: use jnp.where or lax.cond"
    elif "_DimExpr" in text:
        hint = "; that place needs an integer: give the dimension as one"
    elif isinstance(error, compat.InconclusiveDimensionOperation) or "nconclusive" in text or "divisib" in text:
        hint = "; declare more about the dimension, e.g. cm.dims('h', multiple_of=32) or min=..., or give it as an integer"
    elif "Shapes must be 1D sequences of concrete values" in text or "concrete" in text:
        hint = "; that place needs an integer: give the dimension as one"
    return f"{name} does not trace with these inputs: {type(error).__name__}: {first}{hint}"



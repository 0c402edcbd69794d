"""From a model and its abstract inputs to a closed jaxpr: what was asked, checked, and how to ask it again at a point."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex_core
from sympy import Expr

from costmodel import _flax_compat as flax_compat
from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError, IndivisibleShards, TraceError
from costmodel.surface import brief, option, said
from costmodel.symbolic.domain import Domain, variables_in
from costmodel.symbolic.forms import evaluate, symbol
from costmodel.symbolic.translate import internal
from costmodel.trace import foreign, guard, refusals
from costmodel.trace.pure import Leaf, Pure, pure
from costmodel.trace.undecided import Order, noted


def spec(shape: Sequence[Any], dtype: Any = "float32") -> jax.ShapeDtypeStruct:
    """An abstract input: a shape of integers and symbolic dimensions, and a dtype by name.

    >>> from costmodel.symbolic.dimensions import dims
    >>> spec((dims("n"), 3), "bfloat16")
    ShapeDtypeStruct(shape=(n, 3), dtype=bfloat16)
    """
    if isinstance(shape, str) or not isinstance(shape, Iterable) or not all(
            compat.is_symbolic(d) or (hasattr(d, "__index__") and d >= 0) for d in shape):
        raise CostModelError(f"{shape!r} is no shape: give a tuple of integers and dimensions, as (n, 3)")
    try:
        if dtype is None:  # which numpy takes for float64
            raise TypeError
        return jax.ShapeDtypeStruct(tuple(shape), jnp.dtype(dtype))
    except (TypeError, ValueError):
        raise CostModelError(f"{brief(dtype)} is not a dtype; use a numpy or jax name such as float32, bfloat16 or int8") from None


def traced_type(dtype: Any, what: str) -> None:
    """Raises CostModelError for a type in whose place jax, as it is set, would trace a narrower one."""
    if jnp.issubdtype(dtype, jax.dtypes.extended) or (found := jax.dtypes.canonicalize_dtype(dtype)) == dtype:
        return
    raise CostModelError(f"{what}: jax would trace {found}, since its 64-bit types are off: "
                         + said("call jax.config.update('jax_enable_x64', True) first", "set JAX_ENABLE_X64=1 before the command")
                         + f", or ask for {found}")


def abstract(build: Callable[[], Any]) -> Any:
    """An NNX module without arrays, symbolic widths allowed: ``abstract(lambda: nnx.Linear(c_i, c_o, rngs=nnx.Rngs(0)))``."""
    from flax import nnx

    if not callable(build):
        raise CostModelError(f"{brief(build)} is no function that makes a module: give abstract(lambda: nnx.Linear(...))")
    with compat.initialisers_accept_symbolic_fans():
        return nnx.eval_shape(build)


@dataclass(frozen=True)
class Traced:
    """A closed jaxpr, a role for each of its inputs, and the name that the root module has in name stacks ("" for none)."""

    jaxpr: jex_core.ClosedJaxpr
    leaves: tuple[Leaf, ...]
    root: str
    orders: tuple[Order, ...] = ()  # of einsums, which jax chose by sizes that stand for the symbols
    asked: tuple[Expr, ...] = ()  # differences that were asked to be zero, and silently were not


class Traceable(Protocol):
    """What can be traced, again at a point: a request, or a training step."""

    @property
    def model(self) -> Any: ...

    def at(self, domain: Domain, env: Mapping[Any, int]) -> Traceable: ...

    def again(self, domain: Domain, env: Mapping[Any, int]) -> Traceable: ...

    def where(self, values: Mapping[str, int]) -> Traceable: ...

    def run(self) -> Traced: ...

    @property
    def repeatable(self) -> bool: ...


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
    variables: Any = field(default=None, compare=False, repr=False)  # of a Linen module, believed to be what it is initialised with
    shapes: flax_compat.Shapes = field(default_factory=dict, compare=False, repr=False)  # that its initialisers gave

    @property
    def kind(self) -> str:
        """linen, nnx, equinox, haiku or function."""
        from flax import linen

        if isinstance(self.model, linen.Module):
            return "linen"
        if foreign.is_nnx(self.model):
            return "nnx"
        if foreign.is_equinox(self.model):
            return "equinox"
        if foreign.is_haiku(self.model):
            return "haiku"
        if isinstance(self.model, type):
            self._refuse_class()
        if not callable(self.model):
            raise CostModelError(f"{type(self.model).__name__} is neither a Flax module nor a function; nothing to trace")
        return "function"

    def _refuse_class(self) -> None:
        from flax import linen

        ways = {linen.Module: "", foreign.nnx_module(): " or cm.abstract(lambda: ...)",
                foreign.equinox_module(): f" or equinox.filter_eval_shape({self.model.__name__}, ...)"}
        for base, way in ways.items():
            if base is not None and issubclass(self.model, base):
                raise CostModelError(f"{self.model.__name__} is a class; pass an instance, e.g. {self.model.__name__}(...){way}")

    @property
    def form(self) -> Pure:
        """The call as a pure function; made once, since a module is initialised for it."""
        made: Pure = once(self, "_form", lambda: pure(self))
        return made

    def run(self) -> Traced:
        """Trace. Raises TraceError with jax's reason and what to do next."""
        if (found := self.believing(self._trace)) is not None:
            return found
        asked = self if self.variables is None else replace(self, variables=None)
        return asked.guarded(asked._trace)

    def believing(self, trace: Callable[[], Traced]) -> Traced | None:
        """``trace()`` with the variables that it is believed to have; None where there are none, or where it is not shown that
        initialisation would have given just these."""
        if self.variables is None:
            return None
        with flax_compat.noting_what_is_read() as read, contextlib.suppress(TraceError):
            found = self.guarded(trace)
            if read.all_of(self.variables):
                return found
        return None

    def _trace(self) -> Traced:
        form = self.form

        def program(*arguments: Any) -> Any:
            outputs, others = form.call(*arguments)
            return (outputs, others) if self.mutable else outputs

        return Traced(jax.make_jaxpr(program)(*form.arguments), form.leaves, form.root)

    @property
    def repeatable(self) -> bool:
        """Whether integers can stand for all its symbols: not for those that a function has from around it."""
        return not _closes_over_symbols(self.model)

    def guarded(self, trace: Callable[[], Traced]) -> Traced:
        """``trace()``, with whatever jax or the model raises turned into one line for the user. What costmodel itself raises by
        mistake is left as it is."""
        try:
            # Also while it is applied: Linen checks shapes with initialisers.
            with guard.guarded(), compat.initialisers_accept_symbolic_fans(), \
                    flax_compat.initialisers_run_once(self.shapes):
                with compat.empty_slices_are_of_their_operand(), noted() as found:
                    return replace(trace(), orders=tuple(found.orders.values()), asked=tuple(found.differences))
        except guard.UsersMistake as mistake:
            # Two dimensions of one name never fit together; jax's message, in their own names, would not say why.
            Domain.of(*(symbol(v.name) for v in variables_in(refusals.first_sentence(mistake.error))), *self._sizes())
            name = type(self.model).__name__ if self.kind != "function" else getattr(self.model, "__name__", "function")
            kind = IndivisibleShards if compat.is_indivisible(mistake.error) else TraceError
            raise kind(refusals.reason(mistake, name)) from mistake.error

    def _sizes(self) -> Iterator[Expr]:
        """The symbolic dimensions of its inputs, as internal expressions."""
        for leaf in jax.tree.leaves((self.inputs, dict(self.kwargs))):
            yield from (internal(dim) for dim in getattr(leaf, "shape", ()) if compat.is_symbolic(dim))

    def split_kwargs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(traced, static): keyword arguments that hold arrays or specs are traced, all others are Python values of the call."""
        traced = {k: v for k, v in self.kwargs.items() if any(_is_abstract(leaf) for leaf in jax.tree.leaves(v))}
        return jax.tree.map(_as_leaf, traced), {k: v for k, v in self.kwargs.items() if k not in traced}

    def at(self, domain: Domain, env: Mapping[Any, int]) -> Request:
        """The same request with every symbolic dimension replaced by its integer, in inputs and in the model's attributes."""
        return self._with(lambda dim: evaluate(internal(dim), env))

    def again(self, domain: Domain, env: Mapping[Any, int]) -> Request:
        """As :meth:`at`, of a model that was traced: initialisation, half of the time, is left out where the trace shows that its
        variables are those of this request, with these sizes."""
        there = self.at(domain, env)
        if self.kind != "linen" or "_form" not in self.__dict__:
            return there
        variables = jax.tree.map(_sized(lambda dim: evaluate(internal(dim), env)), {"params": self.form.params, **self.form.others})
        return replace(there, variables=variables, shapes=self.shapes)

    def where(self, values: Mapping[str, int]) -> Request:
        """The same request with integers for some of the internal variables, by name."""
        return self._with(lambda dim: compat.where(dim, dict(values)))

    def _with(self, instead: Callable[[Any], Any]) -> Request:
        leaf = _sized(instead)
        return Request(_substitute_model(self.model, leaf), jax.tree.map(leaf, self.inputs), self.method,
                       jax.tree.map(leaf, dict(self.kwargs)), self.rngs, self.mutable, self.params)


def _sized(instead: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Of a leaf the same leaf with something else ``instead`` of each symbolic dimension."""
    def dimension(x: Any) -> Any:
        return instead(x) if compat.is_symbolic(x) else x

    def leaf(x: Any) -> Any:
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(tuple(map(dimension, x.shape)), x.dtype)
        return dimension(x)

    return leaf


def once(owner: Any, name: str, make: Callable[[], Any]) -> Any:
    """What ``make`` gives, kept in its owner. Without the lock of a ``cached_property``, which all owners share: another thread may
    trace meanwhile."""
    if name not in owner.__dict__:
        owner.__dict__[name] = make()
    return owner.__dict__[name]


def _closes_over_symbols(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    names = [function.__globals__[name] for name in code.co_names if name in function.__globals__]
    around = [*cells, *names, *(function.__defaults__ or ())]
    return any(compat.is_symbolic(v) or (isinstance(v, tuple) and any(map(compat.is_symbolic, v))) for v in around)


def request(model: Any, *inputs: Any, method: Any = None, kwargs: Mapping[str, Any] | None = None, rngs: Sequence[str] = (),
            mutable: Any = False, params: int | None = None) -> Request:
    """A checked request; see :func:`costmodel.analyze` for the arguments."""
    if isinstance(rngs, str):
        rngs = (rngs,)
    mutable = tuple(mutable) if isinstance(mutable, list | set) else mutable
    if params is not None and (isinstance(params, bool) or not hasattr(params, "__index__")):
        raise CostModelError(f"{option('params')} {brief(params)}: give the number of the argument that holds the parameters")
    if not isinstance(kwargs or {}, Mapping) or not isinstance(rngs, Sequence | Set):
        raise CostModelError(f"{option('kwargs')} {brief(kwargs)} or {option('rngs')} {brief(rngs)}: give arguments by name, and "
                             "names of streams")
    if params is not None and not 0 <= params < len(inputs):
        raise CostModelError(f"{option('params', params)} is not an argument: {len(inputs)} inputs were given")
    _refuse_uncallable(model, method)
    asked = Request(model, tuple(_as_input(x) for x in inputs), method, dict(kwargs or {}), tuple(rngs), mutable, params)
    if params is not None and asked.kind != "function":
        raise CostModelError(f"{option('params', params)} is of plain functions: {type(model).__name__} has parameters of its own")
    return asked


def _refuse_uncallable(model: Any, method: Any) -> None:
    """Of flax.linen.Module itself most attributes end in an endless recursion."""
    from flax import linen

    if type(model) in (linen.Module, foreign.nnx_module()) or (
            (isinstance(model, linen.Module) or foreign.is_nnx(model)) and method is None and not callable(model)):
        raise CostModelError(f"{type(model).__name__} has no __call__: pass a module that has"
                             + said(", or name a method with method=…", ""))


def _as_input(x: Any) -> Any:
    """Specs and arrays to abstract arrays; a bare tuple of dimensions is one float32 array; pytrees leaf by leaf."""
    if isinstance(x, tuple | list) and x and all(isinstance(d, int) or compat.is_symbolic(d) for d in x):
        return spec(x)
    if foreign.is_equinox(x) and not all(map(_is_abstract, jax.tree.leaves(x))):
        raise CostModelError(f"{type(x).__name__} holds more than arrays: analyse the module itself, with method=lambda model, x: "
                             "... for a function of it, or give its arrays alone: arrays, rest = equinox.partition(model, "
                             "equinox.is_array)")
    return jax.tree.map(_as_leaf, x)


def _as_leaf(x: Any) -> Any:
    if isinstance(x, jax.ShapeDtypeStruct):
        traced_type(x.dtype, f"input {x.dtype.name}[{','.join(map(str, x.shape))}]")
        return x
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return jax.ShapeDtypeStruct(x.shape, x.dtype)
    if isinstance(x, bool | int | float | complex | np.generic):
        return jax.ShapeDtypeStruct((), jnp.result_type(x))
    raise CostModelError(f"input {x!r} is no array specification; use "
                         + said("cm.spec(shape, dtype)", "jax.ShapeDtypeStruct(shape, dtype)"))


def _is_abstract(x: Any) -> bool:
    return isinstance(x, jax.ShapeDtypeStruct) or (hasattr(x, "shape") and hasattr(x, "dtype"))


def _substitute_model(model: Any, leaf: Callable[[Any], Any]) -> Any:
    """``model`` with symbolic attributes replaced: a Linen module field by field, an NNX module node by node on a copy."""
    from flax import linen

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

    if foreign.is_equinox(model):
        return jax.tree.map(leaf, model)
    if not foreign.is_nnx(model):
        return value(model)
    from flax import nnx

    graph, state = nnx.split(model)
    copy = nnx.merge(graph, jax.tree.map(lambda x: leaf(_as_leaf(x)), state))
    for _, node in nnx.iter_graph(copy):
        if isinstance(node, nnx.Module):
            for name, attribute in list(vars(node).items()):
                if compat.is_symbolic(attribute) or (isinstance(attribute, tuple)
                                                     and any(map(compat.is_symbolic, attribute))):
                    setattr(node, name, value(attribute))
    return copy

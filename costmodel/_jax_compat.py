"""The only file that touches private jax, or changes what jax does (:mod:`costmodel._flax_compat`: what Flax does). Tested on the
oldest and the newest supported version.

Everything here is small and has one caller; what jax makes public moves out.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import threading
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax import export
from jax._src import config as _config
from jax._src import core as _core
from jax._src import source_info_util as _source_info_util
from jax._src import traceback_util as _traceback_util
from jax._src.export import shape_poly as _shape_poly
from jax._src.interpreters import partial_eval as _partial_eval

from costmodel.errors import DomainError

SymbolicDim = _shape_poly._DimExpr
InconclusiveDimensionOperation = _core.InconclusiveDimensionOperation

# One scope for every symbolic dimension of the process: jax refuses to mix scopes, and users mix dimensions.
SCOPE = export.SymbolicScope()


def configuration() -> dict[str, str]:
    """Every setting of jax as text, as it is in this thread now."""
    return {name: repr(holder.value) for name, holder in sorted(_config.config._value_holders.items())}


def is_symbolic(dim: Any) -> bool:
    return isinstance(dim, SymbolicDim)


def variable(name: str) -> Any:
    """The symbolic dimension ``name`` in the shared scope."""
    return export.symbolic_shape(name, scope=SCOPE)[0]


def constrain(greater: Any, smaller: Any, told: str = "") -> None:
    """Tell the shared scope that ``greater >= smaller``; ``told``: as its user wrote it. jax accepts constraints only when a scope
    is made, as text; ours lives as long as the process, so the constraint is added through the same method that its constructor
    calls. One that contradicts others is not kept: jax would trace nothing any more.

    Raises DomainError for one that cannot hold.
    """
    text = f"{greater} >= {smaller}"
    before = list(SCOPE._explicit_constraints)

    def decide_anew() -> None:
        SCOPE._decision_initial_state = None
        SCOPE._clear_caches()

    try:
        SCOPE._parse_and_process_explicit_constraint(text)
        decide_anew()
        _shape_poly._geq_decision(greater, smaller, lambda: text)  # puts all constraints together
    except InconclusiveDimensionOperation:
        pass  # kept, and too involved for jax to see it again
    except (ValueError, OverflowError) as error:
        SCOPE._explicit_constraints[:] = before
        decide_anew()
        why = "is of numbers too large for jax" if isinstance(error, OverflowError) else "cannot hold beside the others"
        raise DomainError(f"the constraint {(told or text)[:100]!r} {why}") from None


def where(dim: Any, values: dict[str, int]) -> Any:
    """A dimension with integers for some of its variables."""
    found = dim._evaluate({name: values.get(name, variable(name)) for name in dim._get_vars()})
    return found if is_symbolic(found) else int(found)


def dim_terms(dim: Any) -> list[tuple[int, list[tuple[Any, int]]]]:
    """A dimension as a sum: [(coefficient, [(factor, exponent), …]), …]; a factor is a variable name or
    (operation, *operands) with operation one of floordiv, mod, max, min."""
    terms = []
    for term, coefficient in dim._sorted_terms:
        factors = []
        for factor, exponent in term._factors:
            name = factor.to_var()
            factors.append((name if name is not None else (factor.operation, *factor.operands), exponent))
        terms.append((coefficient, factors))
    return terms


def name_stack(equation: Any) -> tuple[tuple[str, bool], ...]:
    """(name, is_transform) entries of an equation's name stack, outermost first."""
    return tuple((entry.name, type(entry).__name__ == "Transform") for entry in equation.source_info.name_stack.stack)


def source(equation: Any) -> Any:
    """The traceback of the call that an equation stems from; what differentiation made has that of what it differentiated."""
    return equation.source_info.traceback


def user_frames(traceback: Any) -> tuple[Hashable, ...]:
    """The places outside jax in a traceback, innermost first; what stands in for functions of jax's is no such place."""
    return tuple(f for f in _source_info_util.user_frames(traceback) if f.file_name != __file__) if traceback else ()


def convolution_call(traceback: Any) -> str:
    """The function of jax's that a traceback called to convolve: "conv_transpose", "conv_general_dilated", or "" for neither."""
    called = set(traceback.raw_frames()[0]) if traceback else set()
    found = (f for f in (jax.lax.conv_transpose, jax.lax.conv_general_dilated) if inspect.unwrap(f).__code__ in called)
    return next((f.__name__ for f in found), "")


def is_literal(atom: Any) -> bool:
    return isinstance(atom, jax.extend.core.Literal)


# -- functions of a library that do something else while we trace ------------------------------------------------------------


class _Mine(threading.local):
    """What this thread asked for; ``equality`` and ``order`` are told what jax decides without knowing, ``answer`` decides instead;
    ``size`` is what symbolic dimensions are taken for in orders of einsums, ``axes`` are the sizes that axes of meshes have."""

    symbolic_fans = False
    answer: Any = None
    equality: Callable[[Any, Any], None] | None = None
    order: Callable[[Sequence[Any], Mapping[str, Any]], None] | None = None
    size: Callable[[Any], int] | None = None
    axes: Mapping[str, int] | None = None


_MINE = _Mine()


@dataclass
class _StandIn:
    """A function that is replaced, and how many blocks rely on it."""

    original: Any
    replacement: Any
    users: int = 0


_STANDING: dict[tuple[Any, str], _StandIn] = {}
_STANDING_LOCK = threading.Lock()


@contextlib.contextmanager
def standing_in(owners: Iterable[Any], name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """While it lasts, ``owner.name`` is ``make(original)`` for each class or module that has the attribute itself.

    Every thread of the process sees the replacement, so that it must do what the original does in threads that did not ask.
    Blocks may overlap in any order: the first one makes the replacement, the last one puts the original back."""
    held = []
    try:
        for owner in owners:
            if name in vars(owner):
                _hold(owner, name, make)
                held.append(owner)
        yield
    finally:
        for owner in held:
            _release(owner, name)


def _hold(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    with _STANDING_LOCK:
        if (owner, name) not in _STANDING:
            original = vars(owner)[name]
            _STANDING[owner, name] = _StandIn(original, make(original))
            setattr(owner, name, _STANDING[owner, name].replacement)
        _STANDING[owner, name].users += 1


def _release(owner: Any, name: str) -> None:
    with _STANDING_LOCK:
        entry = _STANDING[owner, name]
        entry.users -= 1
        if not entry.users:
            del _STANDING[owner, name]
            if vars(owner).get(name) is entry.replacement:  # what somebody else has put there meanwhile stays
                setattr(owner, name, entry.original)


@contextlib.contextmanager
def in_this_thread(state: threading.local, name: str, value: Any) -> Iterator[None]:
    """While it lasts, ``state.name`` is ``value`` in this thread."""
    before = getattr(state, name)
    setattr(state, name, value)
    try:
        yield
    finally:
        setattr(state, name, before)


def there(module: str) -> list[Any]:
    """The module of that name; none where a version does not have it, and then its function is left as it is."""
    try:
        return [importlib.import_module(module)]
    except ImportError:
        return []


@contextlib.contextmanager
def initialisers_accept_symbolic_fans() -> Iterator[None]:
    """From jax 0.12 on, variance-scaling initialisers branch on the fan, which fails for symbolic widths. Values do not matter
    in an abstract initialisation, so the fan of a symbolic shape is 1 in this thread while it lasts."""
    with standing_in(there("jax._src.nn.initializers"), "_compute_fans", _one_if_symbolic), \
            in_this_thread(_MINE, "symbolic_fans", True):
        yield


def _one_if_symbolic(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def fans(shape: Any, *args: Any, **kwargs: Any) -> Any:
        # Integers keep their fans: jax.jit remembers what it traces, and would use it again for real parameters.
        return (1, 1) if _MINE.symbolic_fans and any(map(is_symbolic, shape)) else original(shape, *args, **kwargs)

    return fans


@contextlib.contextmanager
def empty_slices_are_of_their_operand() -> Iterator[None]:
    """jax's indexing of an array with symbols gives zeros from nowhere where nothing is taken (``x[2:2]``), a slice where the same
    array has integers; and so do gradients. While this lasts it is a slice in both."""
    with standing_in(there("jax._src.numpy.indexing"), "_gather", _slicing_nothing):
        yield


def _slicing_nothing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def gather(arr: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(arr, *args, **kwargs)
        if not any(map(is_symbolic, arr.shape)) or not any(type(d) is int and d == 0 for d in found.shape):
            return found
        return jax.lax.reshape(jax.lax.slice_in_dim(arr, 0, 0, axis=0), found.shape)

    return gather


def whole_tracebacks() -> contextlib.AbstractContextManager[None]:
    """While it lasts, in this thread, jax keeps its own frames in the tracebacks of what is raised below it."""
    return _config.traceback_filtering("off")


def without_jax_frames(error: Exception) -> Exception:
    """The exception with a traceback that shows what its reader wrote, as jax would have shown it."""
    return error.with_traceback(_traceback_util.filter_traceback(error.__traceback__)) if error.__traceback__ else error


def undecided(error: BaseException) -> tuple[str, Any, Any] | None:
    """What jax asked itself of dimensions when it raised, by the arguments of the function that failed: (">=", a, b), whether a is
    at least b; ("|", a, b), whether a divides b; None if it was neither."""
    found: tuple[str, Any, Any] | None = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code, values = frame.f_code.co_name, dict(frame.f_locals)  # from Python 3.13 on it is no dict, and its keys are a list
        if code == "_geq_decision" and frame.f_globals is vars(_shape_poly) and {"e1", "e2"} <= values.keys():
            found = ">=", values["e1"], values["e2"]
        elif code == "divide_shape_sizes" and frame.f_globals is vars(_core) and {"sz1", "sz2"} <= values.keys():
            found = "|", values["sz2"], values["sz1"]
    return found


def expand_high_level(equation: Any) -> Any:
    """The closed jaxpr that a high-level primitive of jax 0.12 (``call_hi_primitive``) stands for, over its flat operands."""
    primitive = equation.params["_prim"]

    def call(*flat: Any) -> Any:
        return primitive.expand(*jax.tree.unflatten(primitive.in_tree, flat))

    return jax.make_jaxpr(call)(*(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars))


def scan_layout(params: Any) -> tuple[int, int]:
    """(number of constants, number of carried values) of a scan; jax 0.12 keeps them in a tree of its operands."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = (len(list(part)) for part in params["ft_in"].unpack())
    return consts, carry


def hlo_cost_analysis(compiled: Any) -> dict[str, float]:
    """XLA's own analysis of a compiled program, by the processor's client, where the program's own client offers none."""
    from jax._src.lib import _jax

    return _jax.hlo_module_cost_analysis(jax.devices("cpu")[0].client, compiled.runtime_executable().hlo_modules()[0])


@contextlib.contextmanager
def undecided_noted(equality: Callable[[Any, Any], None],
                    order: Callable[[Sequence[Any], Mapping[str, Any]], None]) -> Iterator[None]:
    """While it lasts, in this thread: ``equality(a, b)`` where a symbolic dimension is silently not equal to another dimension or
    an integer, and ``order(operands, options)`` where jax chooses the order of an einsum by :data:`STAND_IN` in place of every
    symbolic dimension."""
    handlers = [vars(module)["_poly_einsum_handlers"] for module in there("jax._src.numpy.einsum")
                if "_poly_einsum_handlers" in vars(module)]
    with standing_in([SymbolicDim], "__eq__", _noting_equality), in_this_thread(_MINE, "equality", equality), \
            in_this_thread(_MINE, "order", order):
        for handler in handlers:
            chosen = handler.get(SymbolicDim)
            if chosen is not None and not hasattr(chosen, "noting"):
                handler[SymbolicDim] = _noting_order(chosen)
        yield


def _noting_equality(original: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    @functools.wraps(original)
    def equal(a: Any, b: Any) -> bool:
        found = original(a, b)
        note, answer = _MINE.equality, _MINE.answer
        if found is False and isinstance(b, int | SymbolicDim):
            if note is not None:
                with in_this_thread(_MINE, "equality", None):  # a note may compare, too
                    note(a, b)
            if answer is not None:
                answer.told("==", a, b)
        return found

    return equal


def _noting_order(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def contract_path(*operands: Any, **kwargs: Any) -> Any:
        if _MINE.order is not None and sum(hasattr(x, "shape") for x in operands) > 2:
            _MINE.order(operands, kwargs)
        size = _MINE.size
        if size is None:
            return original(*operands, **kwargs)
        import opt_einsum  # type: ignore[import-untyped]

        sized = [jax.ShapeDtypeStruct(tuple(d if isinstance(d, int) else size(d) for d in x.shape), x.dtype) if hasattr(x, "shape")
                 else x for x in operands]
        chosen, contractions = opt_einsum.contract_path(*sized, **kwargs)
        given = {id(x): operand for x, operand in zip(sized, operands, strict=True)}
        return [given[id(x)] for x in chosen], contractions

    contract_path.noting = True  # type: ignore[attr-defined]
    return contract_path


def einsums_ordered_by(size: Callable[[Any], int]) -> contextlib.AbstractContextManager[None]:
    """While it lasts, in this thread, jax chooses the orders of einsums that it traces by ``size(dim)`` of symbolic dimensions."""
    return in_this_thread(_MINE, "size", size)


STAND_IN = 8  # what jax takes a symbolic dimension for where it chooses the order of an einsum (_einsum_contract_path)


def contractions(operands: Sequence[Any], shapes: Sequence[Sequence[int]], options: Mapping[str, Any]) -> tuple[Any, ...]:
    """The contractions in which jax computes an einsum whose arrays, None among the operands, have these shapes."""
    import opt_einsum

    left = iter(shapes)
    given = [jax.ShapeDtypeStruct(tuple(next(left)), "float32") if x is None else x for x in operands]
    chosen, found = opt_einsum.contract_path(*given, **options)
    numbers = {id(x): i for i, x in enumerate(given)}
    return (*(numbers[id(x)] for x in chosen), *((tuple(a), frozenset(b), c) for a, b, c, *_ in found))


@dataclass(frozen=True)
class _Answer:
    """What a dimension is at a point, and who is told that it was asked for."""

    value: Callable[[Any], int]
    note: Callable[[str, Any, Any], None]

    def told(self, sort: str, a: Any, b: Any) -> None:
        with in_this_thread(_MINE, "answer", None), in_this_thread(_MINE, "equality", None):  # a note may compare, too
            self.note(sort, a, b)


@contextlib.contextmanager
def comparisons_noted(value: Callable[[Any], int], note: Callable[[str, Any, Any], None]) -> Iterator[None]:
    """While it lasts, in this thread, comparisons of symbolic dimensions that jax cannot decide are answered as at a point, where a
    dimension is ``value(dim)``, and noted: ``note(">=", a, b)`` where it would have raised or made a maximum or minimum,
    ``note("==", a, b)`` where it silently says no, ``note("int", a, 0)`` where it would have raised as an integer is wanted."""
    with standing_in([_shape_poly], "_geq_decision", _answering_order), standing_in([SymbolicDim], "__eq__", _noting_equality), \
            standing_in([SymbolicDim], "__int__", _answering_integer), \
            standing_in([SymbolicDim], "_from_operation", _noting_operation), in_this_thread(_MINE, "answer", _Answer(value, note)):
        yield


def _answering_order(original: Callable[..., bool]) -> Callable[..., bool]:
    def at_least(a: Any, b: Any, text: Any) -> bool:
        try:
            return original(a, b, text)
        except InconclusiveDimensionOperation:
            answer = _MINE.answer
            if answer is None:
                raise
            answer.told(">=", a, b)
            return answer.value(a) >= answer.value(b)

    return at_least


def _answering_integer(original: Callable[[Any], int]) -> Callable[[Any], int]:
    def as_integer(a: Any) -> int:
        try:
            return original(a)
        except InconclusiveDimensionOperation:
            answer = _MINE.answer
            if answer is None:
                raise
            answer.told("int", a, 0)
            return answer.value(a)

    return as_integer


def _noting_operation(original: Any) -> Any:
    def made(name: str, *operands: Any, **scope: Any) -> Any:
        if name in ("max", "min") and _MINE.answer is not None:
            _MINE.answer.told(">=", *operands)
        return original.__func__(name, *operands, **scope)

    return staticmethod(made)


# -- meshes -------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def axes_resized(sizes: Mapping[str, int]) -> Iterator[None]:
    """While it lasts, in this thread, the axes of the meshes that ``shard_map`` is traced over have these sizes."""
    primitives = [type(module.shard_map_p) for module in there("jax._src.shard_map") if hasattr(module, "shard_map_p")]
    with standing_in(primitives, "bind_with_trace", _on_resized), in_this_thread(_MINE, "axes", dict(sizes)):
        yield


def _on_resized(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def bind(self: Any, trace: Any, args: Any, *rest: Any) -> Any:
        *more, params = rest
        if _MINE.axes is not None:
            params = {**params, "mesh": resized(params["mesh"], _MINE.axes)}
        return original(self, trace, args, *more, params)

    return bind


def shardings_in(params: Mapping[str, Any]) -> list[Any]:
    """The shardings over a mesh that an equation's parameters state."""
    found = []
    for name in ("in_shardings", "out_shardings", "sharding", "dst_sharding", "out_sharding"):
        stated = params.get(name)
        found += [s for s in (stated if isinstance(stated, tuple | list) else (stated,)) if _says_something(s)]
    return found


def stated_sharding(aval: Any) -> Any:
    """The sharding over a mesh that an abstract value's type states, or None."""
    sharding = getattr(aval, "sharding", None)
    if sharding is None or not _says_something(sharding):
        return None
    return sharding if any(entry is not None for entry in sharding.spec) else None


def _says_something(sharding: Any) -> bool:
    return isinstance(sharding, jax.sharding.NamedSharding) and not sharding.mesh.empty


def is_indivisible(error: Exception) -> bool:
    """Whether jax refused a dimension that is not known to be a multiple of the devices that share it."""
    words = ("evenly divisible by the corresponding mesh axis", "must be divisible by shard_count")
    return type(error).__name__ == "IndivisibleError" or any(text in str(error) for text in words)


def resized(mesh: Any, sizes: Mapping[str, int]) -> Any:
    """The abstract mesh whose axes have these sizes; those that are not named keep theirs."""
    abstract = mesh.abstract_mesh
    return abstract.update(axis_sizes=tuple(sizes.get(str(name), size) for name, size in abstract.shape_tuple))


def portable(exported: Any) -> Any:
    """An exported program that another process of ours can be handed: without what only this one can call."""
    return replace(exported, _get_vjp=None)


@dataclass(frozen=True)
class Mlir:
    """What jaxlib has for reading and changing programs: its core, pass managers, and the dialects of Shardy and StableHLO."""

    ir: Any
    passmanager: Any
    sdy: Any
    stablehlo: Any


def mlir() -> Mlir:
    """jaxlib's bindings of MLIR, which it does not promise to keep."""
    from jaxlib.mlir import ir, passmanager
    from jaxlib.mlir.dialects import sdy, stablehlo

    return Mlir(ir, passmanager, sdy, stablehlo)


def short_locations() -> contextlib.AbstractContextManager[Any]:
    """While it lasts, in this thread, what jax lowers says in which scopes it is, and not who called."""
    return _config.traceback_in_locations_limit(0)


def array_at(aval: Any, size: Callable[[Any], Any]) -> Any:
    """The abstract array of the shape ``size(shape)``; None for what is no array."""
    if type(aval) is not _core.ShapedArray:
        return None
    return _core.ShapedArray(size(tuple(aval.shape)), aval.dtype, weak_type=aval.weak_type)


def staged(equation: Any, operands: Iterable[Any], params: Mapping[str, Any], at: Callable[[Any], Any]) -> list[Any] | None:
    """An equation on other operands, with other parameters, put into the jaxpr that is being traced as it is: its results are of
    the abstract values ``at(aval)``, which jax would find again by its rules. None where it has to be bound."""
    avals = [at(v.aval) for v in equation.outvars]
    trace = _core.trace_ctx.trace
    if equation.effects or None in avals or not isinstance(trace, _partial_eval.DynamicJaxprTrace):
        return None
    info = _source_info_util.current().replace(traceback=None)
    return list(trace.emit_eqn([trace.to_jaxpr_tracer(x, info) for x in operands], avals, equation.primitive, dict(params),
                               equation.effects, info))


def bind(primitive: Any, operands: Iterable[Any], params: Mapping[str, Any]) -> list[Any]:
    """An equation's primitive on other operands, with other parameters; its results."""
    operands = list(operands)
    try:
        outs = primitive.bind(*operands, **params)
    except TypeError:  # one whose parameters hold a jaxpr is bound with a function
        functions, rest = _bind_params(primitive, dict(params))
        outs = primitive.bind(*functions, *operands, **rest)
    return list(outs) if primitive.multiple_results else [outs]


def _bind_params(primitive: Any, params: dict[str, Any]) -> tuple[Iterable[Any], dict[str, Any]]:
    found = primitive.get_bind_params(params)
    return found if isinstance(found, tuple) else ((), found)

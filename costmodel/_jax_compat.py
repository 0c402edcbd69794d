"""The only file that touches private jax. Tested on the oldest and the newest supported version.

Everything here is small and has one caller; what jax makes public moves out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
from jax import export
from jax._src import config as _config
from jax._src import core as _core
from jax._src import traceback_util as _traceback_util
from jax._src.export import shape_poly as _shape_poly

from costmodel.errors import DomainError

SymbolicDim = _shape_poly._DimExpr
InconclusiveDimensionOperation = _core.InconclusiveDimensionOperation

# One scope for every symbolic dimension of the process: jax refuses to mix scopes, and users mix dimensions.
SCOPE = export.SymbolicScope()


def is_symbolic(dim: Any) -> bool:
    return isinstance(dim, SymbolicDim)


def variable(name: str) -> Any:
    """The symbolic dimension ``name`` in the shared scope."""
    return export.symbolic_shape(name, scope=SCOPE)[0]


def constrain(greater: Any, smaller: Any) -> None:
    """Tell the shared scope that ``greater >= smaller``. jax accepts constraints only when a scope is made, as text; ours
    lives as long as the process, so the constraint is added through the same method that its constructor calls."""
    text = f"{greater} >= {smaller}"
    try:
        SCOPE._parse_and_process_explicit_constraint(text)
    except ValueError as error:
        raise DomainError(f"the constraint {text} cannot hold: {error}") from None
    SCOPE._decision_initial_state = None
    SCOPE._clear_caches()


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


def is_literal(atom: Any) -> bool:
    return isinstance(atom, jax.extend.core.Literal)


@contextlib.contextmanager
def initialisers_accept_symbolic_fans() -> Iterator[None]:
    """From jax 0.12 on, variance-scaling initialisers branch on the fan, which fails for symbolic widths. Values do not matter
    in an abstract initialisation, so the fan is 1 while it lasts."""
    from jax._src.nn import initializers

    original = initializers._compute_fans
    initializers._compute_fans = lambda *args, **kwargs: (1, 1)
    try:
        yield
    finally:
        initializers._compute_fans = original


def whole_tracebacks() -> contextlib.AbstractContextManager[None]:
    """While it lasts, in this thread, jax keeps its own frames in the tracebacks of what is raised below it."""
    return _config.traceback_filtering("off")


def without_jax_frames(error: Exception) -> Exception:
    """The exception with a traceback that shows what its reader wrote, as jax would have shown it."""
    return error.with_traceback(_traceback_util.filter_traceback(error.__traceback__)) if error.__traceback__ else error


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

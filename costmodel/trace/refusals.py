"""Why jax refused a model, in one line: what jax said, the line of the model's source, and the cure that works there."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator

import jax
import sympy

from costmodel import _jax_compat as compat
from costmodel.surface import said
from costmodel.symbolic.domain import Domain, user_text
from costmodel.symbolic.forms import Expr
from costmodel.symbolic.translate import internal
from costmodel.trace.guard import UsersMistake
from costmodel.trace.places import ITERATED, Place

# jax's errors for data that is used as a Python bool, int or numpy array.
_VALUE_NEEDED = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError, jax.errors.TracerIntegerConversionError)
_CONSTANT = re.compile(r"Symbolic dimension '([^']*)' used in a context that requires a constant")
_SIZED_BY_DATA = frozenset({"nonzero", "flatnonzero", "argwhere", "where", "unique", "unique_all", "unique_counts",
                            "unique_inverse", "unique_values", "union1d", "intersect1d", "setdiff1d", "setxor1d", "extract",
                            "compress"})
# Words of its errors about dimensions; the last from jax 0.12 on, where a loop over an axis asks for the axis's value untraced.
_OF_DIMENSIONS = ("_DimExpr", "Symbolic dimension", "concrete values", "'process_primitive'")
_INTEGER = "that place needs an integer: give the dimension as one"


def reason(mistake: UsersMistake, name: str) -> str:
    """jax's message cut to its first sentence, where in the model it was raised, and the way out that applies."""
    first = user_text(first_sentence(mistake.error))[:300]
    where = f", at {mistake.place}" if mistake.place else ""
    cure = next(_cures(mistake), "")
    return f"{name} does not trace with these inputs: {type(mistake.error).__name__}: {first}{where}{cure and f'; {cure}'}"


def first_sentence(error: Exception) -> str:
    """What went wrong, without what jax adds: where, why, and all constraints of the process."""
    return re.split(r" This error| The (?:error|problem) ", _one_line(error))[0].split(". ", 1)[0].rstrip(".")


def _one_line(error: Exception) -> str:
    text = re.sub(r"function call at \S+ ", "model ", " ".join(str(error).split()))
    return re.sub(r"function program at \S+ traced for \w+ returned", "it returned", text)


def _cures(mistake: UsersMistake) -> Iterator[str]:
    """The ways out that apply, the most telling first."""
    error, place, text = mistake.error, mistake.place, _one_line(mistake.error)
    if mistake.undecided is not None:
        yield from _deciding(*mistake.undecided)
    about_dimensions = (isinstance(error, compat.InconclusiveDimensionOperation)
                        or any(words in text for words in _OF_DIMENSIONS)
                        or isinstance(error, IndexError | jax.errors.TracerBoolConversionError) or _repeats_a_list(place))
    if place is not None and about_dimensions:
        yield from (cure for applies, cure in _OF_SOURCE if applies(place))
        if (numpy := _numpy(place)) is not None:
            yield numpy
    if place is not None and place.calls().split(".")[-1] in _SIZED_BY_DATA:
        yield f"how long the result of `{place.calls()}` is depends on data: give it size=…, or use a mask instead"
    if isinstance(error, _VALUE_NEEDED):
        yield "the model makes a Python value of its data, which no abstract trace has: use jnp.where or lax.cond"
    elif (constant := _CONSTANT.search(text)) is not None:
        n = user_text(constant[1])
        yield (f"that place takes {n} for an integer: give it as one, or write the place for an array (lax.scan or jax.vmap over "
               "an axis, jnp in place of Python's numbers)")
    elif "_DimExpr" in text:
        yield _INTEGER
    elif isinstance(error, compat.InconclusiveDimensionOperation) or any(word in text for word in ("nconclusive", "divisib",
                                                                                                   "equal division")):
        yield ("declare more about the dimension, e.g. "
               + said("cm.dims('h', multiple_of=32) or min=...", "--where '32 | h, h >= 8'") + ", or give it as an integer")
    elif "Shapes must be 1D sequences of concrete values" in text or "concrete" in text:
        yield _INTEGER


# -- by what the model wrote -------------------------------------------------------------------------------------------------------


def _calls(*names: str) -> Callable[[Place], bool]:
    return lambda place: place.calls() in names


def _makes_no_integer(place: Place) -> bool:
    """A size made with ``/``, ``round`` or a factor such as 0.5."""
    if place.tree is None:
        return False
    nodes = list(ast.walk(place.tree))
    return any(isinstance(node, ast.Div) or (isinstance(node, ast.Constant) and isinstance(node.value, float))
               or (isinstance(node, ast.Name) and node.id == "round") for node in nodes)


def _repeats_a_list(place: Place | None) -> bool:
    return (place is not None and isinstance(place.tree, ast.BinOp) and isinstance(place.tree.op, ast.Mult)
            and any(isinstance(side, ast.List | ast.Tuple) for side in (place.tree.left, place.tree.right)))


_OF_SOURCE: tuple[tuple[Callable[[Place], bool], str], ...] = (
    (_calls("len"), "`len()` of an array with a symbolic axis: use `x.shape[0]`"),
    (_calls("int", "operator.index"), "`int()` of a dimension: leave it out, and divide by `//`"),
    (_calls("range"), "`range()` of a dimension: use lax.scan or lax.fori_loop, or give the dimension as an integer"),
    (lambda place: place.calls() == "float" or place.calls().startswith("math."),
     "Python's floats take no dimension: use jnp, e.g. `jnp.sqrt(n)`"),
    (lambda place: isinstance(place.tree, ast.BinOp) and isinstance(place.tree.op, ast.Pow),
     "a root of a dimension: use `jnp.sqrt(n)`"),
    (lambda place: place.called in ITERATED,
     "a Python loop over a symbolic axis: use lax.scan or jax.vmap, or give the dimension as an integer"),
    (_repeats_a_list, "a list as long as a dimension: use jnp.broadcast_to or jnp.repeat"),
    (_makes_no_integer, "a size is made of integers: use `//` in place of `/`, `round` or a factor such as 0.5"),
)


def _numpy(place: Place) -> str | None:
    """numpy makes real arrays, which have integers as sizes."""
    module = place.module_called()
    if module is None or module.__name__.split(".")[0] != "numpy":
        return None
    called = place.calls().split(".", 1)[-1]
    return f"numpy takes no dimension: use `jnp.{called}` in place of `{place.calls()}`"


# -- by what jax could not decide --------------------------------------------------------------------------------------------------


def _deciding(sort: str, a: object, b: object) -> Iterator[str]:
    """What to declare so that jax can decide whether ``a`` >= ``b``, or that ``a`` divides ``b``."""
    a, b = internal(a), internal(b)
    domain = Domain.of(a, b)
    a, b = domain.in_user_symbols(a), domain.in_user_symbols(b)
    yield from _bounds(a, b) if sort == ">=" else _divisor(a, b)


def _bounds(a: Expr, b: Expr) -> Iterator[str]:
    difference = (a - b).expand()
    symbols = sorted(difference.free_symbols, key=str)
    if not difference.is_polynomial(*symbols):
        return
    if len(symbols) == 1 and sympy.degree(difference, symbols[0]) == 1:
        (n,) = symbols
        slope, constant = difference.coeff(n, 1), difference.coeff(n, 0)
        least = math.ceil(-constant / slope) if slope > 0 else math.floor(-constant / slope) + 1  # from there on it is decided
        below, above = f"cm.dims('{n}', max={least - 1})", f"cm.dims('{n}', min={least})"
        if least > 1:
            yield (f"declare {n} <= {least - 1} or {n} >= {least}: "
                   + said(f"{below} or {above}", f"--where '{n} <= {least - 1}' or --where '{n} >= {least}'"))
        else:
            yield f"declare {n} >= {least}: " + said(above, f"--where '{n} >= {least}'")
    elif all(term.as_coeff_Mul()[0].is_Integer for term in difference.as_ordered_terms()) and "**" not in str(difference):
        sides = [[term * sign for term in difference.as_ordered_terms() if term.as_coeff_Mul()[0] * sign > 0] for sign in (1, -1)]
        greater, smaller = (str(sympy.Add(*side)) for side in sides)
        first, second = f"'{greater} >= {smaller}'", f"'{smaller} >= {greater} + 1'"
        yield "declare which is greater: " + said(f"cm.dims('{' '.join(map(str, symbols))}', where={first}) or where={second}",
                                                  f"--where {first} or --where {second}")


def _divisor(divisor: Expr, size: Expr) -> Iterator[str]:
    coefficient, rest = size.as_coeff_Mul()
    names = sorted(map(str, rest.free_symbols)) if rest.is_Mul or rest.is_Symbol else []
    if divisor.is_Integer and coefficient.is_Integer and names:
        factor = abs(int(divisor)) // math.gcd(int(divisor), int(coefficient))
        clauses = " or ".join(f"{factor} | {name}" for name in names)
        yield f"declare {clauses}: " + said(f"cm.dims('{names[0]}', multiple_of={factor})", f"--where '{factor} | {names[0]}'")

"""Source text of an expression in Python, numpy, JAX, JavaScript and LaTeX, and functions compiled from that text.

Expressions are integers under their domain and are computed as integers: division is ``//``, and rational coefficients are
put over one common denominator, because a single term of ``h**2/2 + h/2`` need not be an integer where their sum is. Only an
expression with a symbol in a denominator, such as an operational intensity, is divided with ``/``, unless the caller says
``integer=True`` (as for ``c_i/g`` where g divides c_i).

>>> from costmodel.symbolic.forms import CeilDiv, symbol
>>> c_o, h, n = symbol("c_o"), symbol("h"), symbol("n")
>>> python(2*n*c_o*CeilDiv(h, 32) - h**2/2 + h/2)
'(4*n*c_o*(-(-h // 32)) - h**2 + h) // 2'
>>> print(javascript(CeilDiv(h, 32)), python(c_o/n), python(c_o/n, integer=True), latex(c_o*h**2/2))
Math.ceil(h / 32) c_o/n c_o // n \\frac{h^{2} c_{o}}{2}
>>> compile([n*h, n + h], [n, h], backend="python")(2, 3)
[6, 5]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from costmodel.errors import CostModelError
from costmodel.symbolic.array_forms import JAVASCRIPT_PRELUDE, ceil_log2_jax, ceil_log2_numpy, tap_count_jax, tap_count_numpy
from costmodel.symbolic.forms import CeilDiv, CeilLog2, FloorDiv, PeakMax
from costmodel.symbolic.latex import latex
from costmodel.symbolic.magnitude import grid_dtype, magnitude_bound
from costmodel.symbolic.quotients import is_whole_valued, over_common_denominator, split, terms
from costmodel.symbolic.taps import TapCount, count_pairs

# How tightly a text binds, which decides where parentheses go. A negated text may lose or gain its sign in a sum; a floor
# division that opens with a minus may not, since -a // b is not -(a // b).
SUM, FLOOR, SIGNED, PRODUCT, POWER, ATOM = range(6)
_Text = tuple[str, int]

# CPython compiles a sum recursively, one level a term, and gives up near 3000.
MAX_TERMS_A_LINE = 64


def _within(text: _Text, level: int) -> str:
    return text[0] if text[1] >= level else f"({text[0]})"


@dataclass(frozen=True)
class Dialect:
    """What differs between languages: the two divisions, the maximum of two or more, powers, TapCount's and CeilLog2's names, and
    how an integer is written."""

    floor: Callable[[_Text, _Text], _Text]
    ceil: Callable[[_Text, _Text], _Text]
    exact: Callable[[_Text, _Text], _Text]  # a division that is known to leave no remainder
    maximum: Callable[[list[str]], str]
    power: Callable[[_Text, int], _Text]
    tap_count: str
    ceil_log2: str
    integer: Callable[[int], str] = str


def _python_floor(a: _Text, b: _Text) -> _Text:
    return f"{_within(a, FLOOR)} // {_within(b, POWER)}", FLOOR


def _python_ceil(a: _Text, b: _Text) -> _Text:
    return f"-({_negated(a)} // {_within(b, POWER)})", SIGNED


def _python_power(base: _Text, exponent: int) -> _Text:
    return f"{_within(base, ATOM)}**{exponent}", POWER


def _jax_floor(a: _Text, b: _Text) -> _Text:
    return f"jnp.floor_divide({a[0]}, {b[0]})", ATOM


def _jax_ceil(a: _Text, b: _Text) -> _Text:
    return f"-jnp.floor_divide({_negated(a)}, {b[0]})", SIGNED


def _negated(text: _Text) -> str:
    if text[0].startswith("-") and text[1] >= SIGNED:
        return text[0][1:]
    return "-" + _within(text, PRODUCT)


def _call(name: str) -> Callable[[list[str]], str]:
    return lambda args: f"{name}({', '.join(args)})"


def _balanced(name: str) -> Callable[[list[str]], str]:
    """A maximum of many from one of two, as a balanced tree: Python reads at most 200 nested parentheses."""
    def maximum(args: list[str]) -> str:
        if len(args) == 1:
            return args[0]
        half = len(args) // 2
        return f"{name}({maximum(args[:half])}, {maximum(args[half:])})"
    return maximum


# JavaScript has doubles only, yet for integers |a| < 2**53 and 1 <= b < 2**53, Math.floor(a / b) is exact. Write q = ⌊a / b⌋,
# which is a double. Rounding is monotone, so a / b >= q rounds to at least q, and it could be wrong only by reaching q + 1,
# from which it is at least 1/b away. Let m be the smaller magnitude of q and q + 1, and 2**e <= m < 2**(e + 1): doubles
# between q and q + 1 are at most 2**(e - 52) apart, so only what is within half of that, 2**(e - 53), rounds to q + 1. But
# m <= |a / b| gives b <= |a| / m < 2**53 / 2**e, hence 1/b > 2**(e - 53). (m = 0: doubles just below 1 are 2**-53 apart and
# 1/b > 2**-53; and a negative quotient does not round to 0.) Math.ceil mirrors this, and a division that leaves no
# remainder needs no rounding at all. Powers are written as products because some engines only approximate **.
_JAVASCRIPT = Dialect(
    floor=lambda a, b: (f"Math.floor({_within(a, PRODUCT)} / {_within(b, POWER)})", ATOM),
    ceil=lambda a, b: (f"Math.ceil({_within(a, PRODUCT)} / {_within(b, POWER)})", ATOM),
    exact=lambda a, b: (f"{_within(a, PRODUCT)} / {_within(b, POWER)}", SIGNED),
    maximum=_call("Math.max"),
    power=lambda base, exponent: ("*".join([_within(base, POWER)] * exponent) or "1", PRODUCT),
    tap_count="tapCount",
    ceil_log2="ceilLog2",
)
_PYTHON = Dialect(_python_floor, _python_ceil, _python_floor, _call("max"), _python_power, "tap_count", "ceil_log2")
_NUMPY = Dialect(_python_floor, _python_ceil, _python_floor, _balanced("np.maximum"), _python_power, "tap_count", "ceil_log2")
_JAX = Dialect(_jax_floor, _jax_ceil, _jax_floor, _balanced("jnp.maximum"), _python_power, "tap_count", "ceil_log2")
# JavaScript's BigInt is exact at any size. Its ``/`` drops the remainder, which is why floors are calls; whoever runs the text
# defines floorDiv, ceilDiv, largest, tapCount and ceilLog2 on BigInts.
_BIGINT = Dialect(
    floor=lambda a, b: (f"floorDiv({a[0]}, {b[0]})", ATOM),
    ceil=lambda a, b: (f"ceilDiv({a[0]}, {b[0]})", ATOM),
    exact=lambda a, b: (f"{_within(a, PRODUCT)} / {_within(b, POWER)}", SIGNED),
    maximum=_call("largest"),
    power=lambda base, exponent: ("*".join([_within(base, POWER)] * exponent) or "1n", PRODUCT),
    tap_count="tapCount",
    ceil_log2="ceilLog2",
    integer="{}n".format,
)
_DIALECTS = {"python": _PYTHON, "numpy": _NUMPY, "jax": _JAX, "javascript": _JAVASCRIPT, "bigint": _BIGINT}


class _Writer:
    """Writes expressions in one dialect. With ``share``, every distinct form is assigned to a local variable once and long
    sums are cut: ``lines`` holds the assignments (name, text) in order."""

    def __init__(self, dialect: Dialect, names: Mapping[Symbol, str] | None = None, *, share: bool = False) -> None:
        self.dialect = dialect
        self.names = names
        self.share = share
        self.lines: list[tuple[str, str]] = []
        self._forms: dict[tuple[Expr, bool], _Text] = {}

    def write(self, expr: Expr, integer: bool) -> _Text:
        if isinstance(expr, Symbol):
            return self._name(expr), ATOM
        if isinstance(expr, Integer):
            return self.dialect.integer(int(expr)), ATOM if expr >= 0 else SIGNED
        if isinstance(expr, FloorDiv | CeilDiv | PeakMax | TapCount | CeilLog2):
            return self._form(expr, integer)
        if not isinstance(expr, Add | Mul | Pow | Rational) or (isinstance(expr, Pow) and not expr.args[1].is_Integer):
            raise CostModelError(f"{str(expr)[:60]!r} ({type(expr).__name__}) is not one of costmodel's forms")
        if integer:
            numerator, denominator = over_common_denominator(expr)
            if denominator != 1:
                return self.dialect.exact(self.write(numerator, True), self.write(denominator, True))
            if numerator is not expr:
                return self.write(numerator, True)
        if isinstance(expr, Add):
            return self._sum([self.write(term, integer) for term in terms(expr)])
        if isinstance(expr, Pow) and expr.args[1] >= 0:
            return self.dialect.power(self.write(expr.args[0], integer), int(expr.args[1]))
        return self._product(expr, integer)

    def value(self, expr: Expr, integer: bool | None) -> str:
        """The whole expression, in a local variable unless it is a name or a number already."""
        text = self.write(expr, is_whole_valued(expr) if integer is None else integer)
        return text[0] if text[1] == ATOM or isinstance(expr, Integer) else self._local(text[0])[0]

    def _name(self, symbol: Symbol) -> str:
        if self.names is None:
            return symbol.name
        try:
            return self.names[symbol]
        except KeyError:
            raise CostModelError(f"the expression contains {symbol.name}, which is not among the symbols given "
                                 f"({', '.join(s.name for s in self.names) or 'none'})") from None

    def _sum(self, texts: list[_Text]) -> _Text:
        while self.share and len(texts) > MAX_TERMS_A_LINE:
            texts = [self._local(self._sum(texts[i:i + MAX_TERMS_A_LINE])[0]) for i in range(0, len(texts), MAX_TERMS_A_LINE)]
        parts: list[str] = []
        for text, level in texts:
            if text.startswith("-") and level >= SIGNED:
                parts.append(f" - {text[1:]}" if parts else text)
            else:
                safe = f"({text})" if text.startswith("-") or level == SUM else text
                parts.append(f" + {safe}" if parts else safe)
        return "".join(parts), SUM

    def _product(self, expr: Expr, integer: bool) -> _Text:
        above, below = split(expr)
        text = self._times(above, integer)
        if not below:
            return text
        return f"{_within(text, SIGNED)}/{_within(self._times(below, integer), POWER)}", SIGNED

    def _times(self, parts: list[Expr], integer: bool) -> _Text:
        if not parts:
            return "1", ATOM
        if parts[0] == -1 and len(parts) > 1:
            return _negated(self._times(parts[1:], integer)), SIGNED
        first, *others = (self.write(part, integer) for part in parts)
        if not others:
            return first
        text = "*".join([_within(first, SIGNED), *(_within(other, PRODUCT) for other in others)])
        return text, SIGNED if text.startswith("-") else PRODUCT

    def _form(self, expr: Expr, integer: bool) -> _Text:
        key = (expr, integer or not isinstance(expr, PeakMax))
        known = self._forms.get(key)
        if known is None:
            known = self._call(*key)
            if self.share:
                known = self._local(known[0])
            self._forms[key] = known
        return known

    def _local(self, text: str) -> _Text:
        name = f"t{len(self.lines)}"
        self.lines.append((name, text))
        return name, ATOM

    def _call(self, expr: Expr, integer: bool) -> _Text:
        args = [self.write(arg, integer) for arg in expr.args]
        if isinstance(expr, FloorDiv):
            return self.dialect.floor(*args)
        if isinstance(expr, CeilDiv):
            return self.dialect.ceil(*args)
        texts = [text for text, _ in args]
        if isinstance(expr, PeakMax):
            return self.dialect.maximum(texts), ATOM
        name = self.dialect.ceil_log2 if isinstance(expr, CeilLog2) else self.dialect.tap_count
        return f"{name}({', '.join(texts)})", ATOM


def _text(expr: Expr, dialect: Dialect, integer: bool | None, names: Mapping[Symbol, str] | None) -> str:
    return _Writer(dialect, names).write(expr, is_whole_valued(expr) if integer is None else integer)[0]


def python(expr: Expr, *, integer: bool | None = None, names: Mapping[Symbol, str] | None = None) -> str:
    """Python source. ``integer``: whether the value is an integer; by default it is unless a symbol is in a denominator.
    ``names`` replaces the symbols' own. A TapCount calls ``tap_count``, which is :func:`costmodel.symbolic.taps.count_pairs`."""
    return _text(expr, _PYTHON, integer, names)


def numpy(expr: Expr, *, integer: bool | None = None, names: Mapping[Symbol, str] | None = None) -> str:
    """numpy source, for ``np`` and :func:`.array_forms.tap_count_numpy` as ``tap_count``; else as :func:`python`."""
    return _text(expr, _NUMPY, integer, names)


def jax(expr: Expr, *, integer: bool | None = None, names: Mapping[Symbol, str] | None = None) -> str:
    """JAX source, for ``jnp`` and :func:`.array_forms.tap_count_jax` as ``tap_count``; else as :func:`python`."""
    return _text(expr, _JAX, integer, names)


def javascript(expr: Expr, *, integer: bool | None = None, names: Mapping[Symbol, str] | None = None) -> str:
    """JavaScript source, exact while every intermediate is below 2**53. A TapCount calls ``tapCount``, which
    ``JAVASCRIPT_PRELUDE`` defines; else like :func:`python`."""
    return _text(expr, _JAVASCRIPT, integer, names)


def source(exprs: Sequence[Expr], symbols: Sequence[Symbol], backend: str = "numpy", *, name: str = "values",
           integer: bool | None = None) -> str:
    """Text of a function of ``symbols``, in their order, that returns the list of values. Its arguments are called x0, x1, …
    so that no symbol's name reaches code, and each distinct form is computed once.

    backend: "python", "numpy", "jax", "javascript" (which needs ``JAVASCRIPT_PRELUDE`` before it) or "bigint" (the same on BigInts
             of any size, for whole-valued expressions).

    >>> from costmodel.symbolic.forms import symbol
    >>> h, n = symbol("h"), symbol("n")
    >>> print(source([CeilDiv(h, 2)*n, CeilDiv(h, 2)], [n, h]))
    def values(x0, x1):
        t0 = -(-x1 // 2)
        t1 = x0*t0
        return [t1, t0]
    """
    if backend not in _DIALECTS:
        raise CostModelError(f"no backend {backend!r}: choose one of {', '.join(_DIALECTS)}")
    names = {s: f"x{i}" for i, s in enumerate(symbols)}
    writer = _Writer(_DIALECTS[backend], names, share=True)
    written = {expr: writer.value(expr, integer) for expr in dict.fromkeys(exprs)}
    arguments, returned = (", ".join(texts) for texts in (names.values(), (written[expr] for expr in exprs)))
    if backend in ("javascript", "bigint"):
        lines = "".join(f"  const {local} = {text};\n" for local, text in writer.lines)
        return f"function {name}({arguments}) {{\n{lines}  return [{returned}];\n}}"
    lines = "".join(f"    {local} = {text}\n" for local, text in writer.lines)
    return f"def {name}({arguments}):\n{lines}    return [{returned}]"


def compile(exprs: Sequence[Expr], symbols: Sequence[Symbol], backend: str = "numpy", *,
            integer: bool | None = None) -> Callable[..., list[Any]]:
    """A function of ``symbols``, in their order, that returns the list of values of ``exprs``.

    backend: "python" (integers of any size), "numpy" or "jax" (arrays that broadcast; may be traced by ``jit``). Values keep
             the arguments' dtype, so choose it with :func:`grid_dtype`; a constant comes back as a Python number.
    integer: as for :func:`python`.

    Raises CostModelError for a symbol that is not among ``symbols``.
    """
    if backend in ("javascript", "bigint"):
        raise CostModelError(f"backend {backend!r} cannot be compiled here: use source()")
    namespace: dict[str, Any] = {"__builtins__": {}}
    text = source(exprs, symbols, backend, integer=integer)
    if backend == "python":
        namespace |= {"max": max, "tap_count": count_pairs, "ceil_log2": CeilLog2.exact}
    elif backend == "numpy":
        import numpy as np

        namespace |= {"np": np, "tap_count": tap_count_numpy, "ceil_log2": ceil_log2_numpy}
    else:
        import jax.numpy as jnp

        namespace |= {"jnp": jnp, "tap_count": tap_count_jax, "ceil_log2": ceil_log2_jax}
    exec(text, namespace)
    return namespace["values"]


__all__ = [
    "JAVASCRIPT_PRELUDE",
    "compile",
    "grid_dtype",
    "javascript",
    "jax",
    "latex",
    "magnitude_bound",
    "numpy",
    "python",
    "source",
]

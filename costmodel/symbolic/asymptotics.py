"""Leading terms of closed forms: what a cost comes to when some of its symbols are large.

>>> from costmodel.symbolic.forms import CeilDiv, symbol
>>> n, d, s = symbol("n"), symbol("d"), symbol("s")
>>> leading_term(24*n*d**2*s + 4*n*s**2*d + 9*d, {d})
24*d**2*n*s
>>> leading_term(3*CeilDiv(d, 2)*n + n, {d})
3*d*n/2
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy
from sympy import Add, Expr, Symbol

from costmodel.errors import CostModelError
from costmodel.symbolic.forms import CeilDiv, FloorDiv, PeakMax, symbol

# The symbol in which "leading order in the parameters" is given.
N = symbol("N")


def leading_term(expr: Expr, large: Iterable[Symbol]) -> Expr:
    """The terms of highest total degree in the symbols ``large``; floors and ceilings are quotients at that scale.

    Raises CostModelError for a maximum whose arguments the scale does not decide, or a form that is no polynomial.
    """
    large = set(large)
    smooth = _smooth(expr, large)
    terms = Add.make_args(sympy.expand(smooth))
    degrees = [_degree(term, large) for term in terms]
    return Add(*(term for term, degree in zip(terms, degrees, strict=True) if degree == max(degrees)))


def ratio_at_infinity(above: Expr, below: Expr, large: Symbol) -> Expr:
    """The limit of a quotient when one symbol grows without end: an expression in the others, 0 or oo.

    >>> from costmodel.symbolic.forms import symbol
    >>> n, d = symbol("n"), symbol("d")
    >>> ratio_at_infinity(2*n*d**2 + 5, 4*d**2 + 8*n*d, n), ratio_at_infinity(n**2, n, n), ratio_at_infinity(d, n, n)
    (d/4, oo, 0)
    """
    ends = [leading_term(part, {large}) for part in (above, below)]
    top, bottom = (_degree(Add.make_args(end)[0], {large}) for end in ends)
    if top != bottom:
        return sympy.oo if top > bottom else sympy.Integer(0)
    return sympy.cancel((ends[0] / large**top).expand() / (ends[1] / large**bottom).expand())


def _degree(term: Expr, large: set[Symbol]) -> Expr:
    """Total degree of a monomial in the large symbols."""
    degree = sympy.Integer(0)
    for base, power in term.as_powers_dict().items():
        if base in large:
            degree += power
        elif base.free_symbols & large:
            names = ", ".join(sorted(s.name for s in large))
            raise CostModelError(f"{base} is no polynomial in {names}: it has no leading term here")
    return degree


def _smooth(expr: Expr, large: set[Symbol]) -> Expr:
    """Divisions of what grows become quotients; a maximum of what grows, its fastest-growing argument."""
    if not expr.args or not expr.free_symbols & large:
        return expr
    args = [_smooth(arg, large) for arg in expr.args]
    if isinstance(expr, FloorDiv | CeilDiv):
        return args[0] / args[1]
    if isinstance(expr, PeakMax):
        leading = [leading_term(arg, large) for arg in args]
        degrees = [max(_degree(t, large) for t in Add.make_args(arg)) for arg in leading]
        fastest = {arg for arg, degree in zip(leading, degrees, strict=True) if degree == max(degrees)}
        if len(fastest) > 1:
            raise CostModelError(f"which of {', '.join(map(str, sorted(fastest, key=str)))} is largest depends on other symbols; "
                                 "bind those first")
        return fastest.pop()
    return expr.func(*args)


def in_parameters(cost: Expr, params: Expr) -> Expr:
    """Leading term of ``cost`` as a multiple of the parameter count N, when all widths and depths in ``params`` grow together.

    >>> b, s, d, L = (symbol(x) for x in ("b", "s", "d", "L"))
    >>> in_parameters(2*b*s*(12*L*d**2 + 2*L*s*d), 12*L*d**2 + 13*L*d)
    2*N*b*s

    Raises CostModelError where the parameters do not depend on a symbol, or the ratio still depends on the widths.
    """
    large = params.free_symbols
    if not large:
        raise CostModelError("the parameter count is a number here; make a width or depth symbolic to see it as a leading term")
    ratio = sympy.cancel(leading_term(cost, large) / leading_term(params, large))
    if ratio.free_symbols & large:
        raise CostModelError(f"the cost does not grow like the parameters: their ratio is {ratio}")
    return sympy.expand(ratio * N)

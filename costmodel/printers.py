"""Source text of an expression in Python, numpy, JAX, JavaScript and LaTeX, and functions compiled from that text.

Expressions are integers under their domain, and are computed as integers: division is ``//``, and rational coefficients are
put over one common denominator. Only a quotient, such as an operational intensity, is divided with ``/``.

>>> from costmodel.forms import CeilDiv, symbol
>>> c_o, h, n = symbol("c_o"), symbol("h"), symbol("n")
>>> python(2*n*c_o*CeilDiv(h, 32) - h**2/2 + h/2)
'(4*n*c_o*(-(-h // 32)) - h**2 + h) // 2'
>>> javascript(CeilDiv(h, 32)), latex(c_o*h**2/n)
('Math.ceil(h / 32)', '\\\\frac{h^{2} c_{o}}{n}')
>>> compile([n*h, n + h], [n, h], backend="python")(2, 3)
[6, 5]
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from costmodel.errors import CostModelError
from costmodel.forms import ONE, CeilDiv, FloorDiv, PeakMax
from costmodel.reading_order import factors, terms
from costmodel.taps import TapCount, tap_count_jax, tap_count_numpy


"""Every printed language computes what ``forms.evaluate`` computes."""

from __future__ import annotations

import ast
import json
import random
import shutil
import subprocess

import jax
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from random_forms import SYMBOLS, ceil_log2, random_form, random_point
from sympy import Add, Integer, Mul, Rational

from costmodel.errors import CostModelError
from costmodel.symbolic import printers
from costmodel.symbolic.forms import CeilDiv, FloorDiv, PeakMax, evaluate, symbol
from costmodel.symbolic.taps import TapCount, count_pairs

h, s, w, c_i = SYMBOLS
n, g, k_h = symbol("n"), symbol("g"), symbol("k_h")
exactly = settings(deadline=None, derandomize=True, max_examples=250)
randoms = st.randoms(use_true_random=False)


def forms_and_points(seed: int, forms: int, points: int, largest: int, limit: float):
    """Random expressions whose every intermediate stays below ``limit``, with points and their exact values."""
    rng = random.Random(seed)
    upper = dict.fromkeys(SYMBOLS, largest)
    exprs = []
    while len(exprs) < forms:
        expr, _ = random_form(rng, rng.randint(1, 4), taps=True)
        if printers.magnitude_bound(expr, upper) < limit:
            exprs.append(expr)
    at = [random_point(rng, largest) for _ in range(points)]
    return exprs, at, [[evaluate(expr, point) for expr in exprs] for point in at]


@exactly
@given(randoms)
def test_python_text_is_the_expression(rng):
    expr, _ = random_form(rng, 4, taps=True)
    text = printers.python(expr)
    for _ in range(5):
        at = random_point(rng, 12)
        names = {symbol.name: value for symbol, value in at.items()}
        value = eval(text, {"tap_count": count_pairs, "ceil_log2": ceil_log2, **names})
        assert value == evaluate(expr, at) and isinstance(value, int)


def test_python_computes_in_integers_of_any_size():
    values = printers.compile([h * w + FloorDiv(h, 3)], [h, w], "python")(10**30, 10**30)
    assert values == [10**60 + 10**30 // 3]


def test_numpy_equals_evaluate():
    exprs, points, expected = forms_and_points(1, 300, 30, 60, 2**63)
    function = printers.compile(exprs, SYMBOLS, "numpy")
    columns = [np.array([point[symbol] for point in points], dtype=np.int64) for symbol in SYMBOLS]
    values = [np.broadcast_to(value, len(points)) for value in function(*columns)]
    assert np.array(values).T.tolist() == expected


def test_numpy_broadcasts_over_a_grid():
    expr = FloorDiv(h * w - 1, 2) * c_i + PeakMax(h * s, w**2)
    axes = np.ogrid[1:9, 1:7, 1:5, 1:4]
    (values,) = printers.compile([expr], SYMBOLS)(*axes)
    assert values.shape == (8, 6, 4, 3) and values.dtype == np.int64
    for index in np.ndindex(*values.shape):
        assert values[index] == evaluate(expr, {symbol: i + 1 for symbol, i in zip(SYMBOLS, index, strict=True)})


def test_jax_under_jit_equals_evaluate():
    exprs, points, expected = forms_and_points(2, 60, 40, 20, 2**31)
    function = jax.jit(printers.compile(exprs, SYMBOLS, "jax"))
    columns = [np.array([point[symbol] for point in points], dtype=np.int32) for symbol in SYMBOLS]
    values = [np.broadcast_to(value, len(points)) for value in function(*columns)]
    assert np.array(values).T.tolist() == expected


def test_jax_traces_a_scalar():
    function = printers.compile([TapCount(h, s, 2, 1, 1, 1, 1, 1) + CeilDiv(h, 3)], [h, s], "jax")
    assert int(jax.jit(function)(17, 3)[0]) == count_pairs(17, 3, 2, 1, 1, 1, 1, 1) + 6


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run JavaScript")
def test_javascript_equals_evaluate():
    exprs, points, expected = forms_and_points(3, 300, 40, 60, 2**53)
    columns = json.dumps([[point[symbol] for symbol in SYMBOLS] for point in points])
    texts = ", ".join(printers.javascript(expr) for expr in exprs)
    arguments = ", ".join(symbol.name for symbol in SYMBOLS)
    program = (f"{printers.JAVASCRIPT_PRELUDE}\nconst plain = ({arguments}) => [{texts}];\n"
               f"{printers.source(exprs, SYMBOLS, 'javascript', name='shared')}\n"
               f"const points = {columns};\n"
               "console.log(JSON.stringify([plain, shared].map(f => points.map(p => f(...p)))));")
    ran = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(ran.stdout) == [expected, expected]


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run JavaScript")
def test_javascript_floors_exactly_up_to_two_to_the_53():
    """Where a quotient is hardest to floor: just below and at an integer."""
    rng, cases = random.Random(4), []
    for _ in range(4000):
        b = rng.randint(1, 2 ** rng.randint(1, 52))
        top = rng.randint(1, (2**53 - 1) // b) * b
        cases += [(sign * a, b) for a in (top - 1, top) for sign in (1, -1)]
    program = (f"const f = (h, s) => [{printers.javascript(FloorDiv(h, s))}, {printers.javascript(CeilDiv(h, s))}];\n"
               f"console.log(JSON.stringify({json.dumps(cases)}.map(p => f(...p))));")
    ran = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(ran.stdout) == [[a // b, -(-a // b)] for a, b in cases]


def test_the_comparison_catches_a_division_in_floating_point():
    """The text with ``/`` rounded down in place of ``//`` differs from the values above."""
    expr, large = FloorDiv(h * w, 7), 2**40 + 1
    text = printers.python(expr)
    assert eval(text, {"h": large, "w": large}) == evaluate(expr, {h: large, w: large})
    assert int(eval(text.replace("//", "/"), {"h": large, "w": large})) != evaluate(expr, {h: large, w: large})


def test_terms_with_rational_coefficients_are_divided_together():
    triangle = h * (h + 1) / 2
    assert [eval(printers.python(sympy.expand(triangle)), {"h": i}) for i in range(1, 6)] == [1, 3, 6, 10, 15]
    # each term on its own would lose a half twice
    assert [i**2 // 2 + i // 2 for i in range(1, 6)] != [1, 3, 6, 10, 15]


@pytest.mark.parametrize("expr, python, javascript", [
    (2 * n * h * w + n, "2*n*h*w + n", "2*n*h*w + n"),
    (n - FloorDiv(h, 3), "n - (h // 3)", "n - Math.floor(h / 3)"),
    (n * FloorDiv(h, 3) ** 2, "n*(h // 3)**2", "n*Math.floor(h / 3)*Math.floor(h / 3)"),
    (n * CeilDiv(h, g), "n*(-(-h // g))", "n*Math.ceil(h / g)"),
    (n + FloorDiv(-h, g), "n + (-h // g)", "n - Math.ceil(h / g)"),
    (n - CeilDiv(h, g), "n + (-h // g)", "n - Math.ceil(h / g)"),
    (-h - n, "-n - h", "-n - h"),
    (-(h + n) ** 2, "-(n + h)**2", "-(n + h)*(n + h)"),
    (h / 4 + 1, "(h + 4) // 4", "(h + 4) / 4"),
    (2 * n * h / (n + h), "2*n*h/(n + h)", "2*n*h/(n + h)"),
    (1 / h, "1/h", "1/h"),
    (Rational(3, 2), "3/2", "3/2"),
    (Integer(-4), "-4", "-4"),
    (PeakMax(n, 2 * h, 3 * w), "max(2*h, n, 3*w)", "Math.max(2*h, n, 3*w)"),
    (PeakMax(n / h, w), "max(w, n/h)", "Math.max(w, n/h)"),
], ids=str)
def test_text(expr, python, javascript):
    assert printers.python(expr) == python
    assert printers.javascript(expr) == javascript


def test_a_quotient_is_divided_unless_it_is_said_to_be_an_integer():
    groups = c_i / g * h + h
    assert printers.python(groups) == "h + h*c_i/g"
    assert printers.python(groups, integer=True) == "(h*c_i + h*g) // g"
    assert printers.jax(groups, integer=True) == "jnp.floor_divide(h*c_i + h*g, g)"
    large = {h: 2**62, c_i: 6, g: 3}
    assert printers.compile([groups], list(large), "python", integer=True)(*large.values()) == [evaluate(groups, large)]
    intensity = 2 * n * h * w / (n * h + h * w + n * w)
    (value,) = printers.compile([intensity], [n, h, w])(*(np.array([7, 512]) for _ in range(3)))
    exact = [float(evaluate(intensity, dict.fromkeys((n, h, w), i))) for i in (7, 512)]
    np.testing.assert_allclose(value, exact, rtol=1e-15)


def test_names_may_be_replaced():
    assert printers.javascript(n * k_h, names={n: "v[0]", k_h: "v[1]"}) == "v[0]*v[1]"
    with pytest.raises(CostModelError, match="contains k_h, which is not among the symbols given"):
        printers.javascript(n * k_h, names={n: "v[0]"})


def test_no_name_reaches_compiled_code():
    hostile = [symbol(name) for name in ("max", "np", "t0", "values", "__import__")]
    expr = Add(*hostile) + FloorDiv(hostile[2], 2)
    for backend in ("python", "numpy"):
        assert printers.compile([expr], hostile, backend)(1, 2, 3, 4, 5) == [16]
        names = {node.id for node in ast.walk(ast.parse(printers.source([expr], hostile, backend))) if isinstance(node, ast.Name)}
        assert names <= {"x0", "x1", "x2", "x3", "x4", "t0", "t1"}


def test_an_unbound_symbol_and_an_unknown_form_are_named():
    with pytest.raises(CostModelError, match=r"contains w, which is not among the symbols given \(h\)"):
        printers.compile([h * w], [h])
    with pytest.raises(CostModelError, match="sin"):
        printers.python(sympy.sin(h))
    with pytest.raises(CostModelError, match="sqrt"):
        printers.numpy(sympy.sqrt(h))
    with pytest.raises(CostModelError, match="no backend 'fortran'"):
        printers.compile([h], [h], "fortran")


def test_each_form_is_computed_once():
    text = printers.source([n * CeilDiv(h, 2) + CeilDiv(h, 2) ** 2, w * CeilDiv(h, 2)], [n, h, w])
    assert text.count("//") == 1


def test_thousands_of_terms_compile():
    """CPython refuses an expression of 3000 terms in one line."""
    rng = random.Random(5)
    atoms = [CeilDiv(x, 2**i) for x in (h, w) for i in range(6)]
    total = Add(*(rng.randint(1, 99) * rng.choice(atoms) * rng.choice(atoms) * n**rng.randint(0, 9) * s**rng.randint(0, 9)
                  for _ in range(8000)))
    assert len(total.args) > 3000
    at = {n: 2, h: 45, w: 77, s: 3}
    for backend in ("python", "numpy"):
        assert printers.compile([total], list(at), backend)(*at.values()) == [evaluate(total, at)]


def test_a_maximum_of_hundreds_compiles():
    """And Python refuses 200 nested parentheses."""
    top = PeakMax(*(i * n + (300 - i) * h for i in range(300)))
    assert len(top.args) == 300
    assert printers.compile([top], [n, h])(np.array([1, 9]), np.array([5, 2]))[0].tolist() == [1500, 9 * 299 + 2]


@exactly
@given(randoms)
def test_no_value_exceeds_its_magnitude_bound(rng):
    expr, _ = random_form(rng, 4, taps=True)
    points = [random_point(rng, 30) for _ in range(5)]
    bound = printers.magnitude_bound(expr, {symbol: max(point[symbol] for point in points) for symbol in SYMBOLS})
    numerators = [form.args[0] for form in expr.atoms(FloorDiv, CeilDiv)]
    assert all(abs(evaluate(part, point)) <= bound for part in (expr, *numerators) for point in points)


def test_the_bound_covers_what_cancels_and_what_is_divided():
    assert printers.magnitude_bound(h * w - h * s, dict.fromkeys((h, w, s), 10)) == 200
    assert printers.magnitude_bound(h / 3, {h: 9}) == 9
    assert printers.magnitude_bound(FloorDiv(h**2, 100), {h: 1000}) == 10**6
    assert printers.magnitude_bound(n / h, {n: 5, h: 10**6}) == 10**6
    with pytest.raises(CostModelError, match="no upper bound is given for w"):
        printers.magnitude_bound(h * w, {h: 3})


def test_int64_is_used_until_it_would_overflow():
    assert printers.grid_dtype([h * w], {h: 2**31, w: 2**31}) is np.int64
    assert printers.grid_dtype([h * w], {h: 2**32, w: 2**31}) is np.float64
    # a value that fits does not help if the product before the division does not
    assert printers.grid_dtype([FloorDiv(h * w, 2**20)], {h: 2**32, w: 2**32}) is np.float64


def test_float64_takes_over_where_int64_overflows():
    rng, expr = random.Random(6), FloorDiv(h**3 * w - 1, 3) + CeilDiv(h * w**2, s)
    points = [{h: rng.randint(1, 2**20), w: rng.randint(1, 2**20), s: rng.randint(1, 99)} for _ in range(200)]
    columns = [np.array([point[x] for point in points]) for x in (h, w, s)]
    dtype = printers.grid_dtype([expr], {x: int(column.max()) for x, column in zip((h, w, s), columns, strict=True)})
    function = printers.compile([expr], [h, w, s])
    exact = np.array([float(evaluate(expr, point)) for point in points])
    assert dtype is np.float64
    np.testing.assert_allclose(function(*(column.astype(dtype) for column in columns))[0], exact, rtol=1e-15)
    assert not np.allclose(function(*columns)[0], exact, rtol=0.1)  # int64 wraps around, silently


def test_numpy_floors_floats_as_integers():
    a = np.array([2.0**62, 2.0**60, 7.0, -7.0, 2.0**53 - 1])
    np.testing.assert_allclose(printers.compile([FloorDiv(h, 3)], [h])(a)[0], [float(int(x) // 3) for x in a], rtol=1e-15)


@pytest.mark.parametrize("expr, text", [
    (81456 * n * h * w + 2048000 * n, "81456 n h w + 2048000 n"),
    (2 * n * h * w * k_h**2 * c_i / g, r"\frac{2 n h w k_{h}^{2} c_{i}}{g}"),
    (symbol("c_in") * symbol("trips_0"), r"c_{\mathrm{in}} \mathrm{trips}_{0}"),
    (symbol("alpha") + symbol("h2") ** 2, r"h_{2}^{2} + \alpha"),
    (FloorDiv(h - 3, s) + 1, r"\left\lfloor \frac{h - 3}{s} \right\rfloor + 1"),
    (n * CeilDiv(h, 32) ** 2, r"n {\left\lceil \frac{h}{32} \right\rceil}^{2}"),
    (h**2 / 2 - h / 2, r"\frac{h^{2}}{2} - \frac{h}{2}"),
    (-n * (h + 1) ** 2, r"-n \left(h + 1\right)^{2}"),
    (1 / (n + h) ** 2, r"\frac{1}{\left(n + h\right)^{2}}"),
    (PeakMax(n * h, 3 * w), r"\max\left(3 w, n h\right)"),
    (Rational(-1, 2), r"-\frac{1}{2}"),
    (Mul(3, 2, n, evaluate=False), r"3 \cdot 2 n"),
    (Integer(0), "0"),
], ids=str)
def test_latex(expr, text):
    assert printers.latex(expr) == text


def test_latex_braces_balance():
    rng = random.Random(7)
    for _ in range(300):
        text = printers.latex(random_form(rng, 4, taps=True)[0])
        assert text.count("{") == text.count("}") and text.count(r"\left") == text.count(r"\right")

"""Elementwise arithmetic: one operation per output element, listed one by one; special functions are counted apart."""

from __future__ import annotations

from costmodel.rules import Eqn, golden, real_dtype, rule, touched, transcendental, vector  # noqa: F401 (golden, touched: for the doctests)
from costmodel.rules.work import Work

# One operation per output element, on the operands' type.
ARITHMETIC = (
    "add", "add_any", "sub", "mulhi", "max", "min", "neg", "abs", "sign", "floor", "ceil", "round", "clamp",
    "nextafter", "eq", "ne", "lt", "le", "gt", "ge", "eq_to", "lt_to", "le_to", "is_finite",
    "and", "or", "xor", "not", "shift_left", "shift_right_logical", "shift_right_arithmetic", "population_count", "clz",
)

# Divisions, which compilers do not compute twice (XLA, InstructionFusion::IsExpensive).
DIVISIONS = ("div", "rem")

# Special functions: one evaluation per output element. What an evaluation costs is a device's to state. On XLA's list of what is
# expensive.
SPECIAL = (
    "exp", "exp2", "expm1", "log", "log2", "log1p", "logistic", "tanh", "sin", "cos", "tan", "atan2", "sqrt", "rsqrt", "cbrt",
    "pow", "erf", "erfc", "erf_inv", "lgamma", "digamma",
)

# Special functions that are not on that list: XLA expands them into several operations.
EXPANDED = (
    "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "polygamma", "igamma", "igammac", "igamma_grad_a",
    "random_gamma_grad", "regularized_incomplete_beta", "bessel_i0e", "bessel_i1e", "zeta",
)

# Real operations in one complex one (Golub & Van Loan, Matrix Computations, 1.1.15: a complex product is 4 mul + 2 add). A quotient
# is the product with the conjugate over the square of the absolute value: 6 + 3 + 2; a sign is z / |z|: 3 + 2 and a root.
_COMPLEX = {"add": 2, "add_any": 2, "sub": 2, "neg": 2, "mul": 6, "div": 11, "eq": 3, "ne": 3, "abs": 3, "sign": 5}


@rule(*ARITHMETIC, traits="elementwise")
@rule(*DIVISIONS, traits="expensive")
def elementwise(eqn: Eqn, **_) -> Work:
    """One operation an element; a complex one is several real ones.

    >>> golden("add", "n c", "n c"), golden("div", "n", "n", dtype="complex64"), golden("sign", "n", dtype="complex64")
    ('c*n add', '11*n div', '5*n sign, n sqrt')
    """
    dtype = eqn.operand.dtype
    if real_dtype(dtype) == dtype:
        return eqn.work(vector(eqn.primitive, dtype, eqn.out.size))
    root = [transcendental("sqrt", dtype, eqn.out.size)] if eqn.primitive in ("abs", "sign") else []
    return eqn.work(vector(eqn.primitive, dtype, _COMPLEX.get(eqn.primitive, 1) * eqn.out.size), *root)


@rule("mul", "square", traits="elementwise")
def mul(eqn: Eqn, **_) -> Work:
    """
    >>> golden("mul", "n c", "n c"), golden("square", "n", dtype="complex64")
    ('c*n mul', '6*n mul')
    """
    real = 6 if real_dtype(eqn.out.dtype) != eqn.out.dtype else 1
    return eqn.work(vector("mul", eqn.out.dtype, real * eqn.out.size))


@rule("select_n", traits="elementwise")
def select_n(eqn: Eqn, **_) -> Work:
    """One selection per output element, of the cases' type: which elements of which case are read is decided at run time, so
    every case is read whole.

    >>> golden("select_n", "bool[n]", "n", "n", out="n"), touched("select_n", "bool[n]", "n", "n", out="n")
    ('n select', 'reads n, n, n; writes n')
    """
    return eqn.work(vector("select", eqn.out.dtype, eqn.out.size))


@rule(*SPECIAL, traits="expensive")
@rule(*EXPANDED, traits="elementwise")
def special(eqn: Eqn, **_) -> Work:
    """One evaluation an element.

    >>> golden("exp", "n c"), golden("asinh", "n c")
    ('c*n exp', 'c*n asinh')
    """
    return eqn.work(transcendental(eqn.primitive, eqn.out.dtype, eqn.out.size))


@rule("integer_pow", traits="composed")
def integer_pow(eqn: Eqn, *, y: int, **_) -> Work:
    """Square-and-multiply, as jax lowers it: ⌊log2 |y|⌋ squarings, one product per further set bit, one division if y < 0.

    >>> golden("integer_pow", "n", y=3), golden("integer_pow", "n", y=-8), golden("integer_pow", "n", y=-2, dtype="complex64")
    ('2*n mul', '3*n mul, n div', '6*n mul, 11*n div')
    """
    power = abs(y)
    products = power.bit_length() - 1 + power.bit_count() - 1 if power else 0
    product, quotient = (_COMPLEX["mul"], _COMPLEX["div"]) if real_dtype(eqn.out.dtype) != eqn.out.dtype else (1, 1)
    return eqn.work(vector("mul", eqn.out.dtype, product * products * eqn.out.size),
                    vector("div", eqn.out.dtype, quotient * eqn.out.size * int(y < 0)))


@rule("real", "imag", "complex", "conj", traits="composed")
def complex_parts(eqn: Eqn, **_) -> Work:
    """Taking complex numbers apart or together is data movement; a conjugate flips one sign.

    >>> golden("real", "complex64[n]", out="n"), golden("conj", "complex64[n]")
    ('', 'n neg')
    """
    return eqn.work(*([vector("neg", eqn.out.dtype, eqn.out.size)] if eqn.primitive == "conj" else []))


@rule("one_minus_square", traits="composed")
def one_minus_square(eqn: Eqn, **_) -> Work:
    """1 - x²: one product, one difference.

    >>> golden("one_minus_square", "n")
    'n mul, n sub'
    """
    return eqn.work(vector("mul", eqn.out.dtype, eqn.out.size), vector("sub", eqn.out.dtype, eqn.out.size))


@rule("polynomial", traits="composed")
def polynomial(eqn: Eqn, **_) -> Work:
    """Horner's scheme on (x, a_0, … a_N): N products and N sums an element.

    >>> golden("polynomial", "n", "", "", "", out="n")
    '2*n mul, 2*n add'
    """
    steps = (len(eqn.ins) - 2) * eqn.out.size
    return eqn.work(vector("mul", eqn.out.dtype, steps), vector("add", eqn.out.dtype, steps))

"""Dense linear algebra and Fourier transforms, by the textbooks' counts of floating-point operations.

Direct factorisations are exact (Anderson, Dongarra et al., LAPACK Working Note 41, appendix C: multiplications + additions).
Iterative ones (eigenvalues, singular values) depend on the data: the usual estimates of Golub & Van Loan, *Matrix Computations*,
4th edition, stand as bounds.
"""

from __future__ import annotations

from sympy import Expr, Integer, Mul, Rational

from costmodel.rules import Eqn, Op, golden, multiply_accumulate, real_dtype, rule, touched, vector  # noqa: F401 (golden, touched: for the doctests)
from costmodel.rules.work import Work
from costmodel.symbolic.forms import CeilLog2, PeakMax, ceil_div, lower_bound, minimum
from costmodel.symbolic.translate import internal

_ITERATIVE = "iterative: the number of sweeps depends on the data; Golub & Van Loan's estimate"


def _flops(eqn: Eqn, per_matrix: Expr) -> Op:
    """``per_matrix`` for every matrix of the batch. Complex arithmetic is priced at 4 real operations a real one."""
    dtype = eqn.operand.dtype
    factor = 4 if real_dtype(dtype) != dtype else 1
    batch = Mul(*eqn.operand.shape[:-2])
    return vector("flop", dtype, (factor * batch * per_matrix).expand())


def _sides(eqn: Eqn) -> tuple[Expr, Expr]:
    """(longer, shorter) side of the operand's matrices."""
    rows, columns = eqn.operand.shape[-2:]
    if lower_bound((rows - columns).expand(), eqn.assumptions) >= 0:
        return rows, columns
    if lower_bound((columns - rows).expand(), eqn.assumptions) >= 0:
        return columns, rows
    return PeakMax(rows, columns), minimum(rows, columns)


@rule("cholesky", traits="linear algebra")
def cholesky(eqn: Eqn, **_) -> Work:
    """n³/3 + n²/2 + n/6 (LAWN 41, DPOTRF).

    >>> golden("cholesky", "b n n")
    'b*n**3/3 + b*n**2/2 + b*n/6 flop'
    """
    n = eqn.operand.shape[-1]
    return eqn.work(_flops(eqn, n**3 / 3 + n**2 / 2 + n / 6))


@rule("cholesky_update", traits="linear algebra")
def cholesky_update(eqn: Eqn, **_) -> Work:
    """Rank-one update by Givens rotations: a rotation of 6 operations for each element of the triangle, 6 to make each one.

    >>> golden("cholesky_update", "n n", "n")
    '3*n**2 + 9*n flop'
    """
    n = eqn.operand.shape[-1]
    return eqn.work(_flops(eqn, 3 * n * (n + 1) + 6 * n))


@rule("triangular_solve", traits="linear algebra")
def triangular_solve(eqn: Eqn, *, left_side: bool, unit_diagonal: bool = False, **_) -> Work:
    """m² a right-hand side (LAWN 41, DTRSM); a unit diagonal saves its m divisions.

    >>> golden("triangular_solve", "m m", "m n", out="m n", left_side=True)
    'm**2*n flop'
    >>> golden("triangular_solve", "m m", "n m", out="n m", left_side=False, unit_diagonal=True)
    'm**2*n - m*n flop'
    """
    m = eqn.operand.shape[-1]
    right_hand_sides = eqn.out.shape[-1 if left_side else -2]
    return eqn.work(_flops(eqn, right_hand_sides * (m * m - (m if unit_diagonal else 0))))


@rule("lu", traits="linear algebra")
def lu(eqn: Eqn, **_) -> Work:
    """m·n² - n³/3 - n²/2 + 5n/6 for m ≥ n, and the sides swapped for a wide matrix (LAWN 41, DGETRF).

    >>> golden("lu", "n n", out=("n n", "int32[n]", "int32[n]")), golden("lu", "2*n n", out=("2*n n", "int32[n]", "int32[2*n]"))
    ('2*n**3/3 - n**2/2 + 5*n/6 flop', '5*n**3/3 - n**2/2 + 5*n/6 flop')
    """
    m, n = _sides(eqn)
    return eqn.work(_flops(eqn, m * n**2 - n**3 / 3 - n**2 / 2 + n * Rational(5, 6)))


def _geqrf(eqn: Eqn) -> Expr:
    """LAWN 41, DGEQRF: 2m·n² - 2n³/3 + m·n + n² + 14n/3 for m ≥ n, else 2n·m² - 2m³/3 + 3m·n - m² + 14m/3; the two differ by
    2m·(n - m) beside the sides' names."""
    m, n = _sides(eqn)
    return (2 * m * n**2 - n**3 * Rational(2, 3) + m * n + n**2 + n * Rational(14, 3)
            + 2 * n * (eqn.operand.shape[-1] - n))


def _orgqr(m: Expr, n: Expr, k: Expr) -> Expr:
    return (4 * m * n * k - 2 * (m + n) * k**2 + k**3 * Rational(4, 3) + 3 * n * k - m * k - k**2 - k * Rational(4, 3))


@rule("geqrf", "geqp3", traits="linear algebra")
def geqrf(eqn: Eqn, **_) -> Work:
    """Householder QR, R and reflectors: 2m·n² - 2n³/3 + … for m ≥ n (LAWN 41, DGEQRF).

    >>> golden("geqrf", "2*n n", out=("2*n n", "n")), golden("geqrf", "n 2*n", out=("n 2*n", "n"))
    ('10*n**3/3 + 3*n**2 + 14*n/3 flop', '10*n**3/3 + 5*n**2 + 14*n/3 flop')
    """
    return eqn.work(_flops(eqn, _geqrf(eqn)))


@rule("householder_product", "orgqr", traits="linear algebra")
def householder_product(eqn: Eqn, **_) -> Work:
    """Q from k reflectors: 4mnk - 2(m + n)k² + 4k³/3 + 3nk - mk - k² - 4k/3 (LAWN 41, DORGQR).

    >>> golden("householder_product", "m n", "k")
    '4*k**3/3 - 2*k**2*m - 2*k**2*n - k**2 + 4*k*m*n - k*m + 3*k*n - 4*k/3 flop'
    """
    m, n = eqn.operand.shape[-2:]
    return eqn.work(_flops(eqn, _orgqr(m, n, eqn.ins[1].shape[-1])))


@rule("ormqr", traits="linear algebra")
def ormqr(eqn: Eqn, *, left: bool = True, **_) -> Work:
    """k reflectors applied to an m × n matrix: left 4mnk - 2nk² + 3nk, right 4mnk - 2mk² + 2mk + nk - k(k - 1)/2 (LAWN 41,
    DORMQR).

    >>> golden("ormqr", "m k", "k", "m n", out="m n")
    '-2*k**2*n + 4*k*m*n + 3*k*n flop'
    >>> golden("ormqr", "n k", "k", "m n", out="m n", left=False)
    '-2*k**2*m - k**2/2 + 4*k*m*n + 2*k*m + k*n + k/2 flop'
    """
    (m, n), k = eqn.out.shape[-2:], eqn.ins[1].shape[-1]
    if left:
        return eqn.work(_flops(eqn, 4 * m * n * k - 2 * n * k**2 + 3 * n * k))
    return eqn.work(_flops(eqn, 4 * m * n * k - 2 * m * k**2 + 2 * m * k + n * k - k * (k - 1) / 2))


@rule("symmetric_product", traits="linear algebra")
def symmetric_product(eqn: Eqn, *, alpha: float = 1.0, beta: float = 0.0, **_) -> Work:
    """The triangle of α·A·Aᵀ + β·C for A of m × k: k·m(m + 1)/2 multiply-accumulates (LAWN 41, DSYRK) and the scalings.

    >>> golden("symmetric_product", "m k", "m m", out="m m", alpha=2.0, beta=1.0)
    'k*m**2/2 + k*m/2 mac, m**2/2 + m/2 mul, m**2/2 + m/2 add'
    """
    m, k = eqn.operand.shape[-2:]
    triangle = (Mul(*eqn.operand.shape[:-2]) * m * (m + 1) / 2).expand()
    return eqn.work(multiply_accumulate(eqn.operand.dtype, (triangle * k).expand()),
                    vector("mul", eqn.out.dtype, triangle * (int(alpha != 1) + int(beta not in (0, 1)))),
                    vector("add", eqn.out.dtype, triangle * int(beta != 0)))


@rule("lu_pivots_to_permutation", status="free", why="swaps entries of a permutation, computes nothing")
def lu_pivots_to_permutation(eqn: Eqn, **_) -> Work:
    """
    >>> touched("lu_pivots_to_permutation", "int32[n]", out="int32[m]")
    'reads n; writes m'
    """
    return eqn.work()


@rule("qr", traits="linear algebra")
def qr(eqn: Eqn, **_) -> Work:
    """Factorise, then form the columns of Q that are returned: LAWN 41, DGEQRF and DORGQR.

    >>> golden("qr", "n n", out=("n n", "n n"))
    '8*n**3/3 + 3*n**2 + 10*n/3 flop'
    """
    _, reflectors = _sides(eqn)
    return eqn.work(_flops(eqn, _geqrf(eqn) + _orgqr(eqn.out.shape[-2], eqn.out.shape[-1], reflectors)))


@rule("eigh", traits="linear algebra", status="bounded", why=_ITERATIVE)
def eigh(eqn: Eqn, **_) -> Work:
    """Symmetric: 9n³ with eigenvectors (Golub & Van Loan, section 8.3).

    >>> golden("eigh", "n n", out=("n n", "n"))
    '9*n**3 flop'
    """
    return eqn.work(_flops(eqn, 9 * eqn.operand.shape[-1] ** 3))


@rule("eig", traits="linear algebra", status="bounded", why=_ITERATIVE)
def eig(eqn: Eqn, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True, **_) -> Work:
    """Unsymmetric: 10n³ for eigenvalues, 25n³ with eigenvectors (Golub & Van Loan, section 7.5).

    >>> golden("eig", "n n"), golden("eig", "n n", compute_left_eigenvectors=False, compute_right_eigenvectors=False)
    ('25*n**3 flop', '10*n**3 flop')
    """
    vectors = compute_left_eigenvectors or compute_right_eigenvectors
    return eqn.work(_flops(eqn, (25 if vectors else 10) * eqn.operand.shape[-1] ** 3))


@rule("schur", traits="linear algebra", status="bounded", why=_ITERATIVE)
def schur(eqn: Eqn, *, compute_schur_vectors: bool = True, **_) -> Work:
    """25n³ with the Schur vectors, 10n³ without (Golub & Van Loan, section 7.5).

    >>> golden("schur", "n n"), golden("schur", "n n", compute_schur_vectors=False)
    ('25*n**3 flop', '10*n**3 flop')
    """
    return eqn.work(_flops(eqn, (25 if compute_schur_vectors else 10) * eqn.operand.shape[-1] ** 3))


@rule("svd", traits="linear algebra", status="bounded", why=_ITERATIVE)
def svd(eqn: Eqn, *, compute_uv: bool = True, full_matrices: bool = True, **_) -> Work:
    """For m ≥ n: values 4m·n² - 4n³/3; thin 14m·n² + 8n³; full 4m²·n + 8m·n² + 9n³ (Golub & Van Loan, section 8.6).

    >>> golden("svd", "3*n 3*n", compute_uv=False), golden("svd", "2*n n", full_matrices=False), golden("svd", "2*n n")
    ('72*n**3 flop', '36*n**3 flop', '41*n**3 flop')
    """
    m, n = _sides(eqn)
    if not compute_uv:
        count = ceil_div(12 * m * n**2 - 4 * n**3, Integer(3))
    elif full_matrices:
        count = 4 * m**2 * n + 8 * m * n**2 + 9 * n**3
    else:
        count = 14 * m * n**2 + 8 * n**3
    return eqn.work(_flops(eqn, count))


@rule("hessenberg", traits="linear algebra", status="bounded", why="leading term of Golub & Van Loan, section 7.4")
def hessenberg(eqn: Eqn, **_) -> Work:
    """10n³/3.

    >>> golden("hessenberg", "3*n 3*n")
    '90*n**3 flop'
    """
    return eqn.work(_flops(eqn, ceil_div(10 * eqn.operand.shape[-1] ** 3, Integer(3))))


@rule("tridiagonal", traits="linear algebra", status="bounded", why="leading term of Golub & Van Loan, section 8.3")
def tridiagonal(eqn: Eqn, **_) -> Work:
    """4n³/3.

    >>> golden("tridiagonal", "3*n 3*n")
    '36*n**3 flop'
    """
    return eqn.work(_flops(eqn, ceil_div(4 * eqn.operand.shape[-1] ** 3, Integer(3))))


@rule("tridiagonal_solve", traits="linear algebra")
def tridiagonal_solve(eqn: Eqn, **_) -> Work:
    """Thomas algorithm: n - 1 steps of one division, one product and one difference on the matrix; for each right-hand side
    n - 1 steps of one product and difference and one division forward, n - 1 of one product and difference backward.

    >>> golden("tridiagonal_solve", "n", "n", "n", "n m")
    '5*m*n - 4*m + 3*n - 3 flop'
    """
    n, right_hand_sides = eqn.ins[-1].shape[-2:]
    batch = Mul(*eqn.ins[-1].shape[:-2])
    count = 3 * (n - 1) + right_hand_sides * (5 * n - 4)
    return eqn.work(vector("flop", eqn.operand.dtype, (batch * count).expand()))


@rule("fft", traits="fft", status="bounded",
      why="5 n log₂ n is the radix-2 count that benchmarks quote; ⌈log₂ n⌉ bounds other lengths")
def fft(eqn: Eqn, *, fft_lengths, **_) -> Work:
    """5 n ⌈log₂ n⌉ real operations for a complex transform of n points, half of it where one side is real (Frigo & Johnson,
    FFTW: the convention of its benchmarks).

    >>> golden("fft", "b 1024", dtype="complex64", fft_lengths=(1024,))
    '51200*b flop'
    >>> golden("fft", "b 1024", out="complex64[b 513]", fft_lengths=(1024,))
    '25600*b flop'
    """
    lengths = [internal(n) for n in fft_lengths]
    rank = len(lengths)
    points = Mul(*lengths)
    batch = Mul(*eqn.operand.shape[:len(eqn.operand.shape) - rank])
    real = eqn.operand.dtype == real_dtype(eqn.operand.dtype) or eqn.out.dtype == real_dtype(eqn.out.dtype)
    levels = sum(CeilLog2(n) for n in lengths)
    count = (5 * points * levels).expand()
    return eqn.work(vector("flop", eqn.operand.dtype, (batch * (ceil_div(count, Integer(2)) if real else count)).expand()))

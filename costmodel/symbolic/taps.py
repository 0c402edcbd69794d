"""How many (output, kernel tap) pairs a convolution has along one spatial dimension: closed where it can be, exact always.

Output ``o`` and tap ``t`` meet the input at position ``o·stride + t·dilation - low``; the input itself has ``size`` elements,
``hole`` apart (its own dilation). Two conventions, both exact:

* *dense* counts a pair unless it falls into a hole of the dilated input. Taps in the padding count. This is what the textbook,
  torchvision and fvcore count.
* *valid* counts a pair only if it falls on an element of the input. This is what XLA's lowered cost analysis counts and what
  a device has to compute.

>>> from costmodel.symbolic.forms import symbol
>>> h, k = symbol("h"), symbol("k")
>>> tap_pairs(h, 3, low=1, high=1)                        # 3x3 SAME
(3*h, 3*h - 2)
>>> tap_pairs(h, k, assumptions=Assumptions(nonnegative=(h - k,)))      # VALID: nothing to tell apart
(k*(h - k + 1), k*(h - k + 1))
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

from sympy import Add, Expr, Function, Integer, Rational
from sympy.core.sympify import _sympify

from costmodel.symbolic.floor_sums import aligned_pairs
from costmodel.symbolic.forms import ONE, POSITIVE, ZERO, Assumptions, PeakMax, lower_bound
from costmodel.symbolic.periods import divide, merge_divisions

# Expanding a sum over the taps of one dimension beyond this many terms reads worse than the opaque form and is no faster.
MAX_EXPANDED_TAPS = 64


class TapCount(Function):
    """Opaque exact count ``TapCount(size, taps, stride, dilation, hole, low, high, valid)`` of the pairs described above.

    Used where no polynomial exists (a symbolic kernel with stride > 1) or where the domain does not decide it. With all
    arguments integers it is an integer.
    """

    nargs = 8
    counts = True  # never negative

    def __new__(cls, *args, **_):
        args = tuple(_sympify(a) for a in args)
        if all(a.is_Integer for a in args):
            return Integer(count_pairs(*(int(a) for a in args)))
        return Function.__new__(cls, *args, evaluate=False)

    def _eval_is_integer(self):
        return True

    @staticmethod
    def exact(*args):
        """The number of taps, of integers."""
        return count_pairs(*args)

    def _latex(self, printer, exp=None):
        text = r"\operatorname{taps}\left(" + ", ".join(printer._print(a) for a in self.args) + r"\right)"
        return text if exp is None else rf"{{{text}}}^{{{exp}}}"


def output_size(size, taps, stride=1, dilation=1, hole=1, low=0, high=0) -> Expr:
    """Number of outputs of a window along one dimension: ⌊(size' + low + high - dilation·(taps - 1) - 1) / stride⌋ + 1.

    >>> from costmodel.symbolic.forms import symbol
    >>> h, k, p, s = (symbol(x) for x in "hkps")
    >>> output_size(h, k, s, low=p, high=p)
    FloorDiv(h - k + 2*p, s) + 1
    """
    return divide(_span(size, taps, dilation, hole, low, high), _sympify(stride)) + 1


def _span(size, taps, dilation, hole, low, high) -> Expr:
    """Last position at which a window may start, relative to the first."""
    size, taps, dilation, hole, low, high = map(_sympify, (size, taps, dilation, hole, low, high))
    return merge_divisions(((size - 1) * hole + 1 + low + high - (taps - 1) * dilation - 1).expand())


@lru_cache(maxsize=4096)
def _tap_pairs(size, taps, stride, dilation, hole, low, high, assumptions) -> tuple[Expr, Expr]:
    span = _span(size, taps, dilation, hole, low, high)
    outputs = divide(span, stride) + 1
    arguments = (size, taps, stride, dilation, hole, low, high)
    if lower_bound(span, assumptions) < 0 and lower_bound(outputs, assumptions) < 0:  # there may be too little for a single window
        outputs = PeakMax(ZERO, outputs)
        if not outputs.is_Integer:
            return (outputs * taps if hole == 1 else TapCount(*arguments, ZERO)), TapCount(*arguments, ONE)
    dense = _dense(outputs, arguments)
    if hole == 1 and low == 0 and high == 0:
        return dense, dense
    valid = _valid(outputs, span, arguments, assumptions)
    return dense, TapCount(*arguments, ONE) if valid is None else valid


def tap_pairs(size, taps, stride=1, dilation=1, hole=1, low=0, high=0,
              assumptions: Assumptions = POSITIVE) -> tuple[Expr, Expr]:
    """(dense, valid) pairs along one dimension. The assumptions decide whether a window can fall off the
    input; what they leave open stays an exact :class:`TapCount`."""
    arguments = (_sympify(a) for a in (size, taps, stride, dilation, hole, low, high))
    return _tap_pairs(*arguments, assumptions)


def pairs_beyond(size, hole, taps, dilation, unit, low) -> Expr:
    """Pairs of one of ``size`` elements and one of ``taps`` whose position, element·hole - tap·dilation + low, is a multiple of
    ``unit``: dense pairs of a convolution where not the image is padded but what stands at those multiples.

    >>> pairs_beyond(*map(_sympify, (7, 2, 3, 1, 1, 0)))  # a transposed convolution: every element meets every tap
    21
    """
    back = ((taps - 1) * dilation - low).expand()  # as of a window that goes over what is padded, its last tap first
    return _dense(size, (ONE, taps, hole, dilation, unit, back, (size * hole - hole + low).expand()))


def _dense(outputs, arguments) -> Expr:
    _, taps, stride, dilation, hole, low, _ = arguments
    if hole == 1:
        return outputs * taps
    if stride == 1 and (outputs / hole).expand() == divide(outputs, hole):
        return taps * divide(outputs, hole)  # every tap meets an element once in each `hole` consecutive outputs
    if not all(a.is_Integer for a in (taps, stride, dilation, hole, low)) or taps > MAX_EXPANDED_TAPS:
        return TapCount(*arguments, ZERO)
    return _sum_over_taps(int(taps), int(stride), int(dilation), int(hole), int(low),
                          lambda t: (ZERO, outputs - 1))


def _valid(outputs, span, arguments, assumptions) -> Expr | None:
    size, taps, stride, dilation, hole, low, high = arguments
    if taps.is_Integer and taps <= MAX_EXPANDED_TAPS and dilation.is_Integer:
        return _valid_by_tap(size, taps, stride, dilation, hole, low, span, assumptions)
    if outputs.is_Integer and outputs <= MAX_EXPANDED_TAPS and stride.is_Integer:
        # o·stride and t·dilation are symmetric, so a window with few outputs (a weight gradient) is summed over them instead.
        return _valid_by_tap(size, outputs, dilation, stride, hole, low, ((taps - 1) * dilation).expand(), assumptions)
    if stride == 1 and dilation == 1 and hole == 1 and _corners_fit(outputs, taps, low, high, assumptions):
        return (outputs * taps - low * (low + 1) * Rational(1, 2) - high * (high + 1) * Rational(1, 2)).expand()
    return None


def _corners_fit(outputs, taps, low, high, assumptions) -> bool:
    """Each padding cuts a full triangle of pairs off the outputs × taps rectangle."""
    return all(lower_bound((extent - pad).expand(), assumptions) >= 0 and lower_bound(pad, assumptions) >= 0
               for pad in (low, high) for extent in (outputs, taps))


def _valid_by_tap(size, taps, stride, dilation, hole, low, span, assumptions) -> Expr | None:
    """Σ over taps of the outputs whose position is inside the input, or None where the domain does not decide its ends."""
    if not (hole == 1 or (hole.is_Integer and stride.is_Integer and low.is_Integer)):
        return None
    ends = []
    for t in range(int(taps)):
        first = (low - t * dilation).expand()
        if lower_bound(-first, assumptions) >= 0:
            begin = ZERO
        elif lower_bound(first, assumptions) >= 0:
            begin = divide(first + stride - 1, stride)
        else:
            return None
        inside = ((size - 1) * hole + low - t * dilation).expand()
        if lower_bound(inside - span, assumptions) >= 0:
            end = divide(span, stride)
        elif lower_bound(span - inside, assumptions) >= 0:
            end = divide(inside, stride)
        else:
            return None
        if lower_bound((end - begin + 1).expand(), assumptions) < 0:
            return None
        ends.append((begin, end))
    if hole == 1:
        return merge_divisions(Add(*(end - begin + 1 for begin, end in ends)).expand())
    return _sum_over_taps(int(taps), int(stride), int(dilation), int(hole), int(low), lambda t: ends[t])


def _sum_over_taps(taps: int, stride: int, dilation: int, hole: int, low: int, ends) -> Expr:
    """Σ over taps of outputs in ends(t) = (first, last) whose position is a multiple of ``hole``."""
    total = []
    for t in range(taps):
        residue = _residue(stride, dilation, hole, low, t)
        if residue is not None:
            first, last = ends(t)
            period = hole // gcd(stride, hole)
            total.append(divide(last - residue, Integer(period)) - divide(first - 1 - residue, Integer(period)))
    return merge_divisions(Add(*total).expand())


def _residue(stride: int, dilation: int, hole: int, low: int, tap: int) -> int | None:
    """The outputs at which ``tap`` meets no hole are ≡ this, modulo hole / gcd(stride, hole); None if there are none."""
    common = gcd(stride, hole)
    offset, remainder = divmod(low - tap * dilation, common)
    period = hole // common
    return None if remainder else offset * pow(stride // common, -1, period) % period if period > 1 else 0


def count_pairs(size: int, taps: int, stride: int, dilation: int, hole: int, low: int, high: int, valid: int) -> int:
    """The count itself, for integers, in O(log). Raises ZeroDivisionError for a stride, a dilation or a hole below 1."""
    if min(stride, dilation, hole) < 1:
        raise ZeroDivisionError(f"TapCount with stride {stride}, dilation {dilation} and hole {hole}, which are at least 1")
    length = (size - 1) * hole + 1 if size > 0 else 0
    outputs = (length + low + high - (taps - 1) * dilation - 1) // stride + 1
    if valid and not length:
        return 0
    return aligned_pairs(outputs, taps, stride, dilation, hole, low, length - 1 if valid else None)

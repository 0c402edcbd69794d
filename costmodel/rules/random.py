"""Random numbers: the integer work of the generators.

Threefry-2x32 (Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, 2011) makes two 32-bit words from two: 20 rounds of an
addition, a rotation (two shifts and an or) and an exclusive or, a key injection of 3 additions after every fourth, 2 additions
before the first: 20·5 + 5·3 + 2 = 117 operations.
"""

from __future__ import annotations

from costmodel.rules import Eqn, golden, rule, touched, transcendental, vector  # noqa: F401 (golden, touched: for the doctests)
from costmodel.rules.work import BITS, Work
from costmodel.symbolic.forms import ZERO, ceil_div

THREEFRY = 20 * 5 + 5 * 3 + 2


@rule("threefry2x32")
def threefry2x32(eqn: Eqn, **_) -> Work:
    """Two words from two.

    >>> golden("threefry2x32", "", "", "n", "n", out=("n", "n"), dtype="uint32")
    '117*n threefry'
    """
    return eqn.work(vector("threefry", "uint32", THREEFRY * eqn.out.size))


@rule("threefry4x32")
def threefry4x32(eqn: Eqn, **_) -> Work:
    """Four words from four: 20 rounds of two mixes, five injections of 5 additions, 4 additions before the first.

    >>> golden("threefry4x32", *[""] * 4, *["n"] * 4, out=["n"] * 4, dtype="uint32")
    '229*n threefry'
    """
    return eqn.work(vector("threefry", "uint32", (20 * 2 * 5 + 5 * 5 + 4) * eqn.out.size))


@rule("philox2x32", "philox4x32")
def philox(eqn: Eqn, **_) -> Work:
    """Salmon et al., section 3.3: 10 rounds of a product's two halves and two exclusive ors for each pair of words, and 9 additions
    to each word of the key, of which there is one a pair.

    >>> golden("philox4x32", "", "", *["n"] * 4, out=["n"] * 4, dtype="uint32")
    '98*n philox'
    """
    pairs = len(eqn.outs) // 2
    return eqn.work(vector("philox", "uint32", pairs * (10 * 4 + 9) * eqn.out.size))


@rule("random_bits")
def random_bits(eqn: Eqn, *, bit_width: int, **_) -> Work:
    """One Threefry block an element (jax's partitionable default): 64 bits are both of its words, fewer are their exclusive or.

    >>> golden("random_bits", "key<fry>[]", out="uint32[n]", bit_width=32)
    '118*n threefry'
    """
    combine = 0 if bit_width == 64 else 1
    return eqn.work(vector("threefry", "uint32", (THREEFRY + combine) * eqn.out.size))


@rule("random_fold_in", "random_split")
def random_derive(eqn: Eqn, **_) -> Work:
    """One Threefry block for each key that is derived.

    >>> golden("random_split", "key<fry>[]", out="key<fry>[n]")
    '117*n threefry'
    """
    return eqn.work(vector("threefry", "uint32", THREEFRY * eqn.out.size))


@rule("random_seed", status="free", why="splits the seed's bits into a key's words")
def random_seed(eqn: Eqn, **_) -> Work:
    """
    >>> touched("random_seed", "int32[]", out="key<fry>[]")
    'reads 1; writes 1'
    """
    return eqn.work()


@rule("rng_bit_generator", status="bounded", why="the backend chooses the algorithm; Threefry is the dearest that XLA uses")
def rng_bit_generator(eqn: Eqn, **_) -> Work:
    """A Threefry block for every two words of 32 bits.

    >>> golden("rng_bit_generator", "uint32[4]", out=("uint32[4]", "uint32[n 2]"))
    '117*n threefry'
    """
    bits = eqn.outs[1]
    blocks = ceil_div(bits.size * max(BITS[bits.dtype] // 32, 1), 2)
    return eqn.work(vector("threefry", "uint32", THREEFRY * blocks))


@rule("rng_uniform", status="bounded", why="the backend chooses the algorithm; Threefry is the dearest that XLA uses")
def rng_uniform(eqn: Eqn, **_) -> Work:
    """Bits, then one product and one sum to bring them into the range.

    >>> golden("rng_uniform", "", "", out="n 2")
    '117*n threefry, 2*n mul, 2*n add'
    """
    return eqn.work(vector("threefry", "uint32", THREEFRY * ceil_div(eqn.out.size, 2)), vector("mul", eqn.out.dtype, eqn.out.size),
                    vector("add", eqn.out.dtype, eqn.out.size))


@rule("random_gamma", status="bounded", why="rejection sampling: counted as one special function an element")
def random_gamma(eqn: Eqn, **_) -> Work:
    """
    >>> golden("random_gamma", "key<fry>[]", "n", out="n"), touched("random_gamma", "key<fry>[]", "n", out="n")
    ('n random_gamma', 'reads 0, n; writes n')
    """
    return eqn.work(transcendental("random_gamma", eqn.out.dtype, eqn.out.size), read=[ZERO] + [a.size for a in eqn.ins[1:]])

"""The page's arithmetic, run by node where there is one: closed forms on BigInts are what ``evaluate`` says, beyond 2**53 too."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from importlib.resources import files

import pytest
from random_forms import SYMBOLS, random_form, random_point

from costmodel.symbolic import printers
from costmodel.symbolic.forms import CeilDiv, FloorDiv, PeakMax, evaluate

node = pytest.mark.skipif(shutil.which("node") is None, reason="no node to run JavaScript")
EXACT = files("costmodel.report.page").joinpath("assets", "exact.js").read_text(encoding="utf-8")
WIDE = 2**61 + 1


def ran(program: str) -> object:
    done = subprocess.run(["node", "-"], input=f"{EXACT}\n{program}", capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@node
def test_bigint_equals_evaluate():
    rng = random.Random(5)
    small = [random_form(rng, rng.randint(1, 4), taps=True)[0] for _ in range(150)]
    wide = [FloorDiv(WIDE * e, 7) * WIDE - CeilDiv(WIDE * e, 5) + PeakMax(e, WIDE) for e in small[:40]]
    points = [random_point(rng, 60) for _ in range(20)]
    values = [[str(evaluate(e, point)) for e in (*small, *wide)] for point in points]
    assert any(abs(int(v)) > 2**53 for v in values[0])
    columns = json.dumps([[point[symbol] for symbol in SYMBOLS] for point in points])
    program = (f"{printers.source([*small, *wide], SYMBOLS, 'bigint', integer=True)}\n"
               f"console.log(JSON.stringify({columns}.map(p => values(...p.map(BigInt)).map(String))));")
    assert ran(program) == values


@node
def test_taps_are_counted_at_any_size():
    """Beside the count by sums over taps where that can be done, and at once where it cannot."""
    rng = random.Random(6)
    cases = [[rng.randint(1, 30), rng.randint(1, 9), rng.randint(1, 5), rng.randint(1, 4), rng.randint(1, 4), rng.randint(-2, 5),
              rng.randint(-2, 5), rng.randint(0, 1)] for _ in range(3000)]
    program = f"console.log(JSON.stringify({json.dumps(cases)}.map((each) => Number(tapCount(...each.map(BigInt))))));"
    assert ran(program) == [by_pairs(*case) for case in cases]
    assert ran("console.log(JSON.stringify(String(tapCount(2n ** 70n, 2n ** 69n, 1n, 1n, 1n, 0n, 0n, 1n))));") == str(
        2**69 * (2**69 + 1))


def by_pairs(size: int, taps: int, stride: int, dilation: int, hole: int, low: int, high: int, valid: int) -> int:
    """The definition of symbolic/taps.py, pair by pair."""
    length = (size - 1) * hole + 1
    outputs = (length + low + high - (taps - 1) * dilation - 1) // stride + 1
    places = [o * stride + t * dilation - low for o in range(outputs) for t in range(taps)]
    return sum(p % hole == 0 and (not valid or 0 <= p < length) for p in places)


@node
def test_floors_of_negative_quotients():
    pairs = [(a, b) for a in range(-7, 8) for b in (1, 2, 3, 5)]
    program = (f"console.log(JSON.stringify({json.dumps(pairs)}.map(([a, b]) => [floorDiv(BigInt(a), BigInt(b)), "
               "ceilDiv(BigInt(a), BigInt(b))].map(Number))));")
    assert ran(program) == [[a // b, -(-a // b)] for a, b in pairs]


@node
def test_fractions_add_up_and_become_the_nearest_doubles():
    program = ("const third = over(1n, 3n), sum = plus(plus(third, third), third);"
               "console.log(JSON.stringify([String(sum), number(third), number(over(-(10n ** 30n), 7n)), less(third, over(2n, 5n)),"
               " String(times(over(3n, 4n), 8n))]));")
    assert ran(program) == ["1", 1 / 3, -(10**30) / 7, True, "6"]

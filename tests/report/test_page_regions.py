"""A page says where its figures are another program's, its scripts run by node where there is one: judged by analyses with
integers."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files

import jax.numpy as jnp
import pytest

import costmodel as cm
from costmodel.report.page.export import export

node = pytest.mark.skipif(shutil.which("node") is None, reason="no node to run JavaScript")
SCRIPTS = "\n".join(files("costmodel.report.page").joinpath("assets", f"{name}.js").read_text(encoding="utf-8")
                    for name in ("exact", "model"))


def three(m):
    return lambda q, k, v: jnp.einsum("bqd,bkd,bkv->bqv", q, k, v), (3, m, 8), (3, m, 8), (3, m, 8)


def five(m):
    return lambda *arrays: jnp.einsum("ab,bc,cd,de,ef->af", *arrays), (4, m), (m, 5), (5, m), (m, 6), (6, m)


def deeper(x, w):
    for _ in range(3 if x.shape[0] > 20 else 1):
        x = x @ w + x
    return x


def of_depth(m):
    return deeper, (m, 64), (64, 64)


def alone(m):
    return lambda x, w: x * 2 if x.shape[0] == 1 else x @ w @ w, (m, 64), (64, 64)


def told(cost: cm.Cost, sizes: list[int]) -> list[list[str]]:
    """What a page says at each size, and its multiply-accumulates there."""
    exported = export(cost, ["lecture"], {"m": sizes[0]}, ())
    data = json.dumps(json.dumps(exported.data))
    program = (f"globalThis.document = {{getElementById: () => ({{textContent: {data}}})}};\n{SCRIPTS}\n{exported.functions}\n"
               f"console.log(JSON.stringify({json.dumps(list(map(str, sizes)))}.map((size) => {{"
               "const {args} = bind({m: BigInt(size)});"
               "return [elsewhere(args), String(settled(lines(...args), D.linesBelow)[D.headline.macs])];})));")
    done = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@node
@pytest.mark.parametrize(("call", "sizes", "most"), [
    (three, [5, 1, 7, 8, 9, 17, 1009], 5), (of_depth, [31, 20, 21, 1, 2, 97], 4), (alone, [7, 1, 2, 13], 1),
    (five, [8, 2, 31, 101], 4)])
def test_figures_are_right_or_doubted(call, sizes, most, capsys):
    found = told(cm.analyze(*call(cm.dims("m"))), sizes)
    right = [macs == str(cm.analyze(*call(size)).macs) for size, (_, macs) in zip(sizes, found, strict=True)]
    assert not all(right) or call is five
    assert all(said or good for good, (said, _) in zip(right, found, strict=True))
    assert sum(bool(said) for said, _ in found) <= most and not found[0][0]


@node
def test_what_is_said(capsys):
    asked = ((three, [5, 9]), (of_depth, [31, 2]), (five, [8, 9]))
    said = {call: told(cm.analyze(*call(cm.dims("m"))), sizes) for call, sizes in asked}
    assert "another order than that of these figures" in said[three][1][0]
    assert said[of_depth][1][0] in ("Another program holds here: these figures are of the one where m > 20.",
                                    "Another program holds here: these figures are of the one where m <= 20.", "")
    assert "may contract an einsum in another order" in said[five][1][0]

"""The live page's data: adding it up as the page does gives what the cost says; names reach neither markup nor code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import costmodel as cm
from costmodel.errors import CostModelError, DomainError
from costmodel.report.page import page, write_page
from costmodel.report.page.document import embedded
from costmodel.report.page.export import Exported, export
from costmodel.report.page.mathml import mathml
from costmodel.symbolic.forms import CeilDiv, FloorDiv, PeakMax, evaluate, symbol

POLICIES = ("unfused", "layer", "eager", "xla-cpu", "xla-gpu", "xla-tpu", "ideal")
FEW = ("h100-sxm", "stm32f746")


class Evaluated:
    """Exported data at a point, in one type ("" as traced), added up in the plainest way."""

    def __init__(self, exported: Exported, env: Mapping[Any, int], dtype: str = "") -> None:
        self.data = exported.data
        self.forms = [evaluate(e, env) for e in exported.forms]
        self.lines = [evaluate(e, env) for e in exported.lines]
        self.dtype, self.copied = dtype, [(form, self._bits(place, dtype)) for form, place in self.data["copied"]]

    def _bits(self, place: int, wanted: str) -> int:
        name = self.data["dtypes"][place]
        return self.data["bits"][wanted if wanted and name in self.data["floating"] else name]

    def _plan(self, policy: str) -> tuple[dict[str, Any], str]:
        """The plan in the type, and what its floating-point types are to be read as."""
        own = self.data["policies"][policy]
        return (own["types"][self.dtype], "") if self.dtype in own["types"] else (own, self.dtype)

    def bytes(self, policy: str) -> Any:
        plan, wanted = self._plan(policy)
        total = sum(2 * self.forms[form] * bits for form, bits in self.copied)
        for _, _, main, _, crossing, *_ in plan["kernels"]:
            bits = sum(self.forms[crossing[i]] * self._bits(crossing[i + 1], wanted) for i in range(0, len(crossing), 2))
            total += bits * self.forms[self.data["equations"][main][1]]
        return Fraction(total, 8)

    def live_peak(self, policy: str, donated: bool = False) -> Any:
        plan, wanted = self._plan(policy)
        rows = plan["buffers"][donated]
        buffers = [rows[i:i + 5] for i in range(0, len(rows), 5)]
        held = ([self.forms[form] * self._bits(place, wanted) for form, place, _, first, last in buffers if first <= step <= last]
                for step in range(len(plan["kernels"])))
        return max(Fraction(sum(sizes), 8) for sizes in held)

    def macs(self) -> Any:
        return sum(self._macs(self.data["works"][work]) * self.forms[runs]
                   for work, runs, *_ in self.data["equations"][:self.data["own"]])

    def _macs(self, work: list[int]) -> Any:
        return sum(self.forms[work[i + 1]] for i in range(0, len(work), 3) if self.data["kinds"][work[i]][0] == "mac")


def scanned(cost_of: Any) -> cm.Cost:
    """A loop whose body is a product, and indices that no type changes."""
    n, d = cm.dims("n d")

    def program(w: Any, x: Any, i: Any) -> Any:
        x, _ = jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=5)
        return x[i], jnp.argmax(x, -1)

    return cm.analyze(program, cm.spec((d, d)), cm.spec((n, d)), cm.spec((n,), "int32"), params=0)


def step(cost_of: Any) -> cm.Cost:
    import optax

    n, d = cm.dims("n d")
    model = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(10)])
    return cm.analyze_training(model, cm.spec((n, d)), loss=lambda y: (y**2).mean(), optimizer=optax.adamw(1e-3))


CASES: dict[Any, dict[str, int]] = {
    "resnet18": {"n": 3, "h": 96, "w": 160}, "gpt2": {"b": 2, "s": 48}, scanned: {"n": 4, "d": 6}, step: {"n": 5, "d": 7}}


@pytest.fixture(scope="module", params=CASES, ids=lambda which: getattr(which, "__name__", which))
def case(request: Any, cost_of: Any) -> tuple[cm.Cost, dict[str, int], Exported]:
    which = request.param
    cost = cost_of(which) if isinstance(which, str) else which(cost_of)
    point = CASES[which]
    return cost, point, export(cost, FEW, point, ())


@pytest.mark.parametrize("dtype", ["", "bfloat16", "float16", "int8"])
def test_kernels_and_buffers_add_up_to_the_metrics(case, dtype):
    """In the type that was traced and in others, under every policy."""
    cost, point, exported = case
    there = (cost.reprice(dtype=dtype) if dtype else cost).at(**point)
    here = Evaluated(exported, cost.domain.bind(point), dtype)
    assert {p: here.bytes(p) for p in POLICIES} == {p: there.bytes(p) for p in POLICIES}
    assert {p: here.live_peak(p) for p in POLICIES} == {p: there.live_peak(p) for p in POLICIES}
    assert here.macs() == there.macs


def test_headline_metrics_are_closed_forms(case):
    cost, point, exported = case
    there, here = cost.at(**point), Evaluated(exported, cost.domain.bind(point))
    head = exported.data["headline"]
    assert [here.lines[head[name]] for name in ("params", "macs", "flops", "ops", "transcendentals")] == [
        there.params, there.macs, there.flops, there.ops, there.transcendentals]
    traced, wide, narrow = (here.lines[place] for place in head["compulsory"])
    assert traced == there.bytes("compulsory")
    for dtype, bits in (("float32", 32), ("float16", 16), ("int8", 8)):
        assert narrow + Fraction((wide - narrow) * (bits - 8), 8) == cost.reprice(dtype=dtype).at(**point).bytes("compulsory")


def test_an_update_in_place_is_a_choice_of_training_steps():
    cost = step(None)
    exported = export(cost, FEW, {"n": 5, "d": 7}, ())
    here, there = Evaluated(exported, cost.domain.bind({"n": 5, "d": 7})), cost.at(n=5, d=7)
    assert here.live_peak("xla-gpu", True) == there.live_peak("xla-gpu", donate=("optimizer", "parameter"))
    assert here.live_peak("xla-gpu", True) < here.live_peak("xla-gpu")


HOSTILE = "</script><img src=x onerror=alert(1)>{{scripts}}&<!--"


class Hostile(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4, name=HOSTILE)(x)


def test_names_of_a_model_are_data():
    cost = cm.analyze(Hostile(), cm.spec((cm.dims("n"), 3)))
    cost.name = HOSTILE
    text = page(cost, FEW)
    assert "<img" not in text and text.count("</script>") == 2 and text.count("<!--") == 0
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data and HOSTILE in json.loads(data[1])["modules"] and json.loads(data[1])["name"] == HOSTILE
    assert json.loads(embedded([HOSTILE])) == [HOSTILE]


def test_a_page_asks_for_nothing_from_elsewhere(cost_of, tmp_path):
    """Its policy forbids it, it names no address, its scripts are small, and it is one file."""
    size = write_page(str(tmp_path / "page.html"), cost_of("resnet50"), at={"n": 1, "h": 224, "w": 224})
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert size == len(text.encode()) <= 500_000
    assert "default-src 'none'" in text and set(re.findall(r"https?://[^\s\"']*", text.split('id="data"')[0])) == set()
    script = text[text.rindex("<script>"):]
    assert len(script.encode()) <= 100_000 and set(re.findall(r"https?://[^\s\"']*", script)) == {"http://www.w3.org/2000/svg"}


def test_where_a_page_starts(cost_of):
    cost = cost_of("resnet50")
    assert export(cost, FEW, {"n": 2}, ()).data["start"] == {"n": 2, "h": 64, "w": 64}
    with pytest.raises(DomainError, match="outside its domain"):
        export(cost, FEW, {"n": 1, "h": 225, "w": 224}, ())
    with pytest.raises(CostModelError, match="did you mean"):
        page(cost, ["h100"])


def test_formulas_as_mathml():
    n, h, c_in = symbol("n"), symbol("h"), symbol("c_in")
    assert mathml(147 * n * c_in * CeilDiv(h, 32)**2 - h * n / 2) == (
        "<mn>147</mn><mi>n</mi><msub><mi>c</mi><mi>in</mi></msub><msup><mrow><mo>⌈</mo><mfrac><mi>h</mi><mn>32</mn></mfrac><mo>⌉</mo></mrow>"
        "<mn>2</mn></msup><mo>−</mo><mfrac><mrow><mi>n</mi><mi>h</mi></mrow><mn>2</mn></mfrac>")
    assert mathml(-2 * n * FloorDiv(h, 3)).startswith("<mo>−</mo><mn>2</mn><mi>n</mi><mrow><mo>⌊</mo>")
    assert "<mtext>… 2 more</mtext>" in mathml(PeakMax(*(symbol(f"a{i}") for i in range(42))))

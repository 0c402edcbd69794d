"""The live page in a real browser (`make browser`): its values are those of ``.at()``, it says nothing to the console, it asks for
nothing from elsewhere, it answers fast, and it works by keyboard, in the dark, on a phone and printed."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from browser import Browser, found
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel.errors import CostModelError
from costmodel.hardware import MissingPeak, load
from costmodel.models import model
from costmodel.report.page import write_page
from costmodel.solve import crossover, max_fit

pytestmark = [pytest.mark.browser, pytest.mark.skipif(found() is None, reason="no chromium: make browser installs it")]

DEVICES = ("h100-sxm", "tpu-v5e", "raspberry-pi-4", "lecture", "a100-sxm-80gb")
# model -> (points, ranges of its symbols in multiples of a number, or a choice)
MODELS: dict[str, tuple[int, dict[str, tuple[int, int, int]]]] = {
    "resnet50": (50, {"n": (1, 300, 1), "h": (2, 20, 32), "w": (2, 20, 32)}),
    "mobilenet_v2": (12, {"n": (1, 300, 1), "h": (2, 20, 32), "w": (2, 20, 32)}),
    "gpt2": (12, {"b": (2, 60, 1), "s": (100, 1023, 1)}),
    "mlp+adamw": (12, {"n": (2, 4000, 1), "d": (3, 5000, 1), "a": (3, 700, 1), "b": (3, 700, 1), "c": (3, 90, 1)}),
}
# More than a double can hold: 2**53 multiply-accumulates are reached at n = 2 million.
LARGE = {"n": 4_000_003, "h": 32 * 31, "w": 32 * 37}

READ = """(async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const point = %s, choice = %s;
  for (const [name, value] of Object.entries(point)) {
    const box = document.querySelector(`[data-symbol="${name}"] input[type=number]`);
    box.value = value;
    box.dispatchEvent(new Event("input"));
  }
  for (const [id, value] of Object.entries(choice)) {
    const select = document.getElementById(id);
    select.value = id === "device" ? [...select.options].find((each) => each.textContent === value).value : value;
    select.dispatchEvent(new Event("change"));
  }
  await frame();
  await frame();
  const found = {trouble: document.getElementById("trouble").textContent};
  for (const card of document.querySelectorAll("[data-metric]")) {
    found[card.dataset.metric] = card.querySelector("[data-exact]")?.dataset.exact ?? card.dataset.values;
  }
  found.table = Object.fromEntries([...document.querySelectorAll("#modules tr[data-path]")].map(
    (row) => [row.dataset.path, [...row.querySelectorAll("[data-exact]")].map((cell) => cell.dataset.exact)]));
  return found;
})()"""


def cost_and_entry(name: str) -> tuple[cm.Cost, Any]:
    entry = model(name.partition("+")[0])
    return (entry.analyze_step(name.partition("+")[2]) if "+" in name else entry.analyze()), entry


@pytest.fixture(scope="module", params=MODELS)
def opened(request: Any, tmp_path_factory: Any) -> Iterator[tuple[str, cm.Cost, Browser]]:
    cost, entry = cost_and_entry(request.param)
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(str(path), cost, DEVICES, {k: v for k, v in entry.at.items() if k in cost.symbols})
    with Browser() as browser:
        browser.open(path.as_uri())
        yield request.param, cost, browser


def read(browser: Browser, point: dict[str, int], **choice: str) -> Any:
    return browser.run(READ % (json.dumps({k: str(v) for k, v in point.items()}), json.dumps(choice)))


def points(name: str) -> Iterator[tuple[dict[str, int], dict[str, str]]]:
    draw = random.Random(name)
    count, ranges = MODELS[name]
    for i in range(count):
        point = {s: draw.randint(low, high) * of for s, (low, high, of) in ranges.items()}
        yield (LARGE if name == "resnet50" and i == 7 else point), {
            "device": draw.choice(DEVICES), "dtype": draw.choice(("", "", "bfloat16", "float16", "int8")),
            "policy": draw.choice(("", "unfused", "layer", "eager", "xla-cpu", "xla-gpu", "xla-tpu", "ideal"))}


def test_values_are_those_of_at(opened):
    """Exactly, at many points: every headline metric and a table's rows; times to the last digits of a double."""
    name, cost, browser = opened
    for point, choice in points(name):
        symbolic = cost.reprice(dtype=choice["dtype"]) if choice["dtype"] else cost
        there = symbolic.at(**point)
        here = read(browser, point, **choice)
        if here["trouble"]:  # a size decided what jax traced: the page says that it may be another program, and at() looked
            assert here["trouble"].endswith("cost.at(…) has its own."), (point, here["trouble"])
            if there.cost is not symbolic:
                continue
        policy = choice["policy"] or load(choice["device"]).fusion
        wanted = {"params": there.params, "macs": there.macs, "flops": there.flops, "transcendentals": there.transcendentals,
                  "model_size": there.model_size(), "compulsory": there.bytes("compulsory"), "bytes": there.bytes(policy),
                  "activations": there.activations("total"), "activations_peak": there.activations("peak"),
                  "live_peak": there.live_peak(policy)}
        assert {k: here[k] for k in wanted} == {k: str(v) for k, v in wanted.items()}, (point, choice)
        rows = {row.label: row for row in there.table(depth=1, collapse=False).rows}
        for path, cells in here["table"].items():
            assert cells[:4] == [str(c) for c in rows[path or "(root)"].cells[:4]], (path, point, choice)
        _compare_times(here, there, choice, policy)


def _compare_times(here: Any, there: Any, choice: dict[str, str], policy: str) -> None:
    try:
        priced = there.roofline(choice["device"], policy=policy)
    except MissingPeak:
        assert here["time"] == ""
        return
    lower, upper = map(float, here["time"].split())
    assert (priced.predicted is None) == ("predicted" not in here)
    if priced.predicted is not None:
        assert float(here["predicted"]) == pytest.approx(priced.predicted, rel=1e-12)
    assert lower == pytest.approx(priced.lower, rel=1e-12) and upper == pytest.approx(priced.upper, rel=1e-12)
    assert float(here["intensity"]) == pytest.approx(priced.intensity, rel=1e-12)


def test_answers_are_the_solvers(opened):
    name, cost, browser = opened
    point, _ = next(points(name))
    symbol = next(s for s in ("n", "b") if s in point)
    read(browser, point, device="a100-sxm-80gb", dtype="", policy="")
    told = browser.run("""new Promise((done) => setTimeout(() => done(Object.fromEntries(
        [...document.querySelectorAll("#answers dd")].map((dd) => [dd.dataset.answer, dd.textContent]))), 600))""")
    others = {k: v for k, v in point.items() if k != symbol}
    fit = max_fit(cost, symbol, "a100-sxm-80gb", at=others, uses=f"live_peak:{load('a100-sxm-80gb').fusion}")
    assert told["fit"].startswith(f"{symbol} = {fit.answer} takes ")
    assert "crossover" in told
    for key, text in told.items():
        if key != "fit":
            assert text == _flips(cost, symbol, others, key.partition("-")[2] or None), key


def _flips(cost: cm.Cost, symbol: str, others: dict[str, int], kind: str | None) -> str:
    try:
        found = crossover(cost, symbol, "a100-sxm-80gb", at=others, kind=kind)
    except CostModelError as error:
        assert "does not cross the ridge once" in str(error)
        return "the ridge is not crossed once"
    if found.answer is None:
        return "memory-bound all along"
    first = next(v.lower for v in cost.domain.variables if v.symbol == symbol)
    all_along = found.becomes == "compute" and found.answer == first
    return f"{found.becomes}-bound all along" if all_along else f"{found.becomes}-bound from {symbol} = {found.answer} on"


SLIDE = """(async () => {
  const slider = document.querySelector(".symbol input[type=range]"), times = [];
  for (let i = 0; i < 30; i++) {
    slider.value = 300 + 17 * i;
    slider.dispatchEvent(new Event("input"));
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    times.push(Number(document.documentElement.dataset.ms));
  }
  return times;
})()"""


def test_a_slider_answers_within_50_ms(opened):
    _, _, browser = opened
    times = browser.run(SLIDE)
    print(f"{opened[0]}: median {statistics.median(times):.1f} ms, of {len(times)} moves")
    assert statistics.median(times) <= 50


def test_it_works_by_keyboard(opened):
    """A slider by arrows, a point of the roofline, a step of the schedule, a module's branch."""
    _, _, browser = opened
    value = "document.querySelector('.symbol input[type=number]').value"
    before = browser.run(f"document.querySelector('.symbol input[type=range]').focus(), {value}")
    browser.key("ArrowRight", 39)
    assert int(browser.run(value)) > int(before)
    read(browser, next(points(opened[0]))[0], device="h100-sxm", dtype="", policy="")
    browser.run("document.querySelector('.point[tabindex=\"0\"]').focus()")
    first = browser.run("document.getElementById('roofline-told').textContent")
    browser.key("ArrowRight", 39)
    second = browser.run("document.getElementById('roofline-told').textContent")
    assert "-bound, " in first and "-bound, " in second and first != second
    browser.run("document.querySelector('#memory svg').focus()")
    browser.key("Home", 36)
    assert browser.run("document.getElementById('memory-told').textContent").startswith("step 1,")


def test_a_point_outside_the_domain_is_told(opened):
    name, _, browser = opened
    point, _ = next(points(name))
    outside = {**point, next(iter(point)): 0}
    assert "is below 1" in read(browser, outside, device="h100-sxm")["trouble"]
    assert read(browser, point, device="h100-sxm")["trouble"] == ""


def test_silent_and_alone(opened):
    """Last of a model's page: after all of the above nothing was said, and nothing but the file asked for."""
    _, _, browser = opened
    assert browser.console == []
    assert [address for address in browser.requests if not address.startswith(("file:", "data:", "about:"))] == []


HOSTILE = "</script><img src=x onerror=document.title='hit'>"


class Hostile(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4, name=HOSTILE)(jnp.tanh(x))


def test_a_sharded_page_has_the_times_of_the_roofline(tmp_path):
    """What a device computes and holds, and what is sent over its links, at the mesh's own sizes and at others."""
    b, d, f = cm.dims("b d f", where="4 | f, 2 | b")
    cost = cm.analyze(lambda up, down, x: jax.nn.relu(x @ up) @ down, (d, f), (f, d), (b, d), mesh={"data": 2, "model": 4},
                      in_shardings=(P(None, "model"), P("model", None), P("data", None)))
    path = tmp_path / "page.html"
    cost.to_html(str(path), ["h100-sxm"], b=64, d=1024, f=4096)
    with Browser() as browser:
        browser.open(path.as_uri())
        for axes in ({"data": 2, "model": 4}, {"data": 8, "model": 16}):
            here, there = read(browser, {"b": 64, "d": 1024, "f": 4096, **axes}), cost.at(b=64, d=1024, f=4096, **axes)
            _compare_times(here, there, {"device": "h100-sxm"}, "xla-gpu")
            sent = there.roofline("h100-sxm").communication
            told = [float(each) for each in here["communication"].split()]
            assert here["macs"] == str(there.macs) and told == pytest.approx([sent.seconds, sent.compute, sent.exposed], rel=1e-12)
        assert "the partitioner was not asked" in here["trouble"] and "NVLink4" in browser.run("document.body.innerText")
        assert browser.console == []


def test_a_hostile_name_is_text(tmp_path):
    cost = cm.analyze(Hostile(), cm.spec((cm.dims("n"), 3)))
    cost.name = HOSTILE
    write_page(str(tmp_path / "page.html"), cost, DEVICES)
    with Browser() as browser:
        browser.open((tmp_path / "page.html").as_uri())
        assert browser.run("document.querySelectorAll('img').length") == 0
        assert browser.run("document.getElementById('name').textContent") == HOSTILE
        assert HOSTILE.split("/")[0] in browser.run("document.getElementById('modules').textContent")
        assert browser.console == []


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_nothing_overlaps_or_overflows(tmp_path, width, dark):
    """Texts of the charts, two by two, in the light, in the dark and on a phone; and in print nothing is cut off."""
    write_page(str(tmp_path / "page.html"), model("resnet18").analyze(), DEVICES, {"n": 8, "h": 224, "w": 224})
    with Browser(width, 844, dark=dark) as browser:
        browser.open((tmp_path / "page.html").as_uri())
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.run(OVERLAPS) == [] and browser.run(CUT) == []
        ink, back = browser.run("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
        assert _contrast(ink, back) >= 7
        printed = browser.call("Page.printToPDF", printBackground=True)["data"]
        assert len(printed) > 10_000 and browser.console == []


OVERLAPS = """(() => {
  const found = [];
  for (const chart of document.querySelectorAll(".chart svg")) {
    const texts = [...chart.querySelectorAll("text")].filter((each) => !each.getAttribute("transform"))
      .map((each) => [each.textContent, each.getBoundingClientRect()]);
    texts.forEach(([a, p], i) => texts.slice(i + 1).forEach(([b, q]) => {
      const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (wide > 1 && high > 4) found.push([a, b]);
    }));
  }
  return found;
})()"""


# Choices that have less room than they would take, and cards that their text leaves.
CUT = """(() => {
  const found = [];
  for (const each of document.querySelectorAll("#choices select")) {
    const has = each.offsetWidth;
    each.style.maxWidth = "none";
    if (each.offsetWidth > has) found.push(each.id);
    each.style.maxWidth = "";
  }
  for (const each of document.querySelectorAll(".card span")) {
    if (each.scrollWidth > each.parentElement.clientWidth) found.push(each.textContent);
  }
  return found;
})()"""


def _contrast(ink: str, back: str) -> float:
    """WCAG's contrast ratio of two rgb(…) colours."""
    def luminance(text: str) -> float:
        channels = [int(part) / 255 for part in text[text.index("(") + 1:-1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dim = sorted((luminance(ink), luminance(back)), reverse=True)
    return (light + 0.05) / (dim + 0.05)

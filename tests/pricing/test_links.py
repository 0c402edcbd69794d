"""Times of collectives, against messages that are sent one by one along every connection; and what a mesh's axes are laid on."""

from __future__ import annotations

from collections import Counter

import pytest
from sympy import limit, oo, symbols

from costmodel.errors import CostModelError
from costmodel.hardware import Link, Quantity, load
from costmodel.pricing.links import Leg, parts, seconds
from costmodel.pricing.topology import lay

WHOLE, LATENCY, ONE_WAY = 9.6e9, 1e-3, 12e9


def link(topology: str = "switch", **more) -> Link:
    return Link("wire", Quantity(ONE_WAY, "B/s", "assumed"), "each way", topology=topology,
                latency=Quantity(LATENCY, "s", "assumed"), **more)


def routes(p: int, closed: bool, source: int, target: int) -> list[list[tuple[int, int]]]:
    """The shortest ways from a device to another along a ring or a line, as the connections on them."""
    ways = []
    for step in (1, -1):
        count = (target - source) * step
        if closed:
            count %= p
        if count > 0:
            ways.append([((source + step * i) % p, (source + step * (i + 1)) % p) for i in range(count)])
    least = min(map(len, ways))
    return [way for way in ways if len(way) == least]


def spread(p: int, closed: bool, source: int) -> list[tuple[int, int]]:
    """The connections on which a device's part reaches all others, each by its only shortest way."""
    return list({connection for target in range(p) if target != source for connection in routes(p, closed, source, target)[0]})


def one_by_one(kind: str, p: int, closed: bool) -> float:
    """Seconds of the busiest connection, each of which has half of a device's bandwidth, and of the longest way."""
    busy: Counter[tuple[int, int]] = Counter()
    longest = 0
    for source in range(p):
        for target in range(p):
            if target == source:
                continue
            ways = routes(p, closed, source, target)
            longest = max(longest, len(ways[0]))
            if kind == "all_to_all":
                for way in ways:
                    busy.update({connection: 1 / p / p / len(ways) for connection in way})
        if kind == "all_gather":
            busy.update(dict.fromkeys(spread(p, closed, source), 1 / p))
    return max(busy.values()) * WHOLE / (ONE_WAY / 2) + longest * LATENCY


@pytest.mark.parametrize("closed", [True, False], ids=["ring", "line"])
@pytest.mark.parametrize("p", [2, 4, 8])
def test_an_exchange_of_all_with_all_on_one_axis_of_a_torus(p, closed):
    leg = Leg(link("torus"), p, (0,), closed and p > 2)  # two on a ring have two connections, which a graph does not tell apart
    assert seconds("all_to_all", WHOLE / p * (p - 1) / p, [leg]) == pytest.approx(one_by_one("all_to_all", p, closed and p > 2))


@pytest.mark.parametrize(("p", "closed"), [(3, True), (5, True), (7, True), (2, False), (3, False), (8, False)])
def test_a_gather_on_one_axis_of_a_torus(p, closed):
    """A ring of an odd number of devices: no part goes half round."""
    expected = one_by_one("all_gather", p, closed) + (LATENCY / 2 if closed else 0)  # the form has p/2 steps
    assert seconds("all_gather", WHOLE * (p - 1) / p, [Leg(link("torus"), p, (0,), closed)]) == pytest.approx(expected)


@pytest.mark.parametrize(("near", "far"), [(8, 2), (4, 6), (2, 16)])
@pytest.mark.parametrize("kind", ["all_gather", "all_to_all", "all_reduce"])
def test_what_a_collective_sends_within_and_between_nodes(kind, near, far):
    """Counted over all devices: within nodes parts are joined first, so that each goes out of a node once."""
    p = near * far
    within, between = parts(kind, [Leg(link(), near), Leg(link(), far)])
    assert within + between == pytest.approx(1)
    sent = (p - 1) / p  # of the whole by each device; of the exchange of all with all, of what it has
    if kind == "all_to_all":
        assert between * sent == pytest.approx((p - near) / p)
    else:
        assert between * sent == pytest.approx((far - 1) / far / near) and within * sent == pytest.approx((near - 1) / near)


def test_forms_are_exact_and_have_the_limit_of_large_axes():
    p, whole = symbols("p V", positive=True)
    ici = load("tpu-v5e").links[0]
    gathered = seconds("all_gather", whole * (p - 1) / p, [Leg(ici, p, (0,))])
    assert gathered - p / 2 / 10**6 == whole * (p - 1) / p / 10**11
    assert limit(gathered - p / 2 / 10**6, p, oo) == whole / 10**11
    exchanged = seconds("all_to_all", whole / p * (p - 1) / p, [Leg(ici, p, (0,))])
    assert (exchanged - p / 2 / 10**6).simplify() == whole / 4 / 10**11  # a quarter of a gather's
    reduced = seconds("all_reduce", 2 * whole * (p - 1) / p, [Leg(ici, p, (0,))])
    assert (reduced - 2 * gathered).simplify() == 0


def test_one_device_sends_nothing_and_a_partner_is_so_far_away():
    ici = load("tpu-v5e").links[0]
    assert seconds("all_reduce", 0, [Leg(ici, 1, (0,))]) == 0 == seconds("permute", 5, [])
    assert seconds("permute", 9e9, [Leg(ici, 16, (0, 1), False)], 6) == pytest.approx(9e9 / 100e9 + 6e-6)
    assert seconds("halo", 9e9, [Leg(ici, 16, (0,))]) == pytest.approx(9e9 / 50e9 + 1e-6)  # one direction of one axis


def test_every_device_linked_to_each_uses_the_links_to_those_that_take_part():
    full = link("full", domain=8)
    assert Leg(full, 8).rate("all_gather") == ONE_WAY and Leg(full, 2).rate("all_gather") == ONE_WAY / 7
    assert Leg(full, 8).hops("all_reduce") == 2


LAID = [
    ("h100-sxm", {"data": 16, "model": 4}, None, "data on NVLink4 x 2 (switch) and InfiniBand x 8 (switch); model on NVLink4 x 4"),
    ("h100-sxm", {"data": 12}, None, "data on NVLink4 x 4 (switch) and InfiniBand x 3 (switch)"),
    ("h100-sxm", {"data": 4, "model": 1}, {"data": "InfiniBand"}, "data on InfiniBand x 4 (switch)"),
    ("tpu-v5e", {"data": 16, "model": 4}, None,
     "data on ICI x 16 (1 of 2 axes of a torus, closed); model on ICI x 4 (1 of 2 axes of a torus, not closed)"),
    ("tpu-v5e", {"a": 2, "b": 16, "c": 4}, None, "a on ICI x 2 (1 of 2 axes of a torus, closed, every 16th device)"),
    ("tpu-v5p", {"data": 64, "model": 4}, {"data": "ICI 2"}, "data on ICI x 64 (2 of 3 axes of a torus, closed)"),
    ("tpu-v5p", {"data": 32}, {"data": "ICI 2x4x4"}, "data on ICI x 32 (3 of 3 axes of a torus, not closed)"),
    ("tpu-v5e", {"data": 512}, None, "data on ICI x 256 (1 of 2 axes of a torus, closed) and DCN x 2 (switch)"),
]


@pytest.mark.parametrize(("device", "sizes", "topology", "told"), LAID)
def test_a_mesh_is_laid_on_links(device, sizes, topology, told):
    assert str(lay(load(device), sizes, topology)).startswith(told)


def test_axes_together_are_one_leg_a_link():
    laid = lay(load("tpu-v5e"), {"data": 16, "model": 16})
    (both,) = laid.over(("data", "model"))
    assert (both.devices, both.on, both.closed) == (256, (0, 1), True)
    assert both.rate("all_gather") == 2 * laid.over(("data",))[0].rate("all_gather") == 200e9
    assert [leg.devices for leg in lay(load("h100-sxm"), {"data": 16, "model": 4}).over(("data", "model"))] == [8, 8]


WRONG = [
    ("lecture", {"d": 2}, None, r"lecture states no link, .* add a \[\[datasheet.links\]\] table with name, bandwidth and"),
    ("h100-pcie", {"d": 4}, None, "connects at most 2 devices by NVLink bridge, .* d of 4: add a further"),
    ("tpu-v5p", {"d": 4}, {"d": "ICE"}, "which is no link of tpu-v5p; did you mean ICI"),
    ("tpu-v5p", {"data": 4}, {"date": "ICI"}, "no axis of the mesh; did you mean data"),
    ("tpu-v5p", {"d": 8}, {"d": "ICI 2x2"}, "lays d of 8 devices on 2x2, which are 4"),
    ("tpu-v5e", {"d": 8}, {"d": "ICI 2x2x2"}, "on 3 axes of ICI, which has 2 left"),
    ("h100-sxm", {"d": 8}, {"d": "NVLink4 2"}, "NVLink4 is no torus"),
]


@pytest.mark.parametrize(("device", "sizes", "topology", "said"), WRONG)
def test_what_cannot_be_laid_is_one_line(device, sizes, topology, said):
    with pytest.raises(CostModelError, match=said):
        lay(load(device), sizes, topology)

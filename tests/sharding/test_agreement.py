"""What a device sends is one figure however it is asked for: at a point, as a closed form, over a grid."""

from __future__ import annotations

from math import prod

import pytest

from costmodel.bench.mesh.programs import SIZES, program
from costmodel.hardware import load
from costmodel.pricing.closed import sending
from costmodel.symbolic.forms import symbol

# Activations sharded between, experts, partial sums over two axes, borders of images.
NAMES = ("sequence_parallel", "experts", "rows_then_columns", "strided_in_space")


@pytest.mark.parametrize("device", ["h100-sxm", "tpu-v5e"])
@pytest.mark.parametrize("name", NAMES)
def test_a_point_the_closed_form_and_a_sweep_agree(name, device):
    """Seconds of each connection, the upper bound, and the busiest connection; the sweep's bounds and bytes are the points'."""
    chosen, hardware = program(name), load(device)
    cost = chosen.analyze(SIZES).reprice(dtype="bf16")
    first = next(iter(chosen.point))
    grid = {**chosen.point, first: [chosen.point[first], 3 * chosen.point[first]]}
    swept = cost.sweep(metrics=("wire_bytes",), hardware=[hardware], **grid)
    lanes, upper = sending(cost, hardware), cost.time(hardware, bound="upper")
    busiest = cost.communication(hardware)
    for value in grid[first]:
        values = {**chosen.point, first: value}
        point = {**values, **SIZES}
        at = cost.at(**values)
        found = at.roofline(hardware)
        assert dict(found.communication.lanes) == pytest.approx({lane: number(each, point) for lane, each in lanes.items()})
        assert found.communication.seconds == pytest.approx(number(busiest, point))
        assert found.upper == pytest.approx(number(upper, point))
        there = swept.sel({first: value})
        assert float(there.time_lower.squeeze()) == pytest.approx(found.lower)
        assert float(there.time_upper.squeeze()) == pytest.approx(found.upper)
        assert int(there.wire_bytes.squeeze()) == at.wire_bytes() == sum(row.total for row in at.collectives())
        assert at.all_devices.wire_bytes() == at.wire_bytes() * prod(SIZES.values())


def number(expr, point):
    """A closed form at a point."""
    return float(expr.subs({symbol(name): value for name, value in point.items()}))

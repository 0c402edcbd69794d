"""The time that a program is likely to take, as a closed form of its symbols."""

from __future__ import annotations

from sympy import Add, Expr, Float, Min

from costmodel.errors import CostModelError
from costmodel.fusion import Kernel
from costmodel.hardware import Calibration, Hardware, load, standing
from costmodel.pricing import communication
from costmodel.pricing.core import Symbolic
from costmodel.pricing.products import calibrated, matmul_of
from costmodel.pricing.times import runs_as, seconds_an_operation
from costmodel.pricing.workload import computed, policy_of
from costmodel.rules.work import total
from costmodel.surface import said


def predicted(cost: Symbolic, hardware: str | Hardware, *, policy: str | None = None) -> Expr:
    """Seconds of a call: Σ over kernels (compute + memory) / e + t0, plus what a call takes, in the user's symbols.

    It is linear in the kernels' counts, so it is their closed form, priced. Raises CostModelError for a device without a
    calibration, and for a program of whose branches the longest counts, which only a point decides.
    """
    device = hardware if isinstance(hardware, Hardware) else load(hardware)
    stands = standing(device, policy_of(device, policy))
    if stands is None:
        raise CostModelError(f"{device.name} is not calibrated: `costmodel calibrate` measures one, or ask by the bounds")
    kernels = cost.kernels(policy_of(device, policy))
    if cost.program.branches.choose and any(kernel.branch for kernel in kernels):
        raise CostModelError(f"which branch of {cost.name} takes longest depends on the point: "
                             + said("ask cost.at(…).roofline(…).predicted, or analyze(..., branches='mean')",
                                    "ask `costmodel roofline`"))
    found, terms, sent = stands.calibration, [], communication.sent(kernels)
    layout = communication.laid(device, dict(cost.program.axes), symbols=True) if sent else None
    for i, kernel in enumerate(kernels):
        busy = [Float(seconds_an_operation(device, kind)) * valid for e in computed(kernel) for kind, _, valid in e.work.ops
                if kind.engine != communication.LINK]
        here = [each for each in sent if each.kernel == i and layout is not None]
        likely = [communication.likely_in_closed_form(each, layout) for each in here if layout is not None]
        if here and all(likely):
            terms.append(kernel.times * total(Min(*forms, evaluate=False) for each in likely for forms in each))
            continue
        if (likely_product := _by_shape(kernel, device, found)) is not None:
            terms.append(kernel.times * likely_product)
            continue
        busy += [part for each in here if layout is not None for part in communication.in_closed_form(each, layout).values()]
        busy.append(Float(1 / device.bandwidth.value) * kernel.bytes)
        terms.append(kernel.times * (total(busy) / found.of(kernel.kind) + found.launch.value))
    return cost.evaluate(total(terms) + (found.call.value if found.call else 0))


def _by_shape(kernel: Kernel, device: Hardware, found: Calibration) -> Expr | None:
    """Seconds of a kernel by the shape of its product, if the device is calibrated for these."""
    product = matmul_of(computed(kernel)) if kernel.kind == "dot" else None
    how = None if product is None else calibrated(device, runs_as(device, product.kind))
    if product is None or how is None:
        return None
    quickest = Min(*how.by_tile(*product.sizes, number=Float), evaluate=False)
    beside = Add(*(Float(seconds_an_operation(device, kind)) * valid for e in computed(kernel) for kind, _, valid in e.work.ops
                   if kind != product.kind))
    moving = kernel.bytes / Float(how.memory * device.bandwidth.value)
    return how.overlapped(quickest, moving) + beside / found.of(kernel.kind) + max(how.launch, found.launch.value)

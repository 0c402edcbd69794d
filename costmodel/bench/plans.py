"""The page of plans: published training steps and memory beside ours, `python -m costmodel.bench.plans docs/measurements/runs`."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from costmodel.bench.steps import DEVICE, TENTH, Predictor, Step, figures, megatron, traced, vtrain
from costmodel.hardware import load
from costmodel.memory import published
from costmodel.models import model
from costmodel.solve import Stages, plan, rates_of
from costmodel.text import si, table

GIB = 2**30
_HEAD = f"""# Training plans

Written by `make plans` from the records in `docs/measurements/runs`, nothing by hand.

`cm.solve.plan(cm.model("megatron_175b"), devices=64, hw="{DEVICE}", global_batch=64)`, or `costmodel plan`, gives the
fastest (dp, tp, pp, chunks, micro-batch, recomputation, ZeRO level) of a training step that fit, of all factorizations of the
devices:

1. The zoo's Megatron GPT is traced once over a mesh with the axes `data` and `model`, with a layer of each kind of recomputation
   between the embedding and the logits, all sizes symbols. Its kernels, collectives and residuals are those of one device.
2. A layer's are multiplied by the layers of a stage, and composed by a pipeline's closed form
   (`costmodel/sharding/pipelines.py`; the tests run the schedules operation by operation): with p stages, m micro-batches and v
   chunks of layers a device, a step takes (m + (p - 1)/v) times a micro-batch's seconds on a device; 1F1B holds p micro-batches'
   activations, interleaved stages 1 + (p - 1)/(p·v) times as much.
3. Gradients are summed over `data` after the last micro-batch; ZeRO levels 1 to 3 split optimizer states, gradients and parameters
   over it, and levels 2 and 3 sum and gather in every micro-batch. Nothing sent is hidden behind arithmetic.

Memory is what the busiest device holds of weights, gradients and optimizer states, what its micro-batches in flight keep, and
what one layer needs while it is computed again or its parameters are gathered.

The zoo's stacks are `megatron_22b`, `megatron_175b`, LLaMA's (`llama_7b`, `llama2_70b`, `llama3_8b`, `mistral_7b`: tensor
parallelism without splitting the sequence) and `mixtral_8x7b` (its experts over `model`, with places given in advance); a model of
your own is a `costmodel.solve.Stack`.

Seconds are those of a calibrated device (`costmodel/solve/rates.py`, `costmodel/hardware/training`): products by tiles and waves,
fitted to measured products; other kernels at the part of the bandwidth that these stream at; collectives by measured ones; seconds
a kernel on the device and on the host that launches it, of which the longer counts, and a step, from every {TENTH}th of vTrain's
steps. On a device without such a file products and kernels take what its calibration says, else the ceilings, and the table says
so.
"""


def _mean(errors: Iterable[float]) -> str:
    return f"{100 * statistics.fmean(map(abs, errors)):.1f} %"


def table5(predict: Predictor, steps: Sequence[Step]) -> Iterator[str]:
    """Megatron's steps, and what takes them."""
    costs = [predict(step) for step in steps]
    errors = [cost.seconds / step.seconds - 1 for cost, step in zip(costs, steps, strict=True)]
    yield ("## Megatron's steps\n\nKorthikanti et al., 2022, Table 5 (A100 SXM 80GB; full recomputation without, selective with\n"
           f"sequence parallelism). Mean error {_mean(errors)}. No number was fitted to them, but they were in sight while the\n"
           "model's form was chosen (of nine variants 1.3 to 5.4 %, most 2.8 to 4.4 %): no held-out figure. Calculon, with tuned\n"
           "curves, states 3.65 % of these and two larger models. A framework that is not compiled runs the whole forward pass of\n"
           "what it did not keep, its last product too; the steps on this page are predicted so, plans as compiled programs.\n")
    names = list(costs[0].by)
    yield table(("model", "measured", "predicted", "error", *(f"{name} %" for name in names)),
                 [(step.name, si(step.seconds, "s"), si(cost.seconds, "s"), f"{100 * error:+.1f} %",
                   *(f"{100 * cost.by[name] / cost.seconds:.0f}" for name in names))
                  for step, cost, error in zip(steps, costs, errors, strict=True)]) + "\n"


def single_node(predict: Predictor, steps: Sequence[Step]) -> Iterator[str]:
    """vTrain's steps that nothing was fitted to, by each side of their plans."""
    held = [step for i, step in enumerate(steps) if i % TENTH]
    errors = predict.errors(held)
    within = 100 * np.mean(np.abs(errors) <= 0.1)
    yield ("## Steps on one node\n\n"
           "Megatron-DeepSpeed's on up to 8 A100s, full recomputation, 1F1B, as measured for vTrain (Bang\n"
           f"et al., MICRO 2024): {len(held)} of {len(steps)}, the others calibrate. Mean error {_mean(errors)}, "
           f"{within:.0f} % within 10 %;\n"
           "vTrain's simulation of profiled kernels states 8.4 %.\n")
    sides = {"tensor": lambda s: s.plan.tensor, "data": lambda s: s.plan.data, "pipeline": lambda s: s.plan.pipeline,
             "micro-batch": lambda s: s.plan.microbatch, "width": lambda s: s.sizes["h"]}
    body = []
    for side, of in sides.items():
        for value in sorted({of(step) for step in held}):
            chosen = [e for e, step in zip(errors, held, strict=True) if of(step) == value]
            body.append((f"{side} {value}", str(len(chosen)), _mean(chosen), f"{100 * statistics.fmean(chosen):+.1f} %"))
    yield table(("plans with", "steps", "mean error", "mean of predicted / measured - 1"), body) + "\n"


def memory(stages: dict[bool, Stages], predict: Predictor, rows: Sequence[tuple[dict[str, str], Step]]) -> Iterator[str]:
    """Figures 1 and 7: as published, by the published rule, and by what the program keeps."""
    yield ("## Memory of activations\n\nKorthikanti et al., 2022, Figures 1 and 7. *rule*: their formulas\n"
           "(`costmodel/memory/published.py`); *derived*: residuals of the traced program. Figure 7's published values were read\n"
           "off its bars, in pixels of 0.18 %. What is derived has the mean and the deviation of two normalisations a layer,\n"
           "16·s·b bytes, the ends of the network (the embedding's dropout, the logits) and all parameters, which the rules\n"
           "leave out.\n")
    body = []
    for row, step in rows:
        told, derived = by_rule(row, step), by_program(stages, predict, row, step)
        how = f"{row['recompute']}{', sequence' if step.sequence_parallel else ''}"
        values = [f"{float(value):.4g} {row['unit']}" for value in (row["published"], told, derived)]
        body.append((f"{row['set'][3:]}", row["model"], how, row["quantity"], *values, f"{100 * (derived / told - 1):+.1f} %"))
    yield table(("figure", "model", "recomputed, shared", "of", "published", "rule", "derived", "derived / rule - 1"), body) + "\n"


def by_rule(row: dict[str, str], step: Step) -> float:
    """A figure by the published rule: GiB of figure 1, % of figure 7."""
    n, p = step.sizes, step.plan
    of = (n["s"], p.microbatch, n["h"], n["a"], p.tensor)
    rule = ("sequence" if step.sequence_parallel else "tensor") if p.recompute == "none" else (
        "sequence+" * step.sequence_parallel + p.recompute)
    if row["set"] == "fig7":
        return float(100 * published.layer(rule, *of) / published.layer("tensor", *of))
    if row["quantity"].startswith("activations"):
        return float(published.layers(rule, n["layers"], *of, p.pipeline, p.chunks) / GIB)
    return float(published.weights(n["layers"], n["h"], p.tensor, p.pipeline) / GIB)


def by_program(stages: dict[bool, Stages], predict: Predictor, row: dict[str, str], step: Step) -> float:
    """The same by what the program keeps."""
    if row["set"] == "fig1":
        held = predict(step).held
        return (held["activations"] if row["quantity"].startswith("activations") else
                held["weights"] + held["gradients"] + held["optimizer"]) / GIB
    sizes = {key: value for key, value in step.sizes.items() if key != "layers"}
    micro = np.array([step.plan.microbatch])
    kept, base = (float(stages[parallel].at(micro, step.plan.tensor, **sizes)[how].kept[0])
                  for parallel, how in ((step.sequence_parallel, step.plan.recompute), (False, "none")))
    return 100 * kept / base


def plans() -> Iterator[str]:
    """The plans for GPT-3 on 64 devices."""
    found = plan(model("megatron_175b"), devices=64, hw=DEVICE, global_batch=64)
    yield (f"## Plans\n\n`costmodel plan megatron_175b --devices 64 --hw {DEVICE} --global-batch 64`: {found.tried:,} plans, of\n"
           f"which {found.fitting:,} fit; each with its best number of chunks, then those within 5 %. Table 5's is dp 1,\n"
           "tp 8, pp 8 with 3 chunks, micro-batches of 1 and selective recomputation.\n")
    yield table(("dp", "tp", "pp", "chunks", "micro-batch", "recompute", "ZeRO", "step", "memory", "what binds"),
                 [(*map(str, (c.plan.data, c.plan.tensor, c.plan.pipeline)), ", ".join(map(str, c.chunks)), str(c.plan.microbatch),
                   c.plan.recompute,
                   str(c.plan.zero), si(c.seconds, "s"), f"{c.bytes / GIB:.1f} GiB", c.binds) for c in found]) + "\n"


def layer(stages: dict[bool, Stages]) -> Iterator[str]:
    """A layer in closed form."""
    yield ("## A layer in symbols\n\n"
           "Of Megatron's GPT, for a micro-batch, forward and backward, on one device: b sequences over all\n"
           "of `data`, s tokens, width h, a heads of d; bytes of residuals, bytes sent over `model`, FLOP of products.\n")
    body = []
    for parallel, how in ((False, "none"), (False, "full"), (True, "none"), (True, "selective"), (True, "full")):
        part, domain = stages[parallel].forms[how], stages[parallel].cost.domain
        flop = sum(2 * p.count * p.m * p.n * p.k for p in part.products)
        sent = sum(each.bytes for each in part.sent)
        body.append((f"{how}{', sequence' if parallel else ''}",
                     *(f"`{domain.in_user_symbols(form).expand()}`" for form in (part.kept, sent, flop))))
    yield table(("recomputed, shared", "kept", "sent", "products"), body) + "\n"


def page(folder: Path) -> Iterator[str]:
    """The page, part by part."""
    stages = traced()
    predict = Predictor(rates_of(load(DEVICE)), stages)
    yield _HEAD
    yield from layer(stages)
    yield from plans()
    yield from table5(predict, megatron(folder))
    yield from single_node(predict, vtrain(folder))
    yield from memory(stages, predict, figures(folder))


if __name__ == "__main__":
    print("\n".join(page(Path(sys.argv[1]))), end="")

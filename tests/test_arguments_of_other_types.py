"""Whatever a public call is given in place of a name, a number or a point, it is answered or refused in one line that says what to
give: no error of Python's own."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import costmodel as cm
from costmodel import solve

STRANGE = (3, -1, 2.5, np.float32(2), np.int64(3), True, None, "nope", "", [], {}, (1, 2), object(), math.nan, b"x", {"q": "x"})
DEVICE = "h100-sxm"


def of_costs(cost: Any) -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]]:
    yield "metric", cost.metric, ("bytes",), {"form": "unfused"}
    yield "model_size", cost.model_size, (8,), {}
    yield "activations", cost.activations, ("total",), {}
    yield "live_peak", cost.live_peak, (), {"policy": "unfused", "order": "program", "donate": ("parameter",)}
    yield "live_profile", cost.live_profile, (), {"policy": "unfused", "donate": ("parameter",)}
    yield "saved", cost.saved, ("residuals",), {}
    yield "intensity", cost.intensity, ("unfused",), {}
    yield "energy", cost.energy, ("horowitz-45nm",), {"policy": "unfused", "weights": None, "activations": None}
    yield "table", cost.table, (), {"depth": 1, "by": "module", "policy": None}
    yield "wire_bytes", cost.wire_bytes, ("data",), {}
    yield "explain", cost.explain, ("",), {}
    yield "kernels", cost.kernels, ("xla-gpu",), {}


def calls() -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]]:
    n, d = cm.dims("n d")
    cost = cm.analyze(nn.Dense(8), cm.spec((n, d)))
    at = cost.at(n=4, d=6)
    yield from of_costs(cost)
    yield from of_costs(at)
    yield "blocks", at.blocks, (), {"depth": 1, "policy": "layer", "donate": ()}
    yield "roofline", at.roofline, (DEVICE,), {"policy": "xla-gpu", "precision": "highest", "topology": None, "near": "L2"}
    yield "at", cost.at, (), {"n": 3, "d": 4}
    yield "verify", cost.verify, (), {"n": 3, "d": 4}
    yield "region", cost.region, (), {"n": 3}
    yield "predicted", cost.predicted, (DEVICE,), {"policy": "xla-gpu"}
    yield "filter_phase", cost.filter_phase, ("",), {}
    yield "reprice", cost.reprice, ("bf16",), {}
    yield "from_json", cm.from_json, ("{}",), {"limit": 1000}
    yield "dims", cm.dims, ("a b",), {"multiple_of": 2, "min": 1, "max": 8, "where": ""}
    yield "symbols", cm.symbols, ("a",), {}
    yield "expression", cm.expression, (n,), {}
    yield "spec", cm.spec, ((2, 3), "float32"), {}
    yield "model", cm.model, ("resnet18",), {}
    yield "abstract", cm.abstract, (dict,), {}
    yield "analyze", cm.analyze, (jnp.sin, (2, 3)), {"unknown": "error", "branches": "max", "fit": "auto", "trace_limit": 5.0,
                                                    "params": None, "kwargs": {}, "rngs": (), "method": None, "mesh": None}
    yield "analyze_training", cm.analyze_training, (nn.Dense(3), (2, 3)), {"loss": jnp.sum, "targets": (), "optimizer": None,
                                                                         "microbatches": 1, "compute_dtype": None, "remat": "none"}
    yield "crossover", solve.crossover, (cost, "n", DEVICE), {"at": {"d": 4}, "layer": None, "kind": None, "policy": "xla-gpu"}
    yield "max_fit", solve.max_fit, (cost, "n", "80GB"), {"at": {"d": 4}, "uses": "live_peak"}
    yield "max_batch", solve.max_batch, (cost, "n", DEVICE, "1ms"), {"at": {"d": 4}, "bound": "upper", "policy": None}
    yield "saturation", solve.saturation, (cost, "n", DEVICE), {"at": {"d": 4}, "within": 0.05, "policy": None}


@pytest.fixture(scope="module")
def every() -> list[Any]:
    return list(calls())


def test_no_call_ends_in_an_error_of_pythons(every):
    wrong = []
    for name, call, given, keywords in every:
        places = [*range(len(given)), *keywords]
        for place in places:
            for strange in STRANGE:
                values = [strange if i == place else v for i, v in enumerate(given)]
                named = {k: strange if k == place else v for k, v in keywords.items()}
                try:
                    with contextlib.redirect_stderr(io.StringIO()):
                        call(*values, **named)
                except cm.CostModelError as refusal:
                    wrong += [(name, place, strange, "lines")] if "\n" in str(refusal) else []
                except Exception as error:
                    wrong.append((name, place, strange, repr(error)[:80]))
    assert wrong == []


def test_a_sweep_and_a_page_refuse_in_one_line(tmp_path):
    pytest.importorskip("xarray")
    n = cm.dims("n")
    cost = cm.analyze(jnp.sin, (n,))
    for strange in (3, 2.5, True, object(), (1, 2)):
        with pytest.raises(cm.CostModelError, match="give names of metrics"):
            cost.sweep(n=[1, 2], metrics=strange)
        with pytest.raises(cm.CostModelError, match="is no path"):
            cost.to_html(strange, ["lecture"], n=2)
    cost.to_html(str(tmp_path / "page.html"), ["lecture"], n=np.int64(2))

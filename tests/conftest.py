"""Fixtures of the acceptance tests: every zoo model is analysed once a session. No test but a benchmark is timed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

import zoo
from costmodel import Cost, ModelEntry

# How long an example takes is a matter of what else the machine does; what is timed is a benchmark.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# No test reads what another run of the command line kept, or leaves anything to the user's own.
_FOLDER = tempfile.TemporaryDirectory(prefix="costmodel-tests-")
os.environ["COSTMODEL_CACHE"] = _FOLDER.name

ENTRIES: dict[str, ModelEntry] = {entry.name: entry for entry in zoo.models()}


@pytest.fixture(scope="session")
def cost_of() -> Callable[[str], Cost]:
    """The symbolic cost of a zoo model by name, traced when first asked for."""
    known: dict[str, Cost] = {}

    def get(name: str) -> Cost:
        if name not in known:
            known[name] = ENTRIES[name].analyze()
        return known[name]

    return get


# Deep models whose smaller or equal siblings stay in the fast suite; all of them are checked by `make test-slow`.
SLOW = {
    "bert_base", "bert_large", "bert_large_classifier", "bert_large_mlm", "dit_xl_2", "gpt2_large_unrolled", "gpt2_medium",
    "gpt3_xl", "llama_7b", "llama_7b_nnx", "mamba_130m", "mobilenet_v2_w03_mcu", "mobilenet_v2_w035_r96", "mobilenet_v2_w075",
    "mobilenet_v2_w14", "opt_1_3b", "resnet101", "resnet152", "resnet34", "resnet50_v1", "t5_base", "vgg13",
    "vgg13_bn", "vgg19", "vgg19_bn", "vit_l_16",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument ``entry`` runs for every model of the zoo."""
    if "entry" in metafunc.fixturenames:
        metafunc.parametrize("entry", [pytest.param(ENTRIES[name], id=name, marks=marks(name)) for name in ENTRIES])


def marks(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if name in SLOW else []

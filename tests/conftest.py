"""Fixtures of the acceptance tests: every zoo model is analysed once a session. No test but a benchmark is timed."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

import zoo
from costmodel import Cost, ModelEntry

# How long an example takes is a matter of what else the machine does; what is timed is a benchmark.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# What the analyses of a session are made of stays until it ends: to look through all of it costs seconds, and finds nothing.
gc.set_threshold(200_000, 50, 100)

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


# CPU seconds of a test of the fast suite, from which on it belongs to `make test-slow`, or on a smaller model; and of all of them.
TEST, SUITE = 8.0, 700.0


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test knows its CPU seconds, with those of fixtures first made for it: the time that passes depends on other processes."""
    start = time.process_time()
    item.user_properties.append(("started at", start))
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    if call.when == "call":
        start = next(value for name, value in item.user_properties if name == "started at")
        item.user_properties.append(("CPU seconds", time.process_time() - start))
    yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says where a suite that has grown too slow spends its time."""
    if config.option.markexpr and "not slow" not in config.option.markexpr:
        return
    took = [(value, report.nodeid) for report in terminalreporter.stats.get("passed", ()) if report.when == "call"
            for name, value in report.user_properties if name == "CPU seconds"]
    long = sorted((each for each in took if each[0] > TEST), reverse=True)
    if long or sum(value for value, _ in took) > SUITE:
        terminalreporter.section("tests that belong to `make test-slow`, or on a smaller model", sep="-")
        whole = sum(value for value, _ in took)
        terminalreporter.write_line(f"CPU seconds of {len(took)} tests: {whole:.0f}, of {SUITE:.0f} at most")
        for value, name in long:
            terminalreporter.write_line(f"{value:6.1f} s  {name}")

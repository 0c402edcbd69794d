"""Along a device's figure the bound is one resource on one side of the answer and another on the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

import costmodel as cm
from costmodel.cli import main
from costmodel.errors import CostModelError
from costmodel.hardware import load
from costmodel.solve import figure_crossover

AT = {"n": 64, "h": 224, "w": 224}


def with_figure(device, name, value):
    if name == "bandwidth":
        return replace(device, bandwidth=replace(device.bandwidth, value=value))
    key = tuple(name.split("."))
    return replace(device, peaks={**device.peaks, key: replace(device.peaks[key], value=value)})


@pytest.mark.parametrize(("figure", "device"), [
    ("bandwidth", "h100-sxm"), ("matrix.tf32", "a100-sxm-80gb"), ("bandwidth", "lecture")])
def test_the_bound_flips_there(cost_of, figure, device):
    cost, found = cost_of("resnet18"), load(device)
    crossed = figure_crossover(cost, figure, found, at=AT)
    assert crossed.answer is not None
    for factor, bound in ((0.999, crossed.below), (1.001, crossed.above)):
        assert cost.roofline(with_figure(found, figure, crossed.answer * factor), **AT).bound == bound


def test_a_program_that_computes_nothing_never_crosses():
    n = cm.dims("n")
    cost = cm.analyze(lambda x: x.T + 0, cm.spec((n, n)))
    assert figure_crossover(cm.analyze(lambda x: x.T.copy(), cm.spec((n, n))), "bandwidth", "lecture", at={"n": 8}).answer is None
    assert "at every value" in str(figure_crossover(cost, "matrix.float16", "h100-sxm", at={"n": 8}))
    with pytest.raises(CostModelError, match="the bound flips along bandwidth or a peak"):
        figure_crossover(cost, "launch_overhead", "h100-sxm", at={"n": 8})


def test_on_the_command_line(cost_of):
    result = CliRunner().invoke(main, ["solve", "resnet18", "--no-verify", "--over", "bandwidth", "--crossover", "--hw", "h100-sxm",
                                       "--at", "n=64,h=224,w=224"])
    assert result.exit_code == 0, result.output
    assert str(figure_crossover(cost_of("resnet18"), "bandwidth", "h100-sxm", at=AT)) in result.output

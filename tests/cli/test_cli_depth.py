"""What the command line prints of a model whose depth is a symbol."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from costmodel.cli import main

NET = ("deep_net:net", "--input", "n,16")


def run(*arguments):
    return CliRunner().invoke(main, arguments)


@pytest.mark.slow
def test_a_depth_is_shown_in_closed_form_and_at_a_point():
    shown = run("show", *NET)
    assert shown.exit_code == 0 and "64·L·n + 88·n MAC" in shown.stdout and "Dense_*" in shown.stdout
    assert "verified against a concrete trace at L=" in shown.output
    at = run("show", *NET, "--at", "n=2,L=4")
    assert "64·L·n + 88·n = 688 MAC" in at.stdout
    values = json.loads(run("show", *NET, "--at", "n=2,L=4", "--json").stdout)
    assert values["macs_dense"]["value"] == 2 * (16 * 8 + 3 * 64 + 8 * 3)


@pytest.mark.slow
def test_a_roofline_of_one_depth():
    assert run("roofline", *NET, "--hw", "h100-sxm", "--at", "n=2,L=3").exit_code == 0
    assert run("roofline", *NET, "--hw", "h100-sxm", "--at", "n=1..4,L=3").exit_code == 0


@pytest.mark.slow
def test_what_needs_one_program_ends_in_one_line():
    for arguments in (("explain", *NET), ("show", *NET, "--json"), ("show", *NET, "--by", "layer")):
        refused = run(*arguments)
        assert refused.exit_code != 0 and "at every L" in refused.output and "Traceback" not in refused.output
        assert "give --at with L" in refused.output or "give --at L=INT" in refused.output


def test_what_has_no_form_in_the_depth_is_left_out_or_said():
    """Up to four layers the wide weights are read by none."""
    inputs = [part for shape in ("n,16", "16,16", "16,64") for part in ("--input", shape)]
    shown, at = run("show", "deep_net:stepped", *inputs), run("show", "deep_net:stepped", *inputs, "--at", "n=2,L=5")
    assert shown.exit_code == 0 and "256·L·n" in shown.stdout and "live peak" not in shown.stdout
    assert at.exit_code == 0 and "live peak, unfused   no closed form = " in at.stdout

"""Bytes on the wire, arguments and live peaks of one device beside what XLA compiles for eight, as ``make judge-mesh`` stored it.

Every program of :mod:`costmodel.bench.mesh` has every size as a symbol, and is set beside XLA's at its point.
"""

from __future__ import annotations

import statistics
from functools import cache
from pathlib import Path

import pytest

from costmodel.bench.hlo_collectives import _group
from costmodel.bench.mesh.compile import from_record, topology
from costmodel.bench.mesh.judge import compare
from costmodel.bench.mesh.judged import DTYPES, at_its_point, close, explanations, judged, load, over, page
from costmodel.bench.mesh.programs import SIZES, program, programs
from costmodel.errors import CostModelError

DATA = Path(__file__).parents[1] / "data" / "sharding"
CPU = load(DATA, "xla-cpu")
WHY = explanations(DATA)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of batches and features that are lost: see test_gspmd


@cache
def judgement(name):
    return compare(at_its_point(program(name), "float32"), from_record(CPU[name]))


@pytest.mark.parametrize("name", programs())
def test_a_device_sends_and_holds_what_xla_says(name):
    """Bytes on the wire to a hundredth or within what is explained, arguments and results equal."""
    j = judgement(name)
    assert j.argument == j.theirs.argument and 0 <= j.theirs.output - j.output <= 8 * 24  # the pointers of a tuple of results
    assert j.doubtful or j.wire_ratio == pytest.approx(1, abs=0.1)
    assert close(j) or j.doubtful or ("xla-cpu", name, "wire") in WHY
    assert "peak" not in over(j) or ("xla-cpu", name, "peak") in WHY


def test_there_are_enough_programs_and_nearly_all_agree():
    found = {half: [judgement(n) for n, p in programs().items() if p.half == half] for half in ("developed", "held out", "second")}
    assert len(found["held out"]) >= 10 and len(found["second"]) >= 6 and sum(map(len, found.values())) >= 20
    for half, js in found.items():
        assert sum(map(close, js)) / len(js) >= 0.8, half
    near = [j for js in found.values() for j in js if abs(j.peak_ratio - 1) <= 0.1]
    assert len(near) >= 24  # of 32; the page lists why the others are not
    assert 0.9 < statistics.median(j.peak_ratio for j in (*found["developed"], *found["held out"])) < 1.05


def test_every_explanation_is_of_a_figure_that_needs_one():
    stale = [key for key in WHY if key[0] == "xla-cpu" and key[2] not in over(judgement(key[1])) and not judgement(key[1]).doubtful]
    assert stale == []


@pytest.mark.slow
def test_the_page_is_the_records():
    """docs/sharding.md has the tables that the records and today's forms give; `make judge-mesh` writes them."""
    text = (Path(__file__).parents[2] / "docs" / "sharding.md").read_text(encoding="utf-8")
    assert page(DATA, text) == text


def test_groups_of_a_mesh_whose_devices_are_in_another_order():
    assert _group("replica_groups=mesh['axis_0'=4,'axis_1'=1,'axis_2'=2], device_ids=([2,4]T(1,0)) {'axis_0'}, use", 8) == 4
    assert _group("replica_groups=mesh['a'=2,'b'=4] {'b'}, use", 8) == 4


def test_a_compiler_has_topologies_of_some_sizes():
    assert topology("tpu-v5e", 8) == "v5e:2x4" and topology("xla-cpu", 7) == ""
    for compiler, devices, what in (("tpu-v5e", 7, "and this one has 7"), ("cuda-h100", 8, "no mesh here")):
        with pytest.raises(CostModelError, match=what):
            topology(compiler, devices)


def test_an_unknown_program_is_one_line():
    with pytest.raises(CostModelError, match="did you mean tensor_parallel"):
        program("tensor_paralel")
    assert set(DTYPES) == {"xla-cpu", "tpu-v5e"} and SIZES == {"data": 2, "model": 4}


def test_most_of_what_a_tpu_sends_agrees_and_the_rest_is_explained():
    names = ["tensor_parallel", "sequence_parallel", "strided_in_space", "attention_by_sequence", "embedding_gradient"]
    found = judged(DATA, "tpu-v5e", names)
    assert all(map(close, found.values())) and len(found) == len(names)  # reduce-scatters, pieces of one gather, permutes


@pytest.mark.slow
def test_of_all_that_a_tpu_sends_seven_tenths_agree():
    found = judged(DATA, "tpu-v5e")
    assert sum(map(close, found.values())) / len(found) >= 0.7
    assert all(("tpu-v5e", name, figure) in WHY for name, j in found.items() for figure in over(j))


@pytest.mark.slow
def test_a_compiled_program_is_the_stored_one():
    from costmodel.bench.mesh.judge import judge_over_mesh, judge_program

    cost = program("tensor_parallel").analyze(SIZES)
    found = judge_over_mesh(cost, program("tensor_parallel").point)
    assert found.theirs.collectives == from_record(CPU["tensor_parallel"]).collectives and found.wire_ratio == 1
    assert judge_program(program("gated_unit"), {"data": 4, "model": 2}).wire_ratio == pytest.approx(1, abs=0.01)

"""Utilisation from a measured time, by counts that others print."""

import pytest

import costmodel as cm
from costmodel.bench.mfu import utilisation
from costmodel.errors import CostModelError
from costmodel.hardware import load


def test_a_product_at_the_peak_uses_all_of_it() -> None:
    point = cm.model("gemm").analyze(verify=False).at(m=512, n=512, k=512)
    found = utilisation(point, load("lecture"), 2 * 512**3 / 4608e9)
    assert found.part(found.counts[0]) == pytest.approx(1) and found.runs_as == "float32"
    assert [count.flops for count in utilisation(point, load("lecture"), 1.0, train=True).counts] == [6 * 512**3]
    with pytest.raises(CostModelError, match="measures nothing"):
        utilisation(point, load("lecture"), 0.0)


def test_gpt2_by_the_papers_convention() -> None:
    # PaLM, appendix B: 6N + 12·L·H·Q·T a token; GPT-2: N = 124 439 808, L = 12, H·Q = 768, T = 1024
    point = cm.model("gpt2").analyze(verify=False).at(b=2, s=1024)
    found = utilisation(point, load("h100-sxm"), 0.1, train=True)
    tokens = 2 * 1024
    assert found.counts[-1].flops == tokens * (6 * 124439808 + 12 * 12 * 768 * 1024)
    assert found.counts[0].flops == 3 * 2 * 291648307200  # nanoGPT's transformer sizing, forward, of one sequence
    assert found.runs_as == "float32 as tf32" and found.peak == 494.7e12
    assert utilisation(point, load("h100-sxm").at_precision("highest"), 0.1).peak == 66.9e12
    assert utilisation(point, load("h100-sxm"), 0.1, "bfloat16").peak == 989.4e12

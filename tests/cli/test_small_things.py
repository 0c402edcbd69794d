"""What commands do with points, forms and sources, each by itself: points of two models, sources, tokens, folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import costmodel as cm
from costmodel.cli import main
from costmodel.hardware import read
from costmodel.models import model
from costmodel.symbolic.plain import cell

ROOT = Path(cm.__file__).parents[1]


def succeed(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


# -- compare -----------------------------------------------------------------------------------------------------------------------


def line(out: str, label: str) -> list[str]:
    (found,) = [each for each in out.splitlines() if each.lstrip().startswith(f"{label} [")]
    return found.split("]")[1].split()


def test_each_model_has_a_point_of_its_own() -> None:
    out = succeed("compare", "mlp", "linear", "--at", "n=2", "--at-a", "a=7", "--at-b", "c_i=3,c_o=5")
    mlp, linear = model("mlp"), model("linear")
    first = mlp.analyze().at(**{**mlp.at, "n": 2, "a": 7})
    assert line(out, "MACs")[:2] == [cell(first.macs), "30"] and line(out, "parameters")[:2] == [cell(first.params), "15"]
    assert linear.analyze().at(n=2, c_i=3, c_o=5).macs == 30


def test_a_point_of_one_alone_goes_before_that_of_both() -> None:
    assert line(succeed("compare", "linear", "linear", "--at", "n=2,c_i=3,c_o=5", "--at-b", "n=4"), "MACs") == ["30", "60", "2"]


def test_symbols_that_one_model_lacks_are_left_to_the_other() -> None:
    out = succeed("compare", "linear", "gemm", "--at", "n=2,c_i=3,c_o=5,m=2,k=2")
    assert line(out, "MACs")[:2] == ["30", "8"]


# -- hw show -----------------------------------------------------------------------------------------------------------------------


def test_a_source_of_many_figures_stands_once() -> None:
    out, table = succeed("hw", "show", "horowitz-45nm"), read("horowitz-45nm")
    sources = [quantity.source for quantity in (*table.operations.values(), *table.memory.values())]
    often = max(sources, key=sources.count)
    assert sources.count(often) > 5 and [each for each in out.splitlines() if each.endswith(often)] == [f"[1] {often}"]
    (mul,) = [each for each in out.splitlines() if each.startswith("mul float32")]
    assert mul.split() == ["mul", "float32", "3.7", "pJ", "[1]"]
    (dram,) = [each for each in out.splitlines() if each.startswith("DRAM")]
    assert dram.endswith(f"; doubt: {table.memory['DRAM'].doubt}")


# -- tokens ------------------------------------------------------------------------------------------------------------------------


def test_a_language_models_throughput_is_in_tokens(cost_of) -> None:
    cost = model("lstm_lm_medium").analyze(verify=False)
    roofline = cost.at(b=4, s=8).roofline("lecture")
    assert roofline.item == "tokens" and roofline.throughput[0] == pytest.approx(32 / roofline.lower)
    assert "tokens/s; time follows" in str(roofline) and "items/s" not in str(roofline)
    assert cost.reprice("bfloat16").at(b=4, s=8).roofline("h100-sxm").item == "tokens"
    assert "items/s" in str(cost_of("mlp").at(**model("mlp").at).roofline("lecture"))


def test_a_range_and_a_sweep_are_in_tokens_too() -> None:
    pytest.importorskip("xarray")
    out = succeed("roofline", "lstm_lm_medium", "--hw", "lecture", "--at", "b=1..2,s=8", "--no-verify")
    assert "tokens/s" in out and "items/s" not in out
    found = model("lstm_lm_medium").analyze(verify=False).sweep(b=[1, 2], s=[8], hardware=["lecture"])
    assert found["throughput"].attrs["unit"] == "tokens/s"
    assert float(found["throughput"][0, 1, 0]) == pytest.approx(16 / float(found["time_lower"][0, 1, 0]))


def test_every_model_that_takes_tokens_says_so() -> None:
    """A first input of integers is of tokens; T5's are of two kinds. The layer of the LSTM takes them as vectors."""
    from costmodel.models import zoo

    for entry in zoo().values():
        takes = entry.inputs[0].endswith(":int32") and not entry.name.startswith("t5_")
        assert bool(entry.tokens) == takes or entry.name == "lstm_layer", entry.name
        assert set(entry.tokens.split()) <= set(entry.at)


# -- a folder of the user's that has the name of ours ------------------------------------------------------------------------------

OWN_ZOO = "import flax.linen as nn\nclass Own(nn.Module):\n    @nn.compact\n    def __call__(self, x): return nn.Dense(7)(x)\n"


@pytest.fixture
def own_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "__init__.py").write_text(OWN_ZOO, encoding="utf-8")
    (tmp_path / "zoo" / "net.py").write_text("from zoo import Own as Net\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


SCRIPT = """
import zoo
import costmodel as cm
from costmodel.cli import main
assert cm.model("mlp").name == "mlp"
import zoo.net
assert zoo.net.Net is zoo.Own and cm.model("zoo:Own").build() == zoo.Own() and cm.model("zoo.net:Net").build() == zoo.Own()
main(["show", "zoo.net:Net", "--input", "n,3", "--csv", "--no-verify"])
"""


def test_a_folder_zoo_of_the_users_and_ours_are_two(own_zoo: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=own_zoo, capture_output=True, text=True)
    assert done.returncode == 0 and "21*n" in done.stdout, done.stderr
    command = [sys.executable, "-m", "costmodel", "compare", "mlp", "zoo.net:Net"]
    done = subprocess.run(command, cwd=own_zoo, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "--input" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("where", ["working directory", "COSTMODEL_MODELS"])
def test_a_file_or_a_folder_zoo_that_fails_takes_nothing_from_ours(where: str, tmp_path: Path) -> None:
    """Neither is ever imported: each would raise."""
    (tmp_path / "zoo.py").write_text("raise RuntimeError('mine')", encoding="utf-8")
    (tmp_path / "elsewhere" / "zoo").mkdir(parents=True)
    (tmp_path / "elsewhere" / "zoo" / "__init__.py").write_text("raise RuntimeError('mine')", encoding="utf-8")
    for folder in (tmp_path, tmp_path / "elsewhere"):
        given = {**os.environ, "PYTHONPATH": str(ROOT), "COSTMODEL_MODELS": str(folder) if where == "COSTMODEL_MODELS" else ""}
        done = subprocess.run([sys.executable, "-m", "costmodel", "list"], cwd=ROOT if where == "COSTMODEL_MODELS" else folder,
                              capture_output=True, text=True, env=given)
        assert done.returncode == 0 and done.stderr == "" and "resnet50" in done.stdout


def test_models_may_stand_in_a_folder_of_their_own(own_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_zoo / "elsewhere.py").write_text(OWN_ZOO, encoding="utf-8")
    monkeypatch.setenv("COSTMODEL_MODELS", f"{own_zoo}{os.pathsep}{own_zoo / 'none'}")
    (own_zoo / "working").mkdir()
    monkeypatch.chdir(own_zoo / "working")
    assert "21·n MAC" in succeed("show", "elsewhere:Own", "--input", "n,3", "--no-verify")
    assert "21·n MAC" in succeed("show", "zoo.net:Net", "--input", "n,3", "--no-verify")
    assert len(cm.model("mlp").inputs) == 1
    import zoo

    assert Path(zoo.__file__).parent == ROOT / "zoo"


# -- Haiku -------------------------------------------------------------------------------------------------------------------------


def test_a_path_as_haiku_writes_it_is_the_same_layer(cost_of) -> None:
    cost = cost_of("mlp")
    assert cost.explain("~/linear1").lines == cost.explain("linear1").lines

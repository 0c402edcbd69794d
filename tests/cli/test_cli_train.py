"""The command ``train``: its figures are those of ``analyze_training``, and its parts are all of the memory."""

from __future__ import annotations

import json

import jax
import optax
import pytest
import sympy
from click.testing import CliRunner, Result
from conftest import ENTRIES

import costmodel as cm
from costmodel._jax_compat import initialisers_accept_symbolic_fans
from costmodel.cli import main
from costmodel.hardware import load
from costmodel.rules.work import DONATED_BY_TRAINING
from costmodel.solve.training import batch_symbol, largest_batch, step_memory
from costmodel.trace.recipe import Recipe


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(main, ["train", *arguments])


@pytest.fixture(scope="module")
def step() -> cm.Cost:
    return ENTRIES["mlp"].analyze_step("adamw")


AT = {"n": 7, "a": 30, "b": 20, "c": 10, "d": 40}


@pytest.mark.parametrize("policy", ["unfused", "xla-gpu"])
def test_the_parts_are_all_that_is_held(step, policy):
    found = step_memory(step, AT, policy)
    assert sum(part.at_peak for part in found.parts) == found.peak
    assert found.peak == step.at(**AT).live_peak(policy, donate=DONATED_BY_TRAINING)
    parameters = 40*30 + 30 + 30*20 + 20 + 20*10 + 10
    wholes = {part.name: part.whole for part in found.parts}
    assert wholes["parameters and state"] == 4 * parameters and wholes["optimizer state"] == 8 * parameters + 4  # and a counter


def test_the_largest_batch_fits_and_the_next_does_not(step):
    found = largest_batch(step, "1MB", AT)
    at = [step.at(**{**AT, "n": n}).live_peak(donate=DONATED_BY_TRAINING) for n in (found.answer, found.answer + 1)]
    assert batch_symbol(step) == "n" and at[0] <= 1e6 < at[1]


def test_what_is_printed():
    result = run("mlp", "--at", "n=7,a=30,b=20,c=10,d=40", "--hw", "lecture", "--fit", "1MB", "--policy", "unfused")
    assert result.exit_code == 0, result.output
    assert "microbatches" not in result.output
    for part in ("backward", "update", "optimizer state", "memory of a step", "n = ", "lecture:", "items/s", "verified"):
        assert part in result.output
    told = json.loads(run("mlp", "--at", "n=7,a=30,b=20,c=10,d=40", "--json").stdout)
    assert "optimizer state" in json.dumps(told)


@pytest.mark.parametrize(("arguments", "message"), [
    (("resnet5",), "did you mean"), (("mlp", "--optimizer", "adamx"), "did you mean adam or adamw"),
    (("mlp", "--hw", "h200x"), "unknown device"), (("mlp", "--csv", "--json"), "give one of them"),
    (("mlp", "--loss", "cros-entropy"), "did you mean cross-entropy"), (("mlp", "--remat", "dot"), "did you mean dots"),
    (("mlp", "--compute-dtype", "bf17"), "bfloat16"), (("mlp", "--loss", "squares", "--target", "n"), "leave out --target"),
    (("mlp", "--microbatch", "0"), "1<=x"), (("mlp", "--microbatch", "4", "--at", "n=6,a=30,b=20,c=10,d=40"), "4 | n"),
    (("mlp", "--loss", "nowhere:loss"), "does not import"),
    (("mlp", "--fit", "10bananas"), "80GB"), (("mlp", "--json", "--fit", "3"), "80GB"),
])
def test_bad_input_is_one_line(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.output and result.stdout == ""


def test_a_forward_pass_is_no_step():
    with pytest.raises(cm.CostModelError, match="no training step"):
        step_memory(ENTRIES["mlp"].analyze(), AT)


# -- a step by names is the step that analyze_training makes of functions ----------------------------------------------------------

FIGURES = ("macs", "flops", "transcendentals", "optimizer_state")


def alike(named: cm.Cost, own: cm.Cost) -> bool:
    return all(named.metric(figure) == own.metric(figure) for figure in FIGURES) and named.saved() == own.saved()


def by_hand(*targets, **options):
    model, (x,) = ENTRIES["mlp"].make()
    return cm.analyze_training(model, x, targets=targets, **options)


def test_the_default_step_is_analyze_trainings(step):
    assert alike(step, by_hand(loss=lambda y: (y**2).mean(), optimizer=optax.adamw(1e-3)))


def test_cross_entropy_has_integer_labels():
    n = cm.dims("n")
    own = by_hand(cm.spec((n,), "int32"), optimizer=optax.sgd(0.1, momentum=0.9),
                  loss=lambda y, labels: optax.softmax_cross_entropy_with_integer_labels(y, labels).mean())
    named = ENTRIES["mlp"].analyze_step(Recipe("sgd", "cross-entropy"))
    assert alike(named, own) and named.name == "mlp, sgd step, loss cross-entropy"
    data = [v.array for v in named.program.inputs if v.origin == "input"]
    assert [(each.dtype, len(each.shape)) for each in data] == [("float32", 2), ("int32", 1)]


def test_mean_squares_has_targets_of_the_outputs_shape():
    n, c = cm.dims("n"), cm.dims("c")
    assert alike(ENTRIES["mlp"].analyze_step(Recipe("none", "mean-squares")),
                 by_hand(cm.spec((n, c)), loss=lambda y, t: ((y - t) ** 2).mean()))


@pytest.mark.parametrize("remat", ["full", "dots"])
def test_what_is_computed_again_is_what_jax_checkpoint_computes_again(remat):
    """Against a function that is checkpointed by hand; full holds nothing but what the model is given, and runs all but the last
    product of the forward pass again: its result is not read."""
    model, (x,) = ENTRIES["mlp"].make()
    held = {"full": jax.checkpoint_policies.nothing_saveable, "dots": jax.checkpoint_policies.dots_saveable}[remat]
    with initialisers_accept_symbolic_fans():
        params = jax.eval_shape(model.init, jax.random.key(0), x)
    own = cm.analyze_training(jax.checkpoint(model.apply, policy=held), params, x, params=0, loss=lambda y: (y**2).mean(),
                              optimizer=optax.adamw(1e-3), verify=False)  # its widths stand in what applies it, and stay symbols
    named = ENTRIES["mlp"].analyze_step(Recipe(remat=remat))
    assert alike(named, own)
    a, b, d, n = cm.symbols("a b d n")
    assert named.filter_phase("recompute").macs == (sympy.expand(n * (d*a + a*b)) if remat == "full" else 0)
    assert named.at(**AT).saved() < ENTRIES["mlp"].analyze_step("adamw").at(**AT).saved()


def test_microbatches_need_a_divisible_batch_and_say_so_where_publications_quote_another():
    entry = ENTRIES["mlp"].in_microbatches(4)
    assert entry.where.endswith("4 | n") and entry.at == {**ENTRIES["mlp"].at, "n": 4}
    named = entry.analyze_step(Recipe(microbatches=4, compute_dtype="bfloat16"))
    assert "gradients added up over microbatches" in step_memory(named, {**AT, "n": 8}).text()
    assert named.macs == ENTRIES["mlp"].analyze_step("adamw").macs.subs("n", cm.symbols("n"))
    assert {k.dtype for e in named.program for k, *_ in e.work.ops if k.name == "mac"} == {"bfloat16"}


def test_a_loss_of_ones_own_with_targets(tmp_path, monkeypatch):
    (tmp_path / "own_losses.py").write_text("def halves(y, t): return ((y - t) ** 2).sum() / 2\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = run("mlp", "--loss", "own_losses:halves", "--target", "n,c", "--optimizer", "none", "--at", "n=7,a=30,b=20,c=10,d=40")
    assert result.exit_code == 0 and "mlp, gradients, loss own_losses:halves" in result.stdout


def test_every_device_has_its_memory_its_batch_and_its_time_in_every_form():
    at = ("mlp", "--at", "n=7,a=30,b=20,c=10,d=40", "--hw", "h100-sxm,lecture", "--fit", "1MB", "--no-verify")
    text, told = run(*at).stdout, json.loads(run(*at, "--json").stdout)
    policies = [load(name).fusion for name in ("h100-sxm", "lecture")]
    assert len(set(policies)) == 2 and all(f"policy {used!r}; parameters" in text for used in policies)
    parts = {cell for row in told["rows"] for cell in (row.values() if isinstance(row, dict) else row) if isinstance(cell, str)}
    assert {*policies, "largest batch", "time", "1MB", "h100-sxm", "lecture"} <= parts
    assert run(*at, "--markdown").stdout.count("\n|:--|") == 4  # two memories, the batches, the times

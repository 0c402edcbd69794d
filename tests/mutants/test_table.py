"""The table of mutants applies to the code as it stands; running it is `make mutants`."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from mutants.run import ROOT, TABLE, Mutant, mutants, problem, verdict

MUTANTS = mutants(TABLE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.what for m in MUTANTS])
def test_every_mutant_can_be_made(mutant):
    assert problem(mutant) == ""
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    changed = ast.parse(text.replace(mutant.old, mutant.new))  # raises SyntaxError for what is no code
    assert ast.dump(changed) != ast.dump(ast.parse(text))


def test_every_room_that_counts_or_prices_has_some():
    rooms = {m.file.split("/")[1] for m in MUTANTS}
    assert {"rules", "program", "fusion", "memory", "pricing", "symbolic", "hardware"} <= rooms
    assert len({m.what for m in MUTANTS}) == len(MUTANTS) > 35


def test_one_that_cannot_be_made_is_named():
    one = MUTANTS[0]
    assert "stands 0 times" in problem(replace(one, old="no such text"))
    assert "stands 0 times" in problem(replace(one, file="costmodel/none.py"))
    assert "times" in problem(replace(one, old="def "))
    assert "there is no test" in problem(replace(one, tests=("tests/rules/test_none.py",)))
    assert "there is no test" in problem(replace(one, tests=(f"{one.tests[0]}_",)))


def test_only_what_is_noticed_or_excused_is_right():
    one = Mutant("", "", "", "", ())
    assert [verdict(one, code) for code in (1, 0, 4)] == ["noticed", "SURVIVES", "did not run: pytest ends with 4"]
    excused = replace(one, survives="the same by another formula")
    assert verdict(excused, 0) == "survives, as it may" and verdict(excused, 1).startswith("noticed, though")

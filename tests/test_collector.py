"""The collector is off while something large is built, and afterwards as before, in however many threads."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

import costmodel as cm
from costmodel import collector


def test_pauses_nest_and_an_error_ends_them():
    with pytest.raises(ValueError, match="inside"), collector.paused(), collector.paused():
        assert not gc.isenabled()
        raise ValueError("inside")
    assert gc.isenabled()


def test_a_command_collects_rarely_and_leaves_it_as_it_was():
    of_the_suite = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # Python's own
    try:
        with pytest.raises(ValueError, match="inside"), collector.rare():
            assert gc.isenabled() and gc.get_threshold()[0] > 100*700
            raise ValueError("inside")
        assert gc.get_threshold() == (700, 10, 10)
    finally:
        gc.set_threshold(*of_the_suite)


def test_the_last_of_many_rare_times_sets_back_what_the_first_found():
    before, first, second = gc.get_threshold(), collector.rare(), collector.rare()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() != before
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before


@pytest.mark.parametrize("script, found", [("", "collected"), ("collector.at_end()", ""), ("main()", "")])
def test_a_command_does_not_look_through_everything_as_it_ends(script, found):
    """What Python collects at its end is what is in a cycle then."""
    program = f"""
import sys
from costmodel import collector
from costmodel.cli import main
class Cycle:
    def __del__(self):
        sys.stderr.write("collected")
kept = Cycle()
kept.itself = kept
sys.argv = ["costmodel", "--version"]
{script}
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr == found


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_last_of_many_threads_ends_the_pause():
    entered, leave = threading.Barrier(3), threading.Event()

    def wait() -> None:
        with collector.paused():
            entered.wait()
            leave.wait()

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for t in threads:
        t.start()
    entered.wait()
    with collector.paused():
        pass
    assert not gc.isenabled()
    leave.set()
    for t in threads:
        t.join()
    assert gc.isenabled()


def test_a_model_is_traced_with_the_collector_as_its_author_has_it():
    seen = []

    def model(x):
        seen.append(gc.isenabled())
        return x * 2

    cost = cm.analyze(model, (cm.dims("n"), 4))
    cost.at(n=3)
    assert seen and all(seen) and gc.isenabled()

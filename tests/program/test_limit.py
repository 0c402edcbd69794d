"""A time limit ends what runs, also when its first alarm is lost."""

import time

import pytest

from costmodel.program.fit.limit import TimeLimit, time_limit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_alarm_that_a_callback_swallows_rings_again():
    class Slow:
        def __del__(self):  # Python prints what is raised here, and goes on
            until = time.monotonic() + 0.1
            while time.monotonic() < until:
                pass

    kept = [Slow()]
    with pytest.raises(TimeLimit), time_limit(0.05):
        kept.clear()
        until = time.monotonic() + 5
        while time.monotonic() < until:
            pass

"""Restores after any time, at any moment: the clocks show each."""

from hypothesis import given
from hypothesis import strategies as st

from machine_clocks import Machine
from snapext.clock.restore import RestoreClock


@given(st.floats(2, 1e8), st.floats(-0.3, 0.3), st.floats(0, 1e5), st.floats(0, 0.04), st.floats(0, 0.04))
def test_no_gap_of_two_seconds_or_more_is_missed(gap_s, stepped_s, elapsed_s, stopped_s, stopped_again_s):
    """Also with a step of NTP in between, a process that was stopped while it read, and any time without a request."""
    machine = Machine()
    clock = RestoreClock(machine.read((stopped_s, stopped_s)))
    machine.run(elapsed_s)
    machine.step(gap_s + stepped_s)

    assert clock.take(machine.read((stopped_again_s, stopped_again_s)))

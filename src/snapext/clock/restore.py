"""A restore shows as a jump of CLOCK_REALTIME against CLOCK_MONOTONIC: the first goes on meanwhile, the second stops.

Measured over a real restore: 161 s against 0.54 s; over an idle gap between two invocations 6.1 s against 6.08 s. NTP
slews both clocks alike (clock_gettime(2)), and steps CLOCK_REALTIME alone, by less than a restore takes. No I/O here.

A reading is CLOCK_MONOTONIC, CLOCK_REALTIME, and CLOCK_MONOTONIC again, in seconds: the process may be stopped between
two of them for any time. So it bounds the offset of the clocks from both sides. A jump counts from the upper bound of
the earlier reading to the lower bound of the later one, and never is the time that a process was stopped.

What is taken for a restore in a clone is always right, as each moment there is after the restore. Only a step of more
than JUMP_S before the snapshot, in the minutes of init, would be wrong.

Weighed and left out: a timerfd that the kernel cancels when the clock is set (as the extension has). It says that the
clock was set, and not by how much, which an NTP step does as well; and each request would pay for a system call.
"""

from __future__ import annotations

JUMP_S = 1.5
"""A jump from here on is a restore. Steps that add up to less between two readings are none; 2 s are never missed."""
BAND_S = 0.2
"""An offset that has moved by less than this is the same one: nothing has to be looked at."""
NARROW_S = 0.1
"""A reading whose bounds are wider says too little to be remembered."""

Reading = tuple[float, float, float]


class RestoreClock:
    """The offset of the two clocks as it is known, and whether a reading shows a restore.

    low, high: between these bounds an offset says nothing new. Of two plain readings, wall clock first, the difference
    can be compared with them without a call of ours.
    """

    __slots__ = ("_most", "high", "low")

    def __init__(self, reading: Reading) -> None:
        self._most = self.low = self.high = 0.0
        self._remember(reading)

    def take(self, reading: Reading) -> bool:
        """Take a reading. Returns whether there was a restore since the one that is remembered.

        A reading that shows none replaces the one before, unless it is wide: so steps and drift do not add up.
        """
        before_s, wall_s, after_s = reading
        if wall_s - after_s - self._most >= JUMP_S:
            return True
        if after_s - before_s <= NARROW_S:
            self._remember(reading)
        return False

    def _remember(self, reading: Reading) -> None:
        before_s, wall_s, after_s = reading
        self._most = wall_s - before_s
        self.low, self.high = wall_s - after_s - BAND_S, self._most + BAND_S

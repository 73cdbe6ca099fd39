"""Read the two clocks. Both calls end in the vDSO: no system call, about 40 ns each."""

from __future__ import annotations

import os
from time import monotonic, time

from snapext.clock import simulated
from snapext.clock.restore import NARROW_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snapext.clock.restore import Reading

TRIES = 5


class Reader:
    """wall: seconds of CLOCK_REALTIME. steady: seconds of CLOCK_MONOTONIC, which a snapshot stops."""

    def __init__(self, wall: Callable[[], float] | None = None, steady: Callable[[], float] = monotonic) -> None:
        self.wall = wall or simulated.wall_clock(os.environ) or time
        self.steady = steady

    def read(self) -> Reading:
        """A reading for RestoreClock: the first narrow one of a few, else the last."""
        for _ in range(TRIES):
            reading = (self.steady(), self.wall(), self.steady())
            if reading[2] - reading[0] <= NARROW_S:
                break
        return reading

"""The clocks of a machine in memory, which a test lets run, step and stop."""

START_S = 1_790_000_000.0


class Machine:
    """The two clocks of a machine, in seconds. NTP slews both alike, and steps one; a snapshot stops the other."""

    def __init__(self) -> None:
        self.wall_s, self.steady_s = START_S, 100.0

    def run(self, seconds: float, ppm: float = 0.0) -> None:
        self.wall_s += seconds * (1 + ppm / 1e6)
        self.steady_s += seconds * (1 + ppm / 1e6)

    def step(self, seconds: float) -> None:
        self.wall_s += seconds

    def read(self, stopped_s: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float, float]:
        """A reading by a process that is stopped between its parts."""
        before = self.steady_s
        self.run(stopped_s[0] + 1e-7)
        wall = self.wall_s
        self.run(stopped_s[1] + 1e-7)
        return before, wall, self.steady_s

"""The clocks tell a restore from everything else that happens to clocks."""

import random

import pytest

from machine_clocks import Machine
from snapext.clock.reader import TRIES, Reader
from snapext.clock.restore import BAND_S, JUMP_S, NARROW_S, RestoreClock

WEEK_S = 7 * 24 * 3600


@pytest.mark.parametrize("seed", range(5))
def test_a_week_of_drift_freezes_and_steps_is_no_restore(seed):
    """Nothing but a restore looks like one; and the restore that comes after that week, of 2 s, is seen at once."""
    chance = random.Random(seed)
    machine = Machine()
    clock = RestoreClock(machine.read())
    until_s = machine.steady_s + WEEK_S
    while machine.steady_s < until_s:
        machine.run(chance.expovariate(1 / chance.choice((0.01, 1, 60, 3600, 40_000))), chance.uniform(-500, 500))
        if chance.random() < 0.05:
            machine.step(chance.uniform(-0.7, 0.7))
        if chance.random() < 0.01:
            machine.step(-chance.uniform(1, 20))  # back, by whatever: no restore does that
        stopped = (
            chance.choice((0, 0, 0, chance.expovariate(1 / 30))),
            chance.choice((0, 0, 0, chance.uniform(0, 90))),
        )
        assert not clock.take(machine.read(stopped))

    clock.take(machine.read())
    machine.step(2.0)
    assert clock.take(machine.read())


def test_two_plain_readings_suffice_while_nothing_happens():
    """The bounds hold what is the same offset, and neither a step nor a restore."""
    machine = Machine()
    clock = RestoreClock(machine.read())
    offset_s = machine.wall_s - machine.steady_s

    assert clock.low < offset_s < clock.high
    assert clock.low < offset_s + BAND_S * 0.9 < clock.high
    assert not clock.low < offset_s + JUMP_S < clock.high
    assert not clock.low < offset_s - 0.5 < clock.high


def test_steps_are_remembered_one_by_one():
    """Ten steps of a second each, with a request after each, are no restore; the same at once would be one."""
    machine = Machine()
    clock = RestoreClock(machine.read())
    for _ in range(10):
        machine.step(1.0)
        assert not clock.take(machine.read())
    machine.step(10.0)
    assert clock.take(machine.read())


def test_a_reading_that_says_too_little_hides_no_restore():
    """The process was stopped while it read, for as long as the gap was: the next reading shows the restore."""
    machine = Machine()
    clock = RestoreClock(machine.read())
    machine.step(5.0)
    assert not clock.take(machine.read((0.0, 5.0)))
    assert clock.take(machine.read())


def test_the_reader_reads_again_where_it_was_stopped():
    """And gives up after some tries: a machine that is that slow must not wait for us."""
    machine = Machine()
    stops = [2.0, 2.0, 0.0]

    def wall() -> float:
        machine.run(stops.pop(0) if stops else 0.0)
        return machine.wall_s

    before, _, after = Reader(wall, lambda: machine.steady_s).read()
    assert after - before <= NARROW_S
    assert stops == []

    stops = [2.0] * 2 * TRIES
    Reader(wall, lambda: machine.steady_s).read()
    assert len(stops) == TRIES


def test_the_readers_clocks_are_the_systems():
    """The wall clock in the middle."""
    before, wall, after = Reader().read()
    assert before <= after < wall

"""The wall clock is watched by a real timer. Nothing here sets the machine's clock: the cancelled read is played."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator

import pytest

from snapext_extension.kernel.clock import ClockWatch
from snapext_extension.reactor import Reactor


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


def timers() -> list[str]:
    """What the kernel says of each timer that this process has (proc(5), fdinfo)."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[timerfd]":
                with open(f"/proc/self/fdinfo/{fd}") as info:
                    found.append(info.read())
        except FileNotFoundError:  # the one that has listed them
            pass
    return found


def test_the_timer_is_cancelled_when_the_clock_is_set(reactor: Reactor) -> None:
    """The kernel has it on the wall clock, absolute, to be cancelled, and in force; afterwards there is none."""
    watch = ClockWatch(reactor, lambda _: None)
    watch.start()
    (timer,) = timers()
    watch.close()
    facts = dict(line.split(":") for line in timer.splitlines())
    assert (int(facts["clockid"]), int(facts["settime flags"], 8)) == (time.CLOCK_REALTIME, 3)
    assert facts["it_value"].strip() != "(0, 0)"
    assert timers() == []


def test_a_clock_that_is_not_set_is_not_noticed(reactor: Reactor) -> None:
    """Time that passes is no jump."""
    heard: list[float] = []
    watch = ClockWatch(reactor, heard.append)
    watch.start()
    reactor.set_timer("enough", 50, reactor.stop)
    reactor.run()
    watch.close()
    assert heard == []


def test_each_jump_is_told_by_its_size(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and back, each since the one before; a wake-up without one tells nothing."""
    monkeypatch.setattr("snapext_extension.kernel.clock._timer", lambda: reader)
    reader, writer = os.pipe()
    os.write(writer, b"x")
    heard: list[float] = []
    errors = iter([errno.ECANCELED, errno.EAGAIN, errno.ECANCELED])
    jumps = iter([24.5, 24.5, -1.0])
    really = time.time_ns
    ahead = 0.0

    def read(_fd: int, _bytes: int) -> bytes:
        nonlocal ahead
        ahead = next(jumps)
        monkeypatch.setattr(time, "time_ns", lambda: really() + int(ahead * 1e9))
        error = next(errors)
        if ahead < 0:
            reactor.stop()
        raise OSError(error, os.strerror(error))

    watch = ClockWatch(reactor, heard.append)
    watch.start()
    monkeypatch.setattr(os, "read", read)
    reactor.set_timer("limit", 20_000, reactor.stop)
    reactor.run()
    watch.close()
    os.close(writer)
    assert heard == pytest.approx([24.5, -25.5], abs=0.1)


def test_without_a_timer_nothing_is_watched(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without _ctypes the extension works, and does not say when the clock was set."""
    monkeypatch.setitem(sys.modules, "_ctypes", None)
    watch = ClockWatch(reactor, lambda _: None)
    watch.start()
    watch.close()
    assert timers() == []

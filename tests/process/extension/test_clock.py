"""The wall clock is watched by a real timer. Nothing here sets the machine's clock: the cancelled read is played."""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from snapext.clock import simulated
from snapext_extension.boundary.events import RestoreSeen
from snapext_extension.extension import Extension
from snapext_extension.kernel.clock import ClockWatch, SimulatedClockWatch
from snapext_extension.reactor import Reactor

SET = "the wall clock was set by +24.500 s"


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
    assert heard == pytest.approx([24.5, -25.5], abs=1)


def test_without_a_timer_nothing_is_watched(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without _ctypes the extension works, and does not say when the clock was set."""
    monkeypatch.setitem(sys.modules, "_ctypes", None)
    watch = ClockWatch(reactor, lambda _: None)
    watch.start()
    watch.close()
    assert timers() == []


@pytest.mark.parametrize(("observes", "level"), [(False, "debug"), (True, "warning")])
def test_an_extension_that_observes_warns_of_a_clock_that_it_cannot_watch(observes: bool, level: str) -> None:
    """Its after-restore hooks may then run only with the first invocation."""
    said: list[tuple[str, str, dict[str, str]]] = []
    extension = Extension.__new__(Extension)
    vars(extension).update(
        _observes=observes,
        _clock=SimpleNamespace(start=lambda: "no timer", fd=-1),
        _restoring=SimpleNamespace(),
        _log=SimpleNamespace(write=lambda level, event, **more: said.append((level, event, more))),
    )
    extension._watch_clock()
    ((said_level, event, more),) = said
    assert (said_level, event, more["reason"]) == (level, "clock_not_watched", "no timer")
    assert more["message"] == "the wall clock is not watched, and shows no restore: no timer"


@pytest.mark.parametrize(
    ("restored_ago_s", "fields"),
    [
        (None, {"by_s": 24.5, "after_restore_ms": None, "message": f"{SET}, before the restore"}),
        (0.0, {"by_s": 24.5, "after_restore_ms": 0.0, "message": f"{SET}, 0 ms after the restore"}),
    ],
)
def test_the_log_says_by_how_much_and_when(
    monkeypatch: pytest.MonkeyPatch, restored_ago_s: float | None, fields: dict[str, object]
) -> None:
    """One line of the story: a person sees which of the times in the log are the snapshot's."""
    monkeypatch.setattr(time, "monotonic", lambda: 81.5)
    said: list[tuple[str, str, dict[str, object]]] = []
    extension = Extension.__new__(Extension)
    vars(extension).update(
        _observes=False,
        _restoring=SimpleNamespace(restored_monotonic=None if restored_ago_s is None else 81.5 - restored_ago_s),
        _log=SimpleNamespace(
            write=lambda level, event, **more: said.append((level, event, more)),
            release=lambda: said.append(("", "released", {})),
        ),
    )
    extension._on_clock_set(24.5)
    assert said == [("", "released", {}), ("info", "clock_set", fields)]  # metrics have waited for the right time


def test_a_jump_of_the_clock_shows_the_restore_to_an_extension_that_observes() -> None:
    """A step of NTP does not, and a clock that is set back neither."""
    heard: list[object] = []
    extension = Extension.__new__(Extension)
    vars(extension).update(
        _observes=True,
        _restoring=SimpleNamespace(restored_monotonic=None),
        _log=SimpleNamespace(write=lambda *_, **__: None, release=lambda: None),
        _event=heard.append,
    )
    for by_s in (0.9, -30.0, 24.5):
        extension._on_clock_set(by_s)
    assert heard == [RestoreSeen("the wall clock was set by +24 s")]


# --- under `snapext simulate` ----------------------------------------------------------------------------------------


def test_the_clock_of_a_simulated_life_is_ahead_by_what_a_file_says(tmp_path: Path, reactor: Reactor) -> None:
    """The file is mapped: a process that reads that clock sees it set at once, and the extension soon after."""
    file = tmp_path / "clock"
    file.write_bytes(struct.pack("d", 0.0))
    wall = simulated.wall_clock({simulated.ENV: str(file)})
    assert wall is not None
    assert abs(wall() - time.time()) < 5
    heard: list[float] = []

    def hear(by_s: float) -> None:
        heard.append(by_s)
        reactor.stop()

    SimulatedClockWatch(reactor, hear, wall).start()
    assert heard == []
    with file.open("r+b") as mapped:
        mapped.write(struct.pack("d", 60.0))
    reactor.run()
    assert [round(by_s) for by_s in heard] == [60]


def test_elsewhere_the_clock_is_the_machines(tmp_path: Path) -> None:
    """Also where a variable was left behind by a life that is over."""
    (tmp_path / "empty").touch()
    for path in (None, "", str(tmp_path / "gone"), str(tmp_path / "empty")):
        assert simulated.wall_clock({} if path is None else {simulated.ENV: path}) is None

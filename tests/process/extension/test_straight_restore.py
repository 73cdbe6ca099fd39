"""A restore that the real extension carries out straight, and one that it takes over from there."""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alone import FAILURE, Client, Life
from helpers import HELLO, LIMIT_S, MemoryLog, wait_until
from snapext.wire.messages import (
    AfterRestore,
    BeforeSnapshot,
    Checkpoint,
    Done,
    HookTiming,
    Result,
    Running,
    StatusRequest,
)
from snapext_extension.peers.bridge import Bridge
from snapext_extension.reactor import Reactor
from snapext_extension.rehearsal import rehearse

SPIED = """
import sys
from snapext_extension import straight
from snapext_extension.__main__ import main
run = straight.Straight.run
def spied(self):
    crossing = run(self)
    if -1 == self._aside:  # the rehearsal
        return crossing
    print('{"event": "straight", "to_its_end": %s}' % ("true" if crossing[2] else "false"), flush=True)
    return crossing
straight.Straight.run = spied
sys.exit(main(["/opt/extensions/snapext"]))
"""


SET_BY_HAND = """
import errno, os, types
from snapext_extension.kernel import clock
def canceled(fd, count):
    os.read(fd, count)
    raise OSError(errno.ECANCELED, "the clock was set")
clock._timer = lambda: os.open(os.environ["CLOCK"], os.O_RDWR | os.O_NONBLOCK)
clock.os = types.SimpleNamespace(read=canceled, close=os.close)
"""
"""The clock is set when something is written to the pipe at $CLOCK."""


class Restored:
    """A life whose restore has been shown to two processes, of which the first has answered."""

    def __init__(self, life: Life, program: str = SPIED, **env: str) -> None:
        self.life = life
        life.start(stdout=subprocess.PIPE, program=("-c", program), **env)
        assert life.process.stdout is not None
        self.log = life.process.stdout
        self.first, self.second, command = life.connect("app"), life.connect("app"), life.connect("control")
        command.say(Checkpoint())
        self.first.answer(BeforeSnapshot, ok=True)
        self.second.answer(BeforeSnapshot, ok=True)
        command.socket.close()  # nobody waits for an answer
        life.platform.wait_init_end(LIMIT_S)
        life.platform.restore()
        told = self.second.next(AfterRestore)
        assert isinstance(told, AfterRestore)
        self.id, self.told = told.id, told
        self.first.answer(AfterRestore, ok=True)

    def until(self, event: str) -> dict[str, Any]:
        """The next line of the log of that event."""
        while True:
            assert select.select([self.log], [], [], LIMIT_S)[0]
            line: dict[str, Any] = json.loads(self.log.readline())
            if line["event"] == event:
                return line

    def went_straight_to_its_end(self) -> bool:
        to_its_end: bool = self.until("straight")["to_its_end"]
        return to_its_end

    def status(self) -> dict[str, Any]:
        command = self.life.connect("control")
        command.say(StatusRequest())
        result = command.next(Result)
        assert isinstance(result, Result)
        assert result.status is not None
        return {**result.status}


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[Restored]:
    with ExitStack() as stack:
        restored = Restored(Life(stack, tmp_path))
        stack.enter_context(restored.log)
        yield restored


def test_it_is_behind_and_whoever_asks_is_told_so(restored: Restored) -> None:
    """The lifecycle knows of it as soon as something asks: here the status."""
    restored.second.say(Done(restored.id, True, 2.5, (HookTiming("a", 0.5),)))
    assert restored.went_straight_to_its_end() is True
    ready = restored.until("ready")
    assert ready["processes"] == 2
    status = restored.status()
    assert (status["phase"], status["generation"]) == ("ready", 1)
    assert status["environment_id"] == restored.told.environment_id
    assert restored.told.restored_monotonic is not None
    assert 0 <= time.time() - restored.told.restored_at < LIMIT_S
    assert 0 <= time.monotonic() - restored.told.restored_monotonic < LIMIT_S
    assert sorted(p["durations_ms"]["after_restore"] for p in status["processes"]) == [1.0, 2.5]
    assert status["boundary"]["after_restore_ms"] == ready["duration_ms"]


def test_a_clock_that_is_set_while_hooks_run_is_set_after_the_restore(tmp_path: Path) -> None:
    """The platform does so soon after it, and a person has to know which of the times in the log are the snapshot's."""
    clock = tmp_path / "clock"
    os.mkfifo(clock)
    with ExitStack() as stack:
        restored = Restored(Life(stack, tmp_path), SET_BY_HAND + SPIED, CLOCK=str(clock))
        stack.enter_context(restored.log)
        clock.write_bytes(b"x")
        line = restored.until("clock_set")
        restored.second.say(Done(restored.id, True, 1.0))
        assert restored.went_straight_to_its_end() is True
    assert 0 <= line["after_restore_ms"] < LIMIT_S * 1000
    assert "ms after the restore" in line["message"]


def in_pieces(restored: Restored) -> None:
    line = b'{"type":"done","id":%d,"ok":true,"duration_ms":1,"hooks":[]}\n' % restored.id
    restored.second.socket.sendall(line[:30])
    restored.until("straight")
    restored.second.socket.sendall(line[30:])


def with_the_hook_first(restored: Restored) -> None:
    restored.second.say(Running(restored.id, "app.open"))
    restored.second.say(Done(restored.id, True, 1.0))


def after_an_old_answer(restored: Restored) -> None:
    restored.second.say(Done(restored.id - 1, True, 1.0))
    restored.until("straight")
    restored.second.say(Done(restored.id, True, 1.0))


def while_another_joins(restored: Restored) -> None:
    third = Client(restored.life.path)
    with third.socket:
        third.say(HELLO)
        third.answer(AfterRestore, ok=True)
        restored.until("straight")
    restored.second.say(Done(restored.id, True, 1.0))


ANSWERS: list[Callable[[Restored], None]] = [in_pieces, with_the_hook_first, after_an_old_answer, while_another_joins]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_of_another_shape_is_taken_too(restored: Restored, answer: Callable[[Restored], None]) -> None:
    """The lifecycle takes over, with the answer of the first."""
    answer(restored)
    restored.until("ready")
    status = restored.status()
    assert (status["phase"], status["generation"]) == ("ready", 1)


def test_a_failing_hook_is_reported(restored: Restored) -> None:
    """As in any restore, by its name."""
    restored.second.say(Done(restored.id, False, 1.0, (), FAILURE))
    assert restored.went_straight_to_its_end() is False
    failed = restored.until("failed")
    failure = wait_until(lambda: restored.life.platform.failure)
    assert (failure.error_type, failed["hook"]) == ("Runtime.AfterRestoreError", "app.connect")


@pytest.mark.parametrize("is_short_of_descriptors", [False, True])
def test_its_rehearsal_leaves_nothing_behind(tmp_path: Path, is_short_of_descriptors: bool) -> None:
    """No descriptor, no word to anybody; and none is made where no descriptor is left."""
    reactor, said = Reactor(), []
    nobody: Any = SimpleNamespace(answered=lambda *_: said.append(1), restored=lambda *_: said.append(1))
    bridge = Bridge(str(tmp_path / "bridge" / "bridge.sock"), os.geteuid(), reactor, MemoryLog(), nobody)
    gc.collect()  # what earlier tests left would be closed meanwhile
    used, limits = os.listdir("/proc/self/fd"), resource.getrlimit(resource.RLIMIT_NOFILE)
    if is_short_of_descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        rehearse(bridge, nobody)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (len(os.listdir("/proc/self/fd")), bridge.exchanges, said) == (len(used), 0, [])
    bridge.close()
    reactor.close()

"""The real reactor: descriptors that are closed and used again, callbacks that raise, and signals."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from snapext_extension.reactor import READ, WRITE, Reactor

NUMBER = int(signal.SIGRTMIN) + 7


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    reactor.set_timer("limit", 20_000, reactor.stop)
    yield reactor
    reactor.close()


class Pair:
    """A socket that is ready to be read, and that says in a list when it was called back."""

    def __init__(self, *, ready: bool) -> None:
        self.far, self.near = socket.socketpair()
        if ready:
            self.far.send(b"x")

    def close(self) -> None:
        self.far.close()
        self.near.close()


@pytest.mark.parametrize("events", [READ, WRITE])
def test_a_descriptor_that_is_used_again_is_not_called_back_for_the_old_one(reactor: Reactor, events: int) -> None:
    """In one round two are ready; the first to be called closes the other, and its number goes to a new one."""
    pairs = [Pair(ready=True), Pair(ready=True)]
    called: list[str] = []
    new: list[Pair] = []

    def first_of_two(mine: int) -> None:
        called.append("one of the two")
        other = pairs[1 - mine]
        number = other.near.fileno()
        reactor.unwatch(number)
        other.close()
        new.append(Pair(ready=False))
        spare = [new[0].far, new[0].near]
        if number not in [end.fileno() for end in spare]:
            os.dup2(spare[1].fileno(), number)
        reactor.watch(number, lambda: called.append("the new one"), READ)
        reactor.unwatch(pairs[mine].near.fileno())
        reactor.set_timer("next round", 0, reactor.stop)

    for mine, pair in enumerate(pairs):
        reactor.watch(pair.near.fileno(), lambda mine=mine: first_of_two(mine), events)  # type: ignore[misc]
    reactor.run()

    assert called == ["one of the two"]
    for pair in [*pairs, *new]:
        pair.close()


def test_a_new_descriptor_that_is_ready_is_called_back_in_the_next_round(reactor: Reactor) -> None:
    """What was left out in a round is not lost."""
    first, second = Pair(ready=True), Pair(ready=True)

    def watch_the_second() -> None:
        reactor.unwatch(first.near.fileno())
        reactor.watch(second.near.fileno(), reactor.stop)

    reactor.watch(first.near.fileno(), watch_the_second)
    reactor.set_timer("limit", 20_000, lambda: pytest.fail("it was not called"))
    reactor.run()
    first.close()
    second.close()


def test_what_a_callback_raises_reaches_who_runs_the_reactor(reactor: Reactor) -> None:
    """A bug must end the extension with a report, not be lost."""
    reactor.set_timer("bug", 0, lambda: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        reactor.run()


def test_a_signal_is_called_back_in_its_turn(reactor: Reactor) -> None:
    """The callback runs in run(), not inside of another callback, and once for what came together."""
    heard: list[str] = []

    def work() -> None:
        for _ in range(3):
            os.kill(os.getpid(), NUMBER)
        heard.append("work is done")

    def signalled() -> None:
        heard.append("signal")
        reactor.stop()

    reactor.on_signal(NUMBER, signalled)
    reactor.set_timer("work", 0, work)
    reactor.run()
    assert heard == ["work is done", "signal"]


def test_a_signal_wakes_a_reactor_that_waits(reactor: Reactor) -> None:
    """It has nothing else to do, and no timer that is due."""
    reactor.on_signal(NUMBER, reactor.stop)
    reactor.set_timer("limit", 20_000, lambda: pytest.fail("it was not woken"))
    code = f"import os; os.kill({os.getpid()}, {NUMBER})"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code]):
        reactor.run()


def test_several_signals_have_a_callback_each(reactor: Reactor) -> None:
    """The second is added to what is there."""
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        if len(heard) == 2:
            reactor.stop()

    for number in (NUMBER, NUMBER + 1):
        reactor.on_signal(number, partial(hear, number))
        reactor.set_timer(number, 0, partial(os.kill, os.getpid(), number))
    reactor.run()
    assert heard == [NUMBER, NUMBER + 1]


def test_closing_gives_the_signals_back() -> None:
    """The handler that was there, the wake-up descriptor, and all of our own descriptors."""
    before = signal.getsignal(NUMBER)
    gc.collect()  # what earlier tests left would be closed meanwhile
    descriptors = os.listdir("/proc/self/fd")
    reactor = Reactor()
    for _ in range(2):
        reactor.on_signal(NUMBER, lambda: None)
    assert signal.getsignal(NUMBER) is not before
    reactor.close()

    assert signal.getsignal(NUMBER) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert os.listdir("/proc/self/fd") == descriptors

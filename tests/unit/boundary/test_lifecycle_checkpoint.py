"""Explicit mode: a checkpoint is the trigger, its command waits for the other side, and the platform may wait too."""

from __future__ import annotations

import json

import pytest

from lifecycle_driver import Driver, settings
from snapext.wire.messages import Checkpoint, Result, Welcome
from snapext_extension.boundary.actions import AskEventNext, AskRestoreNext, Fail, SetTimer, Tell, TimerName
from snapext_extension.boundary.attendance import Sighting
from snapext_extension.boundary.events import (
    AppReady,
    CommandJoined,
    CommandLeft,
    Crowded,
    Left,
    RestoreReturned,
    Said,
    ShutdownAsked,
    TimerFired,
)
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.states import State

COMMAND = 900
EXPLICIT = settings(gate=False, held=True)
AUTO = settings(gate=False, held=False)


class Explicit(Driver):
    """A lifecycle in which a command asks for the checkpoint."""

    def ask(self, key: int = COMMAND) -> None:
        self.handle(CommandJoined(key, 5000 + key))
        self.handle(Said(key, Checkpoint()))

    def results(self, key: int = COMMAND) -> list[Result]:
        return [message for message in self.messages(key) if isinstance(message, Result)]

    def cross(self) -> None:
        """From the checkpoint to the restore, every process answering well."""
        self.handle(TimerFired(TimerName.SETTLE))
        for key in range(1, self._keys + 1):
            self.done(key)
        self.handle(RestoreReturned(200, ""))


@pytest.mark.parametrize("mode", [EXPLICIT, AUTO], ids=["explicit", "auto"])
def test_a_checkpoint_is_answered_when_every_hook_has_run(mode) -> None:
    """Not before the last process is done with its after-restore hooks."""
    driver = Explicit(mode)
    first, second = driver.join(), driver.join()
    driver.ask()
    driver.cross()
    driver.done(first)
    assert driver.results() == []
    driver.done(second)
    assert [Result(True)] == driver.results()
    assert State.READY is driver.state
    assert driver.log.count(AskEventNext()) == 1
    driver.handle(ShutdownAsked("spindown", 2000))
    assert [Result(True)] == driver.results()


def test_explicit_mode_holds_the_platform_until_the_hooks_are_done() -> None:
    """No snapshot before the before-snapshot hooks; then our event/next and our restore/next."""
    driver = Explicit(EXPLICIT)
    key = driver.join()
    driver.ask()
    driver.handle(TimerFired(TimerName.SETTLE))
    assert AskEventNext() not in driver.log
    assert [AskRestoreNext()] == driver.calls(driver.done(key))
    assert [AskEventNext()] == driver.calls(driver.handle(TimerFired(TimerName.EVENT_NEXT)))


def test_without_explicit_mode_the_platform_is_never_held_and_a_checkpoint_works_all_the_same() -> None:
    """event/next is asked at the start, and once only."""
    driver = Explicit(AUTO)
    assert [AskEventNext()] == driver.calls(driver.started)
    key = driver.join()
    driver.ask()
    driver.handle(TimerFired(TimerName.SETTLE))
    assert [AskRestoreNext()] == driver.calls(driver.done(key))
    assert driver.log.count(AskEventNext()) == 1


def test_a_checkpoint_waits_for_the_workers_that_were_announced() -> None:
    """SNAPEXT_WORKERS counts here as well, and who does not come is a failure that the command hears of."""
    driver = Explicit(settings(gate=False, workers=2))
    driver.join()
    driver.ask()
    driver.handle(TimerFired(TimerName.READY))
    (result,) = driver.results()
    assert (result.ok, result.exit_status) == (False, 1)
    assert "1 of 2 processes" in str(result.message)


@pytest.mark.parametrize("mode", [EXPLICIT, AUTO], ids=["explicit", "auto"])
def test_the_time_to_wait_for_processes_runs_from_the_checkpoint_on(mode) -> None:
    """The function's own start took what was there before; a second checkpoint does not prolong it."""
    driver = Explicit(mode.replace(workers=2))
    driver.join()
    driver.pass_ms(100_000)
    driver.ask()
    driver.pass_ms(100_000)
    driver.ask(901)
    driver.pass_ms(19_999)
    assert State.INIT is driver.state
    assert str(driver.reports("waiting")[-1]["message"]).startswith("init waits: 1 of 2 processes have joined")
    driver.pass_ms(1)
    assert driver.failure_kind == ("Runtime.AppNotReady", 1, "init")
    assert "1 of 2 processes" in driver.failure.message


@pytest.mark.parametrize(
    ("mode", "said"),
    [(EXPLICIT, "no process has run `snapext checkpoint`"), (AUTO, "more processes or hooks may follow")],
    ids=["explicit", "auto"],
)
def test_before_a_checkpoint_the_status_says_what_is_waited_for(mode, said) -> None:
    """Where the platform is held, that somebody runs it."""
    driver = Explicit(mode)
    assert said in driver.machine.describe()["waiting"]


def test_a_command_is_ours_while_it_is_connected() -> None:
    """A look shows it as a Python process that has not joined."""
    driver = Explicit(EXPLICIT)
    cause = {"cause": "-I ignores PYTHONPATH", "remedy": "start it without -I"}
    driver.sightings = (Sighting(Process(5000 + COMMAND, "python"), 1, python=True, **cause),)
    driver.ask()
    assert driver.machine.describe()["not_linked"] == []
    driver.handle(CommandLeft(COMMAND))
    assert [listed["pid"] for listed in driver.machine.describe()["not_linked"]] == [5000 + COMMAND]


def test_a_command_that_leaves_without_a_checkpoint_changes_nothing() -> None:
    """`snapext status`, say."""
    driver = Explicit(EXPLICIT)
    driver.handle(CommandJoined(901, 5901))
    assert driver.handle(CommandLeft(901)) == []
    assert driver.state is State.INIT


def test_where_there_is_no_boundary_a_checkpoint_returns_at_once() -> None:
    """On demand nothing is held and no hook runs."""
    driver = Explicit(settings(gate=False, boundary=False))
    key = driver.join()
    driver.ask()
    assert [Result(True)] == driver.results()
    assert driver.told(key) == []


def test_with_the_gate_a_checkpoint_is_refused() -> None:
    """An app that waits for it before it listens would wait for itself."""
    driver = Explicit(settings())
    driver.ask()
    (result,) = driver.results()
    assert not result.ok
    assert "gate" in str(result.message)
    assert State.INIT is driver.state


def test_a_second_checkpoint_waits_with_the_first_and_a_later_one_returns_at_once() -> None:
    """There is one boundary in the life of an environment."""
    driver = Explicit(EXPLICIT)
    key = driver.join()
    driver.ask(900)
    driver.ask(901)
    driver.cross()
    driver.done(key)
    driver.ask(902)
    assert [[Result(True)]] * 3 == [driver.results(number) for number in (900, 901, 902)]
    assert len(driver.told(key)) == 2


def test_asking_twice_on_one_connection_is_asking_once() -> None:
    """And hanging up then forgets the command."""
    driver = Explicit(EXPLICIT)
    key = driver.join()
    driver.ask()
    driver.handle(Said(COMMAND, Checkpoint()))
    driver.handle(CommandLeft(COMMAND))
    driver.ask(901)
    driver.cross()
    driver.done(key)
    assert [[], [Result(True)]] == [driver.results(number) for number in (COMMAND, 901)]


def test_the_answer_to_a_checkpoint_fits_into_a_line_however_long_the_reason_is() -> None:
    """A client in another language may send a message of 64 KiB."""
    driver = Explicit(EXPLICIT)
    key = driver.join()
    driver.ask()
    driver.handle(TimerFired(TimerName.SETTLE))
    driver.fail(key, "app.hook", "ValueError", "\u65e5" * 18_000)
    (result,) = driver.results()
    assert result.exit_status == 64
    assert len(json.dumps(result.message)) < 30_000


def test_the_boundary_goes_on_when_whoever_asked_for_it_leaves() -> None:
    """Nobody is told then; the platform waits for us as before."""
    driver = Explicit(EXPLICIT)
    key = driver.join()
    driver.ask()
    driver.handle(CommandLeft(COMMAND))
    driver.cross()
    driver.done(key)
    assert driver.results() == []
    assert State.READY is driver.state


@pytest.mark.parametrize(("restored", "status"), [(False, 64), (True, 65)])
def test_a_failing_hook_is_the_answer_to_the_checkpoint(restored, status) -> None:
    """The platform is told first: the command's end may be the end of the runtime."""
    driver = Explicit(EXPLICIT)
    key = driver.join()
    driver.ask()
    driver.handle(TimerFired(TimerName.SETTLE))
    if restored:
        driver.done(key)
        driver.handle(RestoreReturned(200, ""))
    actions = driver.fail(key, "app.hook", "ValueError", "no")
    (result,) = driver.results()
    assert (False, status) == (result.ok, result.exit_status)
    assert "app.hook" in str(result.message)
    kinds = [type(action) for action in actions]
    assert kinds.index(Fail) < kinds.index(Tell)


def test_in_explicit_mode_a_checkpoint_that_never_comes_is_a_failure() -> None:
    """It names the command that nobody ran."""
    driver = Explicit(EXPLICIT)
    driver.join()
    driver.handle(TimerFired(TimerName.READY))
    assert driver.failure_kind == ("Runtime.AppNotReady", 1, "init")
    assert "snapext checkpoint" in driver.failure.message


def test_a_shutdown_is_an_answer_too() -> None:
    """A command that waits gets its answer."""
    driver = Explicit(EXPLICIT)
    driver.join()
    driver.ask()
    driver.handle(ShutdownAsked("spindown", 2000))
    assert [result.ok for result in driver.results()] == [False]


def test_a_command_is_no_member_of_the_boundary() -> None:
    """It is welcomed, told of nothing, counted nowhere, and its end fails nothing."""
    driver = Explicit(settings(gate=False, workers=1))
    driver.ask()
    assert not [action for action in driver.log if isinstance(action, SetTimer) and action.timer is TimerName.SETTLE]
    driver.handle(Left(COMMAND))
    assert State.INIT is driver.state
    assert [Welcome] == [type(message) for message in driver.messages(COMMAND)]
    assert driver.machine.describe()["processes"] == {}


@pytest.mark.parametrize("mode", [EXPLICIT, AUTO], ids=["explicit", "auto"])
def test_a_flood_is_a_failure_only_where_somebody_counts_on_the_boundary(mode) -> None:
    """In auto mode, before any checkpoint, no hook is promised to anyone."""
    driver = Explicit(mode)
    driver.handle(Crowded(900))
    assert (State.FAILED if mode is EXPLICIT else State.INIT) is driver.state


def test_once_somebody_has_asked_for_the_checkpoint_a_flood_is_a_failure_in_auto_mode_too() -> None:
    """A process that was turned away may have hooks."""
    driver = Explicit(AUTO)
    driver.ask()
    driver.handle(Crowded(900))
    assert driver.failure_kind == ("Runtime.TooManyProcesses", 1, "init")
    assert "there are 900 connections" in driver.failure.message


def test_without_a_boundary_a_flood_is_nothing() -> None:
    """No hook would run: an environment on demand does not end for that."""
    driver = Driver(settings(boundary=False))
    driver.handle(AppReady())
    driver.handle(Crowded(900))
    assert State.READY is driver.state

"""Observe: nothing cooperates. The platform is held until the hooks are done; the restore is seen, not told."""

from __future__ import annotations

from helpers import HELLO
from lifecycle_driver import ONE_OF_EACH, Driver, settings
from snapext.wire.messages import AfterRestore, Checkpoint, Hooks, Restored, Result
from snapext_extension.boundary.actions import AskEventNext, AskRestoreNext, End, Fail, TimerName
from snapext_extension.boundary.events import (
    AppReady,
    CommandJoined,
    CommandLeft,
    Invoked,
    Joined,
    ReadinessAsked,
    RestoreReturned,
    RestoreSeen,
    Said,
    TimerFired,
)
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.settings import RestoreCaller
from snapext_extension.boundary.states import State

COMMAND = 900
OBSERVE = settings(gate=False, observes=True)
CLOCK = RestoreSeen("the wall clock was set by +30 s")
INVOKE = Invoked()


class Observing(Driver):
    """A lifecycle that observes, and commands at its door."""

    def command(self, message: Checkpoint | Restored, key: int = COMMAND) -> None:
        self.handle(CommandJoined(key, 5000 + key))
        self.handle(Said(key, message))

    def results(self) -> list[Result]:
        return [message for message in self.messages(COMMAND) if isinstance(message, Result)]

    def reach_snapshot(self) -> int:
        key = self.join()
        self.handle(AppReady())
        self.handle(TimerFired(TimerName.SETTLE))
        assert AskEventNext() not in self.log
        self.done(key)
        assert self.state is State.SNAPSHOT
        return key

    def orders(self, key: int) -> int:
        return len([message for message in self.messages(key) if isinstance(message, AfterRestore)])


def test_the_platform_is_held_until_the_before_snapshot_hooks_are_done() -> None:
    """By our event/next alone: nobody asks for restore/next that we know of."""
    driver = Observing(OBSERVE)
    driver.reach_snapshot()
    assert driver.calls(driver.log) == [AskEventNext()]


def test_the_first_sign_of_the_restore_counts() -> None:
    """The clock or the invocation: the processes are told once."""
    for first, second in ((CLOCK, INVOKE), (INVOKE, CLOCK)):
        driver = Observing(OBSERVE)
        key = driver.reach_snapshot()
        driver.handle(first)
        assert driver.state is State.AFTER_RESTORE
        driver.handle(second)
        driver.done(key)
        assert driver.state is State.READY
        driver.handle(second)
        assert (driver.state, driver.orders(key), driver.restores) == (State.READY, 1, 1)


def test_the_invocation_does_not_end_before_the_hooks() -> None:
    """The platform freezes or ends an environment in which every extension has asked for its next event."""
    for signs in ((INVOKE,), (CLOCK, INVOKE)):
        driver = Observing(OBSERVE)
        key = driver.reach_snapshot()
        for sign in signs:
            driver.handle(sign)
        assert driver.log.count(AskEventNext()) == 1
        driver.done(key)
        assert driver.state is State.READY
        assert driver.log.count(AskEventNext()) == 2
        driver.handle(INVOKE)  # the next ones end at once
        assert driver.log.count(AskEventNext()) == 3


def test_an_answer_to_restore_next_does_not_end_the_invocation() -> None:
    """Our own, for a checkpoint: the hooks run already."""
    driver = Observing(OBSERVE)
    key = driver.reach_snapshot()
    driver.command(Checkpoint())
    driver.handle(INVOKE)
    driver.handle(RestoreReturned(200, ""))
    assert driver.log.count(AskEventNext()) == 1
    driver.done(key)
    assert driver.log.count(AskEventNext()) == 2


def test_a_clock_that_is_set_before_the_snapshot_is_no_restore() -> None:
    """Nor in a mode in which the restore is told."""
    driver = Observing(OBSERVE)
    key = driver.join()
    driver.handle(CLOCK)
    driver.handle(AppReady())
    driver.handle(TimerFired(TimerName.SETTLE))
    driver.handle(CLOCK)
    assert driver.state is State.BEFORE_SNAPSHOT
    driver.done(key)
    assert (driver.state, driver.orders(key)) == (State.SNAPSHOT, 0)

    told = Observing(settings(gate=False, held=True))
    key = told.join()
    told.command(Checkpoint())
    told.handle(TimerFired(TimerName.SETTLE))
    told.done(key)
    told.handle(CLOCK)
    assert told.state is State.SNAPSHOT


def test_a_hook_that_fails_ends_the_extension_at_once() -> None:
    """The runtime waits for an invocation, or has one: restore/error would be refused. The platform resets us."""
    driver = Observing(OBSERVE)
    key = driver.reach_snapshot()
    driver.handle(INVOKE)
    actions = driver.fail(key, "app.after", "OSError", "no")
    assert driver.failure.runtime_report is None
    assert any(isinstance(action, End) for action in actions)


def test_a_request_that_passed_before_the_hooks_is_said_once() -> None:
    """By a process with a middleware; also when it says it with its hello."""
    driver = Observing(OBSERVE)
    key = driver.reach_snapshot()
    for passed in (0, 1, 2):
        driver.handle(Said(key, Hooks(ONE_OF_EACH, passed=passed)))
    (said,) = driver.reports("passed")
    assert "served a request after its before-snapshot hooks and before its after-restore hooks" in str(said["message"])
    assert [fields["passed"] for fields in driver.reports("hooks_changed")] == [0, 1, 2]
    assert "passed" in driver.reported("warning")

    driver = Observing(OBSERVE)
    hello = HELLO.replace(passed=3)
    driver.handle(Joined(1, Process(1001, "app"), hello, 1, 0))
    assert len(driver.reports("passed")) == 1
    assert [fields["passed"] for fields in driver.reports("process_joined")] == [3]


def test_the_apps_word_is_answered_when_every_hook_has_run() -> None:
    """The web adapter's POST holds the runtime in the restore: a failure can be reported there."""
    driver = Observing(OBSERVE)
    key = driver.reach_snapshot()
    driver.command(Restored())
    assert driver.results() == []
    driver.handle(CLOCK)
    driver.done(key)
    assert driver.results() == [Result(True)]
    driver.command(Restored())
    assert driver.results() == [Result(True), Result(True)]
    assert len(driver.reports("restored_said")) == 1  # the second had nothing to wait for

    driver = Observing(OBSERVE)
    key = driver.reach_snapshot()
    driver.handle(CLOCK)  # it was faster
    driver.command(Restored())
    assert driver.results() == []
    driver.done(key)
    assert (driver.results(), driver.orders(key)) == ([Result(True)], 1)
    assert len(driver.reports("restored_said")) == 1

    driver = Observing(OBSERVE)
    key = driver.reach_snapshot()
    driver.command(Restored())
    driver.fail(key, "app.after", "OSError", "no")
    assert driver.failure.runtime_report == "restore"
    assert [result.ok for result in driver.results()] == [False]


def test_a_failure_is_reported_once_the_runtime_is_known_to_wait_in_the_restore() -> None:
    """Also where the clock was faster than the app's word, or than the answer to our own restore/next."""
    for said in (True, False):
        driver = Observing(OBSERVE)
        key = driver.reach_snapshot()
        if not said:
            driver.command(Checkpoint())
        driver.handle(CLOCK)
        if said:
            driver.command(Restored())
        else:
            driver.handle(RestoreReturned(200, ""))
        driver.fail(key, "app.after", "OSError", "no")
        assert driver.failure.runtime_report == "restore"
        assert [result.ok for result in driver.results()] == [False]


def test_the_apps_word_counts_behind_the_gate_of_an_adapter_that_restores() -> None:
    """It comes before the second readiness check, which is then answered at once."""
    driver = Observing(settings(restore_caller=RestoreCaller.ADAPTER))
    key = driver.join()
    driver.handle(AppReady())
    driver.handle(TimerFired(TimerName.SETTLE))
    driver.done(key)
    driver.handle(ReadinessAsked())
    assert driver.state is State.SNAPSHOT
    driver.command(Restored())
    driver.done(key)
    assert driver.results() == [Result(True)]
    assert driver.state is State.READY


def test_the_apps_word_is_refused_where_no_restore_is_expected() -> None:
    """Before the snapshot; and where we ask for the restore ourselves, who know better."""
    driver = Observing(OBSERVE)
    driver.command(Restored())
    assert [result.ok for result in driver.results()] == [False]
    assert driver.state is State.INIT

    driver = Observing(settings(gate=False, held=True))
    key = driver.join()
    driver.command(Checkpoint(), COMMAND + 1)
    driver.handle(TimerFired(TimerName.SETTLE))
    driver.done(key)
    driver.command(Restored())
    assert [result.ok for result in driver.results()] == [False]
    assert driver.state is State.SNAPSHOT


def test_a_checkpoint_works_all_the_same() -> None:
    """The function says when it is up, and waits: then we ask for restore/next ourselves, also if it comes late."""
    driver = Observing(OBSERVE)
    key = driver.join()
    driver.command(Checkpoint())
    driver.handle(TimerFired(TimerName.SETTLE))
    driver.done(key)
    driver.handle(RestoreReturned(200, ""))
    driver.done(key)
    assert driver.results() == [Result(True)]
    assert AskRestoreNext() in driver.log

    driver = Observing(OBSERVE)
    key = driver.reach_snapshot()
    driver.command(Checkpoint())
    assert AskRestoreNext() in driver.log
    driver.handle(CLOCK)
    driver.handle(RestoreReturned(200, ""))
    driver.done(key)
    assert (driver.results(), driver.orders(key)) == ([Result(True)], 1)


def test_a_second_checkpoint_waits_with_the_first() -> None:
    """The platform refuses a second restore/next, and that would fail the function; also where the first has left."""
    driver = Observing(OBSERVE)
    key = driver.reach_snapshot()
    driver.command(Checkpoint())
    driver.command(Checkpoint(), COMMAND + 1)
    driver.handle(CommandLeft(COMMAND + 1))
    driver.handle(CommandLeft(COMMAND))
    driver.command(Checkpoint())
    assert driver.log.count(AskRestoreNext()) == 1
    driver.handle(RestoreReturned(200, ""))
    driver.done(key)
    assert driver.results() == [Result(True)]


def test_an_app_that_never_answers_is_let_go() -> None:
    """Init fails on evidence only: those that are there run their hooks, and a warning says what was missing."""
    driver = Observing(OBSERVE)
    key = driver.join()
    driver.handle(TimerFired(TimerName.READY))
    assert driver.state is State.BEFORE_SNAPSHOT
    driver.done(key)
    assert driver.state is State.SNAPSHOT
    assert not any(isinstance(action, Fail) for action in driver.log)

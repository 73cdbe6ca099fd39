"""Processes that are told by signal: signalled at once, waited for like the others, and never called done unasked."""

from __future__ import annotations

import pytest

from lifecycle_driver import Driver, settings
from snapext.wire.messages import AfterRestore, BeforeSnapshot, Checkpoint, HookCounts
from snapext_extension.boundary.actions import (
    Action,
    AnswerReadiness,
    AskEventNext,
    AskRestoreNext,
    SendSignals,
    SetTimer,
    TimerName,
)
from snapext_extension.boundary.events import (
    Acknowledged,
    AppReady,
    CommandJoined,
    CommandLeft,
    Left,
    RestoreReturned,
    Said,
    SignalsFailed,
    SignalsSent,
    TimerFired,
)
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.lifecycle import SHUTDOWN_WAIT_MS
from snapext_extension.boundary.member import SignalledPid
from snapext_extension.boundary.signalling import GRACE_MS, MAX_SEARCHES, SEARCH_AGAIN_MS
from snapext_extension.boundary.states import State

SHELL, NGINX = Process(77, "bash"), Process(78, "nginx")


class Signalled(Driver):
    """A lifecycle with signals, whose searches the test answers."""

    def __init__(self, **changes: object) -> None:
        super().__init__(settings(signals=True, **changes))

    def begin(self) -> None:
        self.handle(AppReady())
        self.handle(TimerFired(TimerName.SETTLE))

    def signalled(self, *processes: Process) -> list[Action]:
        return self.handle(SignalsSent(processes, "RTMIN+4"))

    def acknowledge(self, *pids: int, error: str | None = None) -> list[Action]:
        return self.handle(Acknowledged(pids, error))

    def until_restored(self, *processes: Process) -> None:
        """Through the before-snapshot phase, all acknowledging, and into the restore."""
        self.begin()
        self.signalled(*processes)
        for process in processes:
            self.acknowledge(process.pid)
        if processes:
            self.signalled()
        self.handle(RestoreReturned(200, ""))

    @property
    def searches(self) -> list[SendSignals]:
        return [action for action in self.log if isinstance(action, SendSignals)]


def test_a_ring_is_the_last_action() -> None:
    """Its answer is an event, and comes before anything else happens."""
    driver = Signalled()
    driver.handle(AppReady())
    actions = driver.handle(TimerFired(TimerName.SETTLE))
    assert isinstance(actions[-1], SendSignals)
    assert State.BEFORE_SNAPSHOT is driver.state


def test_when_the_phase_begins_it_rings_once() -> None:
    """Nobody is waited for yet, and the answer to the search is to come."""
    driver = Signalled()
    driver.begin()
    assert len(driver.searches) == 1
    driver.signalled()
    assert State.SNAPSHOT is driver.state
    assert len(driver.searches) == 1


def test_whoever_waits_for_the_checkpoint_is_named_to_it() -> None:
    """A shell that waits for a command runs no handler meanwhile. One that has hung up does."""
    driver = Signalled(gate=False)
    for key in (900, 901):
        driver.handle(CommandJoined(key, 5000 + key))
        driver.handle(Said(key, Checkpoint()))
    driver.handle(CommandLeft(901))
    driver.handle(TimerFired(TimerName.SETTLE))
    assert [frozenset({5900})] == [search.callers for search in driver.searches]


def test_who_is_on_the_socket_is_left_alone() -> None:
    """A process is told once, in one way."""
    driver = Signalled()
    driver.join(pid=5)
    driver.begin()
    assert [SendSignals("before_snapshot", frozenset({5}), frozenset())] == driver.searches


def test_no_snapshot_before_who_was_signalled_has_acknowledged() -> None:
    """Invariant 2, and 1 after the restore, for those who are told by signal."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL, NGINX)
    driver.acknowledge(SHELL.pid)
    assert AskEventNext() not in driver.log
    driver.acknowledge(NGINX.pid)
    assert AskRestoreNext() in driver.signalled()
    driver.handle(RestoreReturned(200, ""))
    driver.signalled(SHELL, NGINX)
    driver.acknowledge(NGINX.pid)
    driver.acknowledge(SHELL.pid)
    assert AnswerReadiness() not in driver.log
    assert AnswerReadiness() in driver.signalled()


@pytest.mark.parametrize("restored", [False, True])
def test_it_rings_until_nobody_new_is_found(restored: bool) -> None:
    """One may have come while the others were busy; those that were told are left alone."""
    driver = Signalled()
    if restored:
        driver.until_restored()
    else:
        driver.begin()
    during = driver.state
    driver.signalled(SHELL)
    driver.acknowledge(SHELL.pid)
    assert frozenset({SHELL.pid}) == driver.searches[-1].left_alone
    driver.signalled(NGINX)
    driver.acknowledge(NGINX.pid)
    assert frozenset({SHELL.pid, NGINX.pid}) == driver.searches[-1].left_alone
    assert during is driver.state
    driver.signalled()
    assert (State.READY if restored else State.SNAPSHOT) is driver.state


def test_after_the_restore_everyone_is_rung_at_once_more() -> None:
    """What was said before the snapshot is no answer to what is asked after the restore."""
    driver = Signalled()
    driver.until_restored(SHELL)
    assert SendSignals("after_restore", frozenset(), frozenset()) == driver.searches[-1]
    driver.signalled(SHELL)
    assert State.AFTER_RESTORE is driver.state


def test_the_nearest_of_several_pids_is_the_one_that_is_done() -> None:
    """`snapext done` names its parents from the inside out, and knows not which of them was signalled."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL, NGINX)
    driver.acknowledge(9999, SHELL.pid, NGINX.pid)
    assert [SHELL.pid] == [fields["pid"] for fields in driver.reports("before_snapshot")]


@pytest.mark.parametrize("pids", [(9999,), (), (SHELL.pid,), (SHELL.pid, NGINX.pid)])
def test_an_acknowledgement_that_nobody_waits_for_changes_nothing(pids) -> None:
    """It is logged: a second one of the same process as well."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL, NGINX)
    driver.acknowledge(SHELL.pid)
    driver.acknowledge(*pids)
    assert len(driver.reports("acknowledged_unasked")) == 1
    assert State.BEFORE_SNAPSHOT is driver.state


def test_a_handler_that_says_it_failed_fails_the_phase() -> None:
    """With its own words."""
    driver = Signalled()
    driver.until_restored(SHELL)
    driver.signalled(SHELL)
    driver.acknowledge(SHELL.pid, error="no connection")
    assert driver.failure_kind == ("Runtime.AfterRestoreError", 65, "restore")
    for part in ("process 77 (bash)", "no connection"):
        assert part in driver.failure.message


def test_a_process_that_ends_on_the_signal_fails_the_phase() -> None:
    """Its handler was to do something, and nobody knows whether it has."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL)
    driver.handle(Left(SignalledPid(SHELL.pid)))
    assert driver.failure_kind == ("Runtime.BeforeSnapshotError", 64, "init")
    for part in ("process 77 (bash)", "RTMIN+4", "exit"):
        assert part in driver.failure.message


def test_a_process_that_never_acknowledges_fails_the_phase() -> None:
    """When the budget is used up, with what it should have done."""
    driver = Signalled()
    driver.until_restored(SHELL)
    driver.signalled(SHELL)
    driver.now_ms += 9000
    driver.handle(TimerFired(TimerName.PHASE))
    assert driver.failure_kind == ("Runtime.AfterRestoreError", 65, "restore")
    for part in ("process 77 (bash)", "RTMIN+4", "9000 ms", "snapext done"):
        assert part in driver.failure.message


def test_one_that_comes_to_the_socket_is_told_there_and_waited_for_there() -> None:
    """The signal only called it: the answer that counts is the one on the socket."""
    driver = Signalled()
    driver.until_restored(SHELL)
    driver.signalled(SHELL)
    key = driver.join(pid=SHELL.pid, name="app", signalled=True)
    assert [AfterRestore] == [type(message) for message in driver.told(key)]
    driver.handle(Left(SignalledPid(SHELL.pid)))
    driver.done(key)
    assert State.AFTER_RESTORE is driver.state
    assert AnswerReadiness() in driver.signalled()


def test_one_that_comes_to_the_socket_and_owes_nothing_is_done() -> None:
    """A fork of a process that has run its hooks has none left to run."""
    driver = Signalled()
    driver.until_restored(SHELL)
    driver.signalled(SHELL)
    searches = len(driver.searches)
    key = driver.join(pid=SHELL.pid, generation=1, forked=True, start_ticks=99, signalled=True)
    assert driver.told(key) == []
    assert len(driver.searches) == searches + 1
    driver.signalled()
    assert State.READY is driver.state


def test_one_that_joins_in_the_middle_of_its_handler_has_not_answered_by_that() -> None:
    """It may import a library with hooks there: it is waited for in both ways, and signalled after the restore too."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL)
    key = driver.join(pid=SHELL.pid)
    driver.done(key)
    assert State.BEFORE_SNAPSHOT is driver.state
    driver.acknowledge(SHELL.pid)
    driver.signalled()
    driver.handle(RestoreReturned(200, ""))
    assert SHELL.pid not in driver.searches[-1].left_alone


def test_one_that_came_to_the_socket_and_stays_is_told_there_after_the_restore() -> None:
    """The signal is not needed again."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL)
    key = driver.join(pid=SHELL.pid, signalled=True)
    driver.done(key)
    driver.signalled()
    driver.handle(RestoreReturned(200, ""))
    assert frozenset({SHELL.pid}) == driver.searches[-1].left_alone
    assert [BeforeSnapshot, AfterRestore] == [type(message) for message in driver.told(key)]


def test_one_that_came_for_the_phase_and_hangs_up_is_not_lost() -> None:
    """It comes again when it is signalled again: nothing is held up until then."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL)
    key = driver.join(pid=SHELL.pid, signalled=True)
    driver.done(key)
    driver.handle(Left(key, alive=True))
    driver.signalled()
    assert State.SNAPSHOT is driver.state


def test_an_answer_that_was_begun_before_the_restore_is_none_to_what_is_asked_after_it() -> None:
    """A handler that answers twice may be frozen in the middle of its second answer."""
    driver = Signalled()
    driver.until_restored(SHELL)
    driver.signalled(SHELL)
    driver.handle(Acknowledged((SHELL.pid,), None, since_ticks=9))
    assert len(driver.reports("acknowledged_unasked")) == 1
    driver.handle(Acknowledged((SHELL.pid,), None, since_ticks=10))
    driver.signalled()
    assert State.READY is driver.state


def test_a_second_answer_of_a_child_is_not_its_parents() -> None:
    """The nearest that was signalled is meant, whether or not it has answered already."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL, NGINX)
    driver.acknowledge(NGINX.pid, SHELL.pid)
    driver.acknowledge(NGINX.pid, SHELL.pid)
    assert [NGINX.pid] == [fields["pid"] for fields in driver.reports("before_snapshot")]
    assert State.BEFORE_SNAPSHOT is driver.state


def test_one_with_hooks_that_does_not_catch_the_signal_any_more_fails_the_restore() -> None:
    """Its handler was replaced after it had registered them: they must not be lost in silence."""
    driver = Signalled(acknowledged=False)
    driver.begin()
    driver.signalled(SHELL)
    key = driver.join(pid=SHELL.pid, signalled=True)
    driver.done(key)
    driver.handle(Left(key))
    driver.signalled()
    driver.handle(RestoreReturned(200, ""))
    assert frozenset({SHELL.pid}) == driver.searches[-1].expected
    driver.handle(SignalsSent((NGINX,), "RTMIN+5", missing=SHELL))
    assert SetTimer(TimerName.END, SHUTDOWN_WAIT_MS) == driver.log[-1]
    assert driver.failure_kind == ("Runtime.AfterRestoreError", 65, "restore")
    for part in ("process 77 (bash)", "does not catch RTMIN+5 any more"):
        assert part in driver.failure.message


def test_forks_too_young_to_tell_are_looked_at_again_and_not_for_ever() -> None:
    """They may be about to become another program; one that forks all the time does not hold the boundary up."""
    driver = Signalled()
    driver.begin()
    while not driver.searches[-1].accept_fleeting:
        assert State.BEFORE_SNAPSHOT is driver.state
        driver.handle(SignalsSent((), "RTMIN+4", fleeting=True))
        assert SetTimer(TimerName.SEARCH, SEARCH_AGAIN_MS) == driver.log[-1]
        driver.handle(TimerFired(TimerName.SEARCH))
    assert len(driver.searches) == MAX_SEARCHES
    driver.signalled()
    assert State.SNAPSHOT is driver.state
    driver.handle(RestoreReturned(200, ""))
    assert not driver.searches[-1].accept_fleeting


def test_one_that_is_found_when_the_budget_is_used_up_is_not_waited_for_without_end() -> None:
    """The budget may end between two looks at forks that are too young, when nobody is waited for."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL)
    driver.pass_ms(59_990)
    driver.acknowledge(SHELL.pid)
    driver.handle(SignalsSent((), "RTMIN+4", fleeting=True))
    driver.pass_ms(10)
    assert State.BEFORE_SNAPSHOT is driver.state
    driver.pass_ms(10)
    driver.signalled(NGINX)
    driver.pass_ms(SEARCH_AGAIN_MS)
    assert driver.failure_kind == ("Runtime.BeforeSnapshotError", 64, "init")
    assert "process 78 (nginx)" in driver.failure.message


def test_signals_that_reach_nobody_are_worth_a_warning() -> None:
    """A trap for another signal, say: hooks of signalled processes would be lost in silence."""
    driver = Signalled()
    driver.begin()
    driver.signalled()
    driver.handle(RestoreReturned(200, ""))
    assert driver.reported("warning") == []
    driver.signalled()
    assert driver.reported("warning") == ["nobody_signalled"]
    assert State.READY is driver.state


@pytest.mark.parametrize("restored", [False, True])
def test_signals_that_have_reached_somebody_are_not(restored: bool) -> None:
    """In whichever of the phases."""
    driver = Signalled()
    if restored:
        driver.begin()
        driver.signalled()
        driver.handle(RestoreReturned(200, ""))
        driver.signalled(SHELL)
        driver.acknowledge(SHELL.pid)
    else:
        driver.until_restored(SHELL)
    driver.signalled()
    assert driver.reports("nobody_signalled") == []


def test_one_that_ends_after_it_has_answered_leaves_a_line() -> None:
    """With the signal that it was sent, which the line of its answer has as well."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL, NGINX)
    driver.acknowledge(SHELL.pid)
    driver.handle(Left(SignalledPid(SHELL.pid)))
    (fields,) = driver.reports("process_ended")
    assert "process 77 (bash) ended after it was sent RTMIN+4" in str(fields["message"])
    assert [fields["signal"] for fields in driver.reports("before_snapshot")] == ["RTMIN+4"]
    assert [fields["signal"] for fields in driver.reports("process_signalled")] == ["RTMIN+4", "RTMIN+4"]


def test_a_flood_of_answers_that_nobody_waits_for_is_not_a_flood_of_log_lines() -> None:
    """Ten of them say it."""
    driver = Signalled()
    driver.begin()
    driver.signalled(SHELL)
    for _ in range(1000):
        driver.acknowledge(1)
    assert len(driver.reports("acknowledged_unasked")) == 10


def test_those_who_cannot_answer_get_a_moment_and_are_never_called_done() -> None:
    """SNAPEXT_SIGNAL_ACK=none: unconfirmed, and the boundary goes on."""
    driver = Signalled(acknowledged=False)
    driver.begin()
    driver.signalled(SHELL)
    assert State.BEFORE_SNAPSHOT is driver.state
    driver.pass_ms(GRACE_MS - 1)
    assert driver.reports("unconfirmed") == []
    driver.pass_ms(1)
    assert [(SHELL.pid, "before_snapshot")] == [(f["pid"], f["phase"]) for f in driver.reports("unconfirmed")]
    assert driver.reports("before_snapshot") == []
    assert len(driver.searches) == 2
    driver.signalled()
    assert State.SNAPSHOT is driver.state


def test_without_acknowledgement_those_on_the_socket_are_waited_for_all_the_same() -> None:
    """The grace time is over, and a hook runs on."""
    driver = Signalled(acknowledged=False)
    key = driver.join()
    driver.begin()
    driver.signalled(SHELL, NGINX)
    driver.acknowledge(SHELL.pid)
    driver.handle(TimerFired(TimerName.GRACE))
    assert [NGINX.pid] == [fields["pid"] for fields in driver.reports("unconfirmed")]
    assert State.BEFORE_SNAPSHOT is driver.state
    driver.done(key)
    driver.signalled()
    assert State.SNAPSHOT is driver.state


@pytest.mark.parametrize(("acknowledged", "told"), [(True, (SHELL,)), (False, ())])
def test_those_who_can_answer_get_the_phases_budget(acknowledged: bool, told: tuple[Process, ...]) -> None:
    """And where nobody was signalled there is nothing to wait for."""
    driver = Signalled(acknowledged=acknowledged)
    driver.begin()
    driver.signalled(*told)
    assert TimerName.GRACE not in driver.timers


@pytest.mark.parametrize("restored", [False, True])
def test_signals_that_cannot_be_sent_fail_the_phase(restored) -> None:
    """Somebody has asked for them: their hooks must not be lost in silence."""
    driver = Signalled()
    if restored:
        driver.until_restored()
    else:
        driver.begin()
    driver.handle(SignalsFailed("nobody knows the start command"))
    assert (65 if restored else 64) == driver.failure_kind[1]
    assert "nobody knows the start command" in driver.failure.message


def test_without_signals_nobody_is_rung() -> None:
    """It is opt-in."""
    driver = Driver(settings())
    driver.join(hooks=HookCounts(1, 1))
    driver.until_after_restore()
    assert not [action for action in driver.log if isinstance(action, SendSignals)]


def test_the_status_names_the_signal_and_both_durations() -> None:
    """Of a process that was signalled in both phases."""
    driver = Signalled()
    driver.until_restored(SHELL)
    driver.signalled(SHELL)
    driver.now_ms += 12
    running = driver.machine.describe()["processes"][SignalledPid(SHELL.pid)]
    driver.acknowledge(SHELL.pid)
    described = driver.machine.describe()["processes"][SignalledPid(SHELL.pid)]
    assert (running["how"], running["running"]) == ("RTMIN+4", "the handler of RTMIN+4")
    assert described["durations_ms"] == {"before_snapshot": 0.0, "after_restore": 12.0}
    assert described["running"] is None

"""Reaching members by signal, apart from the lifecycle: who is searched for, and when the search is over."""

from __future__ import annotations

import pytest

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_extension.boundary.actions import SendSignals, SetTimer, TimerName
from snapext_extension.boundary.events import SignalsSent
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.signalling import GRACE_MS, MAX_SEARCHES, SEARCH_AGAIN_MS, Search, Signalling

SHELL, NGINX = Process(77, "bash"), Process(78, "nginx")
NOBODY = SignalsSent((), "RTMIN+4")


def signalling(*, acknowledged: bool = True) -> Signalling:
    return Signalling(enabled=True, acknowledged=acknowledged)


def find(machine: Signalling, *on_socket: int, phase: str = BEFORE_SNAPSHOT) -> SendSignals:
    (action,) = machine.find(phase, on_socket, frozenset())
    assert isinstance(action, SendSignals)
    return action


def test_without_signals_nobody_is_searched_for() -> None:
    """A search that never begins is over."""
    machine = Signalling(enabled=False, acknowledged=True)
    assert machine.find(BEFORE_SNAPSHOT, (), frozenset()) == []
    assert machine.search is Search.OVER


def test_a_search_is_repeated_until_it_finds_nobody() -> None:
    """Processes that were found are left alone from then on."""
    machine = signalling()
    assert find(machine, 5).left_alone == {5}
    assert machine.search is Search.ASKED
    assert machine.found(BEFORE_SNAPSHOT, SignalsSent((SHELL,), "RTMIN+4")) == []
    assert machine.search is Search.AGAIN
    assert find(machine, 5).left_alone == {5, SHELL.pid}
    machine.found(BEFORE_SNAPSHOT, NOBODY)
    assert machine.search is Search.OVER


def test_a_pause_ends_with_its_timer_and_with_nothing_else() -> None:
    """A timer that fires when there is no pause changes nothing."""
    machine = signalling()
    find(machine)
    assert not machine.end_pause()
    young = SignalsSent((), "RTMIN+4", fleeting=True)
    assert machine.found(BEFORE_SNAPSHOT, young) == [SetTimer(TimerName.SEARCH, SEARCH_AGAIN_MS)]
    assert machine.search is Search.PAUSED
    assert machine.end_pause()
    assert machine.search is Search.AGAIN
    assert not machine.end_pause()


def test_young_children_are_accepted_at_the_last_search_of_a_phase() -> None:
    """Each phase has as many searches."""
    machine = signalling()
    for _ in range(2):
        machine.begin_phase()
        accepted = [find(machine).accept_fleeting for _ in range(MAX_SEARCHES)]
        assert accepted == [False] * (MAX_SEARCHES - 1) + [True]


@pytest.mark.parametrize("hooks", [False, True])
def test_a_process_that_comes_to_the_socket_when_signalled_is_expected_after_the_restore_if_it_has_hooks(
    hooks: bool,
) -> None:
    """Before the snapshot nothing is known of it; a new phase signals it anew."""
    machine = signalling()
    find(machine)
    machine.found(BEFORE_SNAPSHOT, SignalsSent((SHELL,), "RTMIN+4"))
    machine.came_to_socket(SHELL.pid, hooks_after_restore=hooks)
    assert find(machine).expected == frozenset()
    machine.begin_phase()
    assert machine.is_visitor(SHELL.pid) is hooks
    assert find(machine, phase=AFTER_RESTORE).expected == ({SHELL.pid} if hooks else frozenset())


def test_the_nearest_of_some_pids_is_one_that_was_signalled_in_this_phase() -> None:
    """In their order."""
    machine = signalling()
    machine.found(BEFORE_SNAPSHOT, SignalsSent((SHELL, NGINX), "RTMIN+4"))
    assert machine.nearest((9, NGINX.pid, SHELL.pid)) == NGINX.pid
    assert machine.nearest((9,)) is None
    machine.begin_phase()
    assert machine.nearest((NGINX.pid,)) is None


def test_processes_that_cannot_answer_get_a_moment() -> None:
    """Only when some were found."""
    machine = signalling(acknowledged=False)
    assert machine.found(BEFORE_SNAPSHOT, NOBODY) == []
    assert machine.found(BEFORE_SNAPSHOT, SignalsSent((SHELL,), "RTMIN+4")) == [SetTimer(TimerName.GRACE, GRACE_MS)]

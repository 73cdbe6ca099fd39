"""Who must be there, read off looks at the kernel: workers, those who may still be importing, those who cannot join."""

from __future__ import annotations

import pytest

from snapext_extension.boundary.attendance import LONG_REST_MS, Attendance, Sighting
from snapext_extension.boundary.failures import Process

SETTLE_MS = 500


def seen(pid: int, parent_pid: int = 1, **what: object) -> Sighting:
    """A Python process that listens on the app's port, unless told otherwise."""
    kinds: dict[str, object] = {"holds_port": True, "listens": True, "python": True, **what}
    return Sighting(Process(pid, "gunicorn"), parent_pid, **kinds)  # type: ignore[arg-type]


def looked(*sightings: Sighting, at_ms: tuple[float, ...] = (0.0,)) -> Attendance:
    attendance = Attendance(SETTLE_MS)
    for now_ms in at_ms:
        attendance.look(sightings, now_ms)
    return attendance


def pids(sightings: list[Sighting]) -> list[int]:
    return [sighting.process.pid for sighting in sightings]


class TestWhoMayStillJoin:
    """A Python worker is waited for while it may still be importing what would make it join."""

    def test_one_that_works_is_waited_for_and_one_that_has_joined_is_not(self) -> None:
        """However long it takes."""
        attendance = looked(seen(10), seen(11), at_ms=(0.0, 90_000.0))
        assert pids(attendance.may_still_join({10}, 90_000.0)) == [11]

    def test_one_that_waits_for_connections_for_the_settling_time_has_started_without_hooks(self) -> None:
        """At every look of that time, and not a moment sooner."""
        accepting = seen(11, at_rest=True, accepts=True)
        attendance = looked(seen(10), accepting, at_ms=(0.0, 499.0))
        assert pids(attendance.may_still_join({10}, 499.0)) == [11]
        attendance.look((seen(10), accepting), 500.0)
        assert pids(attendance.may_still_join({10}, 500.0)) == []

    def test_one_that_waits_for_anything_else_may_be_importing_for_much_longer(self) -> None:
        """An import waits for a database, and some servers have a main thread that only waits for others."""
        attendance = looked(seen(10), seen(11, at_rest=True))
        for now_ms in (500.0, LONG_REST_MS - 1):
            attendance.look((seen(10), seen(11, at_rest=True)), now_ms)
            assert pids(attendance.may_still_join({10}, now_ms)) == [11]
        assert pids(attendance.may_still_join({10}, LONG_REST_MS)) == []

    @pytest.mark.parametrize(("what", "long_ms"), [("accepts", SETTLE_MS), ("at_rest", LONG_REST_MS)])
    def test_a_wait_that_is_interrupted_begins_anew(self, what: str, long_ms: float) -> None:
        """A pause in an import is not its end."""
        attendance = looked(seen(11, **{what: True}))
        attendance.look([seen(11)], 400.0)
        attendance.look([seen(11, **{what: True})], 600.0)
        assert pids(attendance.may_still_join({10}, 599.0 + long_ms)) == [11]
        assert pids(attendance.may_still_join({10}, 600.0 + long_ms)) == []

    def test_a_supervisor_is_not_waited_for_once_it_rests_and_a_child_of_its_has_joined(self) -> None:
        """gunicorn's master holds the socket, and never waits for connections."""
        family = seen(9, at_rest=True), seen(10, parent_pid=9), seen(11, parent_pid=9)
        attendance = looked(*family, at_ms=(0.0, 499.0))
        assert pids(attendance.may_still_join({10}, 499.0)) == [9, 11]
        assert pids(attendance.may_still_join({10}, 500.0)) == [11]
        assert pids(attendance.may_still_join({99}, 500.0)) == [9, 10, 11]

    def test_one_that_cannot_join_is_not_waited_for(self) -> None:
        """No channel of ours reached it: it is named instead."""
        attendance = looked(seen(11, cause="-I", remedy="start it without"))
        assert pids(attendance.may_still_join({10}, 0.0)) == []
        assert pids(attendance.unlinked({10})) == [11]
        assert pids(attendance.unlinked({11})) == []

    def test_one_that_is_not_python_is_never_waited_for_but_named(self) -> None:
        """Nothing can be known of its state."""
        attendance = looked(seen(11, python=False), seen(12, python=False, holds_port=False), seen(13))
        assert pids(attendance.may_still_join({10, 13}, 0.0)) == []
        assert pids(attendance.strangers({10})) == [11]
        assert pids(attendance.strangers({11})) == []

    def test_a_supervisor_that_is_not_python_is_no_stranger(self) -> None:
        """It serves nothing itself: nginx's master, or Node's primary."""
        attendance = looked(seen(11, python=False), seen(12, python=False, parent_pid=11))
        assert pids(attendance.strangers({10})) == [12]

    def test_one_that_does_not_listen_is_no_worker(self) -> None:
        """A job in the background may run for ever."""
        attendance = looked(seen(10), seen(11, holds_port=False, listens=False))
        assert pids(attendance.may_still_join({10}, 0.0)) == []

    def test_one_that_listens_elsewhere_counts_only_behind_a_proxy(self) -> None:
        """Where nginx holds the port, the Python processes that listen anywhere are the workers."""
        elsewhere = seen(11, holds_port=False)
        assert pids(looked(seen(10), elsewhere).may_still_join({10}, 0.0)) == []
        behind = looked(seen(7, python=False), seen(10, holds_port=False), elsewhere)
        assert pids(behind.may_still_join({10}, 0.0)) == [11]

    def test_a_child_that_inherits_the_socket_does_not_replace_its_parent(self) -> None:
        """A pool that a worker forks while it imports: the worker itself is still to join."""
        attendance = looked(seen(10), seen(11), seen(12, parent_pid=11, accepts=True), at_ms=(0.0, 500.0))
        assert pids(attendance.may_still_join({10}, 500.0)) == [11]

    def test_a_supervisor_is_not_said_to_be_missing(self) -> None:
        """gunicorn's master holds the socket and serves nothing."""
        attendance = looked(seen(9), seen(10, parent_pid=9), seen(11, parent_pid=9))
        assert pids(attendance.not_joined({10})) == [11]
        assert attendance.supervisors({10}) == {9}
        assert attendance.supervisors({99}) == set()

    def test_one_that_does_not_hold_the_port_supervises_nobody(self) -> None:
        """A script that starts two servers, and has hooks of its own."""
        attendance = looked(seen(9, holds_port=False), seen(10, parent_pid=9))
        assert attendance.supervisors({10}) == set()


class TestServingFromWithinAnImport:
    """A server that is run from inside of an import looks as if it imported for ever."""

    def test_the_only_holder_of_the_port_gave_the_answer(self) -> None:
        """Nobody else can have answered the readiness check."""
        assert looked(seen(10)).is_serving(10, {10}, 0.0, 0.0)

    def test_another_worker_may_have_given_it(self) -> None:
        """The one that still imports is waited for."""
        assert not looked(seen(10), seen(11)).is_serving(10, {10}, 0.0, 0.0)

    def test_a_supervisor_cannot_have_given_it(self) -> None:
        """Its children can."""
        attendance = looked(seen(9), seen(10, parent_pid=9))
        assert attendance.is_serving(10, {10}, 0.0, 0.0)

    def test_one_that_does_not_hold_the_port_does_not_serve(self) -> None:
        """Nor does one that no look has shown."""
        attendance = looked(seen(10, holds_port=False))
        assert not attendance.is_serving(10, {10}, 0.0, 0.0)
        assert not attendance.is_serving(99, {99}, 0.0, 0.0)

    @pytest.mark.parametrize(("what", "long_ms"), [("accepts", SETTLE_MS), ("at_rest", LONG_REST_MS)])
    def test_one_of_several_that_all_seem_to_import_serves_when_it_waits_for_connections(
        self, what: str, long_ms: float
    ) -> None:
        """The one that has answered may not have told yet that its import is over: that is no proof for the others."""
        both = (seen(10, **{what: True}), seen(11))
        attendance = looked(*both, at_ms=(0.0, long_ms - 1))
        assert not attendance.is_serving(10, {10, 11}, long_ms - 1, 0.0)
        attendance.look(both, long_ms)
        assert attendance.is_serving(10, {10, 11}, long_ms, 0.0)
        assert not attendance.is_serving(11, {10, 11}, long_ms, 0.0)

    def test_one_that_rests_in_an_import_while_another_serves_is_importing(self) -> None:
        """However long it waits for its database."""
        attendance = looked(seen(10, at_rest=True), seen(11), at_ms=(0.0, 90_000.0))
        assert not attendance.is_serving(10, {10}, 90_000.0, 0.0)

    def test_a_supervisor_that_runs_in_an_import_is_one_once_it_rests(self) -> None:
        """Until then it may be a worker that has just forked a pool."""
        attendance = looked(seen(9, at_rest=True), seen(10, parent_pid=9), at_ms=(0.0, LONG_REST_MS - 1))
        assert not attendance.is_serving(9, {9}, LONG_REST_MS - 1, 0.0)
        assert attendance.is_serving(9, {9}, LONG_REST_MS, 0.0)

    def test_one_that_has_started_since_the_answer_cannot_have_given_it(self) -> None:
        """A server may replace a worker after a readiness check. The new one is taken to import until it serves."""
        supervisor, since = seen(9, at_rest=True), seen(10, parent_pid=9, started_ms=701.0, accepts=True)
        attendance = looked(supervisor, since, at_ms=(750.0,))
        assert not attendance.is_serving(10, {10}, 750.0, 700.0)
        assert attendance.is_serving(10, {10}, 750.0, 701.0)
        attendance.look((supervisor, since), 1250.0)
        assert attendance.is_serving(10, {10}, 1250.0, 700.0)


class TestNews:
    """What a look says beyond who is there."""

    def test_somebody_new_who_listens_is_news(self) -> None:
        """A server that is still forking its workers has not settled."""
        attendance = Attendance(SETTLE_MS)
        assert attendance.look([seen(10)], 0.0)
        assert not attendance.look([seen(10), seen(11, holds_port=False, listens=False)], 100.0)
        assert attendance.look([seen(10), seen(11)], 200.0)
        assert not attendance.look([seen(11)], 300.0)

    def test_python_processes_that_have_ended_are_counted(self) -> None:
        """Workers that are started and killed, again and again."""
        attendance = looked(seen(10), seen(11), seen(12, python=False))
        attendance.look([seen(13)], 1000.0)
        attendance.look([], 2000.0)
        assert attendance.ended == 3

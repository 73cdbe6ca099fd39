"""Nothing is lost in silence: the machine waits for who is missing, keeps what is owed, and fails on evidence only."""

from __future__ import annotations

import pytest

from lifecycle_driver import Driver, settings
from snapext.wire.messages import AfterRestore, BeforeSnapshot, Checkpoint, HookCounts, Hooks, Running
from snapext_extension.boundary.actions import Action, AnswerReadiness, Fail, ForgetHungUp, Look, SetTimer, TimerName
from snapext_extension.boundary.assembly import FIRST_LINK_MS
from snapext_extension.boundary.attendance import Attendance, Sighting
from snapext_extension.boundary.events import (
    AppReady,
    CommandJoined,
    Left,
    Looked,
    ReadinessAsked,
    ReadinessHungUp,
    RestoreReturned,
    Said,
    ShutdownAsked,
    TimerFired,
)
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.settings import LOOK_EVERY_MS, RestoreCaller
from snapext_extension.boundary.states import State

ADAPTER = RestoreCaller.ADAPTER
NO_HOOKS = HookCounts(0, 0)


def worker(pid: int, parent_pid: int = 1, **what: object) -> Sighting:
    kinds: dict[str, object] = {"holds_port": True, "listens": True, "python": True, **what}
    return Sighting(Process(pid, "gunicorn"), parent_pid, **kinds)  # type: ignore[arg-type]


UNLINKED = worker(66, command="python -I app.py", cause="-I ignores PYTHONPATH", remedy="start it without -I")


class Watching(Driver):
    """A lifecycle whose looks the test decides, with time that passes."""

    def settle(self) -> None:
        self.handle(AppReady())
        self.pass_ms(500)

    def lose(self, key: int) -> list[Action]:
        return self.handle(Left(key, alive=True))

    def come_back(self, pid: int) -> int:
        return self.join(pid=pid)

    def until_after_restore_of(self, key: int) -> None:
        """Through the whole boundary with one process."""
        self.settle()
        self.done(key)
        self.handle(RestoreReturned(200, ""))
        self.done(key)
        assert self.state is State.READY


class TestInitWaits:
    """The boundary begins when everyone who should be there is."""

    def test_for_a_worker_that_may_still_be_importing_however_long_it_takes(self) -> None:
        """Nobody has named a number: the kernel shows that it holds the app's port."""
        driver = Watching(settings())
        driver.join(pid=10)
        driver.sightings = (worker(10), worker(11))
        driver.settle()
        driver.pass_ms(60_000)
        assert State.INIT is driver.state
        driver.join(pid=11)
        driver.pass_ms(500)
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_not_for_one_that_waits_for_connections_and_has_imported_no_hook_module(self) -> None:
        """It has started, and it has no hooks. The log names it."""
        driver = Watching(settings())
        driver.join(pid=10)
        driver.sightings = (worker(10), worker(11, at_rest=True, accepts=True))
        driver.settle()
        assert State.BEFORE_SNAPSHOT is driver.state
        (fields,) = driver.reports("without_hooks")
        assert fields["pid"] == 11

    def test_for_the_hooks_of_one_that_has_joined_at_last(self) -> None:
        """All others had settled; it says hello in the middle of its import, and more hooks may follow."""
        driver = Watching(settings())
        driver.join(pid=10)
        driver.sightings = (worker(10), worker(11))
        driver.settle()
        driver.pass_ms(5000)
        driver.join(pid=11)
        driver.pass_ms(499)
        assert State.INIT is driver.state
        driver.pass_ms(1)
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_not_for_a_fork_of_a_member_that_did_not_join_but_its_hooks_are_lost_and_it_is_named(self) -> None:
        """What forks in C does not tell Python: the copy has no link. One that runs another program has no hooks."""
        driver = Watching(settings())
        driver.join(pid=10)
        started: dict[str, object] = {"at_rest": True, "accepts": True, "parent_pid": 10}
        driver.sightings = (
            worker(10, image=(1, 2)),
            worker(11, image=(1, 2), **started),
            worker(12, image=(1, 3), **started),
        )
        driver.settle()
        assert State.BEFORE_SNAPSHOT is driver.state
        (fields,) = driver.reports("not_linked")
        assert (fields["pid"], fields["cause"]) == (
            11,
            "it is a fork of process 10 (app), which has 2 hooks, and has not joined",
        )
        assert [fields["pid"] for fields in driver.reports("without_hooks")] == [12]

    def test_not_for_one_that_does_not_listen_and_has_not_joined_but_it_is_named(self) -> None:
        """A slow program beside the server may yet have hooks. What has started a member is no such thing."""
        driver = Watching(settings())
        driver.join(pid=10)
        beside = {"holds_port": False, "listens": False}
        driver.sightings = (
            worker(9, parent_pid=1, **beside),
            worker(10, parent_pid=9),
            worker(11, parent_pid=9, command="python worker.py", **beside),
            worker(12, parent_pid=9, command="python -c 'from multiprocessing.resource_tracker import main'", **beside),
            worker(13, parent_pid=9, python=False, **beside),
        )
        driver.settle()
        (fields,) = driver.reports("without_hooks")
        assert fields["pid"] == 11
        assert "has not joined (python worker.py): it has imported no hook module, or not yet" in str(fields["message"])

    def test_for_the_first_link_only_for_a_while(self) -> None:
        """Under a CPU limit the app may answer before the first link is made; later there are no hooks to wait for."""
        driver = Watching(settings())
        driver.sightings = (worker(10), worker(11))
        driver.settle()
        driver.pass_ms(FIRST_LINK_MS - 600)
        assert State.INIT is driver.state
        driver.pass_ms(200)
        assert State.SNAPSHOT is driver.state

    def test_for_the_first_link_from_the_answer_on_however_late_that_comes(self) -> None:
        """Looks begin before the app answers: they do not use up the time."""
        driver = Watching(settings())
        driver.sightings = (worker(10),)
        driver.pass_ms(FIRST_LINK_MS + 5_000)
        driver.settle()
        driver.pass_ms(FIRST_LINK_MS - 600)
        assert State.INIT is driver.state
        driver.pass_ms(200)
        assert State.SNAPSHOT is driver.state

    def test_not_for_the_import_of_one_that_started_between_a_look_and_the_answer(self) -> None:
        """Nobody else can have given the answer: it serves from within its import."""
        driver = Watching(settings())
        driver.pass_ms(2_000)
        driver.sightings = (worker(10, started_ms=driver.now_ms),)
        driver.join(pid=10, importing=True)
        driver.pass_ms(1_000)
        driver.settle()
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_not_for_servers_that_accept_connections_when_nobody_has_joined(self) -> None:
        """The app has answered, and who answered has imported no hook module."""
        driver = Watching(settings())
        driver.sightings = (worker(10, at_rest=True, accepts=True),)
        driver.settle()
        assert State.SNAPSHOT is driver.state

    @pytest.mark.parametrize("importing", [False, True])
    def test_for_the_worker_that_takes_the_place_of_the_one_that_answered(self, importing: bool) -> None:
        """gunicorn's max_requests=1: the check was its last request. Whether or not the next one has joined already."""
        driver = Watching(settings())
        answered = driver.join(pid=10, parent_pid=9)
        master = worker(9, at_rest=True)
        driver.sightings = (master, worker(10, parent_pid=9))
        driver.handle(AppReady())
        driver.pass_ms(20)
        driver.handle(Left(answered))
        driver.sightings = (master, worker(11, parent_pid=9, started_ms=driver.now_ms))
        if importing:
            key = driver.join(pid=11, parent_pid=9, hooks=NO_HOOKS, importing=True)
        driver.pass_ms(10_000)
        assert State.INIT is driver.state
        if importing:
            driver.handle(Said(key, Hooks(HookCounts(1, 1))))
        else:
            driver.join(pid=11, parent_pid=9)
        driver.pass_ms(600)
        assert State.BEFORE_SNAPSHOT is driver.state

    @pytest.mark.parametrize("workers", [0, 1])
    def test_for_the_number_of_workers_alone_where_it_is_set(self, workers: int) -> None:
        """0 says that nobody is missing."""
        driver = Watching(settings(workers=workers))
        driver.join(pid=10)
        driver.sightings = (worker(10), worker(11))
        driver.settle()
        assert State.BEFORE_SNAPSHOT is driver.state

    @pytest.mark.parametrize("workers", [None, 2])
    def test_for_a_member_that_is_still_importing(self, workers: int | None) -> None:
        """It has said hello in the middle of its import: more hooks follow, and it does not count until then."""
        driver = Watching(settings(workers=workers))
        first, second = driver.join(pid=10), driver.join(pid=11, hooks=NO_HOOKS, importing=True)
        driver.sightings = (worker(10, at_rest=True), worker(11))
        driver.settle()
        driver.pass_ms(30_000)
        assert State.INIT is driver.state
        driver.handle(Said(second, Hooks(HookCounts(1, 1))))
        driver.pass_ms(500)
        assert [driver.told(key)[0].serving for key in (first, second)] == [False, False]

    @pytest.mark.parametrize("workers", [None, 1])
    def test_not_for_a_server_that_is_run_from_within_an_import(self, workers: int | None) -> None:
        """It holds the port, the app answers, and nobody else can have answered. It need not wait either."""
        driver = Watching(settings(workers=workers))
        key = driver.join(pid=10, importing=True)
        driver.handle(AppReady())
        driver.sightings = (worker(10, at_rest=True),)
        driver.pass_ms(100)
        driver.pass_ms(500)
        (message,) = driver.told(key)
        assert isinstance(message, BeforeSnapshot)
        assert message.serving

    def test_but_for_its_import_when_another_holds_the_port_too(self) -> None:
        """That one may have given the answer: the settling is off until the import ends."""
        driver = Watching(settings())
        driver.join(pid=10, importing=True)
        driver.sightings = (worker(10, at_rest=True),)
        driver.handle(AppReady())
        assert TimerName.SETTLE in driver.timers
        driver.sightings = (worker(10, at_rest=True), worker(11, at_rest=True))
        driver.handle(TimerFired(TimerName.LOOK))
        assert TimerName.SETTLE not in driver.timers

    def test_two_servers_in_one_script_are_two_workers(self) -> None:
        """A process that starts another program is no preloading master by that."""
        driver = Watching(settings(workers=2))
        driver.join(pid=10)
        driver.join(pid=11, parent_pid=10)
        driver.settle()
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_a_supervisor_that_has_joined_is_not_counted(self) -> None:
        """`python main.py` with uvicorn's workers registers the hooks in the parent as well."""
        driver = Watching(settings(workers=2))
        driver.join(pid=9)
        driver.join(pid=10, parent_pid=9)
        driver.sightings = (worker(9), worker(10, parent_pid=9), worker(11, parent_pid=9))
        driver.settle()
        assert State.INIT is driver.state
        driver.join(pid=11, parent_pid=9)
        driver.pass_ms(500)
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_a_worker_that_appears_starts_the_settling_anew(self) -> None:
        """The server is still starting its workers."""
        driver = Watching(settings())
        driver.join(pid=10)
        driver.sightings = (worker(10),)
        driver.handle(AppReady())
        driver.now_ms += 400
        driver.sightings = (worker(10), worker(11, accepts=True))
        assert SetTimer(TimerName.SETTLE, 500) in driver.handle(TimerFired(TimerName.LOOK))

    def test_an_app_that_forks_all_the_time_does_not_put_the_boundary_off_for_ever(self) -> None:
        """Each look shows another child that holds the port; after ten times the settling time that is no news."""
        driver = Watching(settings())
        driver.join(pid=10)
        driver.handle(AppReady())
        for pid in range(100, 148):
            assert State.INIT is driver.state
            child = driver.join(pid=pid, parent_pid=10, forked=True)
            driver.sightings = (worker(10), worker(pid, parent_pid=10))
            driver.pass_ms(100)
            driver.handle(Left(child))
        for pid in range(200, 203):  # these are seen before they can join
            driver.sightings = (worker(10), worker(pid, parent_pid=10))
            driver.pass_ms(100)
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_a_server_that_goes_on_starting_workers_is_waited_for_ten_times_the_settling_time(self) -> None:
        """None of them can join before the next look shows another."""
        driver = Watching(settings())
        driver.join(pid=10)
        driver.handle(AppReady())
        for pid in range(100, 149):
            driver.sightings = (worker(10), worker(pid, parent_pid=10))
            driver.pass_ms(100)
            assert State.INIT is driver.state
        driver.sightings = (worker(10), worker(149, parent_pid=10))
        driver.pass_ms(100)
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_for_the_one_that_replaces_a_worker_which_ended_before_the_app_was_ready(self) -> None:
        """Somebody had joined: there are hooks to wait for."""
        driver = Watching(settings())
        driver.handle(Left(driver.join(pid=10)))
        driver.sightings = (worker(11),)
        driver.settle()
        driver.pass_ms(FIRST_LINK_MS + 5000)
        assert State.INIT is driver.state
        driver.join(pid=11)
        driver.pass_ms(500)
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_no_longer_than_the_time_it_has_when_only_more_hooks_might_follow(self) -> None:
        """Nobody is missing, and nothing is to be said."""
        driver = Watching(settings())
        driver.join()
        driver.handle(AppReady())
        driver.handle(TimerFired(TimerName.READY))
        assert State.BEFORE_SNAPSHOT is driver.state
        assert driver.reported("warning") == []

    def test_and_says_what_for_every_few_seconds(self) -> None:
        """Before the app is ready it is the app's answer; then who is missing."""
        driver = Watching(settings(workers=2))
        driver.handle(TimerFired(TimerName.WAITING))
        driver.join(pid=10)
        driver.handle(AppReady())
        driver.now_ms += 3000
        actions = driver.handle(TimerFired(TimerName.WAITING))
        first, second = driver.reports("waiting")
        assert "GET http://127.0.0.1:8080/ answered 503" in str(first["message"])
        assert "1 of 2 processes have joined" in str(second["message"])
        assert second["waited_ms"] == 3000
        assert [action.timer for action in actions if isinstance(action, SetTimer)] == [TimerName.WAITING]
        assert "1 of 2" in driver.machine.describe()["waiting"]

    def test_looks_begin_before_the_app_is_ready_to_count_who_ends(self) -> None:
        """79 workers that were killed are the reason why nobody answers."""
        driver = Watching(settings())
        driver.sightings = (worker(10), worker(11))
        driver.handle(TimerFired(TimerName.LOOK))
        driver.sightings = (worker(12), worker(13))
        driver.handle(TimerFired(TimerName.LOOK))
        driver.handle(TimerFired(TimerName.READY))
        assert "2 processes of the function have ended" in driver.failure.message

    @pytest.mark.parametrize(("took_ms", "next_ms"), [(3.0, LOOK_EVERY_MS), (70.0, 700.0)])
    def test_looks_take_a_tenth_of_the_time_at_most(self, took_ms: float, next_ms: float) -> None:
        """Under a CPU limit they would take it from the imports that they wait for."""
        driver = Watching(settings())
        driver.join(pid=10)
        driver.handle(AppReady())
        actions = driver.handle(Looked((), took_ms))
        assert SetTimer(TimerName.LOOK, next_ms) in actions

    def test_processes_that_had_joined_and_ended_are_counted_too(self) -> None:
        """Between two looks many can come and go."""
        driver = Watching(settings())
        for _ in range(3):
            driver.handle(Left(driver.join()))
        driver.handle(Left(driver.join(hooks=NO_HOOKS), alive=True))
        driver.handle(TimerFired(TimerName.READY))
        assert "3 processes of the function have ended" in driver.failure.message


class TestEvidence:
    """Init fails when hooks are known to be lost, and only then: a false failure is an outage."""

    def test_a_python_process_without_a_channel_fails_it_when_nobody_has_joined(self) -> None:
        """It is named with its command, the cause and the line to change."""
        driver = Watching(settings())
        driver.sightings = (UNLINKED, worker(67, cause="another", remedy="none"), worker(68, cause="-S", remedy="no"))
        driver.settle()
        assert driver.failure_kind == ("Runtime.ProcessNotLinked", 1, "init")
        for part in (
            "process 66 (gunicorn)",
            "python -I app.py",
            "-I ignores PYTHONPATH",
            "start it without -I",
            "2 more like it",
        ):
            assert part in driver.failure.message

    @pytest.mark.parametrize(
        "changes", [{"workers": 0}, {"held": False, "gate": False}], ids=["switched off", "nothing is held"]
    )
    def test_unless_it_is_switched_off_or_nothing_is_held(self, changes: dict[str, object]) -> None:
        """The warning stays."""
        driver = Watching(settings(**changes))
        driver.sightings = (UNLINKED,)
        if not changes.get("gate", True):
            driver.handle(CommandJoined(900, 5900))
            driver.handle(Said(900, Checkpoint()))
            driver.pass_ms(500)
        else:
            driver.settle()
        assert State.SNAPSHOT is driver.state
        assert "not_linked" in driver.reported("warning")

    def test_it_is_a_warning_when_somebody_has_joined(self) -> None:
        """In the log and in the status."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.sightings = (worker(10), UNLINKED)
        driver.settle()
        driver.done(key)
        assert State.SNAPSHOT is driver.state
        (fields,) = driver.reports("not_linked")
        assert (fields["pid"], fields["command"], fields["cause"]) == (66, "python -I app.py", "-I ignores PYTHONPATH")
        (listed,) = driver.machine.describe()["not_linked"]
        assert (listed["pid"], listed["remedy"]) == (66, "start it without -I")

    def test_too_few_workers_fail_it_when_the_time_is_over(self) -> None:
        """The message lists who has joined, and who is not counted and why."""
        driver = Watching(settings(workers=4))
        driver.join(pid=10)
        driver.join(pid=11, parent_pid=10, forked=True)
        driver.join(pid=12, importing=True)
        driver.sightings = (worker(10), worker(11), worker(12), worker(13))
        driver.settle()
        driver.lose(driver.join(pid=14, importing=True))
        driver.pass_ms(1000)
        driver.handle(TimerFired(TimerName.READY))
        assert driver.failure_kind == ("Runtime.AppNotReady", 1, "init")
        for part in (
            "1 of 4 processes have joined (SNAPEXT_WORKERS): process 11 (app)",
            "process 10 (app) (it has forked others that joined)",
            "process 12 (app) is still importing",
            "process 12 (app) (it is still importing)",
            "process 14 (app) has registered 2 hooks, and lost its connection 1000 ms ago",
            "process 14 (app) (its connection is lost)",
            "not joined: process 13 (gunicorn)",
        ):
            assert part in driver.failure.message
        assert "process 14 (app) is still importing" not in driver.failure.message

    def test_as_many_workers_as_there_must_be_do_not(self) -> None:
        """What is waited for beyond them is a warning."""
        driver = Watching(settings(workers=1))
        driver.join(pid=10)
        driver.join(pid=11, importing=True)
        driver.settle()
        driver.handle(TimerFired(TimerName.READY))
        assert State.BEFORE_SNAPSHOT is driver.state
        assert "gave_up_waiting" in driver.reported("warning")

    def test_one_that_has_lost_its_link_before_it_registered_a_hook_is_none(self) -> None:
        """It is waited for as long as it may be importing, and is owed nothing then."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.lose(driver.join(pid=11, hooks=NO_HOOKS, importing=True))
        driver.settle()
        assert State.INIT is driver.state
        driver.handle(TimerFired(TimerName.READY))
        driver.done(key)
        assert State.SNAPSHOT is driver.state

    def test_nor_is_one_that_loses_it_in_the_phase_and_has_none(self) -> None:
        """There is nothing that would be lost. Not even a forked one has ended."""
        driver = Watching(settings())
        first, second = driver.join(pid=10, hooks=NO_HOOKS, forked=True), driver.join(pid=11)
        driver.settle()
        driver.lose(first)
        driver.done(second)
        assert State.SNAPSHOT is driver.state
        assert driver.reported("warning") == []

    def test_a_process_that_is_not_python_and_holds_the_port_is_named(self) -> None:
        """Nothing is known of its state; who has joined, and who supervises others, is known."""
        driver = Watching(settings())
        driver.join(pid=10)
        driver.sightings = (worker(10), worker(66, python=False))
        driver.settle()
        (fields,) = driver.reports("stranger")
        assert fields["pid"] == 66
        assert "process 66 (gunicorn) listens on the app's port" in str(fields["message"])

    @pytest.mark.parametrize("workers", [None, 0])
    def test_a_worker_that_may_still_be_importing_is_none(self, workers: int | None) -> None:
        """The boundary begins when the time is over, and a warning names whom it was waiting for."""
        driver = Watching(settings(workers=workers))
        key = driver.join(pid=10, importing=workers == 0)
        driver.sightings = (worker(10), worker(11))
        driver.settle()
        driver.handle(TimerFired(TimerName.READY))
        assert State.BEFORE_SNAPSHOT is driver.state
        (fields,) = driver.reports("gave_up_waiting")
        assert f"process {11 if workers is None else 10}" in str(fields["message"])
        assert not driver.told(key)[0].serving

    def test_a_member_that_rests_within_an_import_is_told_not_to_wait_when_the_time_is_over(self) -> None:
        """A program that is run from within an import and does not listen: its hooks run, and a warning names it."""
        driver = Watching(settings())
        key = driver.join(pid=10, importing=True)
        driver.sightings = (worker(10, holds_port=False, listens=False, at_rest=True), worker(11, at_rest=True))
        driver.settle()
        assert State.INIT is driver.state
        driver.handle(TimerFired(TimerName.READY))
        assert driver.told(key)[0].serving
        assert "gave_up_waiting" in driver.reported("warning")


class TestLostLinks:
    """A process that lives and has lost its link owes its hooks."""

    def test_in_init_it_is_waited_for_and_its_return_ends_that(self) -> None:
        """Its hooks are known, and would not run."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.lose(key)
        driver.handle(AppReady())
        driver.pass_ms(99)
        assert driver.reports("link_lost") == []
        driver.pass_ms(4901)
        assert State.INIT is driver.state
        (fields,) = driver.reports("link_lost")
        assert fields["pid"] == 10
        back = driver.come_back(10)
        (fields,) = driver.reports("link_restored")
        assert (fields["pid"], fields["lost_ms"]) == (10, 5000.0)
        driver.pass_ms(500)
        assert [BeforeSnapshot] == [type(message) for message in driver.told(back)]

    def test_in_init_it_fails_the_version_when_it_does_not_come_back(self) -> None:
        """Hooks are registered in a process that is not connected."""
        driver = Watching(settings())
        driver.lose(driver.join(pid=10))
        driver.settle()
        driver.now_ms += 1000
        driver.handle(TimerFired(TimerName.READY))
        assert driver.failure_kind == ("Runtime.AppNotReady", 1, "init")
        assert "process 10 (app) has registered 2 hooks, and lost its connection" in driver.failure.message

    def test_in_init_one_without_hooks_owes_nothing(self) -> None:
        """Nothing of it would be lost."""
        driver = Watching(settings())
        driver.lose(driver.join(pid=10, hooks=NO_HOOKS))
        assert driver.machine.describe()["processes"] == {}

    def test_after_the_restore_one_without_hooks_is_waited_for_all_the_same(self) -> None:
        """Its random numbers are those of every clone until it has been told."""
        driver = Watching(settings())
        key = driver.join(pid=10, hooks=NO_HOOKS)
        driver.until_after_restore()
        driver.lose(key)
        assert State.AFTER_RESTORE is driver.state
        driver.done(driver.come_back(10))
        assert State.READY is driver.state

    def test_it_does_not_count_as_a_worker(self) -> None:
        """Who is announced and not connected is missing."""
        driver = Watching(settings(workers=1))
        key = driver.join(pid=10)
        driver.handle(AppReady())
        assert TimerName.SETTLE in driver.timers
        driver.lose(key)
        assert TimerName.SETTLE not in driver.timers
        driver.come_back(10)
        assert driver.reports("link_restored") == []  # nobody had been told of the loss
        assert TimerName.SETTLE in driver.timers

    def test_without_a_boundary_nobody_is_lost(self) -> None:
        """There is nothing to be owed."""
        driver = Watching(settings(boundary=False))
        driver.lose(driver.join(pid=10))
        assert driver.machine.describe()["processes"] == {}

    def test_the_end_of_the_process_ends_the_debt(self) -> None:
        """So does another program in its place: the shell says both in the same way."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.lose(key)
        driver.settle()
        driver.handle(Left(key))
        driver.pass_ms(500)
        assert State.SNAPSHOT is driver.state

    @pytest.mark.parametrize("stage", [State.INIT, State.BEFORE_SNAPSHOT, State.AFTER_RESTORE])
    def test_one_that_was_back_before_its_first_connection_ended_has_lost_nothing(self, stage: State) -> None:
        """Somebody else held a copy of the first one open. The second is told, and its answer is enough."""
        driver = Watching(settings())
        first = driver.join(pid=10)
        if stage is not State.INIT:
            driver.settle()
        if stage is State.AFTER_RESTORE:
            driver.done(first)
            driver.handle(RestoreReturned(200, ""))
        second = driver.join(pid=10)
        driver.lose(first)
        if stage is State.INIT:
            driver.settle()
        driver.done(second)
        assert driver.state is (State.READY if stage is State.AFTER_RESTORE else State.SNAPSHOT)

    def test_it_is_looked_after_while_it_is_lost(self) -> None:
        """Only a look shows that it executes another program."""
        driver = Watching(settings())
        first, second = driver.join(pid=10), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        assert SetTimer(TimerName.LOOK, LOOK_EVERY_MS) in driver.lose(first)
        driver.pass_ms(3 * LOOK_EVERY_MS)
        assert driver.log.count(Look(lost_only=True)) == 3
        assert [fields["pid"] for fields in driver.reports("link_lost")] == [10]
        driver.done(second)
        driver.handle(Left(first))
        assert State.SNAPSHOT is driver.state
        driver.pass_ms(3 * LOOK_EVERY_MS)
        assert driver.log.count(Look(lost_only=True)) == 3

    @pytest.mark.parametrize("caller", list(RestoreCaller))
    def test_lost_after_its_before_hooks_it_fails_the_version_and_not_its_clones(self, caller: RestoreCaller) -> None:
        """Its after-restore hooks could not be run in any of them."""
        driver = Watching(settings(restore_caller=caller))
        first, second = driver.join(pid=10), driver.join(pid=11)
        driver.settle()
        driver.handle(ReadinessAsked())
        driver.done(first)
        driver.lose(first)
        driver.done(second)
        assert State.BEFORE_SNAPSHOT is driver.state
        assert not [action for action in driver.log if isinstance(action, AnswerReadiness)]
        driver.now_ms += 60_000
        driver.handle(TimerFired(TimerName.PHASE))
        assert driver.failure_kind == ("Runtime.BeforeSnapshotError", 64, "init")
        assert "process 10 (app), which lost its connection 60000 ms ago and lives" in driver.failure.message

    def test_back_in_time_it_answers_again_and_the_snapshot_is_taken(self) -> None:
        """It recalls that its hooks have run."""
        driver = Watching(settings())
        first = driver.join(pid=10)
        driver.settle()
        second = driver.join(pid=11)
        driver.done(first)
        driver.lose(first)
        driver.done(second)
        driver.done(driver.come_back(10))
        assert State.SNAPSHOT is driver.state

    def test_one_without_after_restore_hooks_owes_nothing_once_it_is_done(self) -> None:
        """Nothing of it is left to run."""
        driver = Watching(settings())
        first = driver.join(pid=10, hooks=HookCounts(1, 0))
        second = driver.join(pid=11)
        driver.settle()
        driver.done(first)
        driver.lose(first)
        driver.done(second)
        assert State.SNAPSHOT is driver.state

    def test_lost_while_the_adapters_check_is_awaited_it_holds_the_snapshot_back_again(self) -> None:
        """The phase was complete, and nothing had been let go yet; there is a new budget."""
        driver = Watching(settings(restore_caller=ADAPTER))
        key = driver.join(pid=10)
        driver.settle()
        driver.done(key)
        assert SetTimer(TimerName.PHASE, 60_000) in driver.lose(key)
        driver.handle(ReadinessAsked())
        assert State.BEFORE_SNAPSHOT is driver.state
        driver.done(driver.come_back(10))
        assert State.SNAPSHOT is driver.state

    @pytest.mark.parametrize("number", [1, 150])
    def test_lost_during_the_snapshot_it_is_owed_its_after_restore_hooks(self, number: int) -> None:
        """The gate stays shut until it is back, the hundred and fiftieth like the first."""
        driver = Watching(settings())
        keys = [driver.join(pid=100 + index) for index in range(number)]
        driver.settle()
        for key in keys:
            driver.done(key)
        for key in keys:
            driver.lose(key)
        driver.handle(RestoreReturned(200, ""))
        assert State.AFTER_RESTORE is driver.state
        for index in range(number):
            assert State.AFTER_RESTORE is driver.state
            back = driver.come_back(100 + index)
            assert [AfterRestore] == [type(message) for message in driver.told(back)]
            driver.done(back)
        assert State.READY is driver.state

    def test_lost_during_the_snapshot_and_never_back_it_fails_the_restore_and_is_named(self) -> None:
        """It lives, so it would serve."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.settle()
        driver.done(key)
        driver.lose(key)
        driver.handle(RestoreReturned(200, ""))
        driver.handle(TimerFired(TimerName.PHASE))
        assert driver.failure_kind == ("Runtime.AfterRestoreError", 65, "restore")
        assert "process 10 (app), which lost its connection" in driver.failure.message

    @pytest.mark.parametrize("hooks", [HookCounts(1, 1), HookCounts(0, 1)])
    def test_lost_during_the_snapshot_its_end_ends_the_debt_after_the_restore_too(self, hooks: HookCounts) -> None:
        """It was never told of the restore. Were it a failure, it would be one in each of the version's clones."""
        driver = Watching(settings())
        first, second = driver.join(pid=10, hooks=hooks), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        driver.done(second)
        driver.lose(first)
        driver.handle(RestoreReturned(200, ""))
        driver.handle(Left(first))
        (fields,) = driver.reports("process_ended")
        assert "process 10 (app) ended, or executes another program, without running after_restore hooks" in str(
            fields["message"]
        )
        driver.done(second)
        assert State.READY is driver.state

    def test_lost_in_the_middle_of_its_hooks_its_end_is_a_failure(self) -> None:
        """A process that is killed closes its connection a moment before it ends."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.until_after_restore()
        driver.lose(key)
        driver.handle(Left(key))
        assert driver.failure_kind == ("Runtime.AfterRestoreError", 65, "restore")

    def test_in_init_too_a_look_shows_that_it_executes_another_program(self) -> None:
        """Before the app is ready as well: else init would fail for a process that is no more."""
        driver = Watching(settings())
        driver.lose(driver.join(pid=10))
        assert [Look(lost_only=True), Look()] == driver.handle(TimerFired(TimerName.LOOK))[:2]

    def test_it_is_looked_after_when_the_boundary_begins_without_it(self) -> None:
        """SNAPEXT_WORKERS=0: the time to wait for it is over, and its hooks are waited for."""
        driver = Watching(settings(workers=0))
        driver.lose(driver.join(pid=10))
        driver.handle(AppReady())
        driver.handle(TimerFired(TimerName.READY))
        assert State.BEFORE_SNAPSHOT is driver.state
        assert TimerName.LOOK in driver.timers

    def test_back_during_the_snapshot_it_is_not_late(self) -> None:
        """Its before-snapshot hooks have run."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.settle()
        driver.done(key)
        driver.lose(key)
        driver.come_back(10)
        assert driver.reported("warning") == []

    def test_a_late_one_that_comes_back_is_said_to_be_late_once(self) -> None:
        """It had joined too late before it lost its connection."""
        driver = Watching(settings())
        driver.until_after_restore()
        late = driver.join(pid=10)
        assert len(driver.reports("joined_too_late")) == 1
        driver.lose(late)
        assert [AfterRestore] == [type(message) for message in driver.told(driver.come_back(10))]
        assert len(driver.reports("joined_too_late")) == 1

    def test_once_all_is_over_a_lost_link_is_nobodys_debt(self) -> None:
        """The process has run its hooks."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.until_after_restore()
        driver.done(key)
        driver.lose(key)
        assert driver.machine.describe()["processes"] == {}

    def test_the_status_says_who_is_not_connected(self) -> None:
        """For as long as it is owed something."""
        driver = Watching(settings())
        driver.lose(driver.join(pid=10))
        (process,) = driver.machine.describe()["processes"].values()
        assert not process["connected"]


class TestLateHooks:
    """A hook that is registered after its phase would never run."""

    def test_before_the_snapshot_is_let_go_it_fails_the_version(self) -> None:
        """The process is named, and when to register."""
        driver = Watching(settings())
        first, second = driver.join(pid=10), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        driver.handle(Said(first, Hooks(HookCounts(2, 1))))
        assert driver.failure_kind == ("Runtime.BeforeSnapshotError", 64, "init")
        assert "process 10 (app) registered a before_snapshot hook" in driver.failure.message
        assert driver.told(second)

    def test_registered_while_the_link_was_lost_it_fails_the_version_as_well(self) -> None:
        """The process tells of it when it is back, and would answer for the hooks that it has run."""
        driver = Watching(settings())
        first, second = driver.join(pid=10), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        driver.lose(first)
        driver.join(pid=10, hooks=HookCounts(2, 1))
        assert driver.failure_kind == ("Runtime.BeforeSnapshotError", 64, "init")
        assert "process 10 (app) registered a before_snapshot hook" in driver.failure.message
        assert driver.told(second)

    def test_registered_while_the_link_was_lost_and_before_the_phase_it_runs(self) -> None:
        """Nothing has been answered yet."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.settle()
        driver.lose(key)
        driver.done(driver.join(pid=10, hooks=HookCounts(2, 2)))
        assert State.SNAPSHOT is driver.state

    def test_a_before_snapshot_hook_that_is_registered_while_the_restores_run_is_late(self) -> None:
        """It does not run with them."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.until_after_restore()
        driver.handle(Said(key, Hooks(HookCounts(1, 2))))
        assert driver.reports("registered_too_late") == []
        driver.handle(Said(key, Hooks(HookCounts(2, 2))))
        (fields,) = driver.reports("registered_too_late")
        assert fields["phase"] == "before_snapshot"

    def test_while_its_process_still_runs_the_phase_it_runs_with_it(self) -> None:
        """Hooks may register hooks."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.settle()
        driver.handle(Said(key, Hooks(HookCounts(2, 2))))
        driver.done(key)
        assert State.SNAPSHOT is driver.state
        assert driver.reported("warning") == []

    def test_registered_when_its_process_had_looked_for_the_last_time_it_is_late_as_well(self) -> None:
        """By another thread: the extension has heard of it before the answer, which does not count it."""
        driver = Watching(settings())
        first, second = driver.join(pid=10), driver.join(pid=11)
        driver.settle()
        driver.handle(Said(first, Hooks(HookCounts(2, 1))))
        driver.done(first, registered=1)
        assert driver.failure_kind == ("Runtime.BeforeSnapshotError", 64, "init")
        assert "process 10 (app) registered a before_snapshot hook" in driver.failure.message
        assert driver.told(second)

    def test_so_it_is_after_the_restore(self) -> None:
        """There it is a warning."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.until_after_restore()
        driver.handle(Said(key, Hooks(HookCounts(1, 2))))
        driver.done(key, registered=1)
        (fields,) = driver.reports("registered_too_late")
        assert fields["phase"] == "after_restore"

    def test_after_restore_hooks_may_be_registered_until_the_restore(self) -> None:
        """They are still to run."""
        driver = Watching(settings())
        first, second = driver.join(pid=10), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        driver.handle(Said(first, Hooks(HookCounts(1, 2))))
        driver.done(second)
        driver.handle(Said(first, Hooks(HookCounts(1, 3))))
        assert State.SNAPSHOT is driver.state
        assert driver.reported("warning") == []

    @pytest.mark.parametrize("hooks", [HookCounts(2, 1), HookCounts(1, 2)])
    def test_later_it_is_a_warning_once_for_each_process(self, hooks: HookCounts) -> None:
        """A module that is imported by a request, say."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.until_after_restore()
        driver.done(key)
        driver.handle(Said(key, Hooks(hooks)))
        driver.handle(Said(key, Hooks(HookCounts(5, 5))))
        (fields,) = driver.reports("registered_too_late")
        assert fields["phase"] == ("before_snapshot" if hooks.before_snapshot == 2 else "after_restore")

    @pytest.mark.parametrize("joins_first", [True, False])
    def test_a_fork_that_comes_back_with_more_hooks_is_late_if_its_parent_had_run_them(self, joins_first: bool) -> None:
        """What counts is when it joined first: one that was there before its parent's hooks runs its own."""
        driver = Watching(settings())
        parent = driver.join(pid=10)
        driver.join(pid=11)  # it runs its hooks all the time
        driver.settle()
        if joins_first:
            fork = driver.join(pid=12, parent_pid=10, forked=True)
            driver.done(parent)
        else:
            driver.done(parent)
            fork = driver.join(pid=12, parent_pid=10, forked=True)
        driver.lose(fork)
        driver.join(pid=12, parent_pid=10, forked=True, hooks=HookCounts(2, 1))
        assert driver.state is (State.BEFORE_SNAPSHOT if joins_first else State.FAILED)

    def test_one_that_is_warned_of_and_comes_back_is_not_warned_of_again(self) -> None:
        """Once for each process, not for each of its connections."""
        driver = Watching(settings())
        driver.until_after_restore()
        late = driver.join(pid=10)
        driver.handle(Said(late, Hooks(HookCounts(2, 1))))
        driver.lose(late)
        driver.handle(Said(driver.come_back(10), Hooks(HookCounts(3, 1))))
        assert len(driver.reports("registered_too_late")) == 1

    def test_a_late_process_that_was_owed_its_hooks_is_warned_of_as_well(self) -> None:
        """What it registers once they have run does not run."""
        driver = Watching(settings())
        driver.until_after_restore()
        late = driver.join(pid=10)
        driver.done(late)
        driver.handle(Said(late, Hooks(HookCounts(1, 2))))
        assert len(driver.reports("registered_too_late")) == 1

    @pytest.mark.parametrize("boundary", [True, False])
    def test_in_init_and_without_a_boundary_no_hook_is_late(self, boundary: bool) -> None:
        """They are being imported; or none ever runs."""
        driver = Watching(settings(boundary=boundary))
        key = driver.join(pid=10)
        if not boundary:
            driver.handle(AppReady())
        driver.handle(Said(key, Hooks(HookCounts(5, 5))))
        assert driver.reported("warning") == []

    def test_the_end_of_an_import_is_not_a_late_hook(self) -> None:
        """The counts are the same."""
        driver = Watching(settings())
        key = driver.join(pid=10, importing=True)
        driver.sightings = (worker(10, at_rest=True),)
        driver.settle()
        driver.done(key)
        driver.handle(RestoreReturned(200, ""))
        driver.done(key)
        driver.handle(Said(key, Hooks(HookCounts(1, 1))))
        assert driver.reported("warning") == []

    def test_a_process_that_began_after_the_restore_is_late_for_nothing(self) -> None:
        """It imports the app as a fresh process does."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.until_after_restore()
        driver.done(key)
        fresh = driver.join(pid=9999, start_ticks=99, hooks=NO_HOOKS)
        driver.handle(Said(fresh, Hooks(HookCounts(3, 3))))
        assert driver.reported("warning") == []


def test_each_member_is_looked_at_a_few_times_for_a_message_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under a CPU limit the imports that init waits for need the time: 64 members took 36 ms at each look."""
    looked = []
    is_serving = Attendance.is_serving
    monkeypatch.setattr(Attendance, "is_serving", lambda *args: looked.append(1) or is_serving(*args))
    driver = Watching(settings(workers=50))
    for pid in range(50):
        driver.join(pid=100 + pid, importing=True)
    driver.handle(AppReady())
    looked.clear()
    driver.handle(TimerFired(TimerName.LOOK))
    assert 50 <= len(looked) <= 500


class TestWhoEnds:
    """A process that ends during the boundary leaves a line, whatever it had done."""

    @pytest.mark.parametrize("stage", [State.BEFORE_SNAPSHOT, State.SNAPSHOT, State.AFTER_RESTORE])
    def test_after_its_done_as_well(self, stage: State) -> None:
        """Its hooks have run; what starts in its place may not have."""
        driver = Watching(settings())
        first, second = driver.join(pid=10), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        if stage is not State.BEFORE_SNAPSHOT:
            driver.done(second)
        if stage is State.AFTER_RESTORE:
            driver.handle(RestoreReturned(200, ""))
            driver.done(first)
        assert stage is driver.state
        driver.handle(Left(first))
        (fields,) = driver.reports("process_ended")
        assert (10, stage.value) == (fields["pid"], fields["state"])

    def test_in_init_and_once_all_is_over_that_is_everyday(self) -> None:
        """Workers come and go."""
        driver = Watching(settings())
        driver.handle(Left(driver.join(pid=9)))
        key = driver.join(pid=10)
        driver.until_after_restore_of(key)
        driver.handle(Left(key))
        assert driver.reports("process_ended") == []

    def test_one_that_only_hangs_up_has_not_ended(self) -> None:
        """It had nothing left to run."""
        driver = Watching(settings())
        first, second = driver.join(pid=10, hooks=HookCounts(1, 0)), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        driver.lose(first)
        assert driver.reports("process_ended") == []
        assert driver.told(second)

    @pytest.mark.parametrize("stage", [State.BEFORE_SNAPSHOT, State.SNAPSHOT, State.AFTER_RESTORE])
    def test_one_whose_connection_ended_a_moment_before_leaves_the_line_too(self, stage: State) -> None:
        """The kernel closes what a dying process has open, and says then that it has ended."""
        driver = Watching(settings())
        first, second = driver.join(pid=10, hooks=HookCounts(1, 0)), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        if stage is not State.BEFORE_SNAPSHOT:
            driver.done(second)
        if stage is State.AFTER_RESTORE:
            driver.handle(RestoreReturned(200, ""))
            driver.done(first)
        driver.lose(first)
        assert driver.machine.is_watched(first)
        driver.handle(Left(first))
        (fields,) = driver.reports("process_ended")
        assert (10, stage.value) == (fields["pid"], fields["state"])

    def test_once_all_is_over_nobody_is_watched_who_owes_nothing(self) -> None:
        """Each that is watched costs a look every 100 ms, through all invocations."""
        driver = Watching(settings())
        first, second = driver.join(pid=10, hooks=HookCounts(1, 0)), driver.join(pid=11)
        driver.settle()
        driver.done(first)
        driver.lose(first)
        driver.done(second)
        driver.handle(RestoreReturned(200, ""))
        assert driver.machine.is_watched(first)
        assert ForgetHungUp() in driver.done(second)
        assert not driver.machine.is_watched(first)
        driver.lose(second)
        assert not driver.machine.is_watched(second)


class TestForksDuringTheSnapshot:
    """A fork holds what its parent's hooks have left."""

    @pytest.mark.parametrize(("forked", "warned"), [(True, []), (False, ["joined_too_late"])])
    def test_a_fork_of_one_that_has_run_its_hooks_is_not_late(self, forked: bool, warned: list[str]) -> None:
        """Another program that its parent has started is."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.settle()
        driver.done(key)
        driver.join(pid=11, parent_pid=10, forked=forked)
        assert State.SNAPSHOT is driver.state
        assert warned == driver.reported("warning")


class TestWhoHadJoined:
    """A process that had joined can join, whatever it was started with."""

    def test_it_is_no_evidence_once_it_has_hung_up(self) -> None:
        """It has no hooks, and started the link by itself."""
        driver = Watching(settings())
        driver.lose(driver.join(pid=66, hooks=NO_HOOKS))
        driver.sightings = (UNLINKED,)
        driver.settle()
        assert State.SNAPSHOT is driver.state
        assert "not_linked" not in driver.reported("warning")

    def test_another_program_in_its_place_is(self) -> None:
        """What had joined is gone."""
        driver = Watching(settings())
        key = driver.join(pid=66, hooks=NO_HOOKS)
        driver.lose(key)
        driver.handle(Left(key))
        driver.sightings = (UNLINKED,)
        driver.settle()
        assert State.FAILED is driver.state


class TestEndsInTheMiddle:
    """Who gives up in the middle of the boundary leaves a line that says what it was waiting for."""

    def test_the_adapter_before_the_snapshot(self) -> None:
        """Its own limit is shorter than init takes: in init, and while hooks run."""
        driver = Watching(settings(workers=2))
        driver.join(pid=10)
        driver.handle(AppReady())
        driver.handle(ReadinessHungUp(0))
        driver.join(pid=11)
        driver.pass_ms(600)
        driver.handle(ReadinessHungUp(0))
        first, second = (str(fields["message"]) for fields in driver.reports("readiness_hung_up"))
        assert "1 of 2 processes have joined" in first
        assert "hook (the first) in process 10" in second

    def test_the_platform(self) -> None:
        """Its limit for init, say."""
        driver = Watching(settings(workers=2))
        driver.join(pid=10)
        driver.handle(AppReady())
        driver.handle(ShutdownAsked("timeout", 500))
        (fields,) = driver.reports("ended_in_the_middle")
        assert "1 of 2 processes have joined" in str(fields["message"])


class TestRunning:
    """The name of the hook that hangs."""

    def test_an_older_id_of_the_same_phase_names_the_hook(self) -> None:
        """The process was told again on a new connection, and goes on with what it had begun."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.settle()
        old = driver.told(key)[-1].id
        driver.lose(key)
        back = driver.come_back(10)
        driver.handle(Said(back, Running(old, "app.slow")))
        driver.handle(TimerFired(TimerName.PHASE))
        assert "hook app.slow in process 10" in driver.failure.message

    def test_an_id_of_an_earlier_phase_does_not(self) -> None:
        """It would name a hook that ran before the snapshot."""
        driver = Watching(settings())
        key = driver.join(pid=10)
        driver.settle()
        old = driver.told(key)[-1].id
        driver.done(key)
        driver.handle(RestoreReturned(200, ""))
        driver.handle(Said(key, Running(old, "app.before")))
        driver.handle(TimerFired(TimerName.PHASE))
        assert "app.before" not in driver.failure.message


def test_a_failed_hook_is_said_to_have_failed_after_its_own_time() -> None:
    """Not after that of the whole phase."""
    from snapext.wire.messages import Done, HookFailure
    from snapext_extension.boundary.events import Said

    driver = Watching(settings())
    key = driver.join(pid=10)
    driver.settle()
    error = HookFailure("ValueError", "no", "", "app.hook", duration_ms=33.0)
    driver.handle(Said(key, Done(driver.told(key)[-1].id, False, 1033.0, (), error)))
    assert "app.hook in process 10 (app) failed after 33 ms" in driver.failure.message
    assert [action for action in driver.log if isinstance(action, Fail)]

"""The boundary's state machine, event by event."""

from __future__ import annotations

import pytest

from helpers import for_each
from lifecycle_driver import Driver, HookedProcess, settings
from snapext.wire.messages import (
    AfterRestore,
    BeforeSnapshot,
    Described,
    Done,
    HookCounts,
    Hooks,
    Running,
    Shutdown,
    Welcome,
)
from snapext_extension.boundary import events
from snapext_extension.boundary.actions import (
    AnswerReadiness,
    AskEventNext,
    AskRestoreNext,
    CancelTimer,
    End,
    Fail,
    Look,
    Report,
    SetTimer,
    Stop,
    TimerName,
)
from snapext_extension.boundary.checks import MISSING_CHECK_MS
from snapext_extension.boundary.events import (
    AppReady,
    ReadinessAsked,
    ReadinessHungUp,
    RestoreReturned,
    ShutdownAsked,
    TimerFired,
)
from snapext_extension.boundary.lifecycle import REFUSAL_MS, SHUTDOWN_WAIT_MS
from snapext_extension.boundary.settings import WAITING_EVERY_MS, RestoreCaller
from snapext_extension.boundary.states import ENDED, TRANSITIONS, State, Trigger

ADAPTER = RestoreCaller.ADAPTER


def is_report(action: events.Action, event: str) -> bool:
    return isinstance(action, Report) and action.event == event


def test_the_table_holds_every_allowed_move_and_no_other() -> None:
    """Each pair of state and trigger is either in the table as the design has it, or refused."""
    ended = {(state, Trigger.SHUTDOWN): State.SHUTDOWN for state in State if state not in ENDED}
    failed = {(state, Trigger.FAILURE): State.FAILED for state in State if state not in ENDED}
    forward = {
        (State.INIT, Trigger.APP_COMPLETE): State.BEFORE_SNAPSHOT,
        (State.INIT, Trigger.NO_BOUNDARY): State.READY,
        (State.BEFORE_SNAPSHOT, Trigger.ALL_DONE): State.SNAPSHOT,
        (State.SNAPSHOT, Trigger.RESTORED): State.AFTER_RESTORE,
        (State.AFTER_RESTORE, Trigger.ALL_DONE): State.READY,
    }
    assert {**forward, **ended, **failed} == TRANSITIONS


def test_nothing_leads_out_of_an_end() -> None:
    """A failed or shut-down environment stays so."""
    assert not [pair for pair in TRANSITIONS if pair[0] in ENDED]


def test_the_whole_life_runs_in_order() -> None:
    """Hooks of every process before the snapshot, the platform's calls, hooks after the restore, then the gate."""
    driver = Driver(settings())
    first, second = driver.join(), driver.join()
    driver.app_ready_and_settled()
    assert [BeforeSnapshot, BeforeSnapshot] == [type(m) for m in driver.told(first) + driver.told(second)]
    driver.done(first)
    assert State.BEFORE_SNAPSHOT is driver.state
    actions = driver.done(second)
    assert [AskRestoreNext()] == driver.calls(actions)
    assert [AskEventNext()] == driver.calls(driver.handle(TimerFired(TimerName.EVENT_NEXT)))
    driver.handle(ReadinessAsked())
    driver.handle(RestoreReturned(200, ""))
    assert State.AFTER_RESTORE is driver.state
    assert AnswerReadiness() not in driver.done(first)
    assert AnswerReadiness() in driver.done(second)
    assert State.READY is driver.state


def test_the_budget_that_a_process_is_told_is_what_is_left_of_the_phase() -> None:
    """A process that joins during the phase gets the rest of the budget, not a new one."""
    driver = Driver(settings(before_snapshot_timeout_ms=1000))
    driver.join()
    driver.app_ready_and_settled()
    driver.now_ms += 400
    late = driver.join()
    assert driver.told(late)[0].timeout_ms == 600


def test_a_budget_that_is_used_up_to_the_last_millisecond_is_not_told_as_none() -> None:
    """0 would mean that there is no time at all, and the protocol wants a positive number."""
    driver = Driver(settings(before_snapshot_timeout_ms=1000))
    driver.join()
    driver.app_ready_and_settled()
    driver.now_ms += 1000
    assert driver.told(driver.join())[0].timeout_ms == 1


def test_a_life_leaves_these_lines_in_the_log() -> None:
    """With how long each phase took, which the status knows as well, and the identity that was made."""
    driver = Driver(settings())
    key = driver.join()
    driver.handle(events.Said(key, Hooks(HookCounts(1, 2))))
    driver.app_ready_and_settled()
    driver.now_ms += 12
    driver.done(key)
    driver.handle(RestoreReturned(200, ""))
    driver.now_ms += 34
    driver.done(key)
    driver.handle(events.Left(key))
    driver.handle(ShutdownAsked("spindown", 1500))
    assert driver.reported("debug") == [
        "process_joined",
        "hooks_changed",
        "before_snapshot",
        "restore",
        "after_restore",
        "process_left",
        "shutdown",
    ]
    assert driver.reported("info") == ["snapshot", "ready"]
    assert driver.machine.describe()["boundary"] == {"before_snapshot_ms": 12.0, "after_restore_ms": 34.0}
    assert [fields["duration_ms"] for fields in driver.reports("snapshot") + driver.reports("ready")] == [12.0, 34.0]
    assert driver.reports("restore") == [{"environment_id": driver.machine.environment_id}]
    assert driver.machine.environment_id == f"{1:032x}"
    assert (driver.told(key)[-1].restored_at, driver.told(key)[-1].restored_monotonic) == (1.0, 3.5)
    assert State.SHUTDOWN is driver.state


def test_no_timer_is_left_over_once_all_is_behind() -> None:
    """Each would wake a restored environment for nothing."""
    driver = Driver(settings())
    key = driver.join()
    driver.app_ready_and_settled()
    assert set(driver.timers) == {TimerName.PHASE}
    driver.done(key)
    assert set(driver.timers) == {TimerName.EVENT_NEXT}
    driver.handle(RestoreReturned(200, ""))
    driver.done(key)
    assert driver.timers == {}


def test_a_second_word_that_the_app_is_ready_changes_nothing() -> None:
    """At whatever time it comes."""
    driver = Driver(settings())
    key = driver.join()
    driver.handle(AppReady())
    assert driver.handle(AppReady()) == []
    driver.handle(TimerFired(TimerName.SETTLE))
    driver.done(key)
    assert driver.handle(AppReady()) == []


def test_what_a_stranger_says_changes_nothing() -> None:
    """Any process of the user may send any message, without a hello as the app's."""
    driver = Driver(settings())
    for event in (
        events.Said(99, Hooks(HookCounts(1, 1))),
        events.Said(99, Running(1, "h")),
        events.Said(99, Done(1, True, 1.0)),
        events.Left(99),
    ):
        assert driver.handle(event) == []


def test_event_next_is_asked_once() -> None:
    """Whether restore/next is answered before or after we have seen that it is not refused."""
    driver = Driver(settings())
    driver.app_ready_and_settled()
    assert AskEventNext() in driver.handle(RestoreReturned(200, ""))
    driver.handle(TimerFired(TimerName.EVENT_NEXT))
    late = Driver(settings())
    late.app_ready_and_settled()
    assert late.handle(TimerFired(TimerName.EVENT_NEXT)) == [CancelTimer(TimerName.EVENT_NEXT), AskEventNext()]
    late.handle(RestoreReturned(200, ""))
    assert [driver.log.count(AskEventNext()), late.log.count(AskEventNext())] == [1, 1]


@pytest.mark.parametrize("caller", list(RestoreCaller))
def test_without_a_boundary_the_gate_opens_as_soon_as_the_app_is_ready(caller: RestoreCaller) -> None:
    """On demand, no hook runs and the platform is never held back."""
    driver = Driver(settings(boundary=False, restore_caller=caller))
    assert [AskEventNext()] == driver.calls(driver.started)
    key = driver.join()
    driver.handle(ReadinessAsked())
    assert [AnswerReadiness()] == driver.calls(driver.handle(AppReady()))
    assert State.READY is driver.state
    assert driver.told(key) == []
    assert [AnswerReadiness()] == driver.calls(driver.handle(ReadinessAsked()))


def test_the_extension_holds_event_next_back_until_the_hooks_are_done() -> None:
    """No snapshot can be taken before: the platform waits for every extension's event/next."""
    driver = Driver(settings())
    key = driver.join()
    held = driver.started + driver.app_ready_and_settled()
    assert AskEventNext() not in held
    assert AskEventNext() not in driver.done(key)
    assert SetTimer(TimerName.EVENT_NEXT, REFUSAL_MS) in driver.log
    assert [AskEventNext()] == driver.calls(driver.handle(TimerFired(TimerName.EVENT_NEXT)))


def test_a_refused_restore_next_ends_the_initialisation_before_event_next_completes_it() -> None:
    """Asked for event/next, AWS's code would publish a version whose runtime is ready and whose hooks never run."""
    driver = Driver(settings())
    key = driver.join()
    driver.app_ready_and_settled()
    driver.done(key)
    driver.handle(RestoreReturned(403, "{}"))
    driver.handle(TimerFired(TimerName.EVENT_NEXT))
    assert State.FAILED is driver.state
    assert AskEventNext() not in driver.log


@pytest.mark.parametrize("caller", list(RestoreCaller))
def test_a_readiness_check_is_held_until_the_boundary_lets_go(caller: RestoreCaller) -> None:
    """Neither before the app is ready nor while hooks run is it answered."""
    driver = Driver(settings(restore_caller=caller))
    driver.join()
    held = driver.handle(ReadinessAsked()) + driver.app_ready_and_settled() + driver.handle(ReadinessAsked())
    assert AnswerReadiness() not in held


def test_a_check_is_the_restores_only_where_the_adapter_asks_for_the_restore() -> None:
    """Where we ask, one that comes during the snapshot waits for it, however many checks the adapter makes."""
    driver = Driver(settings(checks_before_snapshot=2))
    driver.handle(AppReady())
    assert driver.calls(driver.handle(ReadinessAsked())) == []
    driver.handle(TimerFired(TimerName.SETTLE))
    assert driver.calls(driver.handle(ReadinessAsked())) == []
    assert State.SNAPSHOT is driver.state
    assert AnswerReadiness() in driver.handle(RestoreReturned(200, ""))


def test_without_a_boundary_each_check_is_answered_once() -> None:
    """Also where the adapter would make two before a snapshot."""
    driver = Driver(settings(boundary=False, restore_caller=ADAPTER, checks_before_snapshot=2))
    driver.handle(AppReady())
    assert [AnswerReadiness()] == driver.calls(driver.handle(ReadinessAsked()))


class TestAdapterThatAsksForRestoreNext:
    """From 1.1 on the adapter asks for restore/next, and its second check says that the restore is over."""

    def test_the_first_check_is_answered_when_the_before_hooks_are_done(self) -> None:
        """The adapter may ask for restore/next from then on; we never do."""
        driver = Driver(settings(restore_caller=ADAPTER))
        key = driver.join()
        driver.handle(ReadinessAsked())
        driver.app_ready_and_settled()
        assert [AnswerReadiness(), AskEventNext()] == driver.calls(driver.done(key))
        assert State.SNAPSHOT is driver.state

    def test_a_first_check_that_comes_late_is_not_taken_for_the_restore(self) -> None:
        """The adapter may ask for the first time when the hooks are already done."""
        driver = Driver(settings(restore_caller=ADAPTER))
        driver.app_ready_and_settled()
        assert AskEventNext() not in driver.log
        assert [AnswerReadiness(), AskEventNext()] == driver.calls(driver.handle(ReadinessAsked()))
        assert State.SNAPSHOT is driver.state

    def test_the_next_check_is_the_restore_and_is_held_until_the_hooks_are_done(self) -> None:
        """It starts the after-restore hooks, and its answer admits the first invocation."""
        driver = Driver(settings(restore_caller=ADAPTER))
        key = driver.join()
        driver.app_ready_and_settled()
        driver.done(key)
        driver.handle(ReadinessAsked())
        assert driver.calls(driver.handle(ReadinessAsked())) == []
        assert State.AFTER_RESTORE is driver.state
        assert [AnswerReadiness()] == driver.calls(driver.done(key))

    def test_the_extra_check_of_the_later_releases_is_not_the_restore(self) -> None:
        """With a before-checkpoint path set they check once more before the snapshot."""
        driver = Driver(settings(restore_caller=ADAPTER, checks_before_snapshot=2))
        driver.handle(ReadinessAsked())
        assert [AnswerReadiness()] == driver.calls(driver.app_ready_and_settled())
        assert State.BEFORE_SNAPSHOT is driver.state
        assert [AnswerReadiness(), AskEventNext()] == driver.calls(driver.handle(ReadinessAsked()))
        assert State.SNAPSHOT is driver.state
        driver.handle(ReadinessAsked())
        assert State.READY is driver.state

    def test_the_first_of_two_checks_is_answered_while_hooks_run_and_the_second_is_held(self) -> None:
        """event/next holds the snapshot back meanwhile, so only the last answer lets go."""
        driver = Driver(settings(restore_caller=ADAPTER, checks_before_snapshot=2))
        key = driver.join()
        driver.app_ready_and_settled()
        assert [AnswerReadiness()] == driver.calls(driver.handle(ReadinessAsked()))
        assert driver.calls(driver.handle(ReadinessAsked())) == []
        assert [AnswerReadiness(), AskEventNext()] == driver.calls(driver.done(key))

    def test_a_check_that_is_expected_and_never_made_does_not_hold_the_initialisation_for_ever(self) -> None:
        """The snapshot is let go without it, the log says so, and the next check is the restore."""
        driver = Driver(settings(restore_caller=ADAPTER, checks_before_snapshot=2))
        driver.handle(ReadinessAsked())
        key = driver.join()
        driver.app_ready_and_settled()
        assert SetTimer(TimerName.EVENT_NEXT, MISSING_CHECK_MS) in driver.done(key)
        assert [AskEventNext()] == driver.calls(driver.handle(TimerFired(TimerName.EVENT_NEXT)))
        assert driver.reported("warning") == ["check_missing"]
        driver.handle(ReadinessAsked())
        assert State.AFTER_RESTORE is driver.state

    def test_an_answer_that_nobody_was_there_to_get_does_not_count(self) -> None:
        """The adapter drops a check that takes too long, and repeats it: that is not the restore's."""
        driver = Driver(settings(restore_caller=ADAPTER))
        key = driver.join()
        driver.handle(ReadinessAsked())
        driver.app_ready_and_settled()
        driver.open_requests = 0
        assert [AnswerReadiness()] == driver.calls(driver.done(key))
        assert AskEventNext() not in driver.log
        driver.open_requests = 1
        assert [AnswerReadiness(), AskEventNext()] == driver.calls(driver.handle(ReadinessAsked()))
        assert State.SNAPSHOT is driver.state
        driver.handle(ReadinessAsked())
        assert State.AFTER_RESTORE is driver.state

    def test_an_answer_that_nobody_got_lets_nothing_go_however_long_the_repetition_takes(self) -> None:
        """The last check was made: after event/next its repetition would be taken for the restore."""
        driver = Driver(settings(restore_caller=ADAPTER, checks_before_snapshot=2))
        key = driver.join()
        driver.handle(ReadinessAsked())
        driver.app_ready_and_settled()
        driver.done(key)
        driver.open_requests = 0
        assert [AnswerReadiness()] == driver.calls(driver.handle(ReadinessAsked()))
        driver.pass_ms(2 * MISSING_CHECK_MS)
        assert State.BEFORE_SNAPSHOT is driver.state
        driver.open_requests = 1
        assert [AnswerReadiness(), AskEventNext()] == driver.calls(driver.handle(ReadinessAsked()))
        assert driver.machine.generation == 0

    def test_a_check_that_was_dropped_is_not_taken_for_one_that_is_never_made(self) -> None:
        """The adapter repeats it, in its own time."""
        driver = Driver(settings(restore_caller=ADAPTER, checks_before_snapshot=2))
        key = driver.join()
        driver.handle(ReadinessAsked())
        driver.app_ready_and_settled()
        driver.handle(ReadinessAsked())
        driver.handle(ReadinessHungUp(0))
        driver.done(key)
        driver.pass_ms(2 * MISSING_CHECK_MS)
        assert driver.reports("check_missing") == []
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_a_first_check_that_comes_after_the_hooks_may_be_the_only_one(self) -> None:
        """The adapter promises two checks, and the first is made when the hooks are already done."""
        driver = Driver(settings(restore_caller=ADAPTER, checks_before_snapshot=2))
        key = driver.join()
        driver.app_ready_and_settled()
        driver.done(key)
        assert TimerName.EVENT_NEXT not in driver.timers
        driver.pass_ms(3000)
        assert [AnswerReadiness()] == driver.calls(driver.handle(ReadinessAsked()))
        driver.pass_ms(MISSING_CHECK_MS - 1)
        assert AskEventNext() not in driver.log
        driver.pass_ms(1)
        assert AskEventNext() in driver.log

    def test_while_the_check_does_not_come_the_log_and_the_status_say_so(self) -> None:
        """An adapter that is not there, say: init must not wait in silence."""
        driver = Driver(settings(restore_caller=ADAPTER))
        key = driver.join()
        driver.app_ready_and_settled()
        driver.done(key)
        driver.pass_ms(3 * WAITING_EVERY_MS)
        messages = [str(fields["message"]) for fields in driver.reports("waiting")]
        assert len(messages) == 3
        assert "the web adapter's readiness check has not come" in messages[0]
        assert "readiness check" in driver.machine.describe()["waiting"]
        driver.handle(ReadinessAsked())
        assert driver.machine.describe()["waiting"] is None
        assert driver.timers == {}

    def test_processes_that_come_and_go_do_not_put_off_what_is_done_about_a_missing_check(self) -> None:
        """Nor is it done while one of them runs its hooks."""
        driver = Driver(settings(restore_caller=ADAPTER, checks_before_snapshot=2))
        driver.handle(ReadinessAsked())
        driver.app_ready_and_settled()
        for _ in range(5):
            key = driver.join()
            driver.pass_ms(MISSING_CHECK_MS / 5)
            assert AskEventNext() not in driver.log
            driver.done(key)
        driver.pass_ms(0)
        assert AskEventNext() in driver.log

    def test_one_that_joins_while_the_check_is_awaited_has_a_budget_of_its_own(self) -> None:
        """That of the others is used up, and its timer has been cancelled."""
        driver = Driver(settings(restore_caller=ADAPTER))
        driver.app_ready_and_settled()
        driver.pass_ms(100_000)
        late = driver.join(pid=77)
        assert driver.told(late)[0].timeout_ms == 60_000
        driver.pass_ms(59_999)
        assert State.BEFORE_SNAPSHOT is driver.state
        driver.pass_ms(1)
        assert "process 77" in driver.failure.message

    def test_a_check_whose_sender_has_hung_up_is_not_held_any_more(self) -> None:
        """The snapshot waits for the next one."""
        driver = Driver(settings(restore_caller=ADAPTER))
        driver.handle(ReadinessAsked())
        driver.handle(ReadinessHungUp(0))
        assert driver.calls(driver.app_ready_and_settled()) == []
        assert [AnswerReadiness(), AskEventNext()] == driver.calls(driver.handle(ReadinessAsked()))

    def test_one_that_is_still_held_when_another_hangs_up_is_answered(self) -> None:
        """The adapter has repeated its check before we saw that it had dropped the first."""
        driver = Driver(settings(restore_caller=ADAPTER))
        driver.handle(ReadinessAsked())
        driver.handle(ReadinessAsked())
        driver.handle(ReadinessHungUp(1))
        assert [AnswerReadiness(), AskEventNext()] == driver.calls(driver.app_ready_and_settled())

    def test_after_a_missing_check_the_restores_is_held_however_often_it_is_made(self) -> None:
        """It is not one of those that we had expected before."""
        driver = Driver(settings(restore_caller=ADAPTER, checks_before_snapshot=3))
        driver.handle(ReadinessAsked())
        key = driver.join()
        driver.app_ready_and_settled()
        driver.done(key)
        driver.pass_ms(MISSING_CHECK_MS)
        driver.handle(ReadinessAsked())
        driver.handle(ReadinessHungUp(0))
        assert driver.calls(driver.handle(ReadinessAsked())) == []
        assert State.AFTER_RESTORE is driver.state

    def test_an_adapter_that_gives_up_after_the_restore_leaves_a_line_that_names_who_still_runs(self) -> None:
        """Its own time limit may be shorter than the hooks take."""
        driver = Driver(settings(restore_caller=ADAPTER))
        key = driver.join(pid=77, name="gunicorn")
        driver.app_ready_and_settled()
        driver.done(key)
        driver.handle(ReadinessAsked())
        driver.handle(ReadinessAsked())
        driver.hook_started(key, "app.reconnect")
        driver.now_ms += 3000
        driver.handle(ReadinessHungUp(0))
        assert driver.handle(ReadinessHungUp(0)) != []
        driver.done(key)
        assert driver.handle(ReadinessHungUp(0)) == []
        message, _ = [action.fields["message"] for action in driver.log if is_report(action, "readiness_hung_up")]
        assert "hook app.reconnect in process 77 (gunicorn)" in str(message)
        assert "3000 ms" in str(message)


class TestWhenTheAppIsComplete:
    """The boundary begins once the app is ready and its processes are all there."""

    def test_before_it_init_gives_up_when_its_time_is_over_and_looks_at_who_ends(self) -> None:
        """From its first moment on."""
        driver = Driver(settings())
        driver.pass_ms(119_999)
        assert len(driver.reports("waiting")) == 39
        assert driver.log.count(Look()) == 119
        assert State.INIT is driver.state
        driver.pass_ms(1)
        assert driver.failure_kind == ("Runtime.AppNotReady", 1, "init")

    def test_nothing_begins_before_the_app_is_ready(self) -> None:
        """Processes alone are not enough."""
        driver = Driver(settings(workers=1))
        driver.join()
        assert SetTimer(TimerName.SETTLE, driver.settings.settle_ms) not in driver.log

    def test_a_missing_worker_keeps_the_boundary_from_beginning(self) -> None:
        """SNAPEXT_WORKERS processes must have said hello."""
        driver = Driver(settings(workers=2))
        driver.join()
        assert SetTimer(TimerName.SETTLE, 500) not in driver.handle(AppReady())
        driver.join()
        assert SetTimer(TimerName.SETTLE, 500) in driver.log

    def test_a_preloading_master_is_no_worker(self) -> None:
        """It joins and runs its hooks, but it does not count towards SNAPEXT_WORKERS."""
        driver = Driver(settings(workers=2))
        driver.join(pid=10)
        driver.join(pid=11, parent_pid=10, forked=True)
        driver.handle(AppReady())
        assert SetTimer(TimerName.SETTLE, 500) not in driver.log
        driver.join(pid=12, parent_pid=10, forked=True)
        assert SetTimer(TimerName.SETTLE, 500) in driver.log

    def test_a_worker_that_dies_before_is_waited_for_again(self) -> None:
        """Its replacement takes its place."""
        driver = Driver(settings(workers=1))
        key = driver.join()
        driver.handle(AppReady())
        driver.handle(events.Left(key))
        assert CancelTimer(TimerName.SETTLE) in driver.log
        driver.join()
        driver.handle(TimerFired(TimerName.SETTLE))
        assert State.BEFORE_SNAPSHOT is driver.state

    @pytest.mark.parametrize("workers", [None, 1])
    def test_each_hello_and_each_new_hook_starts_the_settling_anew(self, workers: int | None) -> None:
        """A process says hello in the middle of its import; what it has still to register must not be missed."""
        driver = Driver(settings(workers=workers))
        key = driver.join()
        driver.handle(AppReady())
        assert SetTimer(TimerName.SETTLE, 500) in driver.handle(events.Said(key, Hooks(HookCounts(2, 2))))
        driver.join()
        assert SetTimer(TimerName.SETTLE, 500) == driver.log[-1]

    def test_an_app_that_forks_all_the_time_does_not_put_the_boundary_off_for_ever(self) -> None:
        """The settling ends after ten times its length, whatever still joins."""
        driver = Driver(settings(settle_ms=500))
        driver.now_ms += 1000
        driver.handle(AppReady())
        driver.now_ms += 4900
        driver.join()
        assert driver.log[-1] == SetTimer(TimerName.SETTLE, 100)

    def test_the_boundary_does_not_begin_before_every_client_has_had_time_to_find_us(self) -> None:
        """The app may be up before our socket is; its processes try again every 100 ms."""
        driver = Driver(settings(settle_ms=0))
        assert SetTimer(TimerName.SETTLE, 300) in driver.handle(AppReady())
        late = Driver(settings(settle_ms=0))
        late.handle(AppReady())
        late.now_ms += 1000
        late.join()
        assert SetTimer(TimerName.SETTLE, 0.0) == late.log[-1]

    def test_once_it_has_begun_nothing_settles_any_more(self) -> None:
        """Whatever joins."""
        driver = Driver(settings())
        driver.join()
        driver.app_ready_and_settled()
        late = driver.join(hooks=HookCounts(0, 0))
        driver.handle(events.Said(late, Hooks(HookCounts(1, 1))))
        driver.handle(events.Left(driver.join(hooks=HookCounts(0, 0))))
        assert TimerName.SETTLE not in driver.timers
        assert driver.handle(events.Looked(())) == []

    def test_an_app_without_any_linked_process_passes_with_a_warning(self) -> None:
        """Nothing is to be run, and somebody may wonder why."""
        driver = Driver(settings())
        driver.app_ready_and_settled()
        assert State.SNAPSHOT is driver.state
        assert "no_process_joined" in [action.event for action in driver.log if isinstance(action, Report)]

    @pytest.mark.parametrize(("app_ready", "said"), [(False, "answered 503"), (True, "1 of 3 processes")])
    def test_an_app_that_never_completes_fails_init_and_says_what_is_missing(self, app_ready: bool, said: str) -> None:
        """The person who reads it learns whether the app or a worker is missing."""
        driver = Driver(settings(workers=3))
        driver.join()
        if app_ready:
            driver.handle(AppReady())
        driver.handle(TimerFired(TimerName.READY))
        assert said in driver.failure.message
        assert (driver.failure.runtime_report, driver.failure.error_type) == ("init", "Runtime.AppNotReady")


class TestFailures:
    """Any failure fails closed and names the culprit."""

    def test_a_hook_that_raises_before_the_snapshot_fails_init(self) -> None:
        """With the managed runtime's error type and exit status."""
        driver = Driver(settings())
        driver.join()
        culprit = driver.join(pid=77, name="gunicorn")
        driver.app_ready_and_settled()
        driver.fail(culprit, "app.close_pool", "ValueError", "no pool")
        assert driver.failure_kind == ("Runtime.BeforeSnapshotError", 64, "init")
        assert "app.close_pool in process 77 (gunicorn)" in driver.failure.message
        assert "ValueError: no pool" in driver.failure.message
        assert AskEventNext() not in driver.log

    def test_a_hook_that_raises_after_the_restore_fails_the_restore(self) -> None:
        """And the gate never opens."""
        driver = Driver(settings())
        culprit = driver.join()
        driver.until_after_restore()
        driver.fail(culprit, "app.connect", "OSError", "refused")
        assert driver.failure_kind == ("Runtime.AfterRestoreError", 65, "restore")
        assert AnswerReadiness() not in driver.log

    @pytest.mark.parametrize("hook", [None, "app.connect"])
    def test_a_process_that_dies_with_hooks_to_run_fails_the_phase(self, hook: str | None) -> None:
        """Whether it had begun a hook or not: what it was to do has not been done."""
        driver = Driver(settings())
        culprit = driver.join(pid=5)
        driver.until_after_restore()
        if hook:
            driver.hook_started(culprit, hook)
        driver.now_ms += 30
        driver.handle(events.Left(culprit))
        assert "process 5" in driver.failure.message
        assert "30 ms" in driver.failure.message
        assert hook is None or hook in driver.failure.message

    def test_a_process_without_hooks_may_go_at_any_time(self) -> None:
        """No clone will contain it."""
        driver = Driver(settings())
        key = driver.join(hooks=HookCounts(0, 0))
        driver.app_ready_and_settled()
        driver.handle(events.Left(key))
        assert State.SNAPSHOT is driver.state

    def test_a_hook_that_hangs_is_named_when_the_budget_is_used_up(self) -> None:
        """So is the variable that sets the budget."""
        driver = Driver(settings(after_restore_timeout_ms=9000))
        culprit = driver.join(pid=5)
        driver.join(pid=6)
        driver.until_after_restore()
        driver.hook_started(culprit, "app.connect")
        driver.now_ms += 9000
        driver.handle(TimerFired(TimerName.PHASE))
        for part in (
            "app.connect",
            "process 5",
            "9000 ms",
            "SNAPEXT_AFTER_RESTORE_TIMEOUT_MS",
            "nor did hook (the first) in process 6",
        ):
            assert part in driver.failure.message

    def test_a_forked_child_that_ends_before_the_snapshot_is_no_failure(self) -> None:
        """A hook that closes a process pool ends its children; no clone will contain them."""
        driver = Driver(settings())
        driver.join()
        child = driver.join(pid=9, forked=True)
        driver.app_ready_and_settled()
        driver.done(1)
        driver.hook_started(child, "app.pool")
        driver.handle(events.Left(child))
        assert State.SNAPSHOT is driver.state
        (fields,) = driver.reports("process_ended")
        assert (fields["pid"], fields["state"], fields["hook"]) == (9, "before_snapshot", "app.pool")

    def test_after_the_restore_the_end_of_a_forked_process_is_one(self) -> None:
        """It is in the clone, and its state is stale."""
        driver = Driver(settings())
        child = driver.join(forked=True)
        driver.until_after_restore()
        driver.handle(events.Left(child))
        assert State.FAILED is driver.state

    def test_one_that_has_told_of_no_hook_and_dies_in_one_is_a_failure(self) -> None:
        """It has said that it began it."""
        driver = Driver(settings())
        key = driver.join(hooks=HookCounts(0, 0))
        driver.app_ready_and_settled()
        driver.hook_started(key, "app.hook")
        driver.handle(events.Left(key))
        assert "app.hook" in driver.failure.message

    def test_the_hook_on_the_board_is_named_and_decides_nothing(self) -> None:
        """It is asked for the generation of the phase; the counts alone say whether the process had hooks to run."""
        driver = Driver(settings())
        key, other = driver.join(pid=10), driver.join(pid=11, hooks=HookCounts(0, 0))
        driver.board = {(10, 0): "app.close", (10, 1): "app.open", (11, 1): "app.idle"}
        driver.app_ready_and_settled()
        assert [p["running"] for p in driver.machine.describe()["processes"].values()] == [
            "hook app.close",
            "hook (the first)",
        ]
        driver.done(key)
        assert driver.machine.describe()["processes"][key]["running"] is None
        driver.done(other)
        driver.handle(RestoreReturned(200, ""))
        driver.handle(events.Left(other))
        assert driver.state is State.AFTER_RESTORE
        driver.handle(events.Left(key))
        assert driver.failure.error is not None
        assert driver.failure.error.hook == "app.open"
        assert "after_restore hook app.open ran" in driver.failure.message

    def test_a_hook_that_was_said_is_named_before_one_on_the_board(self) -> None:
        """A process that got no descriptor says what runs, and its line stays as it was."""
        driver = Driver(settings())
        key = driver.join(pid=10)
        driver.board = {(10, 0): "app.older"}
        driver.app_ready_and_settled()
        driver.hook_started(key, "app.close")
        driver.pass_ms(60_000)
        assert "hook app.close in process 10 (app) did not finish" in driver.failure.message

    def test_a_failure_without_a_reason_is_one(self) -> None:
        """A client in another language may leave it out."""
        driver = Driver(settings())
        key = driver.join()
        driver.app_ready_and_settled()
        driver.handle(events.Said(key, Done(driver.told(key)[-1].id, False, 7.0)))
        assert "gave no reason" in driver.failure.message
        assert driver.reported("error") == ["before_snapshot"]

    def test_a_process_that_only_lost_its_connection_may_come_back(self) -> None:
        """It is waited for and told again; it answers without running anything twice."""
        driver = Driver(settings())
        key = driver.join(pid=9)
        driver.until_after_restore()
        driver.handle(events.Left(key, alive=True))
        assert State.AFTER_RESTORE is driver.state
        back = driver.join(pid=9)
        driver.done(back)
        assert State.READY is driver.state

    def test_a_process_whose_answer_was_lost_and_that_comes_back_mended_ends_the_phase(self) -> None:
        """Its generation says that its hooks are done; nobody else is waited for, so the gate opens."""
        driver = Driver(settings())
        key = driver.join(pid=9)
        driver.until_after_restore()
        driver.handle(events.Left(key, alive=True))
        assert AnswerReadiness() not in driver.log
        driver.join(pid=9, generation=1)
        assert State.READY is driver.state
        assert driver.log.count(AnswerReadiness()) == 1

    def test_a_process_that_is_killed_loses_its_connection_first(self) -> None:
        """Its end is heard of a moment later, and fails the phase at once."""
        driver = Driver(settings())
        key = driver.join(pid=9)
        driver.until_after_restore()
        driver.handle(events.Left(key, alive=True))
        driver.handle(events.Left(key))
        assert "process 9 (app) ended" in driver.failure.message

    def test_a_process_that_lost_its_connection_and_stays_away_fails_the_phase(self) -> None:
        """At the end of the budget, by name."""
        driver = Driver(settings())
        key = driver.join(pid=9)
        driver.until_after_restore()
        driver.handle(events.Left(key, alive=True))
        driver.handle(TimerFired(TimerName.PHASE))
        assert "process 9" in driver.failure.message

    def test_a_budget_that_ends_right_after_the_last_answer_ends_nothing(self) -> None:
        """The timer may be due at the same moment."""
        driver = Driver(settings())
        key = driver.join()
        driver.until_after_restore()
        driver.done(key)
        assert driver.handle(TimerFired(TimerName.PHASE)) == []
        assert State.READY is driver.state

    def test_a_process_that_is_turned_away_fails_the_boundary(self) -> None:
        """Its hooks would be passed over in silence otherwise."""
        driver = Driver(settings())
        driver.handle(events.Crowded(900))
        assert driver.failure_kind == ("Runtime.TooManyProcesses", 1, "init")

    @pytest.mark.parametrize(("status", "said"), [(403, "AWS_LWA_ASYNC_INIT"), (404, "SnapStart"), (500, "documented")])
    def test_a_refused_restore_next_is_explained(self, status: int, said: str) -> None:
        """403 means that somebody else asked for an invocation first; the likely cause is named."""
        driver = Driver(settings())
        driver.app_ready_and_settled()
        driver.handle(RestoreReturned(status, "{}"))
        assert said in driver.failure.message
        assert "\n" not in driver.failure.message
        assert driver.failure.runtime_report is None

    def test_nothing_is_done_after_a_failure(self) -> None:
        """Whatever comes, the end has been reported once."""
        driver = Driver(settings())
        key = driver.join()
        driver.until_after_restore()
        driver.fail(key, "h", "E", "m")
        before = len(driver.log)
        for event in (AppReady(), ReadinessAsked(), events.Left(key)):
            driver.handle(event)
        driver.join()
        assert before == len(driver.log)

    @pytest.mark.parametrize("end", [ShutdownAsked("failure", 2000), TimerFired(TimerName.END)], ids=["told", "timer"])
    def test_after_a_failed_restore_our_own_report_waits_for_the_shutdown(self, end: events.Event) -> None:
        """The platform would take it for the first fatal error, in place of the hook's; it does not wait for ever."""
        driver = Driver(settings())
        key = driver.join()
        driver.until_after_restore()
        driver.fail(key, "h", "E", "m")
        assert SetTimer(TimerName.END, SHUTDOWN_WAIT_MS) in driver.log
        assert not [action for action in driver.log if isinstance(action, End)]
        assert [End(driver.failure)] == driver.handle(end)
        assert driver.handle(end) == []

    def test_a_failed_initialisation_ends_the_extension_at_once(self) -> None:
        """The platform ends it only when a process exits."""
        driver = Driver(settings())
        key = driver.join()
        driver.app_ready_and_settled()
        driver.fail(key, "h", "E", "m")
        assert driver.log[-1] == End(driver.failure)


class TestLateProcesses:
    """Who joins when, and what it is told (invariant 3)."""

    def test_one_that_joins_during_the_before_hooks_runs_them_too(self) -> None:
        """And the snapshot waits for it."""
        driver = Driver(settings())
        first = driver.join()
        driver.app_ready_and_settled()
        late = driver.join()
        driver.done(first)
        assert State.BEFORE_SNAPSHOT is driver.state
        assert [BeforeSnapshot] == [type(message) for message in driver.told(late)]

    def test_one_that_joins_while_the_snapshot_is_taken_runs_the_after_hooks_with_the_others(self) -> None:
        """Its before-snapshot hooks cannot run in time any more, and the log says so."""
        driver = Driver(settings())
        driver.app_ready_and_settled()
        late = driver.join()
        assert "joined_too_late" in [action.event for action in driver.log if isinstance(action, Report)]
        driver.handle(RestoreReturned(200, ""))
        assert [AfterRestore] == [type(message) for message in driver.told(late)]
        driver.done(late)
        assert State.READY is driver.state

    @for_each("when", ["after_restore", "ready"])
    @for_each(
        "process, owed",
        [
            (HookedProcess(start_ticks=0, forked=False, generation=0), True),
            (HookedProcess(start_ticks=99, forked=False, generation=0), False),
            (HookedProcess(start_ticks=99, forked=True, generation=0), True),  # of an image from before
            (HookedProcess(start_ticks=99, forked=True, generation=1), False),
            # In the tick of the restore the pid decides: 5000 was the youngest that there was.
            (HookedProcess(start_ticks=10, forked=False, generation=0, pid=4000), True),
            (HookedProcess(start_ticks=10, forked=False, generation=0, pid=5000), True),
            (HookedProcess(start_ticks=10, forked=False, generation=0, pid=5001), False),
        ],
    )
    def test_a_process_that_joins_after_the_restore_gets_what_it_owes(
        self, when: str, process: HookedProcess, owed: bool
    ) -> None:
        """Those that hold state from before the snapshot run their after-restore hooks at once, others nothing."""
        driver = Driver(settings(), boot_ticks=10)
        first = driver.join()
        driver.until_after_restore()
        if when == "ready":
            driver.done(first)
        key = driver.join(
            pid=process.pid, start_ticks=process.start_ticks, forked=process.forked, generation=process.generation
        )
        assert ([AfterRestore] if owed else []) == [type(message) for message in driver.told(key)]
        welcome = driver.messages(key)[0]
        assert isinstance(welcome, Welcome)
        assert (0 if owed else 1) == welcome.generation

    def test_a_late_process_whose_hook_fails_ends_the_environment(self) -> None:
        """The Runtime API takes no restore error any more, so only the extension's exit is reported."""
        driver = Driver(settings())
        driver.until_after_restore()
        key = driver.join()
        driver.fail(key, "app.connect", "OSError", "refused")
        assert driver.failure_kind == ("Runtime.AfterRestoreError", 65, None)

    def test_a_late_process_that_hangs_ends_the_environment(self) -> None:
        """It has a budget of its own."""
        driver = Driver(settings())
        driver.until_after_restore()
        driver.pass_ms(5000)
        driver.join()
        driver.pass_ms(8999)
        assert State.READY is driver.state
        driver.pass_ms(1)
        assert driver.failure_kind == ("Runtime.AfterRestoreError", 65, None)
        assert "9000 ms" in driver.failure.message

    def test_a_late_process_that_answers_is_waited_for_no_more(self) -> None:
        """Its budget ends with that."""
        driver = Driver(settings())
        driver.until_after_restore()
        driver.done(driver.join())
        assert TimerName.PHASE not in driver.timers

    def test_a_second_late_process_takes_nothing_from_the_first(self) -> None:
        """The hook that hangs in the first is still named, and its death is still a failure."""
        driver = Driver(settings())
        driver.until_after_restore()
        first = driver.join(pid=77)
        driver.now_ms += 8000
        assert driver.told(driver.join(pid=78))[0].timeout_ms == 9000
        driver.hook_started(first, "app.connect")
        driver.handle(events.Left(first))
        assert "process 77 (app) ended while its after_restore hook app.connect ran, 8000 ms" in driver.failure.message


class TestAnswersThatWereNotAsked:
    """A process cannot move the boundary by what it says out of turn."""

    @pytest.mark.parametrize("offset", [-1, 1])
    def test_an_answer_with_another_id_counts_for_nothing(self, offset: int) -> None:
        """Nor does one from before the phase."""
        driver = Driver(settings())
        key = driver.join()
        driver.app_ready_and_settled()
        driver.done(key, id_offset=offset)
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_a_second_answer_counts_for_nothing(self) -> None:
        """The other process is still waited for."""
        driver = Driver(settings())
        key = driver.join()
        driver.join()
        driver.app_ready_and_settled()
        driver.done(key)
        driver.done(key)
        assert State.BEFORE_SNAPSHOT is driver.state

    def test_the_names_of_its_hooks_move_nothing(self) -> None:
        """They answer a command."""
        driver = Driver(settings())
        key = driver.join()
        driver.app_ready_and_settled()
        assert driver.handle(events.Said(key, Described(1, ("app.close",), ("app.open",)))) == []


@pytest.mark.parametrize("stage", ["init", "before_snapshot", "after_restore"])
def test_shutdown_reaches_every_process_and_ends_the_extension(stage: str) -> None:
    """With the reason and the time left, in whatever state the environment is."""
    driver = Driver(settings())
    keys = [driver.join(), driver.join()]
    if stage == "before_snapshot":
        driver.app_ready_and_settled()
    elif stage == "after_restore":
        driver.until_after_restore()
    actions = driver.handle(ShutdownAsked("spindown", 1500))
    assert all(driver.messages(key)[-1] == Shutdown("spindown", 1500) for key in keys)
    assert Stop() == actions[-1]
    assert not [action for action in actions if isinstance(action, Fail)]


class TestTheShortWay:
    """What a restore does not wait for is not made, and an answer is taken without an event."""

    def life(self, driver: Driver) -> list[events.Action]:
        """One process joins, registers a hook, and runs both phases; then the environment ends."""
        key = driver.join()
        driver.handle(events.Said(key, Hooks(HookCounts(2, 1))))
        driver.until_after_restore()
        driver.done(key)
        driver.handle(ShutdownAsked("spindown", 2000))
        return driver.log

    def test_a_log_without_debug_lines_gets_none_and_all_else_stays(self) -> None:
        """The lines are left out before they are made, and the boundary is the same."""
        full, quiet = self.life(Driver(settings())), self.life(Driver(settings(debug=False)))
        debug = [action for action in full if isinstance(action, Report) and action.level == "debug"]
        assert {action.event for action in debug} >= {"process_joined", "hooks_changed", "restore", "shutdown"}
        assert [action for action in full if action not in debug] == quiet

    def test_an_answer_that_comes_as_an_event_means_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`answered` is handle(Said(...)) without the event."""
        short = self.life(Driver(settings()))
        monkeypatch.setattr(Driver, "hand_in", lambda self, event: self.machine.handle(event, self.now_ms))
        assert self.life(Driver(settings())) == short

    def test_an_answer_after_the_end_changes_nothing(self) -> None:
        """The environment is being shut down: nothing waits for it."""
        driver = Driver(settings())
        key = driver.join()
        driver.until_after_restore()
        driver.handle(ShutdownAsked("spindown", 2000))
        assert driver.done(key) == []
        assert State.SHUTDOWN is driver.state

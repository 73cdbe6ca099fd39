"""The boundary as a state machine: events in, actions out. No I/O, no clock, no threads.

The extension holds one thing, the moment at which the runtime may say "ready", and this module decides when to let go:

    INIT             the app starts; processes say hello
    BEFORE_SNAPSHOT  every process runs its before-snapshot hooks
    SNAPSHOT         nothing of ours holds the platform back: it takes the snapshot and, in each clone, restores it
    AFTER_RESTORE    every process runs its after-restore hooks
    READY            the boundary is behind, requests may come
    FAILED           reported to the platform; nothing more happens
    SHUTDOWN         the environment ends

TRANSITIONS (states.py) is every way from one to another, and `_move` the only place that takes one.
What ends INIT is the one difference between the modes: the app's own readiness when the gate is ours or when we only
observe, else a command that asks for a checkpoint; then no process may be missing (init.py). Who asks for restore/next
is the one difference between the adapters' generations (RestoreCaller). Below 1.1, and without an adapter, it is us:
restore/next first, event/next only when that was not refused, or a version would be published whose hooks never run.
From 1.1 on it is the adapter: event/next is asked when its last check before the snapshot has been answered, so no
snapshot can be older than that answer, and the next check is the restore's (checks.py). When we only observe it is
nobody that we know of: we hold event/next back, and the clock, the first invocation or the app shows the restore.

A process that lives and has lost its connection owes its hooks: the boundary waits for it until it comes back, ends, or
executes another program (roll.py, debts.py).

Members are told on the socket, or by a signal when they are not connected (signalling.py). The phase (phase.py) waits
for both kinds.

The module is long because it is one machine: each rule that depends on the state can be read here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from snapext.wire import messages
from snapext.wire.messages import AfterRestore, BeforeSnapshot, HookFailure, Message, Result, Welcome
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_extension.boundary import actions, debts, events, failures, reports
from snapext_extension.boundary.actions import AnswerReadiness, CancelTimer, Look, SetTimer, Tell, TimerName
from snapext_extension.boundary.checks import Checks
from snapext_extension.boundary.commands import Commands
from snapext_extension.boundary.events import Event, TimerFired
from snapext_extension.boundary.failures import EXIT_OTHER, Failure
from snapext_extension.boundary.init import Init
from snapext_extension.boundary.member import Key, Member, SignalledPid, counts
from snapext_extension.boundary.outbox import Outbox
from snapext_extension.boundary.phase import Phase
from snapext_extension.boundary.roll import Roll
from snapext_extension.boundary.settings import WAITING_EVERY_MS, Identity, RestoreCaller, Settings
from snapext_extension.boundary.signalling import SEARCH_AGAIN_MS, Search, Signalling
from snapext_extension.boundary.states import ENDED, TRANSITIONS, State, Trigger
from snapext_extension.boundary.straight import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snapext_extension.boundary.measures import Measures

MAX_ANSWER_CHARS = 4_000
MAX_NOT_LINKED = 20
REFUSAL_MS = 100
"""AWS's code refuses restore/next at once; what it does not refuse for this long, it has taken."""
SHUTDOWN_WAIT_MS = 2_000
"""After a failed restore SHUTDOWN comes by itself. Our own report before it would hide the hook's error."""


class Lifecycle:
    """The machine.

    identity: makes what is new after a restore; called once, at the restore.
    app_answer: says what the app answered to its last readiness check; called when it was never the right answer.
    hook_on_board: the hook that the process of that number has written on the board for that generation, if it has.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Callable[[], Identity],
        app_answer: Callable[[], str],
        hook_on_board: Callable[[int, int], str | None],
    ) -> None:
        self.state = State.INIT
        self._settings = settings
        self._make_identity = identity
        self._identity: Identity | None = None
        self._now_ms = 0.0
        self._outbox = Outbox()
        self._roll = Roll(self._outbox)
        self._commands = Commands()
        self._init = Init(settings, self._roll, self._commands, self._outbox, app_answer)
        self._phase = Phase(self._roll, self._outbox, hook_on_board)
        self._signalling = Signalling(enabled=settings.signals, acknowledged=settings.acknowledged)
        self._checks = Checks(settings.checks_before_snapshot)
        self._adapter_restores = settings.restore_caller is RestoreCaller.ADAPTER
        self._hooks_have_run = False  # those before the snapshot, in all members
        self._has_asked_event = self._has_asked_restore = False
        self._durations_ms: dict[str, float] = {}
        self._measures: Measures | None = None
        if settings.metrics:
            from snapext_extension.boundary.measures import Measures  # most functions have no metrics

            self._measures = Measures()
        self._hears_answers = settings.debug or settings.metrics
        self._awaits_shutdown: Failure | None = None
        self._is_silent = settings.observes  # the Runtime API takes no report of ours: the runtime waits in no restore

    def start(self, now_ms: float) -> list[actions.Action]:
        """The first actions. Without a boundary the platform is not held back for a moment."""
        self._now_ms = self._init.started_ms = now_ms
        if self._settings.held:
            self._init.wait()
        else:
            self._ask_event()
        return self._outbox.take()

    def handle(self, event: Event, now_ms: float) -> list[actions.Action]:
        """Take one event at `now_ms` (any monotonic clock) and return what is to be done, in order."""
        self._now_ms = now_ms
        if self._awaits_shutdown is not None:
            self._end_after_shutdown(event, self._awaits_shutdown)
        elif self.state not in ENDED:
            self._dispatch(event)
        return self._outbox.take()

    def answered(self, key: int, done: messages.Done, now_ms: float) -> Sequence[actions.Action]:
        """The same as handle(Said(key, done)), by a short way: a restore waits for each of them."""
        if self.state in ENDED:
            return self.handle(events.Said(key, done), now_ms)
        self._now_ms = now_ms
        member = self._roll.members.get(key)
        if member is not None:
            self._on_done(key, member, done)
        return self._outbox.take()

    def plan(self) -> Plan | None:
        """How a restore goes from here, if nothing is unusual about it; None where only events can tell."""
        settings, members = self._settings, self._roll.members
        if self.state is not State.SNAPSHOT or not self._has_asked_event or settings.signals or settings.observes:
            return None
        if self._commands.are_waiting or self._roll.waited_for or self._roll.anyone_is_away or not members:
            return None
        hooks, number = {key: members[key].hooks.after_restore for key in self._roll.on_socket()}, self._phase.id + 1
        return Plan(
            *(hooks, number, settings.after_restore_timeout_ms, self._adapter_restores),
            *(settings.debug, settings.metrics),
        )

    def answer_of_plan(self, key: int, done: messages.Done) -> actions.Report:
        """What the log says at the level `debug` of the answer of a member, while a plan is carried out."""
        return reports.answered(self._roll.members[key], AFTER_RESTORE, done)

    def measured_in_plan(self, answers: Iterable[tuple[int, messages.Done]]) -> dict[str, Any]:
        """What the log says for the metrics of the answers to a plan; to be called before `crossed`."""
        if self._measures is not None:
            self._measures.begin()
            for key, done in answers:
                self._measures.take(done, self._roll.members[key].hooks.after_restore)
        return self._measured

    def crossed(
        self, identity: Identity, began_ms: float, durations_ms: Mapping[Key, float], now_ms: float
    ) -> Sequence[actions.Action]:
        """A plan has been carried out, to its end or to where something unusual came: take over from there.

        durations_ms: how long the phase took in each member that has answered. If all have, the gate was answered.
        """
        self._now_ms = now_ms
        self._identity = identity
        timeout_ms = self._settings.after_restore_timeout_ms
        self.state = TRANSITIONS[self.state, Trigger.RESTORED]
        self._phase.went_straight(began_ms, timeout_ms, durations_ms)
        if self._roll.waited_for:
            return (SetTimer(TimerName.PHASE, max(0.0, began_ms + timeout_ms - now_ms)),)
        self.state = TRANSITIONS[self.state, Trigger.ALL_DONE]
        self._durations_ms["after_restore_ms"] = round(now_ms - began_ms, 3)
        return ()

    def describe(self) -> dict[str, Any]:
        """What `snapext status` tells; the keys of `processes` are those of the members."""
        return {
            "phase": self.state.value,
            "generation": self.generation,
            "environment_id": self.environment_id,
            "processes": {
                key: member.describe(self._phase.hook_of(member)) for key, member in self._roll.members.items()
            },
            "boundary": dict(self._durations_ms),
            "waiting": self._why_waiting(),
            "not_linked": [
                {"pid": s.process.pid, "name": s.process.name, "cause": s.cause, "remedy": s.remedy}
                for s in self._init.unlinked()[:MAX_NOT_LINKED]
            ],
        }

    def is_watched(self, key: Key) -> bool:
        """Whether the end of a process that has hung up is still worth knowing."""
        return self._roll.is_watched(key)

    @property
    def generation(self) -> int:
        return 0 if self._identity is None else 1

    @property
    def environment_id(self) -> str | None:
        return None if self._identity is None else self._identity.environment_id

    def _dispatch(self, event: Event) -> None:
        match event:  # those of a restore come first
            case events.Said(key, message):
                self._on_said(key, message)
            case events.RestoreReturned(status, body):
                self._on_restore_returned(status, body)
            case events.ReadinessAsked():
                self._on_readiness_asked()
            case events.ReadinessAnswered(count):
                self._on_readiness_answered(count)
            case events.Joined():
                self._on_joined(event)
            case events.Left():
                self._on_left(event)
            case TimerFired(timer):
                self._on_timer(timer)
            case events.AppReady():
                self._on_app_ready()
            case events.Looked():
                if self.state is State.INIT and self._init.is_over_after(event, self._now_ms):
                    self._begin()
            case events.ReadinessHungUp(still_held):
                self._on_readiness_hung_up(still_held)
            case events.CommandJoined(key, pid):
                self._commands.joined(key, pid)
                self._welcome(key, self.generation)
            case events.CommandLeft(key):
                self._commands.left(key)
            case events.SignalsSent():
                self._on_signals_sent(event)
            case events.SignalsFailed(reason):
                self._fail(failures.signals_failed(self._phase_name, reason, reportable=self._is_reportable))
            case events.Acknowledged():
                self._on_acknowledged(event)
            case events.Crowded(limit):
                self._on_crowded(limit)
            case events.RestoreSeen(by):
                self._on_restore_seen(by)
            case events.Invoked():
                self._on_invoked()
            case _:  # no event falls through: mypy takes only what is left of them
                self._on_shutdown_asked(event.reason, event.deadline_ms)

    # --- init ------------------------------------------------------------------------------------------------------

    def _on_app_ready(self) -> None:
        if self.state is not State.INIT or self._init.app_is_ready:
            return
        self._init.become_ready(self._now_ms)
        if not self._settings.boundary:
            self._move(Trigger.NO_BOUNDARY)
            self._outbox.do(AnswerReadiness())
        else:
            self._answer_early_check()
            self._outbox.do(Look())

    def _on_checkpoint(self, key: int) -> None:
        if not self._settings.boundary or self.state is State.READY:
            self._outbox.do(Tell(key, Result(True)))
        elif self._settings.gate:
            why = "the web adapter's readiness check holds the boundary already (gate mode): remove the checkpoint"
            self._outbox.do(Tell(key, Result(False, why, EXIT_OTHER)))
        else:
            self._commands.wait(key)
            if self._settings.observes and self.state is State.SNAPSHOT:
                self._ask_restore()  # nobody else holds what the command waits for
            if not self._init.app_is_ready:
                self._init.become_ready(self._now_ms)
                self._init.wait()
                self._outbox.do(Look())

    def _settle(self) -> None:
        if self.state is State.INIT:
            self._init.settle(self._now_ms)

    def _on_ready_timeout(self) -> None:
        failure = self._init.give_up(self._now_ms)
        if failure is not None:
            self._fail(failure)
        else:
            self._begin()

    def _begin(self) -> None:
        self._init.end()
        self._roll.strike_lost_without_hooks()
        if self._roll.lost():
            self._roll.watch_lost()
        self._move(Trigger.APP_COMPLETE)
        self._init.report_absent()
        self._begin_phase(self._settings.before_snapshot_timeout_ms)
        if not self._roll.members and not self._settings.signals:
            self._outbox.do(reports.nobody_joined())
        for key in self._roll.on_socket():
            self._tell_before_snapshot(key)
        self._find_signalled()
        self._end_phase_if_done()

    # --- processes join --------------------------------------------------------------------------------------------

    def _on_joined(self, event: events.Joined) -> None:
        hello, pid = event.hello, event.process.pid
        member = Member(event.process, event.parent_pid, hello.hooks, forked=hello.forked, importing=hello.importing)
        hooks_when_lost = self._roll.join(event.key, member, self._now_ms)
        came_by_signal = hello.signalled and self._roll.strike_signalled(pid)
        if came_by_signal:
            self._signalling.came_to_socket(pid, hooks_after_restore=hello.hooks.after_restore > 0)
        owed = debts.owes_after_restore(event, self._identity)
        member.warned_late = member.warned_late or bool(self.generation and not owed)  # it has nothing to be late for
        self._passes(member, hello.passed)
        if self._settings.debug:
            self._outbox.do(reports.joined(member))
        self._welcome(event.key, 0 if owed else self.generation)
        has_run_before = member.has_run(BEFORE_SNAPSHOT) or member.ran_in_parent
        more_before = hooks_when_lost is not None and hello.hooks.before_snapshot > hooks_when_lost.before_snapshot
        if more_before and has_run_before:
            self._registered_late(member, BEFORE_SNAPSHOT)  # while it was not connected
        if self.state is State.INIT:
            self._settle()
        elif self.state is State.BEFORE_SNAPSHOT:
            self._tell_before_snapshot(event.key)
        elif self.state is State.SNAPSHOT:
            if not has_run_before and (member.importing or member.hooks.before_snapshot):
                self._outbox.do(reports.joined_too_late(member, "before_snapshot hooks: the snapshot is being taken"))
        elif owed:
            self._catch_up(event.key, member, is_back=hooks_when_lost is not None)
        elif hooks_when_lost is not None or came_by_signal:
            self._end_phase_if_done()  # it had run its hooks, and only its answer was lost; or it has none to run

    def _welcome(self, key: int, generation: int) -> None:
        version, phase = messages.PROTOCOL_VERSION, self.state.value
        self._outbox.do(Tell(key, Welcome(version, phase, generation, self.environment_id, commands=messages.COMMANDS)))

    def _catch_up(self, key: int, member: Member, *, is_back: bool) -> None:
        """A process from before the snapshot joins after the restore: it is told at once."""
        if self.state is State.READY:
            if not is_back and (member.importing or member.total_hooks()):
                self._outbox.do(reports.joined_too_late(member, "before_snapshot hooks, and to be first"))
            if self._roll.waited_for:  # others are late as well, and still run theirs
                self._phase.renew_budget(self._settings.after_restore_timeout_ms, self._now_ms)
            else:
                self._begin_phase(self._settings.after_restore_timeout_ms)
        self._phase.tell(key, self._after_restore, self._now_ms)

    # --- what they say ---------------------------------------------------------------------------------------------

    def _on_said(self, key: int, message: Message) -> None:
        """A message of a type that means nothing here, or from a connection that is not on the roll, is ignored."""
        if isinstance(message, messages.Checkpoint):
            self._on_checkpoint(key)
            return
        if isinstance(message, messages.Restored):
            self._on_restored_said(key)
            return
        member = self._roll.members.get(key)
        if member is None:
            return
        match message:
            case messages.Done():
                self._on_done(key, member, message)
            case messages.Running():
                if message.id == self._phase.id and member.reached:
                    member.hook = message.hook
            case messages.Hooks():
                self._on_hooks(member, message)

    def _on_hooks(self, member: Member, message: messages.Hooks) -> None:
        hooks = message.hooks
        more_before = hooks.before_snapshot > member.hooks.before_snapshot
        more_after = hooks.after_restore > member.hooks.after_restore
        member.hooks, member.importing = hooks, message.importing
        self._passes(member, message.passed)
        self._report("debug", "hooks_changed", member, hooks=counts(hooks), passed=message.passed)
        self._settle()
        if more_before:
            self._registered_late(member, BEFORE_SNAPSHOT)
        if more_after:
            self._registered_late(member, AFTER_RESTORE)

    def _passes(self, member: Member, passed: int | None) -> None:
        """It says how many requests have passed: the first is one too many."""
        if passed and not member.passed:
            self._outbox.do(reports.passed(member))
        member.passed = passed

    def _registered_late(self, member: Member, phase: str) -> None:
        """A hook was registered. If it can never run we refuse the snapshot, as long as we can."""
        if not self._settings.boundary or not debts.is_too_late(member, phase, self._phase_name, self.state):
            return
        if self.state is State.BEFORE_SNAPSHOT:
            self._fail(failures.registered_too_late(member.process, phase, reportable=True))
        elif not member.warned_late:
            member.warned_late = True
            self._outbox.do(reports.registered_too_late(member, phase))

    def _on_done(self, key: Key, member: Member, done: messages.Done) -> None:
        if not member.pending or done.id != self._phase.id:
            return  # an answer to nothing that we asked, or a second one
        self._roll.answered(key)
        phase = self._phase_name
        member.durations_ms[phase] = done.duration_ms
        if self._hears_answers or not done.ok:
            self._hear_answer(member, phase, done)
        if not done.ok:
            error = done.error or HookFailure("Unknown", "the process gave no reason", "", None)
            self._fail(failures.raised(phase, member.process, error, done.duration_ms, reportable=self._is_reportable))
            return
        if done.registered is not None and getattr(member.hooks, phase) > done.registered:
            self._registered_late(member, phase)  # by another thread, when it had looked for the last time
        self._end_phase_if_done()

    def _hear_answer(self, member: Member, phase: str, done: messages.Done) -> None:
        if self._measures is not None:
            self._measures.take(done, getattr(member.hooks, phase) or int(member.signal is not None))
        if self._settings.debug or not done.ok:
            self._outbox.do(reports.answered(member, phase, done))

    @property
    def _measured(self) -> dict[str, Any]:
        return {} if self._measures is None else self._measures.fields()

    # --- processes leave -------------------------------------------------------------------------------------------

    def _on_left(self, event: events.Left) -> None:
        if not event.alive and (hung_up := self._roll.end_of_hung_up(event.key)) is not None:
            self._report_end(hung_up)
        member = self._roll.members.get(event.key)
        if member is None:
            return
        self._report("debug", "process_left", member, alive=event.alive)
        if not event.alive:
            self._roll.end(event.key)
            self._settle()
            self._on_ended(member)
        elif self._roll.has_another_link(event.key, member):
            self._roll.hang_up(event.key, is_end_of_interest=False)  # what it owes, it has been told there
            self._end_phase_if_done()
        elif self._is_owed(member):
            self._lose(member)
        else:
            self._roll.hang_up(event.key, is_end_of_interest=self.state is not State.READY)
            self._settle()
            self._end_phase_if_done()

    def _on_ended(self, member: Member) -> None:
        """A member has ended, or executes another program."""
        phase, hook = self._phase_name, self._phase.hook_of(member)
        match debts.end_of(member, phase, self.state):
            case debts.End.HARMLESS:
                self._report_end(member)
            case debts.End.SPARED:
                state = self.state.value
                self._outbox.do(reports.of_member("warning", "process_ended", member, state=state, hook=hook))
            case debts.End.IN_ITS_HOOKS:
                ran_ms, may_report, signal = self._now_ms - member.told_ms, self._is_reportable, member.signal
                died = failures.died(phase, member.process, hook, ran_ms, reportable=may_report, signal=signal)
                self._fail(died)
                return
        self._end_phase_if_done()

    def _report_end(self, member: Member) -> None:
        if self.state in debts.CROSSING:
            self._outbox.do(reports.ended(member, self._phase_name, self.state))

    def _is_owed(self, member: Member) -> bool:
        """A process that comes to the socket only when it is signalled hangs up by itself, once it has answered."""
        may_be_owed = self._settings.boundary and not self._signalling.is_visitor(member.process.pid)
        if not member.pending and not may_be_owed:
            return False
        return debts.owes_when_lost(member, self.state, is_restored=self._identity is not None)

    def _lose(self, member: Member) -> None:
        """Keep in mind what a process owes: until it comes back, ends, or executes another program."""
        member.lost_ms = self._now_ms
        self._settle()
        self._resume_phase()
        if self.state is not State.INIT:
            self._roll.watch_lost()

    def _on_crowded(self, limit: int) -> None:
        if self._settings.held or (self._settings.boundary and self._init.app_is_ready):
            self._fail(failures.crowded(limit, reportable=self.state in (State.INIT, State.BEFORE_SNAPSHOT)))

    # --- signals ---------------------------------------------------------------------------------------------------

    def _find_signalled(self) -> None:
        if not self._settings.signals:
            return
        on_socket = (self._roll.members[key].process.pid for key in self._roll.on_socket())
        self._outbox.do_all(self._signalling.find(self._phase_name, on_socket, self._commands.waiting_pids()))

    def _on_signals_sent(self, sent: events.SignalsSent) -> None:
        phase = self._phase_name
        actions = self._signalling.found(phase, sent)
        for process in sent.processes:
            member = self._phase.await_signalled(process, sent.signal, self._now_ms)
            self._report("debug", "process_signalled", member, phase=phase, signal=sent.signal)
        if sent.missing is not None:
            reason = f"{sent.missing} has hooks to run, and does not catch {sent.signal} any more"
            self._fail(failures.signals_failed(phase, reason, reportable=self._is_reportable))
            return
        self._outbox.do_all(actions)
        self._end_phase_if_done()

    def _on_acknowledged(self, event: events.Acknowledged) -> None:
        pid = self._signalling.nearest(event.pids)
        member = None if pid is None else self._roll.members.get(SignalledPid(pid))
        # What was begun before the restore answers what was asked before the snapshot, however late it comes.
        restored_ticks = 0 if self._identity is None else self._identity.boot_ticks
        is_stale = event.since_ticks is not None and event.since_ticks < restored_ticks
        if pid is None or member is None or not member.pending or is_stale:
            self._outbox.do_all(self._signalling.unasked(event.pids))
            return
        error = None if event.error is None else HookFailure("HandlerFailed", event.error, "", None)
        took_ms = round(self._now_ms - member.told_ms, 3)
        done = messages.Done(self._phase.id, error is None, took_ms, (), error)
        self._on_done(SignalledPid(pid), member, done)

    def _on_grace_over(self) -> None:
        """Nobody has said that they are done, and nobody will: they are not called done."""
        for key, member in self._roll.members.items():
            if member.signal is not None and member.pending:
                self._roll.answered(key)
                self._report("warning", "unconfirmed", member, phase=self._phase_name, signal=member.signal)
        self._end_phase_if_done()

    # --- phases ----------------------------------------------------------------------------------------------------

    @property
    def _phase_name(self) -> str:
        return BEFORE_SNAPSHOT if self._identity is None else AFTER_RESTORE

    @property
    def _is_reportable(self) -> bool:
        """Whether the Runtime API would still take an error: not once the runtime has asked for an invocation."""
        return self.state is not State.READY and not self._is_silent

    def _begin_phase(self, timeout_ms: int) -> None:
        self._signalling.begin_phase()
        if self._measures is not None:
            self._measures.begin()
        self._phase.begin(self.generation, timeout_ms, self._now_ms)

    def _tell_before_snapshot(self, key: int) -> None:
        serving = self._init.is_serving(self._roll.members[key], self._now_ms)
        self._resume_phase()
        self._phase.tell(
            key, lambda number, left_ms: BeforeSnapshot(number, self.generation, left_ms, serving), self._now_ms
        )

    def _after_restore(self, number: int, left_ms: int) -> AfterRestore:
        new = self._identity
        assert new is not None, "BUG: after_restore is told only after a restore"  # noqa: S101
        return AfterRestore(
            number, self.generation, left_ms, new.environment_id, new.restored_at, new.restored_monotonic
        )

    def _end_phase_if_done(self) -> None:
        search = self._signalling.search
        if search is Search.ASKED or self._roll.waited_for:
            return
        if self.state in (State.BEFORE_SNAPSHOT, State.AFTER_RESTORE) and search is not Search.OVER:
            if search is Search.AGAIN:
                self._find_signalled()
            return
        duration_ms = round(self._now_ms - self._phase.started_ms, 3)
        if self.state is State.BEFORE_SNAPSHOT:
            if not self._roll.lost():
                self._complete_before_snapshot(duration_ms)
        elif self.state is State.AFTER_RESTORE:
            self._outbox.do(CancelTimer(TimerName.PHASE))
            self._move(Trigger.ALL_DONE)
            self._outbox.do(AnswerReadiness())
            if self._commands.are_waiting:
                self._outbox.do_all(self._commands.answer(Result(True)))
            self._durations_ms["after_restore_ms"] = duration_ms
            self._report("info", "ready", processes=len(self._roll.members), duration_ms=duration_ms, **self._measured)
            self._ask_event()
        elif self.state is State.READY:
            self._outbox.do(CancelTimer(TimerName.PHASE))

    def _complete_before_snapshot(self, duration_ms: float) -> None:
        """Every hook has run: let go, or wait for the check whose answer lets go."""
        if (failure := self._init.hooks_are_lost()) is not None:
            self._fail(failure)
            return
        if not self._hooks_have_run:
            self._hooks_have_run = True
            self._outbox.do(CancelTimer(TimerName.PHASE))
            self._durations_ms["before_snapshot_ms"] = duration_ms
        if not self._adapter_restores:
            self._let_the_snapshot_be_taken()
        elif self._checks.held:
            self._answer_check()  # _on_readiness_answered goes on
        else:
            self._outbox.do_all(self._checks.wait_for_next(self._now_ms))

    def _resume_phase(self) -> None:
        """It was all but over, and nothing has been let go: a budget runs again."""
        if self._awaits_check:
            self._hooks_have_run = False
            self._phase.renew_budget(self._settings.before_snapshot_timeout_ms, self._now_ms)

    def _on_phase_timeout(self) -> None:
        late = self._phase.late(self._now_ms)
        if late:
            ran_ms = self._now_ms - self._phase.started_ms
            self._fail(failures.timed_out(self._phase_name, late, ran_ms, reportable=self._is_reportable))
        elif self._signalling.search is Search.PAUSED:
            # A process that is found then must not be waited for without end.
            self._outbox.do(SetTimer(TimerName.PHASE, SEARCH_AGAIN_MS))

    # --- the snapshot ----------------------------------------------------------------------------------------------

    @property
    def _awaits_check(self) -> bool:
        return self.state is State.BEFORE_SNAPSHOT and self._hooks_have_run

    def _let_the_snapshot_be_taken(self) -> None:
        self._move(Trigger.ALL_DONE)
        duration_ms = self._durations_ms["before_snapshot_ms"]
        self._report("info", "snapshot", processes=len(self._roll.members), duration_ms=duration_ms, **self._measured)
        if self._adapter_restores or (self._settings.observes and not self._commands.waiting_pids()):
            self._outbox.do(CancelTimer(TimerName.WAITING))
            self._ask_event()
        else:
            self._ask_restore()
            if not self._has_asked_event:
                self._outbox.do(SetTimer(TimerName.EVENT_NEXT, REFUSAL_MS))

    def _on_nothing_refused(self) -> None:
        """restore/next was not refused, or a check that we expected has not come."""
        if self.state is State.SNAPSHOT:
            self._ask_event()
        elif self._awaits_check and self._checks.expect_no_more():
            self._outbox.do(reports.check_missing(self._checks.answered))
            self._let_the_snapshot_be_taken()

    def _ask_event(self) -> None:
        if not self._has_asked_event:
            self._has_asked_event = True
            self._outbox.do(CancelTimer(TimerName.EVENT_NEXT))
            self._outbox.do(actions.AskEventNext())

    def _ask_restore(self) -> None:
        """Once: the platform refuses a second call, as an error of the runtime."""
        if not self._has_asked_restore:
            self._has_asked_restore = True
            self._outbox.do(actions.AskRestoreNext())

    # --- the web adapter's checks, and the restore -------------------------------------------------------------------

    def _on_readiness_asked(self) -> None:
        if self.state is State.READY:
            self._outbox.do(AnswerReadiness())
        elif self.state is State.SNAPSHOT and self._adapter_restores:
            self._restored()
        else:
            self._checks.asked()
            self._answer_early_check()
            self._end_phase_if_done()

    def _answer_early_check(self) -> None:
        """A check that is not the last one before the snapshot holds nothing back: event/next does."""
        if self._adapter_restores and self._init.app_is_ready and self._checks.early_is_held:
            self._answer_check()

    def _answer_check(self) -> None:
        self._checks.held = False
        self._outbox.do(AnswerReadiness())

    def _on_readiness_answered(self, count: int) -> None:
        """The answer counts when it was written to an open connection: the adapter drops a check that takes too long.

        No restore can come before event/next is asked, so a check that comes sooner is none of the restore's.
        """
        if count:
            self._checks.counted()
        if self._awaits_check:
            if self._checks.are_all_answered:
                self._let_the_snapshot_be_taken()
            else:
                self._outbox.do_all(self._checks.wait_for_next(self._now_ms))

    def _on_readiness_hung_up(self, still_held: int) -> None:
        self._checks.hung_up(still_held)
        if self._settings.boundary and self.state in (State.INIT, State.BEFORE_SNAPSHOT, State.AFTER_RESTORE):
            began_ms = self._init.started_ms if self.state is State.INIT else self._phase.started_ms
            self._outbox.do(reports.check_given_up(self.state, self._now_ms - began_ms, self._meanwhile()))

    def _on_restore_returned(self, status: int, body: str) -> None:
        if status != 200:
            self._fail(failures.restore_refused(status, body))
            return
        self._is_silent = False
        if self.state is State.SNAPSHOT:  # nothing has shown it before
            self._ask_event()
            self._restored()

    def _on_restore_seen(self, by: str) -> None:
        """Requests may come already: it is the middleware that holds them."""
        if self._settings.observes and self.state is State.SNAPSHOT:
            self._report("info", "restore_seen", by=by, message=f"the environment has been restored: {by}")
            self._restored()

    def _on_invoked(self) -> None:
        """The platform freezes or ends us once every extension asks for its next event: not while hooks run."""
        self._has_asked_event = False
        self._on_restore_seen("the first invocation came")
        if self.state is not State.AFTER_RESTORE:
            self._ask_event()

    def _on_restored_said(self, key: int) -> None:
        """The web adapter (1.1) has told the app, whose middleware tells us; it asks for no invocation before."""
        if self.state is State.READY:
            self._outbox.do(Tell(key, Result(True)))
        elif self.state is State.SNAPSHOT and (self._adapter_restores or self._settings.observes):
            self._commands.wait(key)
            self._is_silent = False
            self._report("debug", "restored_said")
            self._restored()
        elif self.state is State.AFTER_RESTORE:
            self._commands.wait(key)
            self._is_silent = False
            self._report("debug", "restored_said")
        else:
            why = f"no restore is expected in state {self.state.value}"
            self._outbox.do(Tell(key, Result(False, why, EXIT_OTHER)))

    def _restored(self) -> None:
        self._identity = self._make_identity()
        self._move(Trigger.RESTORED)
        self._begin_phase(self._settings.after_restore_timeout_ms)
        self._phase.tell_all(self._after_restore, self._now_ms)
        self._report("debug", "restore", environment_id=self.environment_id)
        self._find_signalled()
        self._end_phase_if_done()

    # --- time and the end ------------------------------------------------------------------------------------------

    def _on_timer(self, timer: TimerName) -> None:
        match timer:
            case TimerName.SETTLE if self.state is State.INIT:
                self._init.has_settled()
            case TimerName.LOOK if self.state is State.INIT:
                self._init.look_again()
            case TimerName.LOOK if self._roll.lost():
                self._roll.watch_lost()
                self._outbox.do(Look(lost_only=True))
                self._roll.report_lost(self._now_ms)
            case TimerName.WAITING if self.state in (State.INIT, State.BEFORE_SNAPSHOT):
                self._outbox.do(SetTimer(TimerName.WAITING, WAITING_EVERY_MS))
                if (why := self._why_waiting()) is not None:
                    self._outbox.do(reports.waiting(self._now_ms - self._init.started_ms, why))
            case TimerName.READY if self.state is State.INIT:
                self._on_ready_timeout()
            case TimerName.PHASE:
                self._on_phase_timeout()
            case TimerName.GRACE:
                self._on_grace_over()
            case TimerName.EVENT_NEXT:
                self._on_nothing_refused()
            case TimerName.SEARCH if self._signalling.end_pause():
                self._end_phase_if_done()

    def _why_waiting(self) -> str | None:
        """What init waits for, other than hooks that run."""
        if self.state is State.INIT and (self._settings.boundary or self._settings.gate):
            return self._init.waits_for(self._now_ms)[:MAX_ANSWER_CHARS]
        if self._awaits_check:
            return "every before-snapshot hook has run, and the web adapter's readiness check has not come"
        return None

    def _meanwhile(self) -> str:
        """The end of a sentence that says what the boundary waits for."""
        if self.state is State.INIT:
            return f", while init waits: {self._why_waiting()}"
        return self._phase.still_running(self._now_ms)

    def _on_shutdown_asked(self, reason: str, deadline_ms: int) -> None:
        if self._settings.held and self.state is not State.READY:
            self._outbox.do(reports.ended_in_the_middle(self.state, reason, self._meanwhile()))
        self._move(Trigger.SHUTDOWN)
        for key in self._roll.on_socket():
            self._outbox.do(Tell(key, messages.Shutdown(reason, deadline_ms)))
        self._outbox.do_all(self._commands.answer(Result(False, f"the environment ends: {reason}", EXIT_OTHER)))
        self._report("debug", "shutdown", reason=reason, deadline_ms=deadline_ms)
        self._outbox.do(actions.Stop())

    def _fail(self, failure: Failure) -> None:
        self._move(Trigger.FAILURE)
        self._outbox.do(actions.Fail(failure))
        answer = Result(False, failure.message[:MAX_ANSWER_CHARS], failure.exit_status)
        self._outbox.do_all(self._commands.answer(answer))
        if failure.runtime_report == "restore":
            # The platform prefers the first fatal error that it has stored: ours would hide the hook's.
            self._awaits_shutdown = failure
            self._outbox.do(SetTimer(TimerName.END, SHUTDOWN_WAIT_MS))
        else:
            self._outbox.do(actions.End(failure))

    def _end_after_shutdown(self, event: Event, failure: Failure) -> None:
        if isinstance(event, events.ShutdownAsked) or event == TimerFired(TimerName.END):
            self._awaits_shutdown = None
            self._outbox.do(actions.End(failure))

    def _report(self, level: str, event: str, member: Member | None = None, **fields: object) -> None:
        if level == "debug" and not self._settings.debug:
            return
        report = actions.Report(level, event, fields)
        self._outbox.do(report if member is None else reports.of_member(level, event, member, **fields))

    def _move(self, trigger: Trigger) -> None:
        self.state = TRANSITIONS[self.state, trigger]
        if self.state is State.READY:
            self._roll.forget_hung_up()
            self._outbox.do(actions.ForgetHungUp())

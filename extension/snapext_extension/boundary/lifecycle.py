"""The boundary as a state machine: events in, actions out. No I/O, no clock, no threads.

The extension holds one thing, the moment at which the runtime may say "ready", and this module decides when to let go:

    INIT             the app starts; processes say hello
    BEFORE_SNAPSHOT  every process runs its before-snapshot hooks
    SNAPSHOT         nothing of ours holds the platform back: it takes the snapshot and, in each clone, restores it
    AFTER_RESTORE    every process runs its after-restore hooks
    READY            the boundary is behind, requests may come
    FAILED           reported to the platform; nothing more happens
    SHUTDOWN         the environment ends

TRANSITIONS is every way from one to another, and `_move` the only place that takes one. docs/lifecycle.py draws it.
What ends INIT is the one difference between the modes: the app's own readiness when the gate is ours, else somebody
who asks for a checkpoint; then everyone who should be there has to be (attendance.py). Who asks for restore/next is the
one between the adapters' generations (RestoreCaller). Below 1.1, and without an adapter, it is us: restore/next first,
event/next only when that was not refused, or a version would be published whose hooks never run. From 1.1 on it is the
adapter: event/next is asked when its last check before the snapshot has been answered, so no snapshot can be older than
that answer, and the next check is the restore's.

A process that lives and has lost its connection owes its hooks: it is waited for until it comes back, ends, or executes
another program.

Processes are told on the socket, or by a signal when they are not on it (Ring). Both kinds are members of the phase.

The module is long because it is one machine: every rule of the boundary can be read here, and nowhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snapext.wire.messages import (
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Done,
    HookCounts,
    HookFailure,
    Message,
    Result,
    Shutdown,
    Welcome,
)
from snapext_extension.boundary.assembly import Assembly
from snapext_extension.boundary.attendance import Attendance
from snapext_extension.boundary.events import (
    Acknowledged,
    Action,
    AnswerReadiness,
    AppReady,
    AskEventNext,
    AskRestoreNext,
    CancelTimer,
    CheckpointAsked,
    CommandJoined,
    CommandLeft,
    Crowded,
    End,
    Event,
    Fail,
    ForgetTheQuiet,
    HooksChanged,
    HookStarted,
    Joined,
    Left,
    Look,
    Looked,
    PhaseDone,
    ReadinessAnswered,
    ReadinessAsked,
    ReadinessHungUp,
    Report,
    RestoreReturned,
    Ring,
    Rung,
    SetTimer,
    ShutdownAsked,
    SignalsFailed,
    Stop,
    Tell,
    TimerFired,
    TimerName,
)
from snapext_extension.boundary.failures import (
    AFTER_RESTORE,
    BEFORE_SNAPSHOT,
    EXIT_OTHER,
    MAX_NAMED,
    Failure,
    Late,
    app_not_ready,
    crowded,
    died,
    no_checkpoint,
    not_linked,
    not_ready,
    raised,
    registered_too_late,
    restore_refused,
    signals_failed,
    timed_out,
)
from snapext_extension.boundary.member import Member, counts


class State(enum.Enum):
    INIT = "init"
    BEFORE_SNAPSHOT = "before_snapshot"
    SNAPSHOT = "snapshot"
    AFTER_RESTORE = "after_restore"
    READY = "ready"
    FAILED = "failed"
    SHUTDOWN = "shutdown"


class Trigger(enum.Enum):
    APP_COMPLETE = "the app is ready and its processes have joined"
    NO_BOUNDARY = "the app is ready; the environment takes no snapshot"
    ALL_DONE = "every process is done"
    RESTORED = "the environment has been restored"
    FAILURE = "something failed"
    SHUTDOWN = "the platform says SHUTDOWN"


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.INIT, Trigger.APP_COMPLETE): State.BEFORE_SNAPSHOT,
    (State.INIT, Trigger.NO_BOUNDARY): State.READY,
    (State.BEFORE_SNAPSHOT, Trigger.ALL_DONE): State.SNAPSHOT,
    (State.SNAPSHOT, Trigger.RESTORED): State.AFTER_RESTORE,
    (State.AFTER_RESTORE, Trigger.ALL_DONE): State.READY,
    (State.INIT, Trigger.FAILURE): State.FAILED,
    (State.BEFORE_SNAPSHOT, Trigger.FAILURE): State.FAILED,
    (State.SNAPSHOT, Trigger.FAILURE): State.FAILED,
    (State.AFTER_RESTORE, Trigger.FAILURE): State.FAILED,
    (State.READY, Trigger.FAILURE): State.FAILED,
    (State.INIT, Trigger.SHUTDOWN): State.SHUTDOWN,
    (State.BEFORE_SNAPSHOT, Trigger.SHUTDOWN): State.SHUTDOWN,
    (State.SNAPSHOT, Trigger.SHUTDOWN): State.SHUTDOWN,
    (State.AFTER_RESTORE, Trigger.SHUTDOWN): State.SHUTDOWN,
    (State.READY, Trigger.SHUTDOWN): State.SHUTDOWN,
}

MAX_SETTLES = 10
"""The settling is started anew by whatever joins, but ends after so many times its length."""
MIN_LISTEN_MS = 300
"""A client that finds nobody tries again after at most 100 ms."""
LOOK_AGAIN_MS = 20
MAX_LOOKS = 5
"""A program that forks all the time always has young children. Whoever was one at first is none at the last look."""
MAX_UNASKED = 10
MAX_ANSWER_CHARS = 4_000
MAX_NOT_LINKED = 20
GRACE_MS = 200
"""For those that cannot say when they are done."""
LOOK_EVERY_MS = 100
LOOK_SHARE = 10
"""Looks take a tenth of the time at most: under a CPU limit they would take it from the imports that they wait for."""
EARLY_LOOK_EVERY_MS = 1_000
"""Before the app is ready a look counts only who has ended."""
WAITING_EVERY_MS = 3_000
REFUSAL_MS = 100
"""AWS's code refuses restore/next at once; what it does not refuse for this long, it has taken."""
MISSING_CHECK_MS = 5_000
"""An adapter that makes one check fewer than its binary says must not hold the initialisation for ever."""
SHUTDOWN_WAIT_MS = 2_000
"""After a failed restore SHUTDOWN comes by itself. Our own report before it would hide the hook's error."""

ENDED = frozenset({State.FAILED, State.SHUTDOWN})


class RestoreCaller(enum.Enum):
    """Who asks the platform for restore/next."""

    EXTENSION = "extension"
    ADAPTER = "adapter"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the machine needs to know. Times are in milliseconds.

    boundary: whether there is one: a SnapStart environment.
    gate: the web adapter's readiness check is ours to answer, and with it the moment.
    held: the platform is to wait for us. Without it, a checkpoint may come or not, and no snapshot waits for one.
    signals: who catches the signals is told as well; `acknowledged`: and has to say when it is done.
    checks_before_snapshot: how many readiness checks an adapter that asks for restore/next makes before it does.
    workers: how many processes must have joined; 0: nobody is missing, whatever a look shows; None: looks decide.
    """

    boundary: bool
    gate: bool
    held: bool
    signals: bool
    acknowledged: bool
    restore_caller: RestoreCaller
    checks_before_snapshot: int
    workers: int | None
    settle_ms: int
    ready_timeout_ms: int
    before_snapshot_timeout_ms: int
    after_restore_timeout_ms: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What is made anew after a restore, and what tells older processes from younger ones.

    boot_ticks: when it was, in clock ticks since boot. last_pid: the youngest process there was then.
    """

    environment_id: str
    restored_at: float
    boot_ticks: int
    last_pid: int


class Lifecycle:
    """The machine.

    identity: makes what is new after a restore; called once, at the restore.
    app_answer: says what the app answered to its last readiness check; called when it was never the right answer.
    """

    def __init__(self, settings: Settings, identity: Callable[[], Identity], app_answer: Callable[[], str]) -> None:
        self.state = State.INIT
        self.generation = 0
        self.environment_id: str | None = None
        self._settings = settings
        self._make_identity = identity
        self._app_answer = app_answer
        self._identity: Identity | None = None
        self._members: dict[int, Member] = {}  # by connection, or by -pid for who is told by signal
        self._callers: dict[int, int] = {}
        self._known: set[int] = set()  # pids of all that have joined, and neither ended nor executed another program
        self._hung_up: dict[int, Member] = {}  # members that hung up, live, and owe nothing
        self._waiting: list[int] = []
        self._rung: set[int] = set()
        self._ringing = False
        self._rung_ever = False
        self._rings_end = True
        self._looks = 0
        self._look_is_due = False
        self._by_signal: set[int] = set()  # told by signal, whether or not they are on the socket as well
        self._expected: set[int] = set()  # on the socket only when they are signalled, with hooks for the restore
        self._unasked = 0
        self._asked_event = False
        self._attendance = Attendance(settings.settle_ms)
        self._assembly = Assembly(settings.workers, self._members, self._callers, self._known, self._attendance)
        self._settled = False
        self._serving: set[int] = set()  # pids that seem to import, and were let go when init had waited long enough
        self._ended_so_far = 0
        self._phase_complete = False
        self._checks_expected = settings.checks_before_snapshot
        self._awaits_shutdown: Failure | None = None
        self._actions: list[Action] = []
        self._now_ms = 0.0
        self._app_ready = False
        self._started_ms = 0.0
        self._settle_started_ms: float | None = None
        self._check_held = False
        self._check_unanswered = False  # the adapter repeats one that it has dropped
        self._check_awaited_ms: float | None = None
        self._checks_answered = 0
        self._deadline_ms = 0.0
        self._phase_started_ms = 0.0
        self._last_id = 0
        self._boundary: dict[str, float] = {}
        self._last_pending = 0

    def start(self, now_ms: float) -> list[Action]:
        """The first actions. Without a boundary the platform is not held back for a moment."""
        self._now_ms = self._started_ms = now_ms
        if self._settings.held:
            self._wait_for_init()
        else:
            self._ask_event()
        return self._take_actions()

    def handle(self, event: Event, now_ms: float) -> list[Action]:
        """Take one event at `now_ms` (any monotonic clock) and return what is to be done, in order."""
        self._now_ms = now_ms
        if self._awaits_shutdown is not None:
            self._end_after_shutdown(event, self._awaits_shutdown)
        elif self.state not in ENDED:
            handler: Callable[[Event], None] = _HANDLERS[type(event)].__get__(self)
            handler(event)
        return self._take_actions()

    def describe(self) -> dict[str, Any]:
        """What `snapext status` tells; the keys of `processes` are those of the members."""
        return {
            "phase": self.state.value,
            "generation": self.generation,
            "environment_id": self.environment_id,
            "processes": {key: member.describe() for key, member in self._members.items()},
            "boundary": dict(self._boundary),
            "waiting": self._why_waiting(),
            "not_linked": [
                {"pid": s.process.pid, "name": s.process.name, "cause": s.cause, "remedy": s.remedy}
                for s in self._assembly.unlinked()[:MAX_NOT_LINKED]
            ],
        }

    # --- init ------------------------------------------------------------------------------------------------------

    def _on_app_ready(self, _event: AppReady) -> None:
        if self.state is not State.INIT or self._app_ready:
            return
        self._app_ready = True
        if not self._settings.boundary:
            self._move(Trigger.NO_BOUNDARY)
            self._do(AnswerReadiness())
        else:
            self._answer_early_check()
            self._do(Look())

    def _on_command_joined(self, event: CommandJoined) -> None:
        self._callers[event.key] = event.pid
        self._do(Tell(event.key, Welcome(PROTOCOL_VERSION, self.state.value, self.generation, self.environment_id)))

    def _on_command_left(self, event: CommandLeft) -> None:
        self._callers.pop(event.key, None)
        if event.key in self._waiting:
            self._waiting.remove(event.key)  # whoever asked has gone; the boundary goes on

    def _on_checkpoint_asked(self, event: CheckpointAsked) -> None:
        if not self._settings.boundary or self.state is State.READY:
            self._do(Tell(event.key, Result(True)))
        elif self._settings.gate:
            why = "the web adapter's readiness check holds the boundary already (gate mode): remove the checkpoint"
            self._do(Tell(event.key, Result(False, why, EXIT_OTHER)))
        else:
            if event.key not in self._waiting:
                self._waiting.append(event.key)
            if not self._app_ready:
                self._app_ready = True
                self._wait_for_init()
                self._do(Look())

    def _answer_callers(self, result: Result) -> None:
        for key in self._waiting:
            self._do(Tell(key, result))
        self._waiting.clear()

    def _wait_for_init(self) -> None:
        self._do(SetTimer(TimerName.READY, self._settings.ready_timeout_ms))
        self._do(SetTimer(TimerName.WAITING, WAITING_EVERY_MS))
        self._do(SetTimer(TimerName.LOOK, LOOK_EVERY_MS if self._app_ready else EARLY_LOOK_EVERY_MS))

    def _settle(self) -> None:
        """Wait until nothing new has come for a while, once the app is ready and enough processes have joined.

        A process says hello when it registers its first hook, in the middle of being imported: others, and the rest of
        its hooks, are likely to follow at once. Init is paid for once per published version, so the wait is cheap.
        """
        if self.state is not State.INIT or not self._app_ready:
            return
        self._settled = False
        if self._assembly.incomplete(self._now_ms):
            self._settle_started_ms = None
            self._do(CancelTimer(TimerName.SETTLE))
            return
        if self._settle_started_ms is None:
            self._settle_started_ms = self._now_ms
        # An app that forks all the time must not put it off for ever; and one that was up before us may not have
        # found us yet.
        latest = self._settle_started_ms + MAX_SETTLES * self._settings.settle_ms
        earliest = self._started_ms + MIN_LISTEN_MS
        due = max(earliest, min(latest, self._now_ms + self._settings.settle_ms))
        self._do(SetTimer(TimerName.SETTLE, max(0.0, due - self._now_ms)))

    # --- who is missing --------------------------------------------------------------------------------------------

    def _on_looked(self, event: Looked) -> None:
        if self.state is not State.INIT:
            return
        somebody_new_listens = self._attendance.look(event.sightings, self._now_ms)
        every_ms = LOOK_EVERY_MS if self._app_ready else EARLY_LOOK_EVERY_MS
        self._do(SetTimer(TimerName.LOOK, max(every_ms, LOOK_SHARE * event.took_ms)))
        self._say_who_is_lost()
        if self._assembly.incomplete(self._now_ms) or self._settle_started_ms is None:
            self._settle()  # or a look has shown that one which seemed to import serves
            return
        if self._assembly.missing(self._now_ms, patient=False):
            self._settle_started_ms = self._now_ms  # who joins at last gets its time to settle, however late that is
        patient = self._now_ms < self._settle_started_ms + MAX_SETTLES * self._settings.settle_ms
        if somebody_new_listens and patient:
            self._settle()
        elif self._settled and not self._assembly.missing(self._now_ms, patient=patient):
            self._begin()

    def _missing(self) -> list[str]:
        """What init waits for, in words; empty when the boundary may begin."""
        if self._app_ready:
            return self._assembly.missing(self._now_ms)
        if self._settings.gate:
            why = app_not_ready(self._app_answer(), self._ended())
            elsewhere = self._attendance.listening_elsewhere()
            return [f"{why}; {elsewhere} listens, but not on that port" if elsewhere else why]
        return ["nobody has run `snapext checkpoint`"] if self._settings.held else []

    def _why_waiting(self) -> str | None:
        """What init waits for, other than hooks that run."""
        if self.state is State.INIT and (self._settings.boundary or self._settings.gate):
            why = "; ".join(self._missing()) or "more processes or hooks may follow (SNAPEXT_SETTLE_MS)"
            return why[:MAX_ANSWER_CHARS]
        if self._awaits_check():
            return "every before-snapshot hook has run, and the web adapter's readiness check has not come"
        return None

    def _ended(self) -> int:
        return max(self._ended_so_far, self._attendance.ended)

    def _on_ready_timeout(self) -> None:
        """Init fails on evidence only: the platform repeats it unattended, and a false failure is an outage."""
        timeout_ms, workers = self._settings.ready_timeout_ms, self._settings.workers
        if not self._app_ready:
            if self._settings.gate:
                self._fail(not_ready(timeout_ms, "; ".join(self._missing())))
            else:
                self._fail(no_checkpoint(timeout_ms))
            return
        missing = self._missing()
        lost = any(member.lost_ms is not None and member.total_hooks() for member in self._members.values())
        if workers != 0 and (lost or (workers and len(self._assembly.counted(self._now_ms)) < workers)):
            self._fail(not_ready(timeout_ms, "; ".join(missing)))
            return
        if missing:
            self._report("warning", "gave_up_waiting", waited_ms=timeout_ms, message="; ".join(missing))
        self._serving = {
            member.process.pid
            for member in self._assembly.importing(self._now_ms)
            if self._attendance.is_resting(member.process.pid, self._now_ms)
        }
        self._begin()

    def _unlinked_and_nobody_joined(self) -> Failure | None:
        """The evidence that hooks are lost: nobody takes part, and a Python process could not."""
        if self._members or self._settings.workers == 0 or not self._settings.held:
            return None
        unlinked = self._assembly.unlinked()
        if not unlinked:
            return None
        first = unlinked[0]
        return not_linked(first.process, first.command, first.cause, first.remedy, len(unlinked) - 1)

    # --- the phases begin ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for timer in (TimerName.READY, TimerName.WAITING, TimerName.LOOK, TimerName.SETTLE):
            self._do(CancelTimer(timer))
        for key, member in list(self._members.items()):
            if member.lost_ms is not None and not member.total_hooks():
                del self._members[key]  # it was importing; nobody knows of a hook in it
        if self._lost():
            self._do(SetTimer(TimerName.LOOK, LOOK_EVERY_MS))
        self._move(Trigger.APP_COMPLETE)
        for level, name, process, fields in self._assembly.absent():
            self._do(Report(level, name, {"pid": process.pid, "name": process.name, **fields}))
        self._begin_phase(self._settings.before_snapshot_timeout_ms)
        if not self._members and not self._settings.signals:
            self._report(
                "warning",
                "no_process_joined",
                message="no process takes part, so no hook runs: has the app imported snapext or snapshot_restore_py "
                "by now, and is its process still alive?",
            )
        for key in self._on_socket():
            self._tell_before_snapshot(key)
        self._ring()
        self._end_phase_if_done()

    # --- processes -------------------------------------------------------------------------------------------------

    def _on_joined(self, event: Joined) -> None:
        member = Member(event.process, event.parent_pid, event.hooks, forked=event.forked, importing=event.importing)
        lost = [
            key
            for key, other in self._members.items()
            if other.lost_ms is not None and other.process.pid == event.process.pid
        ]
        more_before = False
        for key in lost:  # it has come back: what it owes, it is told again, and answers as before
            earlier = self._members.pop(key)
            more_before = event.hooks.before_snapshot > earlier.hooks.before_snapshot
            member.durations_ms, member.warned_late = earlier.durations_ms, earlier.warned_late
            member.told_ids = earlier.told_ids
            if earlier.said_lost:
                lost_ms = round(self._now_ms - (earlier.lost_ms or 0.0), 3)
                message = f"{member.process} is connected again after {lost_ms:.0f} ms"
                self._report("info", "link_restored", member, lost_ms=lost_ms, message=message)
        self._members[event.key] = member
        self._known.add(event.process.pid)
        self._assembly.somebody_joined()
        self._hung_up = {key: quiet for key, quiet in self._hung_up.items() if quiet.process.pid != event.process.pid}
        # One that was told by signal comes to be told all: that is its answer.
        rung = self._members.pop(-event.process.pid, None) if event.signalled else None
        if rung is not None:
            self._by_signal.discard(event.process.pid)
            if event.hooks.after_restore:
                self._expected.add(event.process.pid)
        owed = self._owes_after_restore(event)
        member.warned_late = member.warned_late or bool(self.generation and not owed)  # it has nothing to be late for
        self._report("debug", "process_joined", member, hooks=counts(event.hooks), forked=event.forked)
        generation = 0 if owed else self.generation
        self._do(Tell(event.key, Welcome(PROTOCOL_VERSION, self.state.value, generation, self.environment_id)))
        has_run_before = BEFORE_SNAPSHOT in member.durations_ms or self._is_copy_of_one_that_ran(event)
        if more_before and has_run_before:
            self._registered_late(member, BEFORE_SNAPSHOT)  # while it was not connected
        if self.state is State.INIT:
            self._settle()
        elif self.state is State.BEFORE_SNAPSHOT:
            self._tell_before_snapshot(event.key)
        elif self.state is State.SNAPSHOT:
            if not has_run_before and (event.importing or event.hooks.before_snapshot):
                lost_hooks = "before_snapshot hooks: the snapshot is being taken"
                self._report("warning", "joined_too_late", member, lost=lost_hooks)
        elif owed:
            if self.state is State.READY:
                if not lost and (event.importing or member.total_hooks()):
                    self._report("warning", "joined_too_late", member, lost="before_snapshot hooks, and to be first")
                if self._is_anyone_pending():  # others are late as well, and still run theirs
                    self._set_deadline(self._settings.after_restore_timeout_ms)
                else:
                    self._begin_phase(self._settings.after_restore_timeout_ms)
            self._tell_after_restore(event.key)
        elif lost or rung:
            self._end_phase_if_done()  # it had run its hooks, and only its answer was lost; or it has none to run

    def _is_copy_of_one_that_ran(self, event: Joined) -> bool:
        """Whether a process is a fork of one that has run its before-snapshot hooks: it holds what they have left."""
        parents = (member for member in self._members.values() if member.process.pid == event.parent_pid)
        return event.forked and any(BEFORE_SNAPSHOT in parent.durations_ms for parent in parents)

    def _owes_after_restore(self, event: Joined) -> bool:
        """Whether a process that joins now holds state from before the snapshot that no hook has renewed yet.

        A fork of such a process is as old as its parent in that respect, whenever it was forked; a fork of a process
        whose hooks have run carries the generation it had then. A clock tick is 10 ms: within one, the pids tell.
        """
        if self._identity is None or event.generation >= self.generation:
            return False
        restored = (self._identity.boot_ticks, self._identity.last_pid)
        return event.forked or (event.start_ticks, event.process.pid) <= restored

    def _on_hooks_changed(self, event: HooksChanged) -> None:
        member = self._members.get(event.key)
        if member is None:
            return
        more_before = event.hooks.before_snapshot > member.hooks.before_snapshot
        more_after = event.hooks.after_restore > member.hooks.after_restore
        member.hooks, member.importing = event.hooks, event.importing
        self._report("debug", "hooks_changed", member, hooks=counts(event.hooks))
        self._settle()
        if more_before:
            self._registered_late(member, BEFORE_SNAPSHOT)
        if more_after:
            self._registered_late(member, AFTER_RESTORE)

    def _registered_late(self, member: Member, phase: str) -> None:
        """A hook was registered. After its phase it would never run: as long as we can, we refuse the snapshot then."""
        if not self._settings.boundary or self.state is State.INIT:
            return
        if member.pending is not None and phase == self._phase():
            return  # a hook that is registered while its phase runs runs in it
        if phase == AFTER_RESTORE and not self.generation:
            return
        if self.state is State.BEFORE_SNAPSHOT:
            self._fail(registered_too_late(member.process, phase, reportable=True))
        elif not member.warned_late:
            member.warned_late = True
            message = (
                f"{member.process} registered a {phase} hook after that phase: it does not run in this environment"
            )
            self._report("warning", "registered_too_late", member, phase=phase, message=message)

    def _on_hook_started(self, event: HookStarted) -> None:
        """A process that was told of the phase again, on a new connection, may still give the older id."""
        member = self._members.get(event.key)
        if member is not None and event.id in member.told_ids:
            member.hook = event.hook

    def _on_phase_done(self, event: PhaseDone) -> None:
        member, done = self._members.get(event.key), event.done
        if member is None or member.pending != done.id:
            return  # an answer to nothing that we asked, or a second one
        member.pending = member.hook = None
        phase = self._phase()
        member.durations_ms[phase] = done.duration_ms
        hooks = [{"name": hook.name, "duration_ms": hook.duration_ms} for hook in done.hooks]
        level = "debug" if done.ok else "error"
        more: dict[str, object] = {} if done.error is None else {"failed_hook": done.error.hook}
        if member.signal is not None:
            more["signal"] = member.signal
        self._report(level, phase, member, ok=done.ok, duration_ms=done.duration_ms, hooks=hooks, **more)
        if not done.ok:
            error = done.error or HookFailure("Unknown", "the process gave no reason", "", None)
            self._fail(raised(phase, member.process, error, done.duration_ms, reportable=self._reportable()))
        else:
            self._end_phase_if_done()

    def _on_left(self, event: Left) -> None:
        if not event.alive and (quiet := self._hung_up.pop(event.key, None)) is not None:
            self._known.discard(quiet.process.pid)
            self._report_end(quiet)
        member = self._members.get(event.key)
        if member is None:
            return
        self._report("debug", "process_left", member, alive=event.alive)
        if event.alive and self._has_another_link(event.key, member):
            del self._members[event.key]  # what it owes, it has been told there
            self._end_phase_if_done()
            return
        if event.alive and self._is_owed(member):
            self._lose(member)
            return
        del self._members[event.key]
        if not event.alive:
            self._known.discard(member.process.pid)
            self._ended_so_far += 1
        elif self.state is not State.READY:
            self._hung_up[event.key] = member  # its end is told a moment later, if it is about to end
        phase = self._phase()
        self._settle()
        if member.pending is None or event.alive or not _was_told(member):
            if not event.alive:
                self._report_end(member)
            self._end_phase_if_done()
            return
        if self.state is State.BEFORE_SNAPSHOT and member.forked:
            # A pool's child that its parent has ended, say. No clone will contain it, and nothing else is in doubt.
            self._report("warning", "process_ended", member, phase=phase, hook=member.hook)
            self._end_phase_if_done()
        elif member.hook is not None or member.has_hooks(phase):
            ran_ms = self._now_ms - member.told_ms
            self._fail(
                died(phase, member.process, member.hook, ran_ms, reportable=self._reportable(), signal=member.signal)
            )
        else:
            self._end_phase_if_done()  # it had nothing to run, and no clone will contain it

    def _report_end(self, member: Member) -> None:
        """A process that ends in the middle of the boundary leaves a line, whatever it has run."""
        if self.state in (State.BEFORE_SNAPSHOT, State.SNAPSHOT, State.AFTER_RESTORE):
            message = _ended(member, self._phase())
            self._report("warning", "process_ended", member, phase=self.state.value, message=message)

    def is_watched(self, key: int) -> bool:
        """Whether the end of a process that has hung up is still worth knowing."""
        return key in self._members or key in self._hung_up

    def _has_another_link(self, key: int, member: Member) -> bool:
        """A process may be back before its first connection ends: somebody else held a copy of that one open."""
        others = (self._members[other] for other in self._on_socket() if other != key)
        return any(other.process.pid == member.process.pid and other.lost_ms is None for other in others)

    def _is_owed(self, member: Member) -> bool:
        """Whether a process that has lost its link, and lives, still has something to run in this boundary."""
        if member.pending is not None:
            return bool(self.generation) or member.total_hooks() > 0  # after the restore `random` is reseeded as well
        if not self._settings.boundary or member.process.pid in self._expected:
            return False  # one that comes only when it is signalled hangs up by itself
        if self.state is State.INIT:
            return member.importing or member.total_hooks() > 0
        return self.state in (State.BEFORE_SNAPSHOT, State.SNAPSHOT) and member.hooks.after_restore > 0

    def _lose(self, member: Member) -> None:
        """Keep in mind what a process owes: until it comes back, ends, or executes another program."""
        member.lost_ms = self._now_ms
        self._settle()
        self._resume_phase()
        if self.state is not State.INIT:
            self._do(SetTimer(TimerName.LOOK, LOOK_EVERY_MS))

    def _say_who_is_lost(self) -> None:
        """Once for each, and not at once: a process that ends closes its connection a moment before."""
        for member in self._lost():
            if not member.said_lost and self._now_ms - (member.lost_ms or 0.0) >= LOOK_EVERY_MS:
                member.said_lost = True
                message = f"{member.process} lost its connection and lives: it is waited for until it is back or ends"
                self._report("info", "link_lost", member, message=message)

    def _lost(self) -> list[Member]:
        return [member for member in self._members.values() if member.lost_ms is not None]

    def _on_crowded(self, event: Crowded) -> None:
        if self._settings.held or (self._settings.boundary and self._app_ready):
            self._fail(crowded(event.limit, reportable=self.state in (State.INIT, State.BEFORE_SNAPSHOT)))

    # --- those who are told by signal ------------------------------------------------------------------------------

    def _on_socket(self) -> list[int]:
        return [key for key, member in self._members.items() if member.signal is None]

    def _ring(self) -> None:
        if self._settings.signals:
            on_socket = {self._members[key].process.pid for key in self._on_socket()} - self._by_signal
            self._ringing = True
            self._looks += 1
            self._do(
                Ring(
                    self._phase(),
                    left_alone=frozenset(on_socket | self._rung),
                    callers=frozenset(self._callers[key] for key in self._waiting),
                    expected=frozenset(self._expected - self._rung) if self.generation else frozenset(),
                    accept_fleeting=self._looks >= MAX_LOOKS,
                )
            )

    def _on_rung(self, event: Rung) -> None:
        self._ringing = False
        self._rung_ever = self._rung_ever or bool(event.processes)
        self._rings_end = not event.processes and not event.fleeting
        for process in event.processes:
            self._rung.add(process.pid)
            self._by_signal.add(process.pid)
            self._last_id += 1
            member = Member(process, 0, HookCounts(), self._last_id, self._now_ms, signal=event.signal)
            if (earlier := self._members.get(-process.pid)) is not None:
                member.durations_ms = earlier.durations_ms
            self._members[-process.pid] = member
            self._report("debug", "process_signalled", member, phase=self._phase(), signal=event.signal)
        if event.missing is not None:
            reason = f"{event.missing} has hooks to run, and does not catch {event.signal} any more"
            self._fail(signals_failed(self._phase(), reason, reportable=self._reportable()))
            return
        if event.processes and not self._settings.acknowledged:
            self._do(SetTimer(TimerName.GRACE, GRACE_MS))
        self._look_is_due = event.fleeting
        if event.fleeting:
            self._do(SetTimer(TimerName.RING, LOOK_AGAIN_MS))
        elif self.generation and not self._rung_ever:
            message = f"SNAPEXT_SIGNALS is set, and no process of the function has a handler (none for {event.signal})"
            self._report("warning", "nobody_signalled", message=message)
        self._end_phase_if_done()

    def _on_signals_failed(self, event: SignalsFailed) -> None:
        self._fail(signals_failed(self._phase(), event.reason, reportable=self._reportable()))

    def _on_acknowledged(self, event: Acknowledged) -> None:
        pid = next((pid for pid in event.pids if pid in self._rung), None)
        member = None if pid is None else self._members.get(-pid)
        stale = event.since_ticks is not None and event.since_ticks < self._restored_ticks()
        if member is None or member.pending is None or stale:
            self._unasked += 1
            if self._unasked <= MAX_UNASKED:
                self._report("warning", "acknowledged_unasked", pids=event.pids[:MAX_UNASKED])
            return
        error = None if event.error is None else HookFailure("HandlerFailed", event.error, "", None)
        took_ms = round(self._now_ms - member.told_ms, 3)
        done = Done(member.pending, error is None, took_ms, (), error)
        self._on_phase_done(PhaseDone(-member.process.pid, done))

    def _restored_ticks(self) -> int:
        """What was begun before it answers what was asked before the snapshot, however late it comes."""
        return 0 if self._identity is None else self._identity.boot_ticks

    def _on_grace_over(self) -> None:
        """Nobody has said that they are done, and nobody will: it is not to be called that."""
        for member in self._members.values():
            if member.signal is not None and member.pending is not None:
                member.pending = None
                self._report("warning", "unconfirmed", member, phase=self._phase(), signal=member.signal)
        self._end_phase_if_done()

    # --- phases ----------------------------------------------------------------------------------------------------

    def _phase(self) -> str:
        return BEFORE_SNAPSHOT if self.generation == 0 else AFTER_RESTORE

    def _reportable(self) -> bool:
        """Whether the Runtime API would still take an error: not once the runtime has asked for an invocation."""
        return self.state is not State.READY

    def _begin_phase(self, timeout_ms: int) -> None:
        self._rung.clear()
        self._looks = 0
        self._phase_started_ms = self._now_ms
        for member in self._members.values():
            member.told_ids.clear()
        self._set_deadline(timeout_ms)

    def _set_deadline(self, timeout_ms: int) -> None:
        self._deadline_ms = self._now_ms + timeout_ms
        self._do(SetTimer(TimerName.PHASE, timeout_ms))

    def _tell_before_snapshot(self, key: int) -> None:
        member = self._members[key]
        pid = member.process.pid
        serving = member.importing and (pid in self._serving or member not in self._assembly.importing(self._now_ms))
        self._resume_phase()
        self._tell(key, lambda number, left_ms: BeforeSnapshot(number, self.generation, left_ms, serving))

    def _tell_after_restore(self, key: int) -> None:
        identity = self._identity
        assert identity is not None, "BUG: after_restore is told only after a restore"  # noqa: S101
        self._tell(
            key,
            lambda number, left_ms: AfterRestore(
                number, self.generation, left_ms, identity.environment_id, identity.restored_at
            ),
        )

    def _tell(self, key: int, make: Callable[[int, int], Message]) -> None:
        """Tell one process of the phase; what is left of the budget is all that it has."""
        member = self._members[key]
        self._last_id += 1
        member.pending, member.told_ms, member.hook = self._last_id, self._now_ms, None
        if member.lost_ms is None:
            member.told_ids.add(self._last_id)
        self._do(Tell(key, make(self._last_id, max(1, int(self._deadline_ms - self._now_ms)))))

    def _end_phase_if_done(self) -> None:
        if self._ringing or self._is_anyone_pending():
            return
        if self.state in (State.BEFORE_SNAPSHOT, State.AFTER_RESTORE) and not self._rings_end:
            if not self._look_is_due:
                self._ring()  # until nobody is found: one may have come while the others were busy
            return
        duration_ms = round(self._now_ms - self._phase_started_ms, 3)
        if self.state is State.BEFORE_SNAPSHOT:
            if not self._lost():
                self._complete_before_snapshot(duration_ms)
        elif self.state is State.AFTER_RESTORE:
            self._do(CancelTimer(TimerName.PHASE))
            self._move(Trigger.ALL_DONE)
            self._do(AnswerReadiness())
            self._answer_callers(Result(True))
            self._boundary["after_restore_ms"] = duration_ms
            self._report("info", "ready", processes=len(self._members), duration_ms=duration_ms)
        elif self.state is State.READY:
            self._do(CancelTimer(TimerName.PHASE))

    def _is_anyone_pending(self) -> bool:
        """The last one who was is asked first: a look at all of them at each answer would grow with their square."""
        last = self._members.get(self._last_pending)
        if last is not None and last.pending is not None:
            return True
        for key, member in self._members.items():
            if member.pending is not None:
                self._last_pending = key
                return True
        return False

    def _complete_before_snapshot(self, duration_ms: float) -> None:
        """Every hook has run: let go, or wait for the check whose answer lets go."""
        if (failure := self._unlinked_and_nobody_joined()) is not None:
            self._fail(failure)
            return
        if not self._phase_complete:
            self._phase_complete = True
            self._do(CancelTimer(TimerName.PHASE))
            self._boundary["before_snapshot_ms"] = duration_ms
        if self._settings.restore_caller is RestoreCaller.EXTENSION:
            self._let_the_snapshot_be_taken()
        elif self._check_held:
            self._answer_check()  # _on_readiness_answered goes on
        else:
            self._await_check()

    def _await_check(self) -> None:
        """The adapter's next check lets go. One that was dropped is repeated; another may never be made.

        Processes that join meanwhile are waited for, and do not put it off.
        """
        if self._check_awaited_ms is None:
            self._check_awaited_ms = self._now_ms
            self._do(SetTimer(TimerName.WAITING, WAITING_EVERY_MS))
        if self._checks_answered:
            left_ms = self._check_awaited_ms + MISSING_CHECK_MS - self._now_ms
            self._do(SetTimer(TimerName.EVENT_NEXT, max(0.0, left_ms)))

    def _awaits_check(self) -> bool:
        return self.state is State.BEFORE_SNAPSHOT and self._phase_complete

    def _resume_phase(self) -> None:
        """It was all but over, and nothing has been let go: a budget runs again."""
        if self._awaits_check():
            self._phase_complete = False
            self._set_deadline(self._settings.before_snapshot_timeout_ms)

    def _let_the_snapshot_be_taken(self) -> None:
        self._move(Trigger.ALL_DONE)
        duration_ms = self._boundary["before_snapshot_ms"]
        self._report("info", "snapshot", processes=len(self._members), duration_ms=duration_ms)
        if self._settings.restore_caller is RestoreCaller.EXTENSION:
            self._do(AskRestoreNext())
            if not self._asked_event:
                self._do(SetTimer(TimerName.EVENT_NEXT, REFUSAL_MS))
        else:
            self._do(CancelTimer(TimerName.WAITING))
            self._ask_event()

    def _on_nothing_refused(self) -> None:
        """restore/next was not refused, or a check that we expected has not come."""
        if self.state is State.SNAPSHOT:
            self._ask_event()
        elif self._awaits_check() and not self._check_unanswered:
            self._checks_expected = self._checks_answered
            message = (
                f"the web adapter made {self._checks_answered} readiness check(s) before the snapshot, and no more"
            )
            self._report("warning", "check_missing", message=message)
            self._let_the_snapshot_be_taken()

    def _ask_event(self) -> None:
        if not self._asked_event:
            self._asked_event = True
            self._do(CancelTimer(TimerName.EVENT_NEXT))
            self._do(AskEventNext())

    # --- the restore -----------------------------------------------------------------------------------------------

    def _on_readiness_asked(self, _event: ReadinessAsked) -> None:
        by_adapter = self._settings.restore_caller is RestoreCaller.ADAPTER
        if self.state is State.READY:
            self._do(AnswerReadiness())
        elif self.state is State.SNAPSHOT and by_adapter:
            self._restored()
        else:
            self._check_held = self._check_unanswered = True
            self._answer_early_check()
            self._end_phase_if_done()

    def _answer_early_check(self) -> None:
        """A check that is not the last one before the snapshot holds nothing back: event/next does."""
        by_adapter = self._settings.restore_caller is RestoreCaller.ADAPTER
        is_early = self._app_ready and self._checks_answered + 1 < self._checks_expected
        if by_adapter and is_early and self._check_held:
            self._answer_check()

    def _answer_check(self) -> None:
        self._check_held = False
        self._do(AnswerReadiness())

    def _on_readiness_answered(self, event: ReadinessAnswered) -> None:
        """The answer counts when it was written to an open connection: the adapter drops a check that takes too long.

        No restore can come before event/next is asked, so a check that comes sooner is none of the restore's.
        """
        if event.count:
            self._checks_answered += 1
            self._check_unanswered = False
            self._check_awaited_ms = None
        if self._awaits_check():
            if self._checks_answered >= self._checks_expected:
                self._let_the_snapshot_be_taken()
            else:
                self._await_check()

    def _on_readiness_hung_up(self, event: ReadinessHungUp) -> None:
        self._check_held = event.still_held > 0
        since = {
            State.INIT: "start",
            State.BEFORE_SNAPSHOT: "start of the before-snapshot hooks",
            State.AFTER_RESTORE: "restore",
        }
        if self.state not in since or not self._settings.boundary:
            return
        began_ms = self._started_ms if self.state is State.INIT else self._phase_started_ms
        message = (
            f"the web adapter has given up its readiness check {self._now_ms - began_ms:.0f} ms after the "
            f"{since[self.state]} (AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS?)"
        )
        why = f", while init waits: {self._why_waiting()}" if self.state is State.INIT else self._still_running()
        self._report("warning", "readiness_hung_up", message=message + why)

    def _still_running(self) -> str:
        running = [str(self._late(member)) for member in self._members.values() if member.pending is not None]
        return f", while these still run: {', '.join(running[:MAX_NAMED])}" if running else ""

    def _on_restore_returned(self, event: RestoreReturned) -> None:
        if event.status == 200:
            self._ask_event()
            self._restored()
        else:
            self._fail(restore_refused(event.status, event.body))

    def _restored(self) -> None:
        self._identity = self._make_identity()
        self.generation = 1
        self.environment_id = self._identity.environment_id
        self._move(Trigger.RESTORED)
        self._begin_phase(self._settings.after_restore_timeout_ms)
        for key in self._on_socket():
            self._tell_after_restore(key)  # also who has lost its link: it is waited for, and told when it is back
        self._report("debug", "restore", environment_id=self.environment_id)
        self._ring()
        self._end_phase_if_done()

    # --- time and the end ------------------------------------------------------------------------------------------

    def _on_timer_fired(self, event: TimerFired) -> None:
        match event.timer:
            case TimerName.SETTLE if self.state is State.INIT:
                self._settled = True
                self._do(Look())
            case TimerName.LOOK if self.state is State.INIT:
                if self._lost():
                    self._do(Look(lost_only=True))
                self._do(Look())
            case TimerName.LOOK if self._lost():
                self._do(SetTimer(TimerName.LOOK, LOOK_EVERY_MS))
                self._do(Look(lost_only=True))
                self._say_who_is_lost()
            case TimerName.WAITING if self.state in (State.INIT, State.BEFORE_SNAPSHOT):
                self._do(SetTimer(TimerName.WAITING, WAITING_EVERY_MS))
                if (why := self._why_waiting()) is not None:
                    waited_ms = round(self._now_ms - self._started_ms)
                    self._report("info", "waiting", waited_ms=waited_ms, message=f"init waits: {why}")
            case TimerName.READY if self.state is State.INIT:
                self._on_ready_timeout()
            case TimerName.PHASE:
                self._on_phase_timeout()
            case TimerName.GRACE:
                self._on_grace_over()
            case TimerName.EVENT_NEXT:
                self._on_nothing_refused()
            case TimerName.RING if self._look_is_due:
                self._look_is_due = False
                self._end_phase_if_done()

    def _on_phase_timeout(self) -> None:
        late = [m for m in self._members.values() if m.pending is not None or m.lost_ms is not None]
        if late:
            ran_ms = self._now_ms - self._phase_started_ms
            who = [self._late(member) for member in late]
            self._fail(timed_out(self._phase(), who, ran_ms, reportable=self._reportable()))
        elif self._look_is_due:
            self._do(SetTimer(TimerName.PHASE, LOOK_AGAIN_MS))  # who is found then must not be waited for without end

    def _late(self, member: Member) -> Late:
        lost_ms = None if member.lost_ms is None else self._now_ms - member.lost_ms
        return Late(member.process, member.hook, member.signal, lost_ms)

    def _on_shutdown_asked(self, event: ShutdownAsked) -> None:
        if self._settings.held and self.state is not State.READY:
            why = f", while init waits: {self._why_waiting()}" if self.state is State.INIT else self._still_running()
            message = f"the platform ends the environment ({event.reason}) in phase {self.state.value}{why}"
            self._report("warning", "ended_in_the_middle", message=message)
        self._move(Trigger.SHUTDOWN)
        for key in self._on_socket():
            self._do(Tell(key, Shutdown(event.reason, event.deadline_ms)))
        self._answer_callers(Result(False, f"the environment ends: {event.reason}", EXIT_OTHER))
        self._report("debug", "shutdown", reason=event.reason, deadline_ms=event.deadline_ms)
        self._do(Stop())

    def _fail(self, failure: Failure) -> None:
        self._move(Trigger.FAILURE)
        self._do(Fail(failure))
        self._answer_callers(Result(False, failure.message[:MAX_ANSWER_CHARS], failure.exit_status))
        if failure.runtime_report == "restore":
            # The platform prefers the first fatal error that it has stored: ours would hide the hook's.
            self._awaits_shutdown = failure
            self._do(SetTimer(TimerName.END, SHUTDOWN_WAIT_MS))
        else:
            self._do(End(failure))

    def _end_after_shutdown(self, event: Event, failure: Failure) -> None:
        if isinstance(event, ShutdownAsked) or event == TimerFired(TimerName.END):
            self._awaits_shutdown = None
            self._do(End(failure))

    # --- the machine's own -----------------------------------------------------------------------------------------

    def _move(self, trigger: Trigger) -> None:
        self.state = TRANSITIONS[self.state, trigger]
        if self.state is State.READY:
            self._hung_up.clear()
            self._do(ForgetTheQuiet())

    def _do(self, action: Action) -> None:
        self._actions.append(action)

    def _report(self, level: str, event: str, member: Member | None = None, **fields: object) -> None:
        who = {} if member is None else {"pid": member.process.pid, "name": member.process.name}
        self._do(Report(level, event, {**who, **fields}))

    def _take_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions


def _was_told(member: Member) -> bool:
    """Whether what it has still to answer can have reached it: it had not lost its connection before."""
    return member.signal is not None or bool(member.told_ids)


def _ended(member: Member, phase: str) -> str:
    if member.signal is not None:
        return f"{member.process} ended after it was sent {member.signal}"
    has_run = phase in member.durations_ms
    ended = f"{member.process} ended, or executes another program,"
    return f"{ended} {'after it had run its' if has_run else 'without running'} {phase} hooks"


_HANDLERS = {
    AppReady: Lifecycle._on_app_ready,
    Joined: Lifecycle._on_joined,
    HooksChanged: Lifecycle._on_hooks_changed,
    HookStarted: Lifecycle._on_hook_started,
    PhaseDone: Lifecycle._on_phase_done,
    Left: Lifecycle._on_left,
    Rung: Lifecycle._on_rung,
    SignalsFailed: Lifecycle._on_signals_failed,
    Acknowledged: Lifecycle._on_acknowledged,
    CommandJoined: Lifecycle._on_command_joined,
    CheckpointAsked: Lifecycle._on_checkpoint_asked,
    CommandLeft: Lifecycle._on_command_left,
    Crowded: Lifecycle._on_crowded,
    TimerFired: Lifecycle._on_timer_fired,
    ReadinessAsked: Lifecycle._on_readiness_asked,
    ReadinessAnswered: Lifecycle._on_readiness_answered,
    ReadinessHungUp: Lifecycle._on_readiness_hung_up,
    Looked: Lifecycle._on_looked,
    RestoreReturned: Lifecycle._on_restore_returned,
    ShutdownAsked: Lifecycle._on_shutdown_asked,
}

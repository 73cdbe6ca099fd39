"""A world for the lifecycle to live in: processes, a web adapter, commands, signals and the platform.

It keeps books of its own, never the machine's, and checks each action against them: what the design promises has to
follow from what has really happened out there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from lifecycle_driver import Driver, settings
from snapext.wire.messages import (
    AfterRestore,
    BeforeSnapshot,
    Checkpoint,
    Done,
    Hello,
    HookCounts,
    HookFailure,
    Hooks,
    Message,
    Restored,
    Result,
    Running,
    Welcome,
)
from snapext_extension.boundary.actions import (
    Action,
    AnswerReadiness,
    AskEventNext,
    AskRestoreNext,
    CancelTimer,
    End,
    Fail,
    Look,
    Report,
    SendSignals,
    SetTimer,
    Stop,
    Tell,
    TellAll,
    TimerName,
)
from snapext_extension.boundary.attendance import Sighting
from snapext_extension.boundary.events import (
    Acknowledged,
    AppReady,
    CommandJoined,
    CommandLeft,
    Event,
    Invoked,
    Joined,
    Left,
    Looked,
    ReadinessAnswered,
    ReadinessAsked,
    ReadinessHungUp,
    RestoreReturned,
    RestoreSeen,
    Said,
    ShutdownAsked,
    SignalsFailed,
    SignalsSent,
    TimerFired,
)
from snapext_extension.boundary.failures import Failure, Process
from snapext_extension.boundary.init import EARLY_LOOK_EVERY_MS
from snapext_extension.boundary.member import SignalledPid
from snapext_extension.boundary.settings import LOOK_EVERY_MS, RestoreCaller
from snapext_extension.boundary.states import State

BEFORE, AFTER = BeforeSnapshot, AfterRestore
NO_HOOKS = HookCounts(0, 0)
SIGNAL = "RTMIN+4"


@dataclass(frozen=True)
class Place:
    """What a life takes place in.

    makes: how many checks the adapter really makes before it asks for restore/next. observes: it asks for none of ours.
    """

    name: str
    boundary: bool = True
    gate: bool = True
    held: bool = True
    asks: bool = False
    promises: int = 1
    makes: int = 1
    observes: bool = False

    def __repr__(self) -> str:
        return f"PLACES[{self.name!r}]"


PLACES = {
    place.name: place
    for place in (
        Place("an adapter that never asks"),
        Place("an adapter that asks, and checks once", asks=True),
        Place("an adapter that asks, and checks twice", asks=True, promises=2, makes=2),
        Place("an adapter that promises two checks and makes one", asks=True, promises=2),
        Place("explicit", gate=False),
        Place("observe", gate=False, observes=True),
        Place("auto", gate=False, held=False),
        Place("on demand", boundary=False, held=False),
        Place("on demand, with an adapter that would ask", boundary=False, held=False, asks=True),
        Place("on demand, without a gate", boundary=False, held=False, gate=False),
    )
}


@dataclass(eq=False)
class Proc:
    """A process, and what it knows itself.

    stale: its memory is from before the snapshot, and no hook has changed that yet.
    visitor: it comes to the socket only when it is signalled. catches: it catches the signal.
    known: the hooks that it has told of, once it has joined. question: what it has been asked on its connection.
    ran: the phases whose hooks have run in it, and how many those were when it looked for the last time. answered:
    those whose answer has arrived.
    """

    pid: int
    parent_pid: int = 1
    forked: bool = False
    ticks: int = 0
    stale: bool = True
    hooks: HookCounts = NO_HOOKS
    generation: int = 0
    importing: bool = False
    visitor: bool = False
    catches: bool = False
    alive: bool = True
    key: int | None = None
    lost_key: int | None = None
    known: HookCounts | None = None
    question: tuple[int, type] | None = None
    names_hook: bool = False
    asked_when_lost: bool = False
    in_time: bool = False
    ran: dict[type, int] = field(default_factory=dict)
    answered: set[type] = field(default_factory=set)
    told: dict[int, list[type]] = field(default_factory=dict)
    signalled: bool = False
    signalled_in: set[str] = field(default_factory=set)
    unconfirmed: set[str] = field(default_factory=set)
    python: bool = True
    holds_port: bool = False
    at_rest: bool = False
    cause: str = ""
    looks: int = 0
    seen: Sighting | None = None

    def __str__(self) -> str:
        return f"process {self.pid}"

    @property
    def is_lost(self) -> bool:
        return self.alive and self.key is None and self.lost_key is not None

    def hooks_of(self, kind: type) -> int:
        known = self.known or NO_HOOKS
        return known.before_snapshot if kind is BEFORE else known.after_restore


class World(Driver):
    """One environment. Every event goes through `handle`, which carries out what follows and checks it."""

    def __init__(
        self, place: Place, workers: int | None, signals: bool, acknowledged: bool, debug: bool = True
    ) -> None:
        self.place = place
        self.processes: list[Proc] = []
        self.app_ready = False  # or a checkpoint has been asked for
        self.event_asked = self.restore_asked = self.restored = self.opened = self.admitted = False
        self.event_waits = self.restore_waits = False  # the platform has the call, and has not answered it
        self.runtime_restores = False  # the extension knows that the runtime waits in the restore
        self.failed: Failure | None = None
        self.over = False
        self.cause = ""
        self.requests: list[bool] = []  # held at the gate; False: its sender has hung up, which nobody has seen yet
        self.adapter_waits = self.adapter_asked_restore = False
        self.checks_answered = 0
        self.callers: dict[int, bool] = {}  # commands that are connected; True: it waits for the checkpoint's answer
        self.unnoticed: dict[int, float] = {}  # lost connections of what now executes another program, and since when
        self.fleeting = 0
        self.signals_fail = False
        self.search_is_over = False
        self._pids = 0
        super().__init__(
            settings(
                boundary=place.boundary,
                gate=place.gate,
                held=place.held,
                restore_caller=RestoreCaller.ADAPTER if place.asks else RestoreCaller.EXTENSION,
                checks_before_snapshot=place.promises,
                workers=workers,
                signals=signals and place.boundary,
                acknowledged=acknowledged,
                settle_ms=200,
                ready_timeout_ms=3_000,
                before_snapshot_timeout_ms=1_000,
                after_restore_timeout_ms=900,
                debug=debug,
                observes=place.observes,
            )
        )
        self.timers.clear()
        self._carry_out_all(self.started, deque())

    # --- events ----------------------------------------------------------------------------------------------------

    def handle(self, event: Event, *, cause: str = "") -> list[Action]:
        """Hand in an event. `cause`: why the boundary may fail by it."""
        self.cause = cause or self._cause_of(event)
        queue = deque([event])
        actions: list[Action] = []
        while queue:
            event, state = queue.popleft(), self.state
            actions = self.hand_in(event)
            self._carry_out_all(actions, queue)
            if state is State.INIT and self.state not in (State.INIT, State.FAILED, State.SHUTDOWN):
                self._check_that_init_was_over(event)
        self._check_that_nothing_waits_in_silence()
        return actions

    def pass_ms(self, passed_ms: float) -> None:
        """Let time pass. An adapter that has had one answer makes its next check before the snapshot at once."""
        if self.checks_answered and self.adapter_would_check and not self.restored and passed_ms >= 20:
            self.check_readiness()
        super().pass_ms(passed_ms)

    def must_fail(self, event: Event, why: str) -> None:
        self.handle(event, cause=why)
        assert self.failed, f"{why}, and the boundary goes on"

    def _cause_of(self, event: Event) -> str:
        look_every_ms = LOOK_EVERY_MS if self.app_ready else EARLY_LOOK_EVERY_MS
        seems_lost = any(self.now_ms - since_ms < look_every_ms for since_ms in self.unnoticed.values())
        if event == TimerFired(TimerName.PHASE) and (self.who_owes() or seems_lost):
            return "a process is late"
        if event == TimerFired(TimerName.READY):
            lost = seems_lost or any(p.is_lost and p.known != NO_HOOKS for p in self.processes)
            is_up = self.app_ready or self.place.observes  # one that never answers is let go there
            if not is_up or self.settings.workers or (lost and self.settings.workers != 0):
                return "init takes too long"
        return ""

    # --- processes -------------------------------------------------------------------------------------------------

    def start_process(self, **what: object) -> Proc:
        self._pids += 1
        young = not what.pop("is_old", True)
        process = Proc((6000 if young else 1000) + self._pids, stale=not young, **what)  # type: ignore[arg-type]
        self.processes.append(process)
        return process

    def connect(self, process: Proc, signalled: bool = False) -> None:
        """Say hello, for the first time or again."""
        self._keys += 1
        earlier = process.known
        came_back = process.lost_key is not None
        process.key, process.lost_key = self._keys, None
        process.known, process.question, process.names_hook = process.hooks, None, False
        process.asked_when_lost = False
        process.in_time = process.in_time or not self.is_let_go
        if signalled:
            process.signalled = False
        late = (
            came_back
            and earlier is not None
            and earlier.after_restore  # without one it owed nothing, and is a stranger when it comes back
            and process.hooks.before_snapshot > earlier.before_snapshot
            and BEFORE in process.answered
            and self.state is State.BEFORE_SNAPSHOT
        )
        hello = Hello(
            protocol=1,
            pid=process.pid,
            role="app",
            client="test",
            name="app",
            hooks=process.hooks,
            generation=process.generation,
            forked=process.forked,
            signalled=signalled,
            importing=process.importing,
        )
        event = Joined(self._keys, Process(process.pid, "app"), hello, process.parent_pid, process.ticks)
        if late:
            self.must_fail(event, "a hook was registered after its phase")
            return
        self.handle(event)
        if self.failed is None and not self.over:
            owed = {
                State.BEFORE_SNAPSHOT: BEFORE,
                State.AFTER_RESTORE: AFTER if process.stale else None,
                State.READY: AFTER if process.stale and self.place.boundary else None,
            }.get(self.state)
            asked = process.question[1] if process.question else None
            if self.state is not State.READY or not came_back:
                assert asked is owed, f"{process} joined in {self.state} and was asked for {asked}, not {owed}"
        if process.visitor and process.question is None:
            self._hang_up(process)

    def lose(self, process: Proc) -> None:
        """The link breaks; the process lives."""
        assert process.key is not None
        key = process.lost_key = process.key
        process.key = None
        self.handle(Left(key, alive=True))

    def end(self, process: Proc, by_exec: bool = False) -> None:
        """The process ends, or executes another program."""
        question, phase = process.question, self._phase_kind()
        unfinished = False
        if question is not None and (process.key is not None or process.lost_key is not None):
            pool_child = process.forked and self.state is State.BEFORE_SNAPSHOT
            has_hooks = process.hooks_of(phase) > 0 or process.names_hook
            unfinished = question[1] is phase and has_hooks and not pool_child
        process.alive, key = False, process.key or process.lost_key
        process.question = None
        by_signal, process.signalled = process.signalled, False
        if by_exec and process.key is None and key is not None:
            self.unnoticed[key] = self.now_ms  # only a look will show it
            process.key = process.lost_key = None
            process.question = question if unfinished else None
            return
        process.key = process.lost_key = None
        if key is not None:
            if unfinished:
                names = "app.hook" if process.names_hook else self.board.get((process.pid, self.machine.generation))
                self.must_fail(Left(key), "it had hooks to run")
                assert self.failed is not None
                assert self.failed.error is not None
                assert self.failed.error.hook == names, "another hook is named than the one that ran"
            else:
                self.handle(Left(key))
        if process.signalled_in and not self.over:
            if by_signal and self.failed is None:
                self.must_fail(Left(SignalledPid(process.pid)), "it was to answer a signal")
            else:
                self.handle(Left(SignalledPid(process.pid)))

    def run_hooks(self, process: Proc) -> None:
        """It has run its hooks, and looked for the last time whether there are more: those that come now do not run."""
        if process.question is not None:
            kind, hooks = process.question[1], process.hooks
            process.ran.setdefault(kind, hooks.before_snapshot if kind is BEFORE else hooks.after_restore)

    def answer(self, process: Proc) -> None:
        """It has run its hooks, and says so."""
        if process.question is None:
            return
        number, kind = process.question
        self.run_hooks(process)
        if kind is AFTER:
            process.generation, process.stale = 1, False
        if process.key is None:
            return  # it has run them, and nobody has heard of it
        process.answered.add(kind)
        process.question = None
        done = Said(process.key, Done(number, True, 1.0, registered=process.ran[kind]))
        if kind is BEFORE and self.state is State.BEFORE_SNAPSHOT and process.hooks_of(kind) > process.ran[kind]:
            self.must_fail(done, "a hook was registered after its process had looked for the last time")
            return
        self.handle(done)
        if process.visitor:
            self._hang_up(process)

    def answer_badly(self, process: Proc) -> None:
        if process.question is not None and process.key is not None:
            error = HookFailure("ValueError", "no", "", "app.hook")
            self.must_fail(Said(process.key, Done(process.question[0], False, 1.0, (), error)), "a hook failed")

    def answer_something_else(self, process: Proc, offset: int) -> None:
        if process.key is not None:
            state, number = self.state, (process.question or (500, None))[0]
            self.handle(Said(process.key, Done(number + offset, True, 1.0)))
            assert state is self.state

    def name_hook(self, process: Proc) -> None:
        if process.key is not None and process.question is not None:
            process.names_hook = True
            self.handle(Said(process.key, Running(process.question[0], "app.hook")))

    def write_hook(self, process: Proc) -> None:
        """On the board, whatever the phase is: nothing but the name that is shown depends on it."""
        self.board[process.pid, self.machine.generation] = f"app.written_{process.pid}"

    def register(self, process: Proc, before: int, after: int) -> None:
        """Register more hooks, of which a process that has lost its link can tell only when it is back."""
        more = HookCounts(process.hooks.before_snapshot + before, process.hooks.after_restore + after)
        if process.key is None:
            process.hooks = more
            return
        process.hooks = process.known = more
        event = Said(process.key, Hooks(more, process.importing))
        if before and self.state is State.BEFORE_SNAPSHOT and process.question is None:
            self.must_fail(event, "a hook was registered after its phase")
        else:
            self.handle(event)

    def end_import(self, process: Proc) -> None:
        process.importing = False
        if process.key is not None:
            process.known = process.hooks
            self.handle(Said(process.key, Hooks(process.hooks, importing=False)))

    def acknowledge(self, process: Proc, error: str | None = None) -> None:
        if error is not None and process.signalled:
            self.must_fail(Acknowledged((process.pid,), error), "a handler failed")
            return
        process.signalled = False
        self.handle(Acknowledged((9999, process.pid), error))

    def _hang_up(self, process: Proc) -> None:
        """One that was signalled comes for that phase alone."""
        key, process.key = process.key, None
        if key is not None and not self.over:
            self.handle(Left(key, alive=True))

    # --- the app, the adapter, commands, the platform --------------------------------------------------------------

    def become_ready(self) -> None:
        self.app_ready = True
        self.handle(AppReady())

    @property
    def adapter_would_check(self) -> bool:
        if not self.place.gate or self.adapter_waits or self.admitted or self.over:
            return False
        return not self.adapter_asked_restore or self.restored

    def check_readiness(self) -> None:
        self.adapter_waits = True
        self.requests.append(True)
        self.handle(ReadinessAsked())

    def adapter_hangs_up(self, noticed: bool) -> None:
        """It drops the check that it waits for, and will repeat it."""
        self.adapter_waits = False
        self.requests[-1] = False
        if noticed:
            self.notice_hang_ups()

    def notice_hang_ups(self) -> None:
        while False in self.requests:
            self.requests.remove(False)
            self.handle(ReadinessHungUp(len(self.requests)))

    def ask_for_checkpoint(self, key: int) -> None:
        if key not in self.callers:
            self.callers[key] = False
            self.handle(CommandJoined(key, 20_000 + key))
        answered_at_once = not self.place.boundary or self.place.gate or self.state is State.READY
        self.callers[key] = True
        self.app_ready = self.app_ready or not (answered_at_once or self.place.gate)
        self.handle(Said(key, Checkpoint()))
        assert self.callers[key] is not answered_at_once

    def caller_leaves(self, key: int) -> None:
        del self.callers[key]
        self.handle(CommandLeft(key))

    @property
    def restore_may_come(self) -> bool:
        asked = self.adapter_asked_restore if self.place.asks else self.restore_asked or self.place.observes
        return self.place.boundary and self.event_asked and asked and not self.restored and not self.is_ended

    def restore(self) -> None:
        self.restored = True
        if not self.place.asks and not self.place.observes:
            self.restore_returns()

    def restore_returns(self) -> None:
        self.restore_waits, self.runtime_restores = False, True
        self.handle(RestoreReturned(200, ""))

    # What shows the restore where nobody tells us: each at any time after it, in any order.

    def set_clock(self) -> None:
        self._show(RestoreSeen("the wall clock was set by +30 s"))

    def invoke(self) -> None:
        """The platform waits for our next call before the invocation is over."""
        self.event_waits = False
        self._show(Invoked())
        hooks_run = self.state is State.AFTER_RESTORE
        assert self.is_ended or self.event_waits is not hooks_run, f"event/next: {self.event_waits} in {self.state}"

    def say_restored(self, key: int) -> None:
        """A middleware passes on what the web adapter has told it. Before the snapshot it is refused."""
        if key not in self.callers:
            self.callers[key] = False
            self.handle(CommandJoined(key, 20_000 + key))
        self.callers[key] = True
        self.runtime_restores = self.restored and self.state is not State.READY
        self._show(Said(key, Restored()))
        assert self.restored or not self.callers[key], "a restore that has not been was not refused"

    def _show(self, event: Event) -> None:
        was_let_go = self.is_let_go
        self.handle(event)
        is_told = self.machine.generation == 1 or self.is_ended
        assert is_told is (was_let_go and self.restored) or self.is_ended, f"{event}: {self.state}"

    def refuse_restore(self, status: int) -> None:
        self.must_fail(RestoreReturned(status, "{}"), "restore/next was refused")

    def shut_down(self) -> None:
        """It ends every environment, and one that has failed with the failure."""
        self.handle(ShutdownAsked("spindown", 2000))
        assert self.over

    @property
    def is_ended(self) -> bool:
        return self.failed is not None or self.over

    @property
    def is_let_go(self) -> bool:
        """Whether a snapshot may be taken as far as we are concerned, or has been."""
        return self.restore_asked or (self.event_asked and self.place.held)

    # --- actions ---------------------------------------------------------------------------------------------------

    def _carry_out_all(self, actions: list[Action], queue: deque[Event]) -> None:
        had_failed = self.failed is not None
        if self.state is State.READY and not self.opened:
            self.opened = True
            if self.place.boundary:
                assert self.restored
                self._check_after_hooks()
                self.admitted = self.admitted or self.place.observes  # nobody waits for our answer
        for number, action in enumerate(actions):
            assert not self.over, f"{action} after the end"
            if had_failed:
                assert isinstance(action, End), f"{action} after a failure"
            elif self.failed is not None:
                is_answer = isinstance(action, Tell) and isinstance(action.message, Result)
                ends = isinstance(action, End) or (isinstance(action, SetTimer) and action.timer is TimerName.END)
                assert is_answer or ends, f"{action} after a failure"
            assert not isinstance(action, SendSignals) or number == len(actions) - 1, "a search comes last"
            self._carry_out(action, queue)
        self.log += [action for action in actions if isinstance(action, (Fail, Report))]

    def _carry_out(self, action: Action, queue: deque[Event]) -> None:
        match action:
            case SetTimer(timer, after_ms):
                assert after_ms >= 0
                self.timers[timer] = self.now_ms + after_ms
            case CancelTimer(timer):
                self.timers.pop(timer, None)
            case Tell(key, message):
                self._told(key, message)
            case TellAll(keys, message):
                assert keys
                assert len({*keys}) == len(keys)
                for key in keys:
                    self._told(key, message)
            case Look(lost_only=False):
                queue.append(Looked(self._what_a_look_shows()))
            case Look():
                queue.extend(Left(key) for key in self.unnoticed)
                self._allow_ends_that_a_look_shows()
            case SendSignals():
                queue.appendleft(self._answer_to(action))
            case AskEventNext():
                assert not self.event_waits
                assert not self.event_asked or self.place.observes, "elsewhere the next event is the end"
                knows = self.place.asks or self.place.observes
                if knows and self.place.held and not self.is_let_go:
                    self._check_before_hooks()
                assert knows or self.restore_asked or not self.place.held, "event/next before restore/next"
                assert self.state is not State.AFTER_RESTORE or not self.event_asked, "frozen in the middle of hooks"
                self.event_asked = self.event_waits = True
            case AskRestoreNext():
                assert self.place.boundary
                assert not self.place.asks
                assert not self.restore_asked
                if not self.is_let_go:
                    self._check_before_hooks()
                self.restore_asked = self.restore_waits = True
            case AnswerReadiness():
                queue.append(ReadinessAnswered(self._adapter_is_answered()))
            case Report(_, "unconfirmed", fields):
                (process,) = [p for p in self.processes if p.pid == fields["pid"]]
                process.signalled = False
                process.unconfirmed.add(str(fields["phase"]))
            case Fail(failure):
                self._check_that_it_has_failed(failure)
                self.failed = failure
            case End(failure):
                assert failure is self.failed
                self.over = True
            case Stop():
                assert self.failed is None
                self.over = True

    def _allow_ends_that_a_look_shows(self) -> None:
        unfinished = [p for p in self.processes if not p.alive and p.question is not None]
        if unfinished and self.unnoticed:
            self.cause = "one with hooks to run executes another program"
        for process in unfinished:
            process.question = None
        self.unnoticed.clear()

    def _told(self, key: int, message: Message) -> None:
        if isinstance(message, Result):
            assert self.callers.get(key), f"{message} to a command that does not wait for it"
            self.callers[key] = False
            if message.ok:
                self._admit()
            return
        process = next((p for p in self.processes if p.key == key), None)
        if process is None:
            for lost in self.processes:
                lost.asked_when_lost = lost.asked_when_lost or lost.lost_key == key
            return
        if isinstance(message, Welcome):
            process.generation = max(process.generation, message.generation)
        elif isinstance(message, (BeforeSnapshot, AfterRestore)):
            self._asked(process, message)

    def _asked(self, process: Proc, message: BeforeSnapshot | AfterRestore) -> None:
        kind = type(message)
        told = process.told.setdefault(process.key or 0, [])
        assert self.place.boundary
        assert kind not in told, f"{process} was told twice on one connection"
        told.append(kind)
        assert process.question is None, f"{process} was asked twice at once"
        if kind is BEFORE:
            assert not self.is_let_go, f"{process} was told of the snapshot when that may have been taken"
            assert not message.serving or process.importing
        else:
            assert self.restored, f"{process} was told of a restore that has not been"
            assert process.stale, f"{process} had no hooks to run"
        left_ms = self.timers[TimerName.PHASE] - self.now_ms
        assert message.timeout_ms == max(1, int(left_ms)), "its budget is not what is left of the phase"
        process.question = (message.id, kind)

    def _adapter_is_answered(self) -> int:
        """Answer the requests that are held. Returns how many are still there to be answered."""
        answered = sum(self.requests)
        self.requests.clear()
        if not answered:
            return 0
        assert self.app_ready
        self.adapter_waits = False
        if not self.place.boundary or not self.place.asks or self.restored:
            self._admit()
        else:
            self.checks_answered += 1
            if self.checks_answered == self.place.promises:
                self._check_before_hooks()
            self.adapter_asked_restore = self.checks_answered >= self.place.makes
        return answered

    def _answer_to(self, search: SendSignals) -> Event:
        assert search.callers == {20_000 + key for key, waits in self.callers.items() if waits}
        if self.signals_fail:
            self.cause = "signals cannot be sent"
            return SignalsFailed("nobody knows the start command")
        told = [p for p in self.processes if p.alive and p.catches and p.pid not in search.left_alone]
        fleeting = self.fleeting > 0 and not search.accept_fleeting
        if fleeting:
            self.fleeting -= 1
            told = told[:-1]
        for process in told:
            assert search.phase not in process.signalled_in, f"{process} was signalled twice"
            assert process.key is None or process.signalled_in, f"{process} is on the socket, and was signalled"
            process.signalled_in.add(search.phase)
            process.signalled = True
        pids = {process.pid for process in told}
        gone = [p for p in self.processes if p.alive and p.pid in search.expected - pids]
        missing = Process(gone[0].pid, "app") if gone and not fleeting else None
        if missing is not None:
            self.cause = "one with hooks does not catch the signal any more"
        self.search_is_over = not told and not fleeting
        return SignalsSent(tuple(Process(p.pid, "app") for p in told), SIGNAL, missing, fleeting)

    def _what_a_look_shows(self) -> tuple[Sighting, ...]:
        for process in self.processes:
            process.looks += process.alive
            process.seen = Sighting(
                Process(process.pid, "app"),
                process.parent_pid,
                holds_port=process.holds_port,
                listens=process.holds_port,
                python=process.python,
                at_rest=process.at_rest,
                cause=process.cause,
            )
        return tuple(p.seen for p in self.processes if p.alive and p.seen is not None)

    # --- what must hold --------------------------------------------------------------------------------------------

    def who_owes(self) -> list[Proc]:
        """Who has something to run or to answer in the phase that goes on."""
        return [process for process in self.processes if process.signalled or self._owes(process)]

    def _owes(self, process: Proc) -> bool:
        if process.key is not None:
            return process.question is not None
        if not process.is_lost:
            return process.question is not None  # executes another program, and no look has shown it
        if not self.machine.generation and process.known == NO_HOOKS:
            return False
        return (
            (process.question is not None and process.question[1] is self._phase_kind())  # an older one is let go
            or process.asked_when_lost
            or (self.state is State.BEFORE_SNAPSHOT and process.hooks_of(AFTER) > 0)
        )

    def _phase_kind(self) -> type:
        return AFTER if self.machine.generation else BEFORE

    def _check_that_init_was_over(self, event: Event) -> None:
        """Everyone who should be there is there, or the time to wait for them is over."""
        gave_up = event == TimerFired(TimerName.READY)
        assert self.app_ready or (gave_up and self.place.observes)
        if not self.place.boundary:
            return
        workers = self.settings.workers
        connected = [p for p in self.processes if p.key is not None]
        for process in self.processes:
            if process.is_lost and process.known != NO_HOOKS:
                nobody_is_missing = gave_up and workers == 0
                assert nobody_is_missing, f"init is over without {process}, which is not connected"
        if workers:
            serving = [p for p in connected if not p.importing or (p.seen is not None and p.seen.holds_port)]
            assert workers <= len(serving), "init is over without a worker"
        for process in [] if gave_up else self.processes:
            seen = process.seen
            if process.key is not None:
                serves = seen is not None and seen.holds_port
                assert not process.importing or serves, f"init is over, and {process} still imports"
            elif workers is None and connected and process.alive and process.known is None and seen is not None:
                works = seen.python and seen.holds_port and not seen.at_rest and not seen.cause
                assert not works or process.looks < 2, f"init is over, and {process} may still be importing"

    def _check_before_hooks(self) -> None:
        """Invariant 2: each living process that joined in time has run its before-snapshot hooks; none is lost."""
        for process in self.processes:
            if not process.alive or process.known is None or not process.in_time or process.visitor:
                continue
            if process.is_lost:
                assert not process.hooks_of(AFTER), f"a snapshot without {process}, which has lost its connection"
                assert BEFORE in process.answered or not process.hooks_of(BEFORE)
            else:
                assert BEFORE in process.answered, f"a snapshot before {process} was done"
        self._check_signals("before_snapshot")

    def _check_after_hooks(self) -> None:
        """Invariant 1: nothing is admitted before the after-restore hooks are done in every process."""
        for process in self.processes:
            if not process.alive or process.known is None or process.visitor:
                continue
            if process.key is not None or process.hooks_of(AFTER):
                assert not process.stale, f"requests are admitted before {process} is done"
        self._check_signals("after_restore")

    def _check_signals(self, phase: str) -> None:
        if self.settings.signals:
            assert self.search_is_over, "nobody has looked whether all are signalled"
            for process in self.processes:
                assert not (process.alive and process.signalled), f"{process} has not answered the signal"
                if process.alive and process.visitor and process.known is not None and process.hooks_of(AFTER):
                    kind = BEFORE if phase == "before_snapshot" else AFTER
                    assert kind in process.ran or phase in process.unconfirmed, f"{process} was not told"

    def _admit(self) -> None:
        """Requests may come: an answer says so to the adapter, or to the command that has asked for the checkpoint."""
        assert self.opened or not self.place.boundary
        self.admitted = True

    def _check_that_it_has_failed(self, failure: Failure) -> None:
        assert self.failed is None
        assert self.place.boundary, "nothing can fail without a boundary"
        if failure.error_type == "Runtime.ProcessNotLinked":
            assert self.place.held
            assert self.settings.workers != 0
            assert any(p.alive and p.cause for p in self.processes)
            assert not any(p.key for p in self.processes)
        else:
            assert self.cause, f"nothing has failed, and yet: {failure.message}"
        if self.place.observes and failure.runtime_report == "restore":
            assert self.runtime_restores, "the Runtime API would refuse the report: the runtime waits in no restore"

    def _check_that_nothing_waits_in_silence(self) -> None:
        """Whatever the machine waits for: a timer ends that or says so, or the platform has been asked."""
        waited_for = {key for key, member in self.machine._roll.members.items() if member.pending}
        assert self.machine._roll.waited_for == waited_for
        running = set(self.timers)
        lost = [p for p in self.processes if p.is_lost and self._owes(p)]
        assert self.machine.generation <= self.restored, "a restore that has not been"
        assert self.restores == self.machine.generation
        if self.over or not self.place.boundary:
            return
        if self.failed is not None:
            assert TimerName.END in running
        elif self.state is State.INIT:
            if self.place.held or self.app_ready:
                assert {TimerName.READY, TimerName.WAITING, TimerName.LOOK} <= running
        elif self.state is State.SNAPSHOT:
            assert self.event_asked or TimerName.EVENT_NEXT in running
            assert self.restore_asked or not any(self.callers.values()), "a command waits, and nobody asks to restore"
        elif self.who_owes() or self.state is State.AFTER_RESTORE:
            assert TimerName.PHASE in running, f"{self.who_owes()} have no budget"
            assert not lost or TimerName.LOOK in running
        elif self.state is State.BEFORE_SNAPSHOT:
            some = {TimerName.PHASE, TimerName.SEARCH, TimerName.WAITING, TimerName.EVENT_NEXT}
            assert running & some, "it waits in silence"

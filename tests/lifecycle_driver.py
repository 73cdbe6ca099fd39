"""Drive the lifecycle in tests: makes the events, keeps the actions, and knows what each process was told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snapext.wire.messages import (
    AfterRestore,
    BeforeSnapshot,
    Done,
    Hello,
    HookCounts,
    HookFailure,
    Message,
    Running,
    Welcome,
)
from snapext_extension.boundary.actions import (
    Action,
    AnswerReadiness,
    AskEventNext,
    AskRestoreNext,
    CancelTimer,
    Fail,
    Look,
    Report,
    SetTimer,
    Tell,
    TellAll,
    TimerName,
)
from snapext_extension.boundary.attendance import Sighting
from snapext_extension.boundary.events import (
    AppReady,
    Event,
    Joined,
    Looked,
    ReadinessAnswered,
    RestoreReturned,
    Said,
    TimerFired,
)
from snapext_extension.boundary.failures import Failure, Process
from snapext_extension.boundary.lifecycle import Lifecycle
from snapext_extension.boundary.settings import Identity, RestoreCaller, Settings
from snapext_extension.boundary.states import State
from straight_twin import Twin

ONE_OF_EACH = HookCounts(1, 1)
DEFAULTS = Settings(
    boundary=True,
    gate=True,
    held=True,
    signals=False,
    acknowledged=True,
    restore_caller=RestoreCaller.EXTENSION,
    checks_before_snapshot=1,
    workers=None,
    settle_ms=500,
    ready_timeout_ms=120_000,
    before_snapshot_timeout_ms=60_000,
    after_restore_timeout_ms=9_000,
    debug=True,
)


def settings(**changes: object) -> Settings:
    if changes.get("boundary") is False:
        changes["held"] = False
    return DEFAULTS.replace(**changes)


@dataclass(frozen=True)
class HookedProcess:
    """How a process that joins late came to be. The youngest process at the restore is 5000."""

    start_ticks: int
    forked: bool
    generation: int
    pid: int = 6000


class Driver:
    """A lifecycle with its clock and its log of actions."""

    def __init__(self, with_settings: Settings, boot_ticks: int = 10) -> None:
        self.settings = with_settings
        self.now_ms = 1000.0
        self.restores = 0
        self._boot_ticks = boot_ticks
        self.twin: Twin | None = None  # while a restore goes on that may go straight
        self.went_straight = 0
        self.board: dict[tuple[int, int], str] = {}  # the hook that a process has written there, by generation
        self.machine = Lifecycle(
            with_settings,
            self._identity,
            lambda: "GET http://127.0.0.1:8080/ answered 503",
            lambda pid, generation: self.board.get((pid, generation)),
        )
        self.timers: dict[TimerName, float] = {}  # when each is due
        self.started = self.machine.start(self.now_ms)
        self.log: list[Action] = list(self.started)
        self._keep_timers(self.started)
        self._keys = 0
        self.sightings: tuple[Sighting, ...] = ()  # what a look shows
        self.open_requests = 1  # how many held readiness requests are still there to be answered

    @property
    def state(self) -> State:
        return self.machine.state

    @property
    def failure(self) -> Failure:
        (failure,) = [action.failure for action in self.log if isinstance(action, Fail)]
        return failure

    @property
    def failure_kind(self) -> tuple[str, int, str | None]:
        return self.failure.error_type, self.failure.exit_status, self.failure.runtime_report

    def handle(self, event: Event) -> list[Action]:
        """Hand in an event, and what the outside world says to the actions that follow, at once."""
        actions = self.hand_in(event)
        self.log += actions
        self._keep_timers(actions)
        for action in tuple(actions):
            if isinstance(action, Look) and not action.lost_only:
                actions = actions + self.handle(Looked(self.sightings))
            elif isinstance(action, AnswerReadiness):
                actions = actions + self.handle(ReadinessAnswered(self.open_requests))
        return actions

    def hand_in(self, event: Event) -> list[Action]:
        """A machine that can go straight has a twin that does."""
        twin = Twin.before(self.machine, event)
        actions = self._hand_in(event)
        if twin is not None:
            self.twin = twin
            self.went_straight += 1
            assert twin.restored(self.identity, self.now_ms) == actions
        elif self.twin is not None:
            assert self.twin.take(event, self.now_ms) == actions
            if self.twin.is_over:
                self.twin.must_be_as(self.machine)
                self.twin = None
        return actions

    def _hand_in(self, event: Event) -> list[Action]:
        """An answer of a process takes the short way, as it does from the socket."""
        if isinstance(event, Said) and isinstance(event.message, Done):
            return [*self.machine.answered(event.key, event.message, self.now_ms)]
        return self.machine.handle(event, self.now_ms)

    def pass_ms(self, passed_ms: float) -> None:
        """Let time pass: each timer fires when it is due, in order."""
        until_ms = self.now_ms + passed_ms
        while self.timers and min(self.timers.values()) <= until_ms:
            timer = min(self.timers, key=lambda name: self.timers[name])
            self.now_ms = max(self.now_ms, self.timers.pop(timer))
            self.handle(TimerFired(timer))
        self.now_ms = until_ms

    def _keep_timers(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, SetTimer):
                self.timers[action.timer] = self.now_ms + action.after_ms
            elif isinstance(action, CancelTimer):
                self.timers.pop(action.timer, None)

    def join(
        self,
        pid: int | None = None,
        parent_pid: int = 1,
        name: str = "app",
        hooks: HookCounts = ONE_OF_EACH,
        generation: int = 0,
        forked: bool = False,
        start_ticks: int = 0,
        signalled: bool = False,
        importing: bool = False,
    ) -> int:
        self._keys += 1
        process = Process(pid or 1000 + self._keys, name)
        hello = Hello(1, process.pid, "app", "test", name, hooks, generation, forked, signalled, importing)
        self.handle(Joined(self._keys, process, hello, parent_pid, start_ticks))
        return self._keys

    def app_ready_and_settled(self) -> list[Action]:
        return self.handle(AppReady()) + self.handle(TimerFired(TimerName.SETTLE))

    def until_after_restore(self) -> None:
        """Go through the before-snapshot phase with every process that has joined, and restore."""
        self.app_ready_and_settled()
        for key in range(1, self._keys + 1):
            self.done(key)
        self.handle(RestoreReturned(200, ""))

    def messages(self, key: int) -> list[Message]:
        return [*_messages_to(key, self.log)]

    def told(self, key: int) -> list[BeforeSnapshot | AfterRestore]:
        """The phases that a process was told of."""
        return [*_phases_of(key, self.log)]

    def last_told(self, key: int) -> BeforeSnapshot | AfterRestore:
        """The phase that it was told of last: the log of a life of many is long, and its end is near."""
        return next(_phases_of(key, reversed(self.log)))

    def done(self, key: int, id_offset: int = 0, registered: int | None = None) -> list[Action]:
        return self.handle(Said(key, Done(self.last_told(key).id + id_offset, True, 1.0, registered=registered)))

    def fail(self, key: int, hook: str, kind: str, message: str) -> list[Action]:
        error = HookFailure(kind, message, "the stack", hook)
        return self.handle(Said(key, Done(self.last_told(key).id, False, 1.0, (), error)))

    def hook_started(self, key: int, hook: str) -> None:
        self.handle(Said(key, Running(self.last_told(key).id, hook)))

    def reports(self, event: str) -> list[dict[str, object]]:
        """The fields of each log record of that name."""
        return [action.fields for action in self.log if isinstance(action, Report) and action.event == event]

    def reported(self, level: str) -> list[str]:
        """The names of the log records of that level."""
        return [action.event for action in self.log if isinstance(action, Report) and action.level == level]

    def calls(self, actions: list[Action]) -> list[Action]:
        """Those of some actions that the outside world sees: calls to the platform, and the gate."""
        return [action for action in actions if isinstance(action, (AskEventNext, AskRestoreNext, AnswerReadiness))]

    def _identity(self) -> Identity:
        self.restores += 1
        return self.identity

    @property
    def identity(self) -> Identity:
        return Identity(f"{self.restores:032x}", 1.0, self._boot_ticks, last_pid=5000, restored_monotonic=3.5)


def _messages_to(key: int, log: Iterable[Action]) -> Iterator[Message]:
    for action in log:
        if (isinstance(action, Tell) and action.key == key) or (isinstance(action, TellAll) and key in action.keys):
            yield action.message


def _phases_of(key: int, log: Iterable[Action]) -> Iterator[BeforeSnapshot | AfterRestore]:
    return (message for message in _messages_to(key, log) if isinstance(message, (BeforeSnapshot, AfterRestore)))


__all__ = ["DEFAULTS", "Driver", "HookedProcess", "Welcome", "settings"]

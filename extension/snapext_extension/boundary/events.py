"""What the lifecycle hears and what it has done: events in, actions out. Data only."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from snapext.wire.messages import Done, HookCounts, Message
from snapext_extension.boundary.attendance import Sighting
from snapext_extension.boundary.failures import Failure, Process


class TimerName(enum.Enum):
    READY = "ready"
    SETTLE = "settle"
    PHASE = "phase"
    GRACE = "grace"
    RING = "ring"
    LOOK = "look"
    WAITING = "waiting"
    EVENT_NEXT = "event_next"
    END = "end"


# --- events: what has happened ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AppReady:
    """The app answers the adapter's own readiness rule."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A process said hello. `key` is its connection; `start_ticks` when it began, in clock ticks since boot.

    signalled: it comes because it was sent the signal of this phase. importing: its main thread imports something.
    """

    key: int
    process: Process
    parent_pid: int
    hooks: HookCounts
    generation: int
    forked: bool
    start_ticks: int
    signalled: bool = False
    importing: bool = False


@dataclass(frozen=True, slots=True)
class HooksChanged:
    key: int
    hooks: HookCounts
    importing: bool = False


@dataclass(frozen=True, slots=True)
class HookStarted:
    key: int
    id: int
    hook: str


@dataclass(frozen=True, slots=True)
class PhaseDone:
    key: int
    done: Done


@dataclass(frozen=True, slots=True)
class Left:
    """A connection ended. `alive`: the process lives on, and may come back; it may have closed what it did not open.

    It is said once more, without `alive`, when that process has ended or has executed another program.
    """

    key: int
    alive: bool = False


@dataclass(frozen=True, slots=True)
class Rung:
    """The answer to Ring: these processes were sent the signal of that name.

    missing: one that was expected lives, and does not catch the signal. fleeting: some were so young that they may be
    about to become another program, and were left for another look.
    """

    processes: tuple[Process, ...]
    signal: str
    missing: Process | None = None
    fleeting: bool = False


@dataclass(frozen=True, slots=True)
class SignalsFailed:
    """The answer to Ring when nobody could be told."""

    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The first of these processes that was sent a signal is done; `error` says why it failed, if it did.

    since_ticks: when the answer began to be given, in clock ticks since boot; None if the writer did not say.
    """

    pids: tuple[int, ...]
    error: str | None
    since_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class CommandJoined:
    """A command is at the door (`snapext status`, say); it has no part in the boundary."""

    key: int
    pid: int


@dataclass(frozen=True, slots=True)
class CheckpointAsked:
    """`snapext checkpoint`: the function is up, and whoever asked waits for the other side of the boundary."""

    key: int


@dataclass(frozen=True, slots=True)
class CommandLeft:
    key: int


@dataclass(frozen=True, slots=True)
class Crowded:
    """A process was turned away: there are too many connections."""

    limit: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    timer: TimerName


@dataclass(frozen=True, slots=True)
class ReadinessAsked:
    """The adapter checks readiness; the request is held until an AnswerReadiness."""


@dataclass(frozen=True, slots=True)
class ReadinessAnswered:
    """The answer to AnswerReadiness: how many held requests got it. One whose sender had hung up does not count."""

    count: int


@dataclass(frozen=True, slots=True)
class ReadinessHungUp:
    """Somebody whose readiness request was held has gone; `still_held` others wait."""

    still_held: int


@dataclass(frozen=True, slots=True)
class Looked:
    """The answer to Look: the function's processes, as the kernel shows them, and how long the look took."""

    sightings: tuple[Sighting, ...]
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class RestoreReturned:
    """The platform answered our restore/next. 200 is a restore; `body` is for the log."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class ShutdownAsked:
    reason: str
    deadline_ms: int


Event = (
    AppReady
    | Joined
    | HooksChanged
    | HookStarted
    | PhaseDone
    | Left
    | Rung
    | SignalsFailed
    | Acknowledged
    | CommandJoined
    | CheckpointAsked
    | CommandLeft
    | Crowded
    | TimerFired
    | ReadinessAsked
    | ReadinessAnswered
    | ReadinessHungUp
    | Looked
    | RestoreReturned
    | ShutdownAsked
)


# --- actions: what is to be done -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetTimer:
    """(Re)start a timer; it fires once."""

    timer: TimerName
    after_ms: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    timer: TimerName


@dataclass(frozen=True, slots=True)
class Tell:
    key: int
    message: Message


@dataclass(frozen=True, slots=True)
class Ring:
    """Tell those of the phase that are not on the socket, by signal; answered by Rung at once. Always the last action.

    left_alone: processes that are told otherwise, or have been. callers: those that wait for the checkpoint.
    expected: processes that have hooks to run and come to the socket only when they are signalled.
    accept_fleeting: there have been looks enough.
    """

    phase: str
    left_alone: frozenset[int]
    callers: frozenset[int]
    expected: frozenset[int] = frozenset()
    accept_fleeting: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Look whether processes that lost their link still execute the same program, and at the function's processes.

    The first is answered by Left for each that does not, the second by Looked. lost_only: leave out the second.
    """

    lost_only: bool = False


@dataclass(frozen=True, slots=True)
class ForgetTheQuiet:
    """The boundary is behind: the end of a process that has hung up is of no interest any more."""


@dataclass(frozen=True, slots=True)
class AskEventNext:
    """From now on we do not hold the platform back."""


@dataclass(frozen=True, slots=True)
class AskRestoreNext:
    pass


@dataclass(frozen=True, slots=True)
class AnswerReadiness:
    """Answer every readiness request that is held; answered by ReadinessAnswered."""


@dataclass(frozen=True, slots=True)
class Report:
    """Something for the log: an event's name and its fields."""

    level: str
    event: str
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class Fail:
    """Log a failure, and report it to the Runtime API where that takes it."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class End:
    """Report a failure to the Extensions API as well, and end the extension with its exit status."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Stop:
    """End the extension: all is said."""


Action = (
    SetTimer
    | CancelTimer
    | Tell
    | Ring
    | Look
    | ForgetTheQuiet
    | AskEventNext
    | AskRestoreNext
    | AnswerReadiness
    | Report
    | Fail
    | End
    | Stop
)

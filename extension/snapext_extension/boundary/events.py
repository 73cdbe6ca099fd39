"""What the lifecycle hears. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from snapext.wire.messages import Hello, Message
from snapext_extension.boundary.actions import TimerName
from snapext_extension.boundary.attendance import Sighting
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.member import Key


@dataclass(frozen=True, slots=True)
class AppReady:
    """The app answers the adapter's own readiness rule."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A process said hello. `key` is its connection; `start_ticks` when it began, in clock ticks since boot.

    process: by the kernel's word, where `hello` has the peer's own.
    """

    key: int
    process: Process
    hello: Hello
    parent_pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Said:
    """A member or a command has sent a message, any but its first."""

    key: int
    message: Message


@dataclass(frozen=True, slots=True)
class Left:
    """A connection, or a process that was signalled, ended.

    alive: the process of the connection lives on, and may come back; it may have closed what it did not open.

    It is said once more, without `alive`, when that process has ended or has executed another program.
    """

    key: Key
    alive: bool = False


@dataclass(frozen=True, slots=True)
class SignalsSent:
    """The answer to SendSignals: these processes were sent the signal of that name.

    missing: one that was expected lives, and does not catch the signal. fleeting: some were so young that they may be
    about to become another program, and were left for another search.
    """

    processes: tuple[Process, ...]
    signal: str
    missing: Process | None = None
    fleeting: bool = False


@dataclass(frozen=True, slots=True)
class SignalsFailed:
    """The answer to SendSignals when no signal could be sent."""

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
class RestoreSeen:
    """Nobody has told us of the restore, and something shows it. `by`: what that is."""

    by: str


@dataclass(frozen=True, slots=True)
class ShutdownAsked:
    reason: str
    deadline_ms: int


Event = (
    AppReady
    | Joined
    | Said
    | Left
    | SignalsSent
    | SignalsFailed
    | Acknowledged
    | CommandJoined
    | CommandLeft
    | Crowded
    | TimerFired
    | ReadinessAsked
    | ReadinessAnswered
    | ReadinessHungUp
    | Looked
    | RestoreReturned
    | RestoreSeen
    | ShutdownAsked
)

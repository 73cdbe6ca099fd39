"""What the lifecycle hears. Data only."""

from __future__ import annotations

from snapext.wire.messages import Hello, Message
from snapext_extension.boundary.actions import TimerName
from snapext_extension.boundary.attendance import Sighting
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.member import Key
from snapext_extension.data import Data


class AppReady(Data):
    """The app answers the adapter's own readiness rule."""


class Joined(Data):
    """A process said hello. `key` is its connection; `start_ticks` when it began, in clock ticks since boot.

    process: by the kernel's word, where `hello` has the peer's own.
    """

    key: int
    process: Process
    hello: Hello
    parent_pid: int
    start_ticks: int


class Said(Data):
    """A member or a command has sent a message, any but its first."""

    key: int
    message: Message


class Left(Data):
    """A connection, or a process that was signalled, ended.

    alive: the process of the connection lives on, and may come back; it may have closed what it did not open.

    It is said once more, without `alive`, when that process has ended or has executed another program.
    """

    key: Key
    alive: bool = False


class SignalsSent(Data):
    """The answer to SendSignals: these processes were sent the signal of that name.

    missing: one that was expected lives, and does not catch the signal. fleeting: some were so young that they may be
    about to become another program, and were left for another search.
    """

    processes: tuple[Process, ...]
    signal: str
    missing: Process | None = None
    fleeting: bool = False


class SignalsFailed(Data):
    """The answer to SendSignals when no signal could be sent."""

    reason: str


class Acknowledged(Data):
    """The first of these processes that was sent a signal is done; `error` says why it failed, if it did.

    since_ticks: when the answer began to be given, in clock ticks since boot; None if the writer did not say.
    """

    pids: tuple[int, ...]
    error: str | None
    since_ticks: int | None = None


class CommandJoined(Data):
    """A command is at the door (`snapext status`, say); it has no part in the boundary."""

    key: int
    pid: int


class CommandLeft(Data):
    key: int


class Crowded(Data):
    """A process was turned away: there are too many connections."""

    limit: int


class TimerFired(Data):
    timer: TimerName


class ReadinessAsked(Data):
    """The adapter checks readiness; the request is held until an AnswerReadiness."""


class ReadinessAnswered(Data):
    """The answer to AnswerReadiness: how many held requests got it. One whose sender had hung up does not count."""

    count: int


class ReadinessHungUp(Data):
    """Somebody whose readiness request was held has gone; `still_held` others wait."""

    still_held: int


class Looked(Data):
    """The answer to Look: the function's processes, as the kernel shows them, and how long the look took."""

    sightings: tuple[Sighting, ...]
    took_ms: float = 0.0


class RestoreReturned(Data):
    """The platform answered our restore/next. 200 is a restore; `body` is for the log."""

    status: int
    body: str


class RestoreSeen(Data):
    """Nobody has told us of the restore, and something shows it. `by`: what that is."""

    by: str


class Invoked(Data):
    """The platform announced an invocation, as we ask it to when we observe. It ends when we ask for `event/next`."""


class ShutdownAsked(Data):
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
    | Invoked
    | ShutdownAsked
)

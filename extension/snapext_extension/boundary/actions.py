"""What the lifecycle wants done. Data only."""

from __future__ import annotations

import enum

from snapext.wire.messages import Message
from snapext_extension.boundary.failures import Failure
from snapext_extension.data import Data


class TimerName(enum.Enum):
    __hash__ = object.__hash__  # that of Enum is written in Python
    READY = "ready"
    SETTLE = "settle"
    PHASE = "phase"
    GRACE = "grace"
    SEARCH = "search"
    LOOK = "look"
    WAITING = "waiting"
    EVENT_NEXT = "event_next"
    END = "end"


class SetTimer(Data):
    """(Re)start a timer; it fires once."""

    timer: TimerName
    after_ms: float


class CancelTimer(Data):
    timer: TimerName


class Tell(Data):
    key: int
    message: Message


class TellAll(Data):
    """The same to all of these; one that has lost its connection is left out."""

    keys: tuple[int, ...]
    message: Message


class SendSignals(Data):
    """Signal the processes that are not on the socket and catch the phase's signal. Always the last action.

    It is answered at once, by SignalsSent or SignalsFailed.
    left_alone: processes that are told otherwise, or have been. callers: commands that wait for the checkpoint.
    expected: processes that have hooks to run and come to the socket only when they are signalled.
    accept_fleeting: there have been searches enough.
    """

    phase: str
    left_alone: frozenset[int]
    callers: frozenset[int]
    expected: frozenset[int] = frozenset()
    accept_fleeting: bool = False


class Look(Data):
    """Look whether processes that lost their link still execute the same program, and at the function's processes.

    The first is answered by Left for each that does not, the second by Looked. lost_only: leave out the second.
    """

    lost_only: bool = False


class ForgetHungUp(Data):
    """The boundary is behind: the end of a process that has hung up is of no interest any more."""


class AskEventNext(Data):
    """From now on we do not hold the platform back."""


class AskRestoreNext(Data):
    pass


class AnswerReadiness(Data):
    """Answer every readiness request that is held; answered by ReadinessAnswered."""


class Report(Data):
    """Something for the log: an event's name and its fields."""

    level: str
    event: str
    fields: dict[str, object]


class Fail(Data):
    """Log a failure, and report it to the Runtime API where that takes it."""

    failure: Failure


class End(Data):
    """Report a failure to the Extensions API as well, and end the extension with its exit status."""

    failure: Failure


class Stop(Data):
    """End the extension: all is said."""


Action = (
    SetTimer
    | CancelTimer
    | Tell
    | TellAll
    | SendSignals
    | Look
    | ForgetHungUp
    | AskEventNext
    | AskRestoreNext
    | AnswerReadiness
    | Report
    | Fail
    | End
    | Stop
)

"""What the lifecycle wants done. Data only."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from snapext.wire.messages import Message
from snapext_extension.boundary.failures import Failure


class TimerName(enum.Enum):
    READY = "ready"
    SETTLE = "settle"
    PHASE = "phase"
    GRACE = "grace"
    SEARCH = "search"
    LOOK = "look"
    WAITING = "waiting"
    EVENT_NEXT = "event_next"
    END = "end"


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
class SendSignals:
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


@dataclass(frozen=True, slots=True)
class Look:
    """Look whether processes that lost their link still execute the same program, and at the function's processes.

    The first is answered by Left for each that does not, the second by Looked. lost_only: leave out the second.
    """

    lost_only: bool = False


@dataclass(frozen=True, slots=True)
class ForgetHungUp:
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

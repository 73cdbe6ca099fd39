"""The parts of a life as the page and the trace show it. All times are milliseconds after the start of the life."""

from __future__ import annotations

from dataclasses import dataclass

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT

INIT, SNAPSHOT, FROZEN, REQUESTS = "init", "snapshot", "frozen", "requests"
SHUTDOWN, STOPPED = "shutdown", "stopped"
CHAPTERS = (INIT, BEFORE_SNAPSHOT, SNAPSHOT, FROZEN, AFTER_RESTORE, REQUESTS, SHUTDOWN, STOPPED)
RESTORE_LIMIT_MS = 10_000
"""The time that Lambda gives a restore."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One of CHAPTERS. `stopped` is what comes after a failure or an interruption: all processes are ended.

    `frozen` is the snapshot of a life with --freeze: nothing runs until the restore.
    """

    kind: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook that ran; not `finished`: it was still running when the phase failed."""

    name: str
    start_ms: float
    end_ms: float
    ok: bool = True
    finished: bool = True

    @property
    def took_ms(self) -> float:
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Turn:
    """One phase in one process: from the first hook to the last. `unlisted` hooks ran too, without a name and a time.

    signal: the signal that began it, where the process has no connection.
    """

    phase: str
    start_ms: float
    end_ms: float
    ok: bool
    hooks: tuple[Hook, ...]
    unlisted: int = 0
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """One process, there from begins_ms to until_ms. The other times are None where they are not known."""

    pid: int
    name: str
    started_ms: float | None
    joined_ms: float | None
    ended_ms: float | None
    until_ms: float
    linked: bool
    turns: tuple[Turn, ...] = ()

    @property
    def begins_ms(self) -> float:
        known = [
            at for at in (self.started_ms, self.joined_ms, *(turn.start_ms for turn in self.turns)) if at is not None
        ]
        return min(known, default=self.until_ms)


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation. `answer` is the status of an HTTP response, or empty; `body` is what the app answered."""

    name: str
    start_ms: float
    end_ms: float
    ok: bool
    answer: str
    body: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry of `errors`. at_ms is None where only the end of the life shows it."""

    at_ms: float | None
    phase: str
    pid: int | None
    hook: str | None
    type: str
    message: str
    stack: str
    seen: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know; `warns`: it is more than news. pid: the process that it is about."""

    at_ms: float
    text: str
    warns: bool
    pid: int | None


@dataclass(frozen=True, slots=True)
class Life:
    """The whole. Chapters are in order, without a gap, from 0 to end_ms; lanes are in the order in which they begin.

    started_ms: when the start command was started.
    """

    ok: bool
    command: tuple[str, ...]
    mode: str | None
    init_type: str | None
    adapter: str | None
    environment_id: str | None
    restore_ms: float | None
    hooks_run: int
    started_ms: float | None
    end_ms: float
    chapters: tuple[Chapter, ...]
    lanes: tuple[Lane, ...]
    calls: tuple[Call, ...]
    failures: tuple[Failure, ...]
    notes: tuple[Note, ...]

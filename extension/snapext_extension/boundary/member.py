"""A process that takes part in the boundary, as the lifecycle sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from snapext.wire.messages import HookCounts
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_extension.boundary.failures import Late, Process, doing


@dataclass(frozen=True, slots=True)
class SignalledPid:
    """The key of a member that is reached by a signal."""

    pid: int


Key = int | SignalledPid
"""What tells one member from another: its connection's number, or SignalledPid when it has none."""


@dataclass(slots=True)
class Member:
    """One process. `pending` is the id that it still has to answer, `hook` the one that it has said it runs.

    signal: the name of the signal that it was told by; None when it is on the socket.
    durations_ms: how long each phase took that it has answered. told_ids: the ids of the present phase's questions that
    can have reached it. importing: its main thread imports something, where more hooks may be registered.
    lost_ms: when its connection was lost; None while it is connected.
    """

    process: Process
    parent_pid: int
    hooks: HookCounts
    pending: int | None = None
    told_ms: float = 0.0
    hook: str | None = None
    forked: bool = False
    signal: str | None = None
    importing: bool = False
    lost_ms: float | None = None
    said_lost: bool = False
    warned_late: bool = False
    told_ids: set[int] = field(default_factory=set)
    durations_ms: dict[str, float] = field(default_factory=dict)

    def has_hooks(self, phase: str) -> bool:
        """Whether it has something to do in a phase. A process that catches the signal does so for a reason."""
        return self.signal is not None or bool(getattr(self.hooks, phase))

    def total_hooks(self) -> int:
        return self.hooks.before_snapshot + self.hooks.after_restore

    def has_run(self, phase: str) -> bool:
        return phase in self.durations_ms

    def was_told(self) -> bool:
        """Whether what it has still to answer can have reached it: it had not lost its connection before."""
        return self.signal is not None or bool(self.told_ids)

    def late(self, now_ms: float, hook: str | None) -> Late:
        return Late(self.process, hook, self.signal, None if self.lost_ms is None else now_ms - self.lost_ms)

    def describe(self, hook: str | None) -> dict[str, Any]:
        """What `snapext status` says of it. hook: the one that it runs."""
        return {
            "pid": self.process.pid,
            "name": self.process.name,
            "how": self.signal or "socket",
            "hooks": counts(self.hooks),
            "running": None if self.pending is None else doing(hook, self.signal),
            "connected": self.lost_ms is None,
            "durations_ms": self.durations_ms,
        }


def counts(hooks: HookCounts) -> dict[str, int]:
    return {BEFORE_SNAPSHOT: hooks.before_snapshot, AFTER_RESTORE: hooks.after_restore}

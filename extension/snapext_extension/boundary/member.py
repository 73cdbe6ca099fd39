"""A process that takes part in the boundary, as the lifecycle sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from snapext.wire.messages import HookCounts
from snapext_extension.boundary.failures import AFTER_RESTORE, BEFORE_SNAPSHOT, Process, doing


@dataclass(slots=True)
class Member:
    """One process. `pending` is the id that it still has to answer, `hook` the one that it runs.

    signal: the name of the signal that it was told by; None when it is on the socket.
    durations_ms: how long it took for each phase that it has ended. told_ids: the ids of the present phase's questions.
    importing: its main thread imports something, where more hooks may be registered. lost_ms: when its link was lost.
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
        """Whether it has something to do in a phase. Who catches the signal has a reason."""
        return self.signal is not None or bool(getattr(self.hooks, phase))

    def total_hooks(self) -> int:
        return self.hooks.before_snapshot + self.hooks.after_restore

    def describe(self) -> dict[str, Any]:
        """What `snapext status` says of it."""
        return {
            "pid": self.process.pid,
            "name": self.process.name,
            "how": self.signal or "socket",
            "hooks": counts(self.hooks),
            "running": None if self.pending is None else doing(self.hook, self.signal),
            "connected": self.lost_ms is None,
            "durations_ms": self.durations_ms,
        }


def counts(hooks: HookCounts) -> dict[str, int]:
    return {BEFORE_SNAPSHOT: hooks.before_snapshot, AFTER_RESTORE: hooks.after_restore}

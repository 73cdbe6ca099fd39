"""A process that takes part in the boundary, as the lifecycle sees it."""

from __future__ import annotations

from snapext.wire.messages import HookCounts
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_extension.boundary.failures import Late, Process, doing
from snapext_extension.data import Data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SignalledPid(Data):
    """The key of a member that is reached by a signal."""

    pid: int


Key = int | SignalledPid
"""What tells one member from another: its connection's number, or SignalledPid when it has none."""


class Member:
    """One process.

    pending: it still has to answer; Roll alone sets it. hook: the one that it has said it runs.
    signal: the name of the signal that it was told by; None when it is on the socket.
    durations_ms: how long each phase took that it has answered. reached: what it was told in the present phase can have
    reached it. importing: its main thread imports something, where more hooks may be registered.
    lost_ms: when its connection was lost; None while it is connected.
    ran_in_parent: it is a fork of a process that had run its before-snapshot hooks when this one joined first.
    passed: how many requests its middleware has let pass between the phases; None if it has none.
    """

    __slots__ = (
        *("durations_ms", "forked", "hook", "hooks", "importing", "lost_ms", "parent_pid", "passed", "pending"),
        *("process", "ran_in_parent", "reached", "said_lost", "signal", "told_ms", "warned_late"),
    )

    def __init__(
        self,
        process: Process,
        parent_pid: int,
        hooks: HookCounts,
        *,
        forked: bool = False,
        importing: bool = False,
        signal: str | None = None,
    ) -> None:
        self.process = process
        self.parent_pid = parent_pid
        self.hooks = hooks
        self.forked = forked
        self.importing = importing
        self.signal = signal
        self.passed: int | None = None
        self.pending = False
        self.reached = False
        self.ran_in_parent = False
        self.told_ms = 0.0
        self.hook: str | None = None
        self.lost_ms: float | None = None
        self.said_lost = False
        self.warned_late = False
        self.durations_ms: dict[str, float] = {}

    def has_hooks(self, phase: str) -> bool:
        """Whether it has something to do in a phase. A process that catches the signal does so for a reason."""
        return self.signal is not None or bool(getattr(self.hooks, phase))

    def total_hooks(self) -> int:
        return self.hooks.before_snapshot + self.hooks.after_restore

    def has_run(self, phase: str) -> bool:
        return phase in self.durations_ms

    def was_told(self) -> bool:
        """Whether what it has still to answer can have reached it: it had not lost its connection before."""
        return self.signal is not None or self.reached

    def late(self, now_ms: float, hook: str | None) -> Late:
        return Late(self.process, hook, self.signal, None if self.lost_ms is None else now_ms - self.lost_ms)

    def describe(self, hook: str | None) -> dict[str, Any]:
        """What `snapext status` says of it. hook: the one that it runs."""
        return {
            "pid": self.process.pid,
            "name": self.process.name,
            "how": self.signal or "socket",
            "hooks": counts(self.hooks),
            "running": doing(hook, self.signal) if self.pending else None,
            "connected": self.lost_ms is None,
            "durations_ms": self.durations_ms,
        }


def counts(hooks: HookCounts) -> dict[str, int]:
    return {BEFORE_SNAPSHOT: hooks.before_snapshot, AFTER_RESTORE: hooks.after_restore}

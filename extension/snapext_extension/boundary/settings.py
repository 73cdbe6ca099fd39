"""What the lifecycle is given: its settings, and what tells one clone from another."""

from __future__ import annotations

import enum

from snapext_extension.data import Data

LOOK_EVERY_MS = 100
WAITING_EVERY_MS = 3_000
"""How often the log says what is waited for."""


class RestoreCaller(enum.Enum):
    """Who asks the platform for restore/next."""

    EXTENSION = "extension"
    ADAPTER = "adapter"


class Settings(Data):
    """What the machine needs to know. Times are in milliseconds.

    boundary: whether there is one: a SnapStart environment.
    gate: the web adapter's readiness check is ours to answer, and with it the moment.
    held: the platform is to wait for us. Without it, a checkpoint may come or not, and no snapshot waits for one.
    signals: processes that catch the signals are members as well; `acknowledged`: they have to say when they are done.
    checks_before_snapshot: how many readiness checks an adapter that asks for restore/next makes before it does.
    debug: whether the log has a use for reports of the level `debug`: else they are not made.
    workers: how many processes must have joined; 0: nobody is missing, whatever a look shows; None: looks decide.
    observes: nothing tells us of the restore but the clock, the first invocation, or the app itself.
    metrics: whether the lines that end a phase say what the hooks took.
    """

    boundary: bool
    gate: bool
    held: bool
    signals: bool
    acknowledged: bool
    restore_caller: RestoreCaller
    checks_before_snapshot: int
    workers: int | None
    settle_ms: int
    ready_timeout_ms: int
    before_snapshot_timeout_ms: int
    after_restore_timeout_ms: int
    debug: bool
    observes: bool = False
    metrics: bool = False


class Identity(Data):
    """What is made anew after a restore, and what tells older processes from younger ones.

    restored_at, restored_monotonic, boot_ticks: when it was, by the wall clock as it was set then, by CLOCK_MONOTONIC,
        and in clock ticks since boot.
    last_pid: the youngest process there was then.
    """

    environment_id: str
    restored_at: float
    boot_ticks: int
    last_pid: int
    restored_monotonic: float | None = None

    def comes_after_process(self, start_ticks: int, pid: int) -> bool:
        """Whether a process was there before the restore. A clock tick is 10 ms: within one, the pids tell."""
        return (start_ticks, pid) <= (self.boot_ticks, self.last_pid)
